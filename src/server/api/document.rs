//! The OpenAPI 3.1 document of the admin API, from the table of its routes.

use axum::http::Method;
use schemars::generate::{Contract, SchemaSettings};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::table::{self, Entry};

/// As text, ending in a newline; the same in every build.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&of(&table::entries())).unwrap_or_default();
    text.push('\n');
    text
}

/// The document of these routes.
pub fn of(table: &[Entry]) -> Value {
    let (mut takes, mut gives) = (generator(Contract::Deserialize), generator(Contract::Serialize));
    let mut paths = Map::new();
    for entry in table {
        let operation = operation(entry, (entry.takes)(&mut takes), (entry.gives)(&mut gives));
        let path = paths.entry(entry.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(entry.method.as_str().to_ascii_lowercase(), operation);
        }
    }
    let mut schemas: Map<String, Value> = takes.take_definitions(true);
    schemas.extend(gives.take_definitions(true));
    schemas.insert("Error".into(), error());
    schemas.sort_keys();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Doorward admin API",
            "version": "1",
            "description": "Decide on clients, revoke, read what was done. Roles: a viewer reads; a reviewer also approves clients and \
                            says who owns them; an operator does everything. Served on the admin listener; see docs/admin.md.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of `admin.tokens`." },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-doorward-admin-session",
                    "description": "A person who signed in at /admin/ (`admin.login`). A change also carries `Doorward-Csrf`, as `whoami` tells it.",
                },
                "certificate": { "type": "mutualTLS", "description": "A client certificate of `admin.certificates`." },
            },
        },
        // At a Unix socket its owner needs neither.
        "security": [{ "token": [] }, { "session": [] }, { "certificate": [] }, {}],
    })
}

fn generator(contract: Contract) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.contract = contract;
        settings.meta_schema = None;
    });
    SchemaGenerator::new(settings)
}

fn operation(entry: &Entry, takes: Schema, gives: Schema) -> Value {
    let mut operation = json!({
        "operationId": entry.name,
        "summary": entry.summary,
        "x-role": entry.role.name(),
        "responses": responses(entry, gives),
    });
    let Some(members) = operation.as_object_mut() else { return operation };
    if entry.method == Method::POST {
        members.insert("requestBody".into(), json!({ "required": true, "content": { "application/json": { "schema": takes } } }));
    } else {
        members.insert("parameters".into(), parameters(takes));
    }
    operation
}

/// The members of a query's schema. What may be left out cannot be null there.
fn parameters(takes: Schema) -> Value {
    let required = takes.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| required.as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let properties = takes.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let parameter = |(name, mut schema): (String, Value)| {
        let description = schema.as_object_mut().and_then(|members| members.remove("description"));
        without_null(&mut schema);
        let mut parameter = json!({ "name": name, "in": "query", "required": is_required(&name), "schema": schema });
        if let (Some(members), Some(description)) = (parameter.as_object_mut(), description) {
            members.insert("description".into(), description);
        }
        parameter
    };
    properties.into_iter().map(parameter).collect()
}

fn without_null(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|name| name != "null");
    }
    if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type") != Some(&Value::from("null")));
    }
}

fn responses(entry: &Entry, gives: Schema) -> Value {
    let mut all = Map::new();
    all.insert("200".into(), json!({ "description": "Done.", "content": { "application/json": { "schema": gives } } }));
    let (of_all, of_changes): (&[u16], &[u16]) = (&[400, 401, 403, 421, 429], &[413, 415, 503]);
    let own = of_changes.iter().filter(|_| entry.is_change()).chain(entry.faults);
    let mut statuses: Vec<u16> = of_all.iter().chain(own).copied().collect();
    statuses.sort_unstable();
    statuses.dedup();
    for status in statuses {
        let schema = json!({ "$ref": "#/components/schemas/Error" });
        let answer = json!({ "description": words(status), "content": { "application/json": { "schema": schema } } });
        all.insert(status.to_string(), answer);
    }
    Value::Object(all)
}

fn words(status: u16) -> &'static str {
    match status {
        400 => "What was asked for cannot be meant.",
        401 => "Nobody is known who asks.",
        403 => "The role may not, or the request comes from another origin.",
        404 => "It is not there.",
        409 => "It cannot be done to what is there.",
        412 => "It is not any more what was looked at.",
        413 => "The body is too large.",
        415 => "The body is not JSON.",
        421 => "`Host` is not this listener.",
        429 => "Too many wrong credentials came from there.",
        503 => "There is no store, it cannot be used, or no record can be written.",
        _ => "It was not done.",
    }
}

fn error() -> Value {
    json!({
        "type": "object",
        "description": "Why something was not done.",
        "properties": {
            "error": { "type": "string", "description": "For programs." },
            "message": { "type": "string", "description": "For people, with the next step." },
        },
        "required": ["error", "message"],
    })
}
