//! Every wrong file of the corpus is answered with exactly the expected words; every sample loads.
//!
//! `UPDATE_EXPECTED=1 cargo test --test rooms config` rewrites the expectations and the schema;
//! read the difference before committing it.

use std::fs;
use std::path::{Path, PathBuf};

use doorward::config::{self, Loaded, Problem};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn updating() -> bool {
    std::env::var_os("UPDATE_EXPECTED").is_some()
}

fn env(name: &str) -> Option<String> {
    match name {
        "GITHUB_TOKEN" | "DOORWARD_CLIENT_SECRET" | "DOORWARD_SIGNAL_TOKEN" => Some("t0ken".into()),
        "PARTNERS_CLIENT_SECRET" => Some("s3cret".into()),
        "EMPTY" => Some(String::new()),
        "TWO_LINES" => Some("a\nb".into()),
        _ => None,
    }
}

fn load(path: &Path) -> Result<Loaded, Vec<Problem>> {
    config::load(path, &env)
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    files
}

/// All problems as an operator sees them, with paths relative to the folder.
fn text(problems: &[Problem], folder: &Path) -> String {
    let prefix = format!("{}/", folder.display());
    problems.iter().map(|problem| format!("{}\n", problem.to_string().replace(&prefix, ""))).collect()
}

fn expect(path: &Path, actual: &str) -> Result<(), String> {
    if updating() {
        fs::write(path, actual).expect("written");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == actual { Ok(()) } else { Err(format!("{}\nexpected:\n{expected}\nactual:\n{actual}", path.display())) }
}

#[test]
fn every_wrong_file_is_answered_in_the_expected_words() {
    let folder = repository().join("tests/corpus/config");
    let files = yaml_files(&folder);
    assert!(files.len() >= 60, "{} files", files.len());
    let mut faults = Vec::new();
    for file in files {
        let problems = match load(&file) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => problems,
        };
        assert!(!problems.is_empty(), "{} has no fault at all", file.display());
        faults.extend(expect(&file.with_extension("expected"), &text(&problems, &folder)).err());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn every_problem_has_a_place_and_none_repeats_a_secret() {
    let folder = repository().join("tests/corpus/config");
    for file in yaml_files(&folder) {
        let Err(problems) = load(&file) else { continue };
        for problem in problems {
            assert!(problem.line > 0, "{problem}");
            assert!(!problem.to_string().contains("s3cr3t"), "{problem}");
            assert!(problem.message.starts_with(|c: char| !c.is_uppercase()) || problem.message.starts_with('`'), "{problem}");
            assert!(!problem.message.ends_with('.'), "{problem}");
        }
    }
}

#[test]
fn every_sample_loads() {
    let [examples, providers] = ["config/examples", "config/providers"].map(|folder| yaml_files(&repository().join(folder)));
    for file in examples.into_iter().chain(providers) {
        let loaded = load(&file).unwrap_or_else(|problems| panic!("{}", text(&problems, &repository())));
        let sound = loaded.warnings.iter().all(|warning| file.ends_with("observe.yaml") && warning.path.ends_with(".mode"));
        assert!(sound, "{}", text(&loaded.warnings, &repository()));
        let first = fs::read_to_string(&file).expect("read").lines().next().map(str::to_owned);
        assert_eq!(first.as_deref(), Some("# yaml-language-server: $schema=../doorward.schema.json"), "{}", file.display());
    }
}

#[test]
fn every_profile_that_can_be_used_has_a_sample() {
    for name in config::profile::usable() {
        let file = repository().join(format!("config/providers/{name}.yaml"));
        let loaded = load(&file).unwrap_or_else(|problems| panic!("{}", text(&problems, &repository())));
        assert_eq!(loaded.config.issuers["corp"].profile.name, name);
    }
}

#[test]
fn issue_6_10_each_provider_has_a_sample_that_says_what_is_verified_by_which_test_and_what_is_not() {
    let folder = repository().join("config/providers");
    for name in ["workos", "auth0", "okta", "entra", "keycloak", "cognito", "google", "github", "descope", "zitadel"] {
        assert!(folder.join(format!("{name}.yaml")).is_file(), "{name}");
    }
    let read = |path: &str| fs::read_to_string(repository().join(path)).expect("read");
    let (tests, page) = (read("tests/gateway/providers.rs") + &read("tests/gateway/authorization_flow.rs"), read("docs/providers.md"));
    for file in yaml_files(&folder) {
        let text = fs::read_to_string(&file).expect("read");
        let said = |start: &str| -> Vec<String> { text.lines().filter_map(|line| line.strip_prefix(start)).map(str::to_owned).collect() };
        let (verified, not) = (said("# Verified here: "), said("# Not verified: "));
        assert_eq!((verified.len(), not.len()), (1, 1), "{}", file.display());
        let named: Vec<&str> = verified[0].split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() && not[0].len() > 10, "{}", file.display());
        for test in named {
            assert!(tests.contains(&format!("async fn {test}()")), "{}: there is no test `{test}`", file.display());
        }
        // The page says the same.
        let name = file.file_stem().expect("a name").to_string_lossy();
        let row = format!("| `{name}` | {} |", not[0].trim_end_matches('.'));
        assert!(page.contains(&row), "not in docs/providers.md: {row}");
    }
}

#[test]
fn the_smallest_sample_is_twelve_lines() {
    let text = fs::read_to_string(repository().join("config/examples/minimal.yaml")).expect("read");
    assert_eq!(text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).count(), 12);
}

