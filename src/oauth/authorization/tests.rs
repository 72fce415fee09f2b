use super::*;

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const FILES: &str = "https://mcp.example.com/files";
const CRM: &str = "https://mcp.example.com/crm";

const ASKER: Asker<'static> = Asker {
    client_id: "c",
    redirect_uri: "http://127.0.0.1:51004/cb",
    registered_uri: "http://127.0.0.1/cb",
    takes_codes: true,
    refreshes: true,
    ceiling: None,
};

struct Known(Vec<(&'static str, Arc<str>, Vec<String>)>);

impl Resources for Known {
    fn find(&self, asked: &str) -> Option<Resource<'_>> {
        let (identifier, upstream, scopes) = self.0.iter().find(|(identifier, ..)| *identifier == asked)?;
        Some(Resource { identifier, upstream, scopes })
    }

    fn only(&self) -> Option<Resource<'_>> {
        if let [(only, ..)] = self.0.as_slice() { self.find(only) } else { None }
    }
}

fn known(all: &[&'static str]) -> Known {
    let scopes = |identifier: &str| match identifier {
        FILES => vec!["files:read".to_owned(), "files:write".to_owned()],
        _ => vec!["crm:read".to_owned()],
    };
    Known(all.iter().map(|identifier| (*identifier, identifier.rsplit('/').next().unwrap().into(), scopes(identifier))).collect())
}

fn sound() -> Vec<(&'static str, String)> {
    vec![
        ("response_type", "code".into()),
        ("code_challenge", CHALLENGE.into()),
        ("code_challenge_method", "S256".into()),
        ("resource", FILES.into()),
        ("scope", "files:read".into()),
        ("state", "s & s=é".into()),
    ]
}

fn parameters(pairs: &[(&'static str, String)]) -> Parameters {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    pairs.iter().for_each(|(name, value)| {
        text.append_pair(name, value);
    });
    Parameters::parse(text.finish().as_bytes())
}

fn with(name: &'static str, value: &str) -> Result<Authorized, Fault> {
    let mut pairs = sound();
    pairs.retain(|(other, _)| *other != name);
    pairs.push((name, value.into()));
    Authorized::check(&parameters(&pairs), &ASKER, &known(&[FILES, CRM]))
}

#[test]
fn a_sound_request_is_read_as_it_is() {
    let read = Authorized::check(&parameters(&sound()), &ASKER, &known(&[FILES, CRM])).expect("sound");
    assert_eq!((read.client_id.as_str(), read.redirect_uri.as_str()), ("c", "http://127.0.0.1:51004/cb"));
    assert_eq!((read.resource.as_str(), &*read.upstream), (FILES, "files"));
    assert_eq!((read.scopes, read.state.as_deref()), (vec!["files:read".to_owned()], Some("s & s=é")));
    assert_eq!(read.challenge, CHALLENGE);
}

#[test]
fn item_105_without_s256_there_is_no_code() {
    assert_eq!(with("code_challenge", ""), Err(Fault::NoChallenge));
    for method in ["", "plain", "s256", "S512"] {
        assert_eq!(with("code_challenge_method", method), Err(Fault::Method), "{method}");
    }
    assert_eq!(with("code_challenge", "short"), Err(Fault::Challenge));
    for fault in [Fault::NoChallenge, Fault::Method, Fault::Challenge] {
        assert_eq!(fault.code(), "invalid_request");
    }
}

#[test]
fn item_107_an_unknown_resource_is_an_invalid_target() {
    for asked in ["https://evil.example/files", "/files", "files"] {
        assert_eq!(with("resource", asked), Err(Fault::Resource), "{asked}");
    }
    assert_eq!(Fault::Resource.code(), "invalid_target");
}

#[test]
fn one_token_is_for_one_resource() {
    let mut pairs = sound();
    pairs.push(("resource", FILES.into()));
    assert!(Authorized::check(&parameters(&pairs), &ASKER, &known(&[FILES, CRM])).is_ok());
    pairs.push(("resource", CRM.into()));
    assert_eq!(Authorized::check(&parameters(&pairs), &ASKER, &known(&[FILES, CRM])), Err(Fault::Resources));
}

#[test]
fn a_missing_resource_is_the_only_one_there_is() {
    let mut pairs = sound();
    pairs.retain(|(name, _)| *name != "resource");
    assert_eq!(Authorized::check(&parameters(&pairs), &ASKER, &known(&[FILES])).map(|read| read.upstream), Ok("files".into()));
    assert_eq!(Authorized::check(&parameters(&pairs), &ASKER, &known(&[FILES, CRM])), Err(Fault::NoResource));
    assert_eq!(Authorized::check(&parameters(&pairs), &ASKER, &known(&[])), Err(Fault::NoResource));
}

#[test]
fn scopes_are_cut_to_what_means_something_and_to_the_ceiling() {
    let of = |scope: &str| with("scope", scope).map(|read| read.scopes.join(" "));
    assert_eq!(of("files:read crm:read nonsense files:read").as_deref(), Ok("files:read"));
    assert_eq!(of("files:read offline_access").as_deref(), Ok("files:read"));
    assert_eq!(of("offline_access").as_deref(), Ok(""));
    assert_eq!(of("").as_deref(), Ok("files:read files:write"), "what the resource has");
    for scope in ["nonsense", "crm:read", "files:read \"", "offline_access nonsense"] {
        assert_eq!(of(scope), Err(Fault::Scope), "{scope}");
    }
    let ceiling = ["files:read".to_owned()];
    let under = |scope: &'static str| {
        let mut pairs = sound();
        pairs.retain(|(name, _)| *name != "scope");
        pairs.push(("scope", scope.into()));
        Authorized::check(&parameters(&pairs), &Asker { ceiling: Some(&ceiling), ..ASKER }, &known(&[FILES]))
            .map(|read| read.scopes.join(" "))
    };
    assert_eq!(under("files:read files:write").as_deref(), Ok("files:read"));
    assert_eq!(under("").as_deref(), Ok("files:read"));
    assert_eq!(under("files:write"), Err(Fault::Scope));
}

