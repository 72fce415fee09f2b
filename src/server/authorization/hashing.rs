//! Passwords, hashed: off the threads that serve requests, and few at once.
//!
//! Argon2id with 19 MiB and two passes (OWASP Password Storage Cheat Sheet); the parameters stand in each hash.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Fault;

const KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// Each takes 19 MiB and one core.
const AT_ONCE: usize = 2;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// A hash that no password has, so that unknown names take as long as known ones.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The turns of all that hash.
pub(super) struct Hashing(Arc<Semaphore>);

impl Default for Hashing {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Hashing {
    /// The hash of a new password, as a PHC string.
    ///
    /// # Errors
    /// [`Fault::Busy`] where too many wait.
    pub async fn hash(&self, password: String) -> Result<String, Fault> {
        let mut salt = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| Fault::Randomness)?;
        let turn = self.turn().await?;
        let work = move || {
            let hash: Option<PasswordHash> = argon().and_then(|argon| argon.hash_password_with_salt(password.as_bytes(), &salt).ok());
            drop(turn);
            hash.map(|hash| hash.to_string())
        };
        tokio::task::spawn_blocking(work).await.ok().flatten().ok_or(Fault::Unreadable)
    }

    /// Whether it is the password of this hash. Without a hash it takes as long, and is not.
    ///
    /// # Errors
    /// [`Fault::Busy`] where too many wait, [`Fault::Unreadable`] for a hash that is none.
    pub async fn is(&self, password: String, hash: Option<String>) -> Result<bool, Fault> {
        let turn = self.turn().await?;
        let work = move || {
            let known = hash.is_some();
            let parsed = PasswordHash::new(hash.as_deref().unwrap_or(NOBODY)).ok()?;
            let same = argon()?.verify_password(password.as_bytes(), &parsed).is_ok();
            drop(turn);
            Some(known && same)
        };
        tokio::task::spawn_blocking(work).await.ok().flatten().ok_or(Fault::Unreadable)
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Fault> {
        match tokio::time::timeout(PATIENCE, self.0.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Fault::Busy),
        }
    }
}

fn argon() -> Option<Argon2<'static>> {
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(KIB, PASSES, 1, None).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_its_own_and_no_other_and_its_hash_says_how_it_was_made() {
        let hashing = Hashing::default();
        let hash = hashing.hash("four plain words here".into()).await.expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(!hash.contains("four"));
        assert!(hashing.is("four plain words here".into(), Some(hash.clone())).await.expect("an answer"));
        assert!(!hashing.is("four plain words her".into(), Some(hash.clone())).await.expect("an answer"));
        assert_ne!(hash, hashing.hash("four plain words here".into()).await.expect("a hash"), "each has its own salt");
    }

    #[tokio::test]
    async fn nobody_has_the_password_of_an_unknown_name() {
        assert!(!Hashing::default().is(String::new(), None).await.expect("an answer"));
    }
}
