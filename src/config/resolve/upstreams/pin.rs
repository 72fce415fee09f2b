//! The approved tools of an upstream. A file that is not there yet approves nothing, and says so.

use std::io::ErrorKind;
use std::time::Duration;

use crate::config::Seen;
use crate::config::raw::RawPin;
use crate::config::report::At;
use crate::config::resolve::{Context, files, quantity};
use crate::pin::{Approvals, Pin};

/// Bytes of a file of approvals.
const LARGEST: usize = 32 << 20;
const INTERVAL: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_secs(1);

/// `exchanged`: the server is shown a credential that only a caller's can be exchanged for.
pub fn resolve(raw: RawPin, upstream: &str, exchanged: bool, at: &At<'_>, context: &mut Context<'_>) -> Option<Pin> {
    let RawPin { file, interval } = raw;
    let interval_at = at.key("interval");
    let interval = quantity::duration(interval, INTERVAL, &interval_at, &mut context.report);
    if interval < SHORTEST {
        context.report.mend(&interval_at, "the servers would be asked too often", "write `1s` or more");
    }
    if exchanged {
        let hint = "tools are compared when a caller lists them; until then calls of them are refused";
        context.report.warn(at, "with this `credential` the gateway cannot ask the server for its tools itself", hint);
    }
    let Some(written) = file else {
        context.report.mend(at, "`file` is missing", "the file that `doorward approve` writes: `pin: { file: files.tools.json }`");
        return None;
    };
    let at = at.key("file");
    let path = Context::path(&at, &written);
    let seen = Seen::now(&path);
    let approvals = match std::fs::read(&path) {
        Ok(content) if content.len() > LARGEST => Err("it is larger than 32MiB".to_owned()),
        Ok(content) => {
            context.hash.add(&content);
            String::from_utf8(content).map_err(|_| "it is not text".to_owned()).and_then(|text| Approvals::read(&text, upstream))
        }
        Err(error) if error.kind() == ErrorKind::NotFound && path.parent().is_some_and(|folder| folder.is_dir()) => {
            context.report.warn(
                &at,
                format!("`{written}` is not there: every tool call is refused"),
                format!("doorward approve {upstream}"),
            );
            Ok(Approvals::default())
        }
        Err(error) => {
            let hint = "a relative path starts at the folder of this file";
            context.report.mend(&at, format!("cannot read `{written}`: {}", files::io_words(&error)), hint);
            return None;
        }
    };
    context.files.push(seen);
    match approvals {
        Ok(approvals) => Some(Pin { file: path, interval, approvals }),
        Err(why) => {
            let hint = "`doorward approve` writes it; take back what was done to it by hand";
            context.report.mend(&at, format!("`{written}` cannot be used: {why}"), hint);
            None
        }
    }
}