#[test]
fn a_parameter_that_stands_twice_is_refused() {
    for name in ["response_type", "code_challenge", "code_challenge_method", "scope", "state", "prompt", "dpop_jkt"] {
        let mut pairs = sound();
        pairs.retain(|(other, _)| *other != name);
        let value = sound().into_iter().find(|(other, _)| *other == name).map_or(String::from("x"), |(_, value)| value);
        pairs.extend([(name, value.clone()), (name, value)]);
        assert_eq!(Authorized::check(&parameters(&pairs), &ASKER, &known(&[FILES])), Err(Fault::Repeated(name)));
    }
}

#[test]
fn other_flows_are_refused() {
    assert_eq!(with("response_type", "token"), Err(Fault::ResponseType));
    assert_eq!(with("response_type", "code token"), Err(Fault::ResponseType));
    assert_eq!(with("response_type", ""), Err(Fault::NoResponseType));
    assert_eq!(with("response_mode", "fragment"), Err(Fault::ResponseMode));
    assert_eq!(with("request", "eyJ"), Err(Fault::RequestObject));
    assert_eq!(with("request_uri", "https://evil.example/r"), Err(Fault::RequestUri));
    let asker = Asker { takes_codes: false, ..ASKER };
    assert_eq!(Authorized::check(&parameters(&sound()), &asker, &known(&[FILES])), Err(Fault::Grant));
    assert_eq!(with("state", &"s".repeat(LONGEST_STATE + 1)), Err(Fault::State));
    assert_eq!(with("dpop_jkt", "short"), Err(Fault::Thumbprint));
}

#[test]
fn prompts_are_read() {
    let of = |prompt: &str| with("prompt", prompt).map(|read| read.prompt);
    assert_eq!(of("none"), Ok(Prompt { none: true, ..Prompt::default() }));
    assert_eq!(of("login consent"), Ok(Prompt { login: true, consent: true, ..Prompt::default() }));
    assert_eq!(of("select_account"), Ok(Prompt { login: true, ..Prompt::default() }));
    assert_eq!((of("none login"), of("create")), (Err(Fault::Prompt), Err(Fault::Prompt)));
    assert_eq!(with("max_age", "-1"), Err(Fault::MaxAge));
    assert_eq!(with("max_age", "300").map(|read| read.max_age), Ok(Some(300)));
}

#[test]
fn item_106_an_answer_keeps_the_redirect_uri_and_holds_each_parameter_once() {
    let said = [("code", "a b"), ("state", "s&é"), ("iss", "https://mcp.example.com")];
    let query = "code=a+b&state=s%26%C3%A9&iss=https%3A%2F%2Fmcp.example.com";
    assert_eq!(answer("http://127.0.0.1:1/cb", &said), Some(format!("http://127.0.0.1:1/cb?{query}")));
    assert_eq!(answer("https://c.example/cb?x=1", &said), Some(format!("https://c.example/cb?x=1&{query}")));
    assert_eq!(answer("cursor://anysphere.cursor-mcp/oauth/callback", &[]), Some("cursor://anysphere.cursor-mcp/oauth/callback?".into()));
    for bad in ["https://c.example/#x", "https://c.example/\r\nx: y", "nothing"] {
        assert_eq!(answer(bad, &said), None, "{bad}");
    }
}

#[test]
fn what_a_client_is_told_holds_only_allowed_characters() {
    for fault in [Fault::NoChallenge, Fault::Scope, Fault::Resource, Fault::Denied, Fault::Repeated("x"), Fault::LoginRequired] {
        assert!(fault.description().bytes().all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E)));
    }
}
