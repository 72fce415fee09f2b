//! What is well, what is worth knowing, what is wrong, and how to mend it. Judges answers; asks nobody.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::remote::ask::Answer;

/// Clocks that differ by more seconds make tokens look expired or not yet valid.
const SKEW: u64 = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Well,
    /// Some clients will stumble, or it is worth knowing.
    Note,
    Wrong,
}

#[derive(Debug)]
pub struct Finding {
    pub verdict: Verdict,
    /// What was looked at.
    pub step: &'static str,
    pub what: String,
    pub mend: Option<&'static str>,
}

impl Finding {
    pub fn well(step: &'static str, what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Well, step, what: plain(&what.into()), mend: None }
    }

    pub fn note(step: &'static str, what: impl Into<String>, mend: &'static str) -> Self {
        Self { verdict: Verdict::Note, step, what: plain(&what.into()), mend: Some(mend) }
    }

    pub fn wrong(step: &'static str, what: impl Into<String>, mend: &'static str) -> Self {
        Self { verdict: Verdict::Wrong, step, what: plain(&what.into()), mend: Some(mend) }
    }

    pub fn to_json(&self) -> Value {
        json!({ "verdict": self.word(), "step": self.step, "what": self.what, "mend": self.mend })
    }

    pub fn text(&self) -> String {
        let mend = self.mend.map_or_else(String::new, |mend| format!("\n                     mend: {mend}"));
        format!("{:5}  {:12}  {}{mend}\n", self.word(), self.step, self.what)
    }

    fn word(&self) -> &'static str {
        match self.verdict {
            Verdict::Well => "ok",
            Verdict::Note => "note",
            Verdict::Wrong => "wrong",
        }
    }
}

/// A stranger's text on the operator's terminal: bounded, and without control characters.
fn plain(text: &str) -> String {
    text.chars().take(500).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The answer to a call without a token (RFC 6750 §3, RFC 9728 §5.1).
pub fn bare(answer: &Answer) -> Vec<Finding> {
    const STEP: &str = "challenge";
    if answer.status != 401 {
        let mend = "answer 401 with `WWW-Authenticate: Bearer resource_metadata=\"…\"`: no client begins a login otherwise";
        return vec![Finding::wrong(STEP, format!("a call without a token is answered with {}", answer.status), mend)];
    }
    let mut all = Vec::new();
    match (challenge(answer), parameter(answer, "resource_metadata")) {
        (None, _) => {
            all.push(Finding::wrong(STEP, "401 without a Bearer challenge", "send `WWW-Authenticate: Bearer resource_metadata=\"…\"`"))
        }
        (Some(_), None) => {
            all.push(Finding::note(STEP, "401 without `resource_metadata`", "name the metadata: clients must guess its address otherwise"));
        }
        (Some(_), Some(url)) => all.push(Finding::well(STEP, format!("401, and the metadata is at {url}"))),
    }
    if parameter(answer, "error").is_some() {
        all.push(Finding::note(STEP, "the challenge has an `error` though no token was sent", "leave it out (RFC 6750 §3.1)"));
    }
    match parameter(answer, "scope") {
        Some(scope) => all.push(Finding::well(STEP, format!("asks for the scopes `{scope}`"))),
        None => all.push(Finding::note(STEP, "names no `scope`", "clients then ask for all of `scopes_supported`")),
    }
    all
}

/// The protected resource metadata (RFC 9728 §3.3): of this very resource, as clients typed it.
pub fn resource(document: &Map<String, Value>, url: &str) -> Vec<Finding> {
    const STEP: &str = "resource";
    let mut all = Vec::new();
    match document.get("resource").and_then(Value::as_str) {
        Some(said) if said == url => all.push(Finding::well(STEP, format!("`resource` is {said}"))),
        Some(said) if said.trim_end_matches('/') == url.trim_end_matches('/') => {
            let mend = "make both the same to the letter: the TypeScript SDKs refuse another spelling";
            all.push(Finding::wrong(STEP, format!("`resource` is {said}, which differs by a slash"), mend));
        }
        Some(said) => {
            let mend = "make `resource` the URL that people type: clients refuse it, or get tokens for another audience";
            all.push(Finding::wrong(STEP, format!("`resource` is {said}"), mend));
        }
        None => all.push(Finding::wrong(STEP, "the metadata has no `resource`", "it is required (RFC 9728 §2)")),
    }
    if issuers(document).is_empty() {
        all.push(Finding::wrong(STEP, "the metadata names no `authorization_servers`", "name the issuer: clients cannot log in otherwise"));
    }
    all
}

pub fn issuers(document: &Map<String, Value>) -> Vec<String> {
    let listed = document.get("authorization_servers").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).take(4).collect()
}

