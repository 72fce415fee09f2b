//! What does a refresh token get that is shown (OAuth 2.1 §4.3.1)?
//!
//! Each is exchanged once. One that comes again within [`GRACE`] gets the same successor, for an answer may have been
//! lost and two requests may have crossed; later, or once the successor was used, somebody else has it too.

/// Seconds in which a token that was exchanged gets its successor once more.
pub const GRACE: u64 = 20;

/// What is known of a refresh token. Times in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    pub expires: u64,
    /// When it was exchanged.
    pub used: Option<u64>,
    /// Whether what it was exchanged for was exchanged too.
    pub successor_used: bool,
}

/// What it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A successor.
    Exchange,
    /// The successor that it was exchanged for.
    Repeat,
    /// Nothing: it lay unused for too long.
    Expired,
    /// Nothing, and the whole family ends.
    Reused,
}

impl Shown {
    pub fn turn(&self, now: u64) -> Turn {
        match self.used {
            None if now >= self.expires => Turn::Expired,
            None => Turn::Exchange,
            // A clock that is behind is no reason to end anything.
            Some(used) if now < used.saturating_add(GRACE) && !self.successor_used => Turn::Repeat,
            Some(_) => Turn::Reused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_118_each_is_exchanged_once_and_a_second_time_only_within_the_grace() {
        let fresh = Shown { expires: 100, used: None, successor_used: false };
        assert_eq!((fresh.turn(99), fresh.turn(100)), (Turn::Exchange, Turn::Expired));
        let used = Shown { used: Some(50), ..fresh };
        assert_eq!((used.turn(50), used.turn(69), used.turn(70)), (Turn::Repeat, Turn::Repeat, Turn::Reused));
        assert_eq!(used.turn(40), Turn::Repeat);
        assert_eq!(Shown { successor_used: true, ..used }.turn(51), Turn::Reused);
    }
}
