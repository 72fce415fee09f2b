//! Of whom does a signal speak? Subject identifiers (RFC 9493, SSF 1.0 §3).

use serde_json::{Map, Value};

use super::{Fault, LONGEST_NAME};

/// Identifiers in `aliases` (RFC 9493 §3.2.8).
const MOST_ALIASES: usize = 16;

/// A person, a session, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// All of them name the same person; or one token.
    pub user: Vec<Identifier>,
    pub session: Option<Identifier>,
}

/// One identifier, in one of the formats that are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    IssSub {
        iss: String,
        sub: String,
    },
    Opaque(String),
    Email(String),
    JwtId {
        iss: String,
        jti: String,
    },
    /// In another format: it names nobody here.
    Foreign,
}

impl Subject {
    /// A simple subject, several names of one, or a complex one, of which user and session are read: with other
    /// members it means fewer than what is ended here.
    ///
    /// # Errors
    /// [`Fault::Subject`]: no object, or a member that its format must have is missing, empty or too long.
    pub fn read(value: &Value) -> Result<Self, Fault> {
        let members = value.as_object().ok_or(Fault::Subject)?;
        match format(members)? {
            Some("complex") => Self::complex(members),
            None if members.contains_key("user") || members.contains_key("session") => Self::complex(members),
            None => Err(Fault::Subject),
            Some(_) => Ok(Self { user: identifiers(members)?, session: None }),
        }
    }

    fn complex(members: &Map<String, Value>) -> Result<Self, Fault> {
        let member = |name: &str| members.get(name).map(|value| value.as_object().ok_or(Fault::Subject)).transpose();
        let user = member("user")?.map_or(Ok(Vec::new()), identifiers)?;
        let session = member("session")?.map(identifier).transpose()?;
        Ok(Self { user, session })
    }

    /// What a logout token names (OpenID Connect Back-Channel Logout 1.0 §2.4).
    pub(super) fn of_logout(iss: &str, sub: Option<&str>, sid: Option<&str>) -> Result<Self, Fault> {
        let user = sub.map(name).transpose()?.map(|sub| Identifier::IssSub { iss: iss.to_owned(), sub });
        let session = sid.map(name).transpose()?.map(Identifier::Opaque);
        Ok(Self { user: user.into_iter().collect(), session })
    }
}

/// `subject_type` and its spelling with hyphens are of RISC before RFC 9493.
fn format(members: &Map<String, Value>) -> Result<Option<&str>, Fault> {
    match members.get("format").or_else(|| members.get("subject_type")) {
        None => Ok(None),
        Some(Value::String(format)) => Ok(Some(format)),
        Some(_) => Err(Fault::Subject),
    }
}

fn identifiers(members: &Map<String, Value>) -> Result<Vec<Identifier>, Fault> {
    if format(members)? != Some("aliases") {
        return Ok(vec![identifier(members)?]);
    }
    let all = members.get("identifiers").and_then(Value::as_array).filter(|all| !all.is_empty() && all.len() <= MOST_ALIASES);
    all.ok_or(Fault::Subject)?.iter().map(|one| identifier(one.as_object().ok_or(Fault::Subject)?)).collect()
}

fn identifier(members: &Map<String, Value>) -> Result<Identifier, Fault> {
    let text = |key: &str| members.get(key).and_then(Value::as_str).ok_or(Fault::Subject).and_then(name);
    Ok(match format(members)?.ok_or(Fault::Subject)? {
        "iss_sub" | "iss-sub" => Identifier::IssSub { iss: text("iss")?, sub: text("sub")? },
        "opaque" => Identifier::Opaque(text("id")?),
        "email" => Identifier::Email(text("email")?),
        "jwt_id" | "jwt-id" => Identifier::JwtId { iss: text("iss")?, jti: text("jti")? },
        // A list in a list, or a complex one in a complex one, is in no standard.
        "aliases" | "complex" => return Err(Fault::Subject),
        _ => Identifier::Foreign,
    })
}

fn name(text: &str) -> Result<String, Fault> {
    if text.is_empty() || text.len() > LONGEST_NAME { Err(Fault::Subject) } else { Ok(text.to_owned()) }
}
