//! `doorward users passkeys` and `remove-passkey`.

use clap::Args;
use serde_json::{Value, json};

use super::{Change, Named, find, load, plain, seconds, told, with_store};
use crate::command::{Failure, say};
use crate::control::written;
use crate::oauth::account::Account;
use crate::server::authorization::digest;
use crate::store::authorization::Passkey;

/// Characters of what a passkey is called by here.
const REFERENCE: usize = 12;

#[derive(Args)]
pub(super) struct RemovePasskey {
    #[command(flatten)]
    change: Change,
    /// Which one, as `doorward users passkeys` calls it.
    #[arg(long, value_name = "ID")]
    passkey: String,
}

impl Named {
    pub(super) fn passkeys(&self) -> Result<(), Failure> {
        let config = load(&self.file)?;
        let passkeys = with_store(&config, async |store, _| {
            let account = find(&store, &self.name).await?;
            store.passkeys_of(&account.id).await.map_err(told)
        })?;
        if self.json {
            let all: Vec<Value> = passkeys.iter().map(shown).collect();
            return say(&format!("{:#}\n", Value::from(all)));
        }
        if passkeys.is_empty() {
            return say("no passkeys\n");
        }
        let line = |passkey: &Passkey| {
            let used = passkey.used.map_or_else(|| "never used".to_owned(), |used| format!("used {}", written(used)));
            format!("{}  made {}  {used}  {}\n", reference(passkey), written(passkey.created), plain(&passkey.label))
        };
        say(&passkeys.iter().map(line).collect::<String>())
    }
}

impl RemovePasskey {
    /// What it signed in and connected goes on: `users end` ends that.
    pub fn run(self) -> Result<(), Failure> {
        self.change.check()?;
        let (config, now) = (load(&self.change.file)?, seconds());
        let name = with_store(&config, async |store, _| {
            let account = find(&store, &self.change.name).await?;
            let all = store.passkeys_of(&account.id).await.map_err(told)?;
            let Some(passkey) = all.iter().find(|passkey| reference(passkey) == self.passkey) else {
                let name = &account.name;
                return Err(Failure::Impossible(format!(
                    "`{name}` has no passkey `{}`: see `doorward users passkeys {name}`",
                    self.passkey
                )));
            };
            store.drop_passkey(&account.id, &passkey.id).await.map_err(told)?;
            let change = |account: &mut Account| {
                account.changed = now;
                true
            };
            store.change_account(&account.id, change).await.map_err(told)?;
            Ok(account.name)
        })?;
        say(&format!("passkey removed: {name}\n"))?;
        self.change.record(&config, "passkey removed", &name)
    }
}

fn reference(passkey: &Passkey) -> String {
    digest(&passkey.id).chars().take(REFERENCE).collect()
}

fn shown(passkey: &Passkey) -> Value {
    json!({
        "id": reference(passkey), "label": passkey.label, "created": written(passkey.created), "used": passkey.used.map(written),
        "backup_eligible": passkey.eligible, "backed_up": passkey.backed_up, "counter": passkey.counter,
    })
}
