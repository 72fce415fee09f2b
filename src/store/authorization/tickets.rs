//! What comes back once and soon, known by the digest of a random value that its holder shows.

use super::super::{Error, Store, on, soon};
use super::{number, time};

const PUT: &str = "INSERT INTO tickets (kind, digest, body, expires) VALUES ($1, $2, $3, $4)
    ON CONFLICT (kind, digest) DO UPDATE SET body = excluded.body, expires = excluded.expires";
const PUT_NEW: &str = "INSERT INTO tickets (kind, digest, body, expires) VALUES ($1, $2, $3, $4)
    ON CONFLICT (kind, digest) DO UPDATE SET body = excluded.body, expires = excluded.expires WHERE tickets.expires <= $5";
const READ: &str = "SELECT body, expires FROM tickets WHERE kind = $1 AND digest = $2 AND expires > $3";
const TAKE: &str = "DELETE FROM tickets WHERE kind = $1 AND digest = $2 RETURNING body, expires";
const DROP: &str = "DELETE FROM tickets WHERE kind = $1 AND digest = $2";
const DROP_ALIKE: &str = "DELETE FROM tickets WHERE kind = $1 AND body = $2";
const COUNT: &str = "SELECT COUNT(*) FROM tickets WHERE kind = $1";
/// Those that would end first, which came first where all live as long.
const CROWDED_OUT: &str = "DELETE FROM tickets WHERE kind = $1 AND digest IN
    (SELECT digest FROM tickets WHERE kind = $1 ORDER BY expires, digest LIMIT $2)";
const SWEEP: &str = "DELETE FROM tickets WHERE expires <= $1";

/// What a ticket is for; one is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An authorize request that waits for a person's answer.
    Authorization,
    /// A person who was sent to a login elsewhere.
    Login,
    /// A browser in which a person is signed in.
    Session,
    /// A person whom an application hands over.
    HandOff,
    /// What a login said last of a person, and by what it can be asked again.
    Standing,
    /// An invitation to make an account.
    Invite,
    /// An id that may be used once (`jti`).
    Seen,
    /// Whatever a login in several steps must remember.
    Challenge,
    /// A browser in which somebody with an account has signed in before.
    Device,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Authorization => "authorization",
            Self::Login => "login",
            Self::Session => "session",
            Self::HandOff => "hand-off",
            Self::Standing => "standing",
            Self::Invite => "invite",
            Self::Seen => "seen",
            Self::Challenge => "challenge",
            Self::Device => "device",
        }
    }
}

impl Store {
    /// Keeps `body` under this digest until `expires` (seconds since 1970), in the place of what was there.
    pub async fn put_ticket(&self, kind: Kind, digest: &str, body: &str, expires: u64) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(PUT).bind(kind.name()).bind(digest).bind(body).bind(number(expires)).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }

    /// The same, among at most `most` of its kind: where there are more, the oldest give way, a twentieth of them at once.
    ///
    /// SECURITY: for what strangers make. Whoever floods crowds out whoever came long ago, and shuts nobody out.
    pub async fn put_ticket_among(&self, kind: Kind, digest: &str, body: &str, expires: u64, most: i64) -> Result<(), Error> {
        self.put_ticket(kind, digest, body, expires).await?;
        soon(async {
            on!(self, pool => {
                let count: i64 = sqlx::query_scalar(COUNT).bind(kind.name()).fetch_one(pool).await?;
                if count > most {
                    sqlx::query(CROWDED_OUT).bind(kind.name()).bind(count - most + most / 20).execute(pool).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Keeps `body`, unless one that has not expired at `now` is there. Whether it was kept: of several replicas, one hears yes.
    pub async fn put_new_ticket(&self, kind: Kind, digest: &str, body: &str, expires: u64, now: u64) -> Result<bool, Error> {
        soon(async {
            on!(self, pool => {
                let done = sqlx::query(PUT_NEW)
                    .bind(kind.name()).bind(digest).bind(body).bind(number(expires)).bind(number(now))
                    .execute(pool).await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// What is kept under this digest, unless it has expired at `now`.
    pub async fn ticket(&self, kind: Kind, digest: &str, now: u64) -> Result<Option<String>, Error> {
        let row: Option<(String, i64)> = soon(async {
            on!(self, pool => Ok(sqlx::query_as(READ).bind(kind.name()).bind(digest).bind(number(now)).fetch_optional(pool).await?))
        })
        .await?;
        Ok(row.map(|(body, _)| body))
    }

    /// The same, which is then gone: of several who ask, one gets it.
    pub async fn take_ticket(&self, kind: Kind, digest: &str, now: u64) -> Result<Option<String>, Error> {
        let row: Option<(String, i64)> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(TAKE).bind(kind.name()).bind(digest).fetch_optional(pool).await?)) }).await?;
        Ok(row.filter(|(_, expires)| time(*expires) > now).map(|(body, _)| body))
    }

    /// Drops all of this kind that hold this body.
    pub async fn drop_tickets(&self, kind: Kind, body: &str) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(DROP_ALIKE).bind(kind.name()).bind(body).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }

    pub async fn drop_ticket(&self, kind: Kind, digest: &str) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(DROP).bind(kind.name()).bind(digest).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }

    pub(super) async fn sweep_tickets(&self, now: u64) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(SWEEP).bind(number(now)).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorePlace;

    #[tokio::test]
    async fn where_there_are_as_many_as_there_may_be_the_oldest_of_that_kind_give_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&StorePlace::Sqlite(folder.path().join("doorward.db"))).await.expect("opens");
        store.put_ticket(Kind::Invite, "kept", "", 1).await.expect("kept");
        for n in 0..41_u64 {
            store.put_ticket_among(Kind::Login, &format!("trip-{n}"), "", 100 + n, 40).await.expect("kept");
        }
        let there = async |kind, digest: &str| store.ticket(kind, digest, 0).await.expect("read").is_some();
        // One too many, and two more: a twentieth.
        for n in 0..3 {
            assert!(!there(Kind::Login, &format!("trip-{n}")).await, "{n}");
        }
        for n in 3..41 {
            assert!(there(Kind::Login, &format!("trip-{n}")).await, "{n}");
        }
        assert!(there(Kind::Invite, "kept").await, "others are not meant");
    }
}
