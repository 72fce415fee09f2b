//! Passkeys of accounts: public keys, and how often each was used.

use super::super::{Error, Store, on, soon};
use super::accounts::LOCK;
use super::{number, time};
use crate::oauth::account::Account;
use crate::oauth::passkey::{MOST, Used};

const PUT: &str = "INSERT INTO passkeys (id, account, body, label, created, counter, eligible, backed_up)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE (SELECT COUNT(*) FROM passkeys WHERE account = $2) < $9
    AND EXISTS (SELECT 1 FROM accounts WHERE id = $2 AND COALESCE(password, '') = $10 AND changed = $11)
    ON CONFLICT (id) DO NOTHING";
const COLUMNS: &str = "SELECT id, account, body, label, created, used, counter, eligible, backed_up FROM passkeys";
const USE: &str = "UPDATE passkeys SET counter = $2, backed_up = $3, used = $4
    WHERE id = $1 AND (counter < $2 OR (counter = 0 AND $2 = 0))";
const NAME: &str = "UPDATE passkeys SET label = $3 WHERE account = $1 AND id = $2";
const DROP: &str = "DELETE FROM passkeys WHERE account = $1 AND id = $2";
const DROP_SPARE: &str = "DELETE FROM passkeys WHERE account = $1 AND id = $2
    AND ((SELECT COUNT(*) FROM passkeys WHERE account = $1) > 1 OR EXISTS (SELECT 1 FROM accounts WHERE id = $1 AND password IS NOT NULL))";
const DROP_ALL: &str = "DELETE FROM passkeys WHERE account = $1";

type Row = (String, String, String, Option<String>, i64, Option<i64>, i64, i64, i64);

/// One passkey. Times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// Of the credential, in base64url.
    pub id: String,
    /// The account's id.
    pub account: String,
    /// The public key as COSE writes it, in base64url.
    pub key: String,
    /// What its person calls it.
    pub label: String,
    pub created: u64,
    pub used: Option<u64>,
    pub counter: u32,
    /// It may be kept elsewhere too, and is.
    pub eligible: bool,
    pub backed_up: bool,
}

impl Store {
    /// Keeps a new passkey. `false` where its id is taken, the account has as many as it may, or it is not any more what `seen`
    /// says. SECURITY: whoever proved a password that is no longer it, since a recovery perhaps, adds no way in.
    pub async fn put_passkey(&self, passkey: &Passkey, seen: &Account) -> Result<bool, Error> {
        let most = i64::try_from(MOST).unwrap_or(i64::MAX);
        soon(async {
            on!(self, pool => {
                let mut tx = pool.begin().await?;
                sqlx::query(LOCK).bind(&passkey.account).execute(&mut *tx).await?;
                let done = sqlx::query(PUT)
                    .bind(&passkey.id).bind(&passkey.account).bind(&passkey.key).bind(&passkey.label).bind(number(passkey.created))
                    .bind(i64::from(passkey.counter)).bind(i64::from(passkey.eligible)).bind(i64::from(passkey.backed_up)).bind(most)
                    .bind(seen.password.as_deref().unwrap_or_default()).bind(number(seen.changed))
                    .execute(&mut *tx).await?;
                tx.commit().await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// By the credential's id.
    pub async fn passkey(&self, id: &str) -> Result<Option<Passkey>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1"));
        let row: Option<Row> = soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(id).fetch_optional(pool).await?)) }).await?;
        Ok(row.map(passkey))
    }

    /// Those of an account, the oldest first.
    pub async fn passkeys_of(&self, account: &str) -> Result<Vec<Passkey>, Error> {
        let query = || sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE account = $1 ORDER BY created, id"));
        let rows: Vec<Row> = soon(async { on!(self, pool => Ok(sqlx::query_as(query()).bind(account).fetch_all(pool).await?)) }).await?;
        Ok(rows.into_iter().map(passkey).collect())
    }

    /// Notes a use. `false` where the passkey is gone, or was used with this counter meanwhile: of two replicas that were
    /// shown the same one, one hears yes.
    pub async fn use_passkey(&self, id: &str, used: Used, now: u64) -> Result<bool, Error> {
        soon(async {
            on!(self, pool => {
                let done = sqlx::query(USE)
                    .bind(id).bind(i64::from(used.counter)).bind(i64::from(used.backed_up)).bind(number(now))
                    .execute(pool).await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Calls one of this account so. Whether it was there.
    pub async fn name_passkey(&self, account: &str, id: &str, label: &str) -> Result<bool, Error> {
        soon(async {
            on!(self, pool => {
                let done = sqlx::query(NAME).bind(account).bind(id).bind(label).execute(pool).await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Forgets one of this account, unless it is the last way in: of two that are forgotten at once, one stays. Whether it went.
    pub async fn drop_spare_passkey(&self, account: &str, id: &str) -> Result<bool, Error> {
        soon(async {
            on!(self, pool => {
                let mut tx = pool.begin().await?;
                sqlx::query(LOCK).bind(account).execute(&mut *tx).await?;
                let done = sqlx::query(DROP_SPARE).bind(account).bind(id).execute(&mut *tx).await?;
                tx.commit().await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Forgets one of this account. Whether it was there.
    pub async fn drop_passkey(&self, account: &str, id: &str) -> Result<bool, Error> {
        soon(async {
            on!(self, pool => {
                let done = sqlx::query(DROP).bind(account).bind(id).execute(pool).await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Forgets all of an account.
    pub async fn drop_passkeys(&self, account: &str) -> Result<(), Error> {
        soon(async {
            on!(self, pool => {
                sqlx::query(DROP_ALL).bind(account).execute(pool).await?;
                Ok(())
            })
        })
        .await
    }
}

fn passkey((id, account, key, label, created, used, counter, eligible, backed_up): Row) -> Passkey {
    Passkey {
        id,
        account,
        key,
        label: label.unwrap_or_default(),
        created: time(created),
        used: used.map(time),
        // SECURITY: a counter that cannot be read is as high as it gets, so that no answer is above it.
        counter: u32::try_from(counter).unwrap_or(u32::MAX),
        eligible: eligible != 0,
        backed_up: backed_up != 0,
    }
}
