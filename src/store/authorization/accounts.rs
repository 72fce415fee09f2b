//! Accounts of people, in self-managed mode.

use super::super::{Error, Store, on, soon};
use super::{number, time};
use crate::oauth::account::{Account, AccountState};

const COLUMNS: &str = r#"SELECT id, name, display, email, "groups", state, password, created, changed FROM accounts"#;
const PUT: &str = r#"INSERT INTO accounts (id, name, display, email, "groups", state, password, failures, created, changed)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9)
    ON CONFLICT (name) DO NOTHING"#;
const CHANGE: &str =
    r#"UPDATE accounts SET display = $2, email = $3, "groups" = $4, state = $5, password = $6, changed = $7 WHERE id = $1"#;
/// SECURITY: what changes an account, or what lets somebody in to it, begins with this: whoever else would change it waits.
pub(super) const LOCK: &str = "UPDATE accounts SET changed = changed WHERE id = $1";
const DROP_CODES: &str = "DELETE FROM recovery_codes WHERE account = $1";
const PUT_CODE: &str = "INSERT INTO recovery_codes (account, digest) VALUES ($1, $2)";
const USE_CODE: &str = "DELETE FROM recovery_codes WHERE account = $1 AND digest = $2";
const COUNT_CODES: &str = "SELECT COUNT(*) FROM recovery_codes WHERE account = $1";
const ATTEMPT: &str = "INSERT INTO attempts (digest, made, wait_until, expires) VALUES ($1, 1, 0, $3)
    ON CONFLICT (digest) DO UPDATE SET expires = excluded.expires,
    made = CASE WHEN attempts.expires <= $2 THEN 1 ELSE attempts.made + 1 END
    WHERE attempts.wait_until <= $2
    RETURNING made";
const WAIT: &str = "UPDATE attempts SET wait_until = $2 WHERE digest = $1";
const WAITING: &str = "SELECT wait_until FROM attempts WHERE digest = $1";
const FORGET: &str = "DELETE FROM attempts WHERE digest = $1";
const SWEEP: &str = "DELETE FROM attempts WHERE expires <= $1 AND wait_until <= $1";

type Row = (String, String, Option<String>, Option<String>, String, String, Option<String>, i64, i64);

/// Accounts at most: an operator makes them, not strangers.
const MOST: i64 = 10_000;

/// One attempt to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It is counted, and may be judged.
    Counted,
    /// Not before this time, in seconds since 1970.
    Wait(u64),
}

impl Store {
    /// Makes an account. `false` where the name is taken.
    pub async fn put_account(&self, account: &Account) -> Result<bool, Error> {
        let groups = groups(account);
        soon(async {
            on!(self, pool => {
                let done = sqlx::query(PUT)
                    .bind(&account.id).bind(&account.name).bind(&account.display).bind(&account.email).bind(groups)
                    .bind(account.state.name()).bind(&account.password).bind(number(account.created)).bind(number(account.changed))
                    .execute(pool).await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Changes an account as it is now; its id and name stay. Of two who change it at once, the second finds what the first did,
    /// so that a new password never takes back that the account was disabled. None, and nothing is written, where it is gone or
    /// `change` says no.
    pub async fn change_account(&self, id: &str, change: impl FnOnce(&mut Account) -> bool) -> Result<Option<Account>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1"));
        soon(async {
            on!(self, pool => {
                let mut tx = pool.begin().await?;
                sqlx::query(LOCK).bind(id).execute(&mut *tx).await?;
                let row: Option<Row> = sqlx::query_as(query()).bind(id).fetch_optional(&mut *tx).await?;
                let mut found = row.map(account).transpose()?;
                let Some(account) = found.as_mut().and_then(|account| change(account).then_some(account)) else {
                    tx.rollback().await?;
                    return Ok(None);
                };
                sqlx::query(CHANGE)
                    .bind(&account.id).bind(&account.display).bind(&account.email).bind(groups(account))
                    .bind(account.state.name()).bind(&account.password).bind(number(account.changed))
                    .execute(&mut *tx).await?;
                tx.commit().await?;
                Ok(found)
            })
        })
        .await
    }

    /// By its name, as `oauth::account::name` writes it.
    pub async fn account_named(&self, name: &str) -> Result<Option<Account>, Error> {
        self.one_account("name", name).await
    }

    pub async fn account(&self, id: &str) -> Result<Option<Account>, Error> {
        self.one_account("id", id).await
    }

    async fn one_account(&self, column: &'static str, value: &str) -> Result<Option<Account>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE {column} = $1"));
        let row: Option<Row> =
            soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(value).fetch_optional(pool).await?)) }).await?;
        row.map(account).transpose()
    }

