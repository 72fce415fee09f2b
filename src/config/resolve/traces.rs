//! Where do spans go, and how many of them?

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Context, web};
use crate::config::Traces;
use crate::config::raw::RawTraces;
use crate::config::report::At;

/// A collector that can be asked; `None` where a problem was told.
pub fn traces(raw: RawTraces, at: &At<'_>, context: &mut Context<'_>) -> Option<Traces> {
    collector(raw, "traces", at, context)
}

/// The same for what a collector calls `kind`.
pub fn collector(raw: RawTraces, kind: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<Traces> {
    let RawTraces { endpoint, headers_file, ca_file, ratio, allow_http } = raw;
    let has_ca = ca_file.is_some();
    let ca_at = at.key("ca_file");
    let ca = ca_file.map_or(Some(None), |file| context.certificates(&ca_at, &file).map(Some));
    let headers = headers_file.map_or_else(|| Some(HeaderMap::new()), |file| headers(&file, &at.key("headers_file"), context));
    let ratio = ratio.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&ratio) {
        context.report.mend(
            &at.key("ratio"),
            format!("`{ratio}` is not a share"),
            "write a number from 0 to 1: `0.1` traces one request in ten",
        );
    }
    let Some(endpoint) = endpoint else {
        context.missing_key(at, "endpoint", &format!("where the collector takes {kind}: `endpoint: http://127.0.0.1:4318/v1/{kind}`"));
        return None;
    };
    let at = at.key("endpoint");
    let url = web::url(&endpoint, &at, &mut context.report)?;
    if url.scheme() == "http" && !web::is_loopback(&url) && !allow_http.unwrap_or(false) {
        let hint = "use https, a collector beside doorward, or `allow_http: true`";
        context.report.mend(&at, format!("`{endpoint}` is plain http off loopback, where anyone on the path could read"), hint);
    }
    if has_ca && url.scheme() != "https" {
        context.report.warn(
            &ca_at,
            "`ca_file` says nothing of a collector that is reached by plain http",
            "remove it, or write the endpoint with https",
        );
    }
    if url.path() == "/" {
        let hint = format!("most collectors take {kind} at `{url}v1/{kind}`");
        context.report.mend(&at, format!("`{endpoint}` has no path"), hint);
    }
    Some(Traces { endpoint, headers: headers?, ca: ca?, ratio })
}

/// One `Name: value` in each line. SECURITY: what is wrong is told by line number, never by content.
fn headers(written: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<HeaderMap> {
    let content = context.secret_lines(at, written)?;
    let mut all = HeaderMap::new();
    for (index, line) in content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let Some((name, mut value)) = header(line) else {
            let message = format!("line {} of `{written}` is not a header", index + 1);
            context.report.mend(at, message, "write `Name: value`, one in each line");
            return None;
        };
        value.set_sensitive(true);
        all.append(name, value);
    }
    Some(all)
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let (name, value) = (HeaderName::from_bytes(name.trim().as_bytes()).ok()?, HeaderValue::from_str(value.trim()).ok()?);
    (!value.is_empty()).then_some((name, value))
}