#[test]
fn the_committed_schema_is_the_printed_one() {
    if let Err(difference) = expect(&repository().join("config/doorward.schema.json"), &config::schema()) {
        panic!("{difference}");
    }
}

#[test]
fn the_reference_loads_as_it_stands() {
    let loaded = load(&repository().join("config/doorward.yaml"));
    let loaded = loaded.unwrap_or_else(|problems| panic!("{}", text(&problems, &repository())));
    assert!(loaded.warnings.is_empty(), "{}", text(&loaded.warnings, &repository()));
}

/// Every key of the schema, wherever it stands.
fn keys(schema: &serde_json::Value, found: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(|all| all.as_object()) {
        found.extend(properties.keys().cloned());
    }
    match schema {
        serde_json::Value::Object(members) => members.values().for_each(|member| keys(member, found)),
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

#[test]
fn the_reference_shows_every_key() {
    let reference = fs::read_to_string(repository().join("config/doorward.yaml")).expect("read");
    let mut all = Vec::new();
    keys(&serde_json::from_str(&config::schema()).expect("json"), &mut all);
    assert!(all.len() > 80, "{all:?}");
    for key in all {
        let stands = reference.match_indices(&format!("{key}:")).any(|(at, _)| {
            let before = reference[..at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
        });
        assert!(stands, "`{key}` is not in config/doorward.yaml");
    }
}

/// The reference with its commented keys made real.
fn uncommented(text: &str) -> String {
    let line = |line: &str| {
        let Some((indent, rest)) = line.split_once("# ").filter(|(indent, _)| indent.trim().is_empty()) else { return line.to_owned() };
        let key = rest.trim_start().trim_start_matches("- ").split(':').next().unwrap_or_default();
        let is_key = rest.contains(": ") || rest.ends_with(':');
        let is_key = is_key && !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if is_key { format!("{indent}{rest}") } else { line.to_owned() }
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

#[test]
fn the_reference_loads_with_every_commented_key_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
        path
    };
    let made = rcgen::generate_simple_self_signed(vec!["mcp.example.com".into()]).expect("a certificate");
    write("tls/cert.pem", &made.cert.pem());
    write("tls/key.pem", &made.signing_key.serialize_pem());
    write("tls/internal-ca.pem", &made.cert.pem());
    write("keys/lab.json", r#"{"keys":[{"kty":"EC"}]}"#);
    write("secrets/admin", "0123456789abcdef0123456789abcdef\n");
    write("secrets/github", "t0ken\n");
    write("secrets/search", "t0ken\n");
    write("secrets/collector", "X-Api-Key: t0ken\n");
    write("secrets/opaque", "t0ken\n");
    write("secrets/seals", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    write("secrets/nonces", "0123456789abcdef0123456789abcdef\n");
    write("secrets/doorward", "t0ken\n");
    write("secrets/actor", "t0ken\n");
    write("secrets/signals", "t0ken\n");
    write("texts/de.yaml", include_str!("../../config/texts/de.yaml"));
    write("github.tools.json", r#"{"version":1,"upstream":"github","tools":{}}"#);
    write("secrets/client.pem", &rcgen::KeyPair::generate().expect("a key").serialize_pem());
    write("secrets/audit.pem", &rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key").serialize_pem());
    write(
        "upstreams/wiki.yaml",
        "path: /wiki/mcp\nurl: http://127.0.0.1:3009/mcp\nownership: bridge\nrules:\n  - tools: [read_page]\n    scopes: [repo:read]\n",
    );
    let reference = fs::read_to_string(repository().join("config/doorward.yaml")).expect("read");
    let path = write("doorward.yaml", &uncommented(&reference));
    let loaded = load(&path).unwrap_or_else(|problems| panic!("{}", text(&problems, folder.path())));
    assert!(loaded.warnings.iter().all(|warning| warning.message.contains("plain http")), "{}", text(&loaded.warnings, folder.path()));
    let names: Vec<&str> = loaded.config.routes.iter().map(|route| &*route.name).collect();
    assert!(names.contains(&"wiki"), "{names:?}");
    assert!(loaded.config.files.len() >= 8, "{:?}", loaded.config.files);
}

const SAMPLE: &str = r#"public_url: https://mcp.example.com
listen:
  - address: 127.0.0.1:0
issuers:
  corp: { issuer: https://login.example.com/ , claims: { groups: realm_access.roles } }
scopes:
  repo:read: { text: Read }
  repo:write: { implies: repo:read }
  repo:admin: { implies: [repo:write] }
upstreams:
  github:
    name: GitHub
    path: /github/mcp
    url: https://mcp.internal.example/v1/mcp?team=a
    credential: { bearer_file: secret }
    identity: { headers: { X-Forwarded-User: subject } }
    rules:
      - tools: "*_secret"
        deny: true
      - tools: ["get_*"]
        scopes: repo:read
    limits: { per_client: 10/m }
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        files.iter().for_each(|(name, text)| folder.write(name, text));
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
    }

    fn load(&self) -> Result<Loaded, Vec<Problem>> {
        load(&self.0.path().join("doorward.yaml"))
    }

    fn loaded(&self) -> Loaded {
        self.load().unwrap_or_else(|problems| panic!("{}", text(&problems, self.0.path())))
    }

    fn problems(&self) -> String {
        text(&self.load().expect_err("refused"), self.0.path())
    }
}

#[test]
fn a_route_is_resolved_whole() {
    let loaded = Folder::with(&[("doorward.yaml", SAMPLE), ("secret", "t0ken\n")]).loaded();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let route = &loaded.config.routes[0];
    assert_eq!(route.resource, "https://mcp.example.com/github/mcp");
    assert_eq!(route.metadata_url, "https://mcp.example.com/.well-known/oauth-protected-resource/github/mcp");
    let metadata: serde_json::Value = serde_json::from_slice(&route.metadata).expect("json");
    // The identifier is passed on exactly as written: `iss` is compared by code point (RFC 9068 §4).
    assert_eq!(metadata["authorization_servers"], serde_json::json!(["https://login.example.com/"]));
    assert_eq!(metadata["scopes_supported"], serde_json::json!(["repo:read"]));
    assert_eq!(metadata["resource_name"], "GitHub");
    assert_eq!(route.upstream.reach.places[0].authority, "mcp.internal.example");
    assert_eq!(route.upstream.path, "/v1/mcp?team=a");
    let credential = route.upstream.credential.as_ref().expect("a credential");
    assert_eq!((credential.header.as_str(), credential.reveal()), ("Authorization", "Bearer t0ken"));
    assert!(route.identity.strips("x_forwarded_user"));
    assert_eq!(route.limits.body, 4 << 20);
    assert_eq!(route.limits.timeout.as_secs(), 60);
    assert_eq!(route.limits.per_client.map(|rate| (rate.count, rate.per.as_secs())), Some((10, 60)));
    assert_eq!(route.issuers[0].claims.groups, ["realm_access.roles"]);
    assert_eq!(route.issuers[0].token_types, ["at+jwt"]);
    assert_eq!(route.issuers[0].leeway.as_secs(), 30);
}

#[test]
fn a_rule_knows_its_line_and_what_is_enough_for_its_scope() {
    let loaded = Folder::with(&[("doorward.yaml", SAMPLE), ("secret", "t0ken")]).loaded();
    let rules = loaded.config.routes[0].policy.rules();
    assert_eq!(rules.iter().map(|rule| rule.place.line).collect::<Vec<_>>(), [18, 20]);
    assert_eq!(rules[1].name, "github#2");
    let doorward::policy::Condition::Scopes(required) = &rules[1].conditions[0] else { panic!("{:?}", rules[1]) };
    assert_eq!(required[0].satisfied_by, ["repo:read", "repo:write", "repo:admin"]);
}

#[test]
fn a_format_in_a_schema_is_judged_and_not_only_noted() {
    let sample =
        SAMPLE.replace("scopes: repo:read\n    limits", "scopes: repo:read\n        arguments: { to: { format: email } }\n    limits");
    let loaded = Folder::with(&[("doorward.yaml", &sample), ("secret", "t0ken")]).loaded();
    let conditions = &loaded.config.routes[0].policy.rules()[1].conditions;
    let judged = conditions.iter().find_map(|condition| match condition {
        doorward::policy::Condition::Arguments(judged) => Some(judged),
        _ => None,
    });
    let validator = &judged.expect("arguments").schemas[0].validator;
    assert!(validator.is_valid(&"a@example.com".into()));
    assert!(!validator.is_valid(&"not an address".into()));
}

#[test]
fn the_same_text_has_the_same_hash_and_another_has_another() {
    let first = Folder::with(&[("doorward.yaml", SAMPLE), ("secret", "a")]).loaded().config.hash;
    let same = Folder::with(&[("doorward.yaml", SAMPLE), ("secret", "b")]).loaded().config.hash;
    let other = Folder::with(&[("doorward.yaml", &SAMPLE.replace("10/m", "11/m")), ("secret", "a")]).loaded().config.hash;
    assert_eq!(first, same);
    assert_ne!(first, other);
}

#[test]
fn every_file_that_was_read_is_listed() {
    let folder = Folder::with(&[("doorward.yaml", SAMPLE), ("secret", "a")]);
    let files: Vec<_> = folder.loaded().config.files.into_iter().map(|seen| seen.path).collect();
    assert_eq!(files, [folder.0.path().join("doorward.yaml"), folder.0.path().join("secret")]);
}

#[test]
fn a_secret_that_others_can_read_is_a_warning() {
    let folder = Folder::with(&[("doorward.yaml", SAMPLE), ("secret", "a")]);
    fs::set_permissions(folder.0.path().join("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("set");
    let warnings = text(&folder.loaded().warnings, folder.0.path());
    assert!(warnings.contains("warning: upstreams.github.credential.bearer_file: `secret` can be read by others"), "{warnings}");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let sample = SAMPLE.replace("127.0.0.1:0\n", "127.0.0.1:0\n    tls: { certificate: cert.pem, key: key.pem }\n");
    let folder = Folder::with(&[("doorward.yaml", &sample), ("secret", "a")]);
    let made = || rcgen::generate_simple_self_signed(vec!["mcp.example.com".into()]).expect("a certificate");
    let (one, two) = (made(), made());
    folder.write("cert.pem", &one.cert.pem());
    folder.write("key.pem", &two.signing_key.serialize_pem());
    assert!(folder.problems().contains("doorward.yaml:4: listen[0].tls.key: `key.pem` is not the key of this certificate"));
    folder.write("key.pem", &one.signing_key.serialize_pem());
    assert_eq!(folder.loaded().config.files.len(), 4);
}

#[test]
fn an_included_upstream_points_at_its_own_file() {
    let sample = SAMPLE.replace("upstreams:\n", "upstreams_dir: more/\nupstreams:\n");
    let wiki = "# the wiki\npath: /wiki\nurl: http://127.0.0.1:1/\nca_file: ca.pem\nrules:\n  - tools: [read]\n    scopes: [repo:raed]\n";
    let folder = Folder::with(&[("doorward.yaml", &sample), ("secret", "a"), ("more/wiki.yaml", wiki), ("more/notes.txt", "x")]);
    let problems = folder.problems();
    assert!(problems.contains("more/wiki.yaml:7: upstreams.wiki.rules[0].scopes[0]: `repo:raed` is not declared"), "{problems}");
    assert!(problems.contains("more/wiki.yaml:4: upstreams.wiki.ca_file: cannot read `ca.pem`: no such file"), "{problems}");
    let wiki = wiki.replace("raed", "read").replace("ca_file: ca.pem\n", "");
    folder.write("more/wiki.yaml", &wiki);
    let routes = folder.loaded().config.routes;
    assert_eq!(routes.iter().map(|route| &*route.name).collect::<Vec<_>>(), ["github", "wiki"]);
    assert!(routes[1].policy.rules()[0].place.to_string().ends_with("more/wiki.yaml:5"));
}

#[test]
fn a_missing_or_binary_file_is_one_plain_line() {
    let folder = Folder::with(&[]);
    let next = "(`--config` names another; `doorward serve --upstream URL` needs none)";
    assert_eq!(folder.problems(), format!("doorward.yaml: cannot read this file: no such file {next}\n"));
    fs::write(folder.0.path().join("doorward.yaml"), [0xFF, 0xFE, 0x00]).expect("written");
    assert_eq!(folder.problems(), "doorward.yaml: cannot read this file: it is not text in UTF-8\n");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let before = format!("*a{}, ", n - 1).repeat(10);
        bomb.push_str(&format!("a{n}: &a{n} [{}]\n", before.trim_end_matches(", ")));
    }
    assert!(Folder::with(&[("doorward.yaml", &bomb)]).problems().contains("repetition limit exceeded"));
}

#[test]
fn a_file_that_loses_a_line_or_its_end_is_read_without_fear() {
    let reference = fs::read_to_string(repository().join("config/doorward.yaml")).expect("read");
    let folder = Folder::with(&[]);
    let lines: Vec<&str> = reference.lines().collect();
    for index in 0..lines.len() {
        let without: Vec<&str> = lines.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, line)| *line).collect();
        for text in [without.join("\n"), lines[..index].join("\n")] {
            folder.write("doorward.yaml", &text);
            if let Err(problems) = folder.load() {
                assert!(!problems.is_empty());
                assert!(problems.iter().all(|problem| !problem.message.contains("does not know")), "{problems:?}");
            }
        }
    }
}

#[test]
fn the_schema_accepts_every_sample_and_refuses_what_is_not_accepted_yet() {
    let schema = serde_json::from_str(&config::schema()).expect("json");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let mut files = yaml_files(&repository().join("config/examples"));
    files.push(repository().join("config/doorward.yaml"));
    for file in files {
        let sample: serde_json::Value = serde_yaml::from_str(&fs::read_to_string(&file).expect("read")).expect("yaml");
        if let Err(error) = validator.validate(&sample) {
            panic!("{}: {}: {error}", file.display(), error.instance_path());
        }
    }
    for name in ["later_everywhere", "unknown_keys_many", "key_without_value", "wrong_types", "unknown_value"] {
        let file = repository().join(format!("tests/corpus/config/{name}.yaml"));
        let wrong: serde_json::Value = serde_yaml::from_str(&fs::read_to_string(file).expect("read")).expect("yaml");
        assert!(!validator.is_valid(&wrong), "{name}");
    }
}

#[test]
fn the_translation_that_comes_along_is_whole_and_fills_in_what_english_does() {
    use doorward::config::texts::{Texts, blanks};
    let german: Texts = serde_yaml::from_str(include_str!("../../config/texts/de.yaml")).expect("a translation");
    for ((key, german), (_, english)) in german.pairs().into_iter().zip(Texts::default().pairs()) {
        assert_ne!(german, english, "{key}");
        let sorted = |text| {
            let mut words = blanks(text);
            words.sort_unstable();
            words.dedup();
            words.join(" ")
        };
        assert_eq!(sorted(german), sorted(english), "{key}");
    }
}

/// A configuration whose exchange is asked for with this proof, and the key file beside it.
fn with_proof(folder: &Path, key: &str, proof: &str) -> Result<Loaded, Vec<Problem>> {
    let path = folder.join("client.pem");
    fs::write(&path, key).expect("written");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
    let text = format!(
        "public_url: https://mcp.example.com\nlisten: [{{ address: 127.0.0.1:0 }}]\nissuers: {{ corp: {{ issuer: https://login.example.com }} }}\n\
         upstreams:\n  files:\n    path: /mcp\n    url: http://127.0.0.1:3001/mcp\n    credential: {{ client_credentials: {{ \
         issuer: https://login.example.com, client_id: gw, private_key_jwt: {{ key_file: client.pem{proof} }} }} }}\n    \
         rules: [{{ tools: [read_file], scopes: [files:read] }}]\n"
    );
    let path = folder.join("doorward.yaml");
    fs::write(&path, text).expect("written");
    load(&path)
}

#[test]
fn a_key_that_cannot_sign_as_it_is_told_to_is_refused_and_one_that_can_is_the_clients() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = |kind| rcgen::KeyPair::generate_for(kind).expect("a key").serialize_pem();
    let (p256, ed25519) = (key(&rcgen::PKCS_ECDSA_P256_SHA256), key(&rcgen::PKCS_ED25519));
    for (key, proof) in [(&p256, ""), (&p256, ", algorithm: ES256, kid: one"), (&ed25519, ""), (&ed25519, ", algorithm: EdDSA")] {
        let loaded = with_proof(folder.path(), key, proof).unwrap_or_else(|problems| panic!("{proof}: {}", text(&problems, folder.path())));
        assert!(loaded.warnings.is_empty(), "{}", text(&loaded.warnings, folder.path()));
        let client = loaded.config.routes[0].grant.as_ref().map(|grant| grant.client.id.clone());
        assert_eq!(client.as_deref(), Some("gw"));
    }
    let public = rcgen::generate_simple_self_signed(vec!["a.example".into()]).expect("a certificate").cert.pem();
    for (key, proof, expected) in [
        (&p256, ", algorithm: ES384", "the key in `client.pem` cannot sign with ES384"),
        (&ed25519, ", algorithm: RS256", "the key in `client.pem` cannot sign with RS256"),
        (&p256, ", algorithm: HS256", "`HS256` is no algorithm that a private key signs with"),
        (&public, "", "`client.pem` holds no private key in PEM"),
    ] {
        let problems = with_proof(folder.path(), key, proof).err().unwrap_or_default();
        assert!(problems.iter().any(|problem| problem.message == expected), "{}", text(&problems, folder.path()));
    }
}
