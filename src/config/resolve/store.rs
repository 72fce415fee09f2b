//! Which database holds what must survive, and what if it cannot be read?

use std::time::Duration;

use super::{Context, quantity};
use crate::config::raw::{RawStore, RawStoreSection};
use crate::config::report::At;
use crate::config::{Secret, Store, StorePlace};
use crate::governance::Bounds;

/// Beyond this the store would only fill up.
const LONGEST_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// `None` where a problem was told.
pub fn resolve(raw: RawStore, at: &At<'_>, context: &mut Context<'_>) -> Option<Store> {
    let section = match raw {
        RawStore::Address(url) => return Some(Store { place: written(&url, at, context)?, bounds: Bounds::default() }),
        RawStore::Section(section) => *section,
    };
    let RawStoreSection { url, url_file, url_env, revocation_max_age, allow_stale_revocations, token_lifetime } = section;
    let place = match (url, url_file, url_env) {
        (Some(url), None, None) => written(&url, &at.key("url"), context),
        (None, Some(file), None) => {
            let at = at.key("url_file");
            context.secret_file(&at, &file).and_then(|url| place(&url, &at, context))
        }
        (None, None, Some(variable)) => {
            let at = at.key("url_env");
            context.secret_env(&at, &variable).and_then(|url| place(&url, &at, context))
        }
        (None, None, None) => {
            context.missing_key(at, "url", "name the database: `url: sqlite:doorward.db`, or a file with its address by `url_file`");
            None
        }
        _ => {
            context.report.mend(at, "more than one database", "keep one of `url`, `url_file` and `url_env`");
            None
        }
    };
    let default = Bounds::default();
    let report = &mut context.report;
    if let (Some(_), Some(_)) = (&revocation_max_age, &allow_stale_revocations) {
        let hint = "keep `revocation_max_age` to refuse, or `allow_stale_revocations` to go on";
        report.mend(at, "`revocation_max_age` and `allow_stale_revocations` contradict each other", hint);
    }
    let refused_after = quantity::duration(revocation_max_age, default.max_age, &at.key("revocation_max_age"), report);
    if refused_after > Duration::from_secs(300) {
        let hint = "write at most 5m; to go on for longer without knowing, write `allow_stale_revocations`";
        report.mend(&at.key("revocation_max_age"), "requests would be let in for long without knowing what is revoked", hint);
    }
    if refused_after < Duration::from_secs(2) {
        report.mend(&at.key("revocation_max_age"), "a database may take longer to answer", "write at least 2s");
    }
    let max_age = quantity::duration(allow_stale_revocations, refused_after, &at.key("allow_stale_revocations"), report);
    let token_lifetime = quantity::duration(token_lifetime, default.token_lifetime, &at.key("token_lifetime"), report);
    if token_lifetime > LONGEST_LIFETIME {
        report.mend(&at.key("token_lifetime"), "revocations would have to be kept for longer than 90 days", "write less");
    }
    Some(Store { place: place?, bounds: Bounds { token_lifetime, max_age } })
}

/// An address in the file itself. SECURITY: without a password, and what is wrong is told without repeating one.
fn written(url: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<StorePlace> {
    if url::Url::parse(url).is_ok_and(|url| url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password")) {
        context.report.mend(at, "a secret may not stand in this file", "put the address into a file and name the file with `url_file`");
        return None;
    }
    place(url, at, context)
}

fn place(url: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<StorePlace> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains(['?', '#']) || path == ":memory:" {
            context.report.mend(at, "this names no file", "write `sqlite:` and a file: `sqlite:doorward.db`");
            return None;
        }
        let path = Context::path(at, path);
        if path.is_dir() {
            context.report.mend(at, format!("`{}` is a folder", path.display()), "name a file in it");
        } else if !path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()) {
            let hint = "make it; a relative path starts at the folder of this file";
            context.report.mend(at, format!("the folder of `{}` does not exist", path.display()), hint);
        }
        return Some(StorePlace::Sqlite(path));
    }
    let is_postgres = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    if !is_postgres {
        context.report.mend(at, "this is no address of a database", "write `sqlite:doorward.db`, or `postgres://user@host/database`");
        return None;
    }
    Some(StorePlace::Postgres(Secret::new(url.to_owned())))
}
