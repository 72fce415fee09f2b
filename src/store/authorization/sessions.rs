//! In which browsers a person is signed in. The ticket of a session opens it; a row here only tells of it.

use super::super::{Error, Store, on, soon};
use super::{Kind, number, time};

const PUT: &str = "INSERT INTO browser_sessions (digest, subject, begun, expires, agent) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (digest) DO NOTHING";
const OF: &str = "SELECT s.digest, s.begun, s.expires, s.agent FROM browser_sessions s
    JOIN tickets t ON t.kind = 'session' AND t.digest = s.digest
    WHERE s.subject = $1 AND s.expires > $2 ORDER BY s.begun DESC LIMIT 100";
const OWNED: &str = "SELECT COUNT(*) FROM browser_sessions WHERE digest = $1 AND subject = $2";
const END_ALL: &str = "DELETE FROM tickets WHERE kind = 'session' AND digest <> $2 AND digest IN
    (SELECT digest FROM browser_sessions WHERE subject = $1)";
const SWEEP: &str = "DELETE FROM browser_sessions WHERE expires <= $1";

/// One browser. Times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserSession {
    /// Of the cookie's secret; opens nothing.
    pub digest: String,
    pub begun: u64,
    pub expires: u64,
    /// What the browser called itself, cut.
    pub agent: String,
}

impl Store {
    pub async fn note_session(&self, subject: &str, session: &BrowserSession) -> Result<(), Error> {
        let BrowserSession { digest, begun, expires, agent } = session;
        soon(async {
            on!(self, pool => {
                sqlx::query(PUT).bind(digest).bind(subject).bind(number(*begun)).bind(number(*expires)).bind(agent).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }

    /// The newest first, at most 100.
    pub async fn sessions_of(&self, subject: &str, now: u64) -> Result<Vec<BrowserSession>, Error> {
        let rows: Vec<(String, i64, i64, String)> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(OF).bind(subject).bind(number(now)).fetch_all(pool).await?)) }).await?;
        let session = |(digest, begun, expires, agent)| BrowserSession { digest, begun: time(begun), expires: time(expires), agent };
        Ok(rows.into_iter().map(session).collect())
    }

    /// Ends one session of this person. Whether it was one of theirs.
    pub async fn end_session(&self, subject: &str, digest: &str) -> Result<bool, Error> {
        let owned: i64 =
            soon(async { on!(self, pool => Ok(sqlx::query_scalar(OWNED).bind(digest).bind(subject).fetch_one(pool).await?)) }).await?;
        if owned == 1 {
            self.drop_ticket(Kind::Session, digest).await?;
        }
        Ok(owned == 1)
    }

    /// Ends every session of this person but the one that is kept, however many there are.
    pub async fn end_sessions(&self, subject: &str, kept: Option<&str>) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(END_ALL).bind(subject).bind(kept.unwrap_or_default()).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }

    pub(super) async fn sweep_sessions(&self, now: u64) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(SWEEP).bind(number(now)).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }
}