    /// All accounts by name, at most 10,000.
    pub async fn accounts(&self) -> Result<Vec<Account>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{COLUMNS} ORDER BY name LIMIT $1"));
        let rows: Vec<Row> = soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(MOST).fetch_all(pool).await?)) }).await?;
        rows.into_iter().map(account).collect()
    }

    /// Keeps these recovery codes, by their digests, in the place of all others of the account.
    pub async fn put_recovery_codes(&self, account: &str, digests: &[String]) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                sqlx::query(DROP_CODES).bind(account).execute(&mut *change).await?;
                for digest in digests {
                    sqlx::query(PUT_CODE).bind(account).bind(digest).execute(&mut *change).await?;
                }
                change.commit().await?;
                Ok(())
            })
        })
        .await
    }

    /// Uses a recovery code up. Whether it was one: of several who show it, one hears yes.
    pub async fn use_recovery_code(&self, account: &str, digest: &str) -> Result<bool, Error> {
        soon(async {
            on!(self, pool => {
                let done = sqlx::query(USE_CODE).bind(account).bind(digest).execute(pool).await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// How many recovery codes are left.
    pub async fn recovery_codes(&self, account: &str) -> Result<i64, Error> {
        soon(async { on!(self, pool => Ok(sqlx::query_scalar(COUNT_CODES).bind(account).fetch_one(pool).await?)) }).await
    }

    /// Counts an attempt before it is judged, unless there is still to wait. `wait` says for how many seconds the next
    /// one will have to, after that many.
    pub async fn attempt(&self, digest: &str, now: u64, memory: u64, wait: fn(u32) -> u64) -> Result<Attempt, Error> {
        soon(async {
            on!(self, pool => {
                let mut change = pool.begin().await?;
                let made: Option<i64> = sqlx::query_scalar(ATTEMPT)
                    .bind(digest).bind(number(now)).bind(number(now.saturating_add(memory)))
                    .fetch_optional(&mut *change).await?;
                let Some(made) = made else {
                    let until: Option<i64> = sqlx::query_scalar(WAITING).bind(digest).fetch_optional(&mut *change).await?;
                    change.rollback().await?;
                    return Ok(Attempt::Wait(until.map_or(now, time)));
                };
                let wait = wait(u32::try_from(made).unwrap_or(u32::MAX));
                if wait > 0 {
                    sqlx::query(WAIT).bind(digest).bind(number(now.saturating_add(wait))).execute(&mut *change).await?;
                }
                change.commit().await?;
                Ok(Attempt::Counted)
            })
        })
        .await
    }

    /// After an attempt that was good.
    pub async fn forget_attempts(&self, digest: &str) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(FORGET).bind(digest).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }

    pub(super) async fn sweep_attempts(&self, now: u64) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(SWEEP).bind(number(now)).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }
}

fn groups(account: &Account) -> String {
    serde_json::Value::from(account.groups.clone()).to_string()
}

/// SECURITY: a row that cannot be read is an error, never an account without its groups or its state.
fn account((id, name, display, email, groups, state, password, created, changed): Row) -> Result<Account, Error> {
    let unreadable = || Error::Database("an account was written by a later version".into());
    Ok(Account {
        id,
        name,
        display,
        email,
        groups: serde_json::from_str(&groups).map_err(|_| unreadable())?,
        state: AccountState::named(&state).ok_or_else(unreadable)?,
        password,
        created: time(created),
        changed: time(changed),
    })
}