/// The authorization server's metadata (RFC 8414 §2), as MCP clients need it.
pub fn server(document: &Map<String, Value>, issuer: &str) -> Vec<Finding> {
    const STEP: &str = "issuer";
    let mut all = Vec::new();
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    let lists =
        |name: &str, wanted: &str| document.get(name).and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one == wanted));
    match text("issuer") {
        Some(said) if said == issuer => all.push(Finding::well(STEP, format!("`issuer` is {said}"))),
        said => {
            let mend = "it must equal the entry of `authorization_servers` to the letter (RFC 8414 §3.3)";
            all.push(Finding::wrong(STEP, format!("the metadata is of issuer `{}`", said.unwrap_or("none")), mend));
        }
    }
    for name in ["authorization_endpoint", "token_endpoint"] {
        if text(name).is_none() {
            all.push(Finding::wrong(STEP, format!("no `{name}`"), "clients cannot log in without it"));
        }
    }
    if lists("code_challenge_methods_supported", "S256") {
        all.push(Finding::well(STEP, "PKCE with S256"));
    } else {
        let mend = "list `S256` in `code_challenge_methods_supported`: clients must refuse to go on without it";
        all.push(Finding::wrong(STEP, "PKCE with S256 is not announced", mend));
    }
    let by_document = document.get("client_id_metadata_document_supported") == Some(&Value::Bool(true));
    match (by_document, document.get("registration_endpoint")) {
        (_, Some(Value::Null)) => {
            all.push(Finding::wrong(STEP, "`registration_endpoint` is null", "leave it out: clients refuse the whole document"));
        }
        (true, Some(_)) => all.push(Finding::well(STEP, "clients register by metadata document or dynamically")),
        (true, None) => all.push(Finding::well(STEP, "clients register by metadata document")),
        (false, Some(_)) => all.push(Finding::well(STEP, "clients register dynamically (RFC 7591)")),
        (false, None) => {
            let mend = "register each client by hand, or offer client id metadata documents or dynamic registration";
            all.push(Finding::note(STEP, "no way for an unknown client to register", mend));
        }
    }
    all
}

/// `Date` beside our own clock.
pub fn clock(answer: &Answer, now: SystemTime) -> Option<Finding> {
    let date = httpdate(answer.headers.get("date")?.to_str().ok()?)?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let off = date.abs_diff(now);
    Some(if off > SKEW {
        Finding::wrong(
            "clock",
            format!("the server's clock differs from this one by {off}s"),
            "set both: tokens look expired or not yet valid",
        )
    } else {
        Finding::well("clock", format!("differs by {off}s"))
    })
}

