//! Is a sender's token good for this request? For one alone: a copy of it must not ask for something else.
//!
//! The same request may come again with it, for the sender that heard that it could not be written down.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::governance::signal::Fault;

/// Tokens that are remembered, each until it has expired; with as many, further ones wait.
const MOST: usize = 20_000;

/// What was asked with each token.
#[derive(Default)]
pub struct Once(Mutex<HashMap<blake3::Hash, (SystemTime, blake3::Hash)>>);

impl Once {
    /// Notes what a token, which is good `until` then, was shown with.
    ///
    /// # Errors
    /// [`Fault::Sender`] where that was something else before; [`Fault::Store`] where there is no room to remember it.
    pub fn note(&self, token: blake3::Hash, until: SystemTime, asked: blake3::Hash, now: SystemTime) -> Result<(), Fault> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, before)) = all.get(&token) {
            return if *before == asked { Ok(()) } else { Err(Fault::Sender) };
        }
        if all.len() >= MOST {
            all.retain(|_, (until, _)| *until > now);
        }
        // SECURITY: nothing is forgotten early, or a copy would be good again.
        if all.len() >= MOST {
            return Err(Fault::Store);
        }
        all.insert(token, (until, asked));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_token_is_good_for_one_request_and_for_that_one_again() {
        let (once, until) = (Once::default(), UNIX_EPOCH + Duration::from_secs(300));
        let hash = |text: &str| blake3::hash(text.as_bytes());
        assert_eq!(once.note(hash("a"), until, hash("alice"), UNIX_EPOCH), Ok(()));
        assert_eq!(once.note(hash("a"), until, hash("alice"), UNIX_EPOCH), Ok(()));
        assert_eq!(once.note(hash("a"), until, hash("bob"), UNIX_EPOCH), Err(Fault::Sender));
        assert_eq!(once.note(hash("b"), until, hash("bob"), UNIX_EPOCH), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_nothing_is_forgotten_before_its_time() {
        let (once, until) = (Once::default(), UNIX_EPOCH + Duration::from_secs(300));
        let hash = |n: usize| blake3::hash(&n.to_be_bytes());
        for n in 0..MOST {
            assert_eq!(once.note(hash(n), until, hash(0), UNIX_EPOCH), Ok(()));
        }
        assert_eq!(once.note(hash(MOST), until, hash(0), UNIX_EPOCH), Err(Fault::Store));
        assert_eq!(once.note(hash(0), until, hash(1), UNIX_EPOCH), Err(Fault::Sender));
        assert_eq!(once.note(hash(MOST), until, hash(0), until), Ok(()), "they have expired");
    }
}