/// Seconds since 1970 of an IMF-fixdate (RFC 9110 §5.6.7).
fn httpdate(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split(' ').skip(1);
    let day: u64 = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = u64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: u64 = parts.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut time = parts.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds) = (time.next()??, time.next()??, time.next()??);
    // Days from civil, counted from March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = (365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day).checked_sub(719_469)?;
    Some(days * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

/// Whether a page on another origin could call.
pub fn preflight(answer: &Answer) -> Finding {
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    if header("access-control-allow-origin").is_empty() {
        let mend = "only if clients in browsers are wanted: list their origin (Doorward: `origins`)";
        return Finding::note("cors", format!("a page of another origin may not call ({})", answer.status), mend);
    }
    let allowed = header("access-control-allow-headers");
    let missing: Vec<&str> = ["authorization", "content-type", "mcp-protocol-version"]
        .into_iter()
        .filter(|name| !allowed.contains(name) && allowed != "*")
        .collect();
    if missing.is_empty() {
        Finding::well("cors", "pages of other origins may call")
    } else {
        Finding::wrong(
            "cors",
            format!("the preflight does not allow {}", missing.join(", ")),
            "allow these request headers: browsers send nothing without",
        )
    }
}

/// The claims of a token against what the resource asks. The signature is not looked at, the token never shown.
pub fn token(token: &str, resource: &str, issuers: &[String], asked: Option<&str>, now: SystemTime) -> Vec<Finding> {
    const STEP: &str = "token";
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let Some(claims) = claims.and_then(|text| serde_json::from_slice::<Map<String, Value>>(&text).ok()) else {
        return vec![Finding::note(STEP, "not a JWT", "an opaque token can only be judged by its issuer")];
    };
    let mut all = Vec::new();
    let audience = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if audience.contains(&resource) {
        all.push(Finding::well(STEP, "issued for this resource"));
    } else {
        let mend = "the client must send `resource` (RFC 8707), or the issuer must map it to an audience";
        all.push(Finding::wrong(STEP, format!("`aud` is {}, not {resource}", Value::from(audience)), mend));
    }
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or("none");
    if issuers.iter().any(|one| one == issuer) {
        all.push(Finding::well(STEP, "from an issuer of this resource"));
    } else {
        all.push(Finding::wrong(
            STEP,
            format!("`iss` is {issuer}, which the metadata does not name"),
            "log in at an issuer that the resource names",
        ));
    }
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    match claims.get("exp").and_then(Value::as_f64) {
        Some(end) if end > seconds => all.push(Finding::well(STEP, format!("live for {:.0}s", end - seconds))),
        Some(_) => all.push(Finding::wrong(STEP, "expired", "get a new one")),
        None => all.push(Finding::wrong(STEP, "has no `exp`", "access tokens without an end are refused")),
    }
    let held: Vec<&str> = match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.split(' ').collect(),
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let missing: Vec<&str> = asked.unwrap_or_default().split(' ').filter(|scope| !scope.is_empty() && !held.contains(scope)).collect();
    if !missing.is_empty() {
        let mend = "ask for them, unless a scope that it holds implies them";
        all.push(Finding::note(STEP, format!("lacks the scopes `{}`", missing.join(" ")), mend));
    }
    all
}

fn challenge(answer: &Answer) -> Option<&str> {
    let mut values = answer.headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
    values.find(|value| value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer ")))
}

/// A quoted parameter of the Bearer challenge.
pub fn parameter<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let challenge = challenge(answer)?;
    let marked = format!("{name}=\"");
    let mut found =
        challenge.match_indices(&marked).filter(|(at, _)| challenge.get(..*at).is_some_and(|before| before.ends_with([' ', ','])));
    let (at, _) = found.next()?;
    challenge.get(at + marked.len()..)?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::time::Duration;

    fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        Answer { status, headers, ..Answer::default() }
    }

    fn worst(all: &[Finding]) -> bool {
        all.iter().any(|finding| finding.verdict == Verdict::Wrong)
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn a_parameter_is_not_taken_from_within_another() {
        let bare = answer(401, &[("www-authenticate", r#"Bearer x_scope="no", scope="a b", error_description="x""#)]);
        assert_eq!(parameter(&bare, "scope"), Some("a b"));
        assert_eq!(parameter(&bare, "error"), None);
    }

    #[test]
    fn a_resource_must_be_the_url_to_the_letter() {
        let document = |resource: &str| object(json!({"resource": resource, "authorization_servers": ["https://as.example"]}));
        assert!(!worst(&resource(&document("https://a.example/mcp"), "https://a.example/mcp")));
        for other in ["https://a.example/mcp/", "https://a.example", "http://a.example/mcp"] {
            assert!(worst(&resource(&document(other), "https://a.example/mcp")), "{other}");
        }
    }

    #[test]
    fn a_server_without_s256_or_with_another_name_is_wrong() {
        let good = json!({"issuer": "https://as", "authorization_endpoint": "x", "token_endpoint": "x", "code_challenge_methods_supported": ["S256"]});
        assert!(!worst(&server(&object(good.clone()), "https://as")));
        for (name, value) in [
            ("issuer", json!("https://as/")),
            ("code_challenge_methods_supported", json!(["plain"])),
            ("token_endpoint", Value::Null),
            ("registration_endpoint", Value::Null),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(worst(&server(&object(bad), "https://as")), "{name}");
        }
    }

    #[test]
    fn a_date_is_read_to_the_second() {
        assert_eq!(httpdate("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(httpdate("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(httpdate("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 + 60);
        let late = answer(200, &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(clock(&late, now).map(|finding| finding.verdict), Some(Verdict::Wrong));
        assert_eq!(httpdate("nonsense"), None);
    }

    #[test]
    fn a_token_for_another_resource_is_wrong_and_never_shown() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"aud":"https://other","iss":"https://as","exp":2000000000}"#);
        let text = format!("e30.{payload}.c2ln");
        let all = token(&text, "https://mine", &["https://as".into()], Some("a"), SystemTime::UNIX_EPOCH);
        assert!(worst(&all));
        assert!(all.iter().all(|finding| !finding.text().contains(&payload) && !finding.text().contains("c2ln")));
    }

    #[test]
    fn a_strangers_text_cannot_move_the_cursor() {
        assert!(!Finding::well("x", "a\u{1b}[2Jb\nc").text().trim_end().contains(['\u{1b}', '\n']));
    }
}
