//! Methods that no revision defines and the operator's configuration does: rows of a table like the built-in one, looked at
//! only for a name that is not in that. Knows no rules; it finds what a message names.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::json::is_variant;
use super::method::METHODS;
use super::{Error, Kind, Method, Target, Thing, Verb};

/// Names of all rows so far, so that a reload with the same names takes no more room.
/// INVARIANT: grows only by what an operator wrote.
static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// Why there can be no such row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The revisions define the method, or keep the name for themselves.
    Reserved,
    /// No name for a method: empty, too long, or with characters other than letters, digits and `/ . _ - $ :`.
    Name,
    /// Not a JSON Pointer (RFC 6901) into `params`.
    Pointer,
}

/// What a configured method names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names<'a> {
    /// The thing, or the array of things, at this JSON Pointer from `params` on.
    At(Kind, &'a str),
    /// Nothing that a rule could speak of: any admitted caller may.
    Nothing,
}

/// A row for a method of an extension. It is known in both eras; one under `notifications/` has no id.
///
/// # Errors
/// A [`Fault`] where the name or the pointer cannot be used.
pub fn row(name: &str, names: Names<'_>) -> Result<Method, Fault> {
    let lawful = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-' | b'$' | b':');
    if name.is_empty() || name.len() > 128 || !name.bytes().all(lawful) {
        return Err(Fault::Name);
    }
    // Tasks name what only their owner may have; a rule cannot say whose they are.
    let reserved = METHODS.iter().any(|method| method.name.eq_ignore_ascii_case(name))
        || ["rpc.", "tasks/", "sampling/", "elicitation/", "roots/"].iter().any(|kept| name.starts_with(kept));
    if reserved {
        return Err(Fault::Reserved);
    }
    let verb = match names {
        Names::Nothing => Verb::Plain,
        Names::At(kind, pointer) if is_pointer(pointer) => Verb::Point(kind, known(pointer)),
        Names::At(..) => return Err(Fault::Pointer),
    };
    Ok(Method { name: known(name), verb, notification: name.starts_with("notifications/"), modern: true, legacy: true })
}

fn is_pointer(text: &str) -> bool {
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.len() > 1 && text.len() <= 256 && text.starts_with('/') && escapes
}

fn known(name: &str) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.iter().find(|known| **known == name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.push(kept);
    kept
}

/// What a message names at a pointer from `params` on. The message was read before: no member is named twice.
///
/// # Errors
/// [`Error::VariantMember`] where another parser would find something else there; [`Error::Params`] where there is
/// neither a text nor an array of texts.
pub(super) fn target(text: &str, kind: Kind, pointer: &str) -> Result<Target<'static>, Error> {
    let message: Value = serde_json::from_str(text).map_err(|_| Error::NotJson)?;
    let mut at = message.get("params").ok_or(ABSENT)?;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        at = match at {
            Value::Object(members) if members.keys().any(|name| is_variant(name, &[step.as_str()])) => return Err(Error::VariantMember),
            Value::Object(members) => members.get(&step).ok_or(ABSENT)?,
            Value::Array(items) if step == "0" || !step.starts_with('0') => {
                step.parse::<usize>().ok().and_then(|index| items.get(index)).ok_or(ABSENT)?
            }
            _ => return Err(ABSENT),
        };
    }
    let thing = |name: &Value| match name {
        Value::String(name) => Ok(Thing { kind, name: Cow::Owned(name.clone()) }),
        _ => Err(ABSENT),
    };
    match at {
        // SECURITY: what names nothing would be judged by no rule.
        Value::Array(names) if names.is_empty() => Err(ABSENT),
        Value::Array(names) => Ok(Target::Each(names.iter().map(thing).collect::<Result<_, _>>()?)),
        name => Ok(Target::One(thing(name)?)),
    }
}

const ABSENT: Error = Error::Params("the member that names what the method is about must be a string, or an array of strings");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_own_name_only() {
        let row = row("acme/report", Names::At(Kind::Tool, "/reportId")).expect("a row");
        assert_eq!((row.name, row.verb, row.notification), ("acme/report", Verb::Point(Kind::Tool, "/reportId"), false));
        assert!(super::row("notifications/acme", Names::Nothing).expect("a row").notification);
    }

    #[test]
    fn what_the_revisions_define_or_keep_cannot_be_configured() {
        for name in ["tools/call", "Tools/Call", "initialize", "rpc.x", "tasks/get", "sampling/createMessage", "notifications/cancelled"] {
            assert_eq!(row(name, Names::Nothing), Err(Fault::Reserved), "{name}");
        }
        for name in ["", "a b", "a\u{e9}", &"x".repeat(129)] {
            assert_eq!(row(name, Names::Nothing), Err(Fault::Name), "{name}");
        }
        for pointer in ["", "/", "reportId", "/a~", "/a~2"] {
            assert_eq!(row("acme/x", Names::At(Kind::Tool, pointer)), Err(Fault::Pointer), "{pointer}");
        }
    }

    #[test]
    fn the_same_name_is_kept_once() {
        let (a, b) = (known("acme/once"), known("acme/once"));
        assert!(std::ptr::eq(a, b));
    }

    #[test]
    fn a_pointer_leads_to_one_name_or_several() {
        let one = |name: &'static str| Thing { kind: Kind::Prompt, name: name.into() };
        let found = |params: &str, pointer| target(&format!(r#"{{"params":{params}}}"#), Kind::Prompt, pointer);
        assert_eq!(found(r#"{"a/b":{"c~d":"x"}}"#, "/a~1b/c~0d"), Ok(Target::One(one("x"))));
        assert_eq!(found(r#"{"a":["x","y"]}"#, "/a"), Ok(Target::Each(vec![one("x"), one("y")])));
        assert_eq!(found(r#"{"a":["x","y"]}"#, "/a/1"), Ok(Target::One(one("y"))));
        for (params, pointer) in [
            ("{}", "/a"),
            (r#"{"a":1}"#, "/a"),
            (r#"{"a":[]}"#, "/a"),
            (r#"{"a":["x",1]}"#, "/a"),
            (r#"{"a":["x"]}"#, "/a/00"),
            ("[]", "/a"),
        ] {
            assert_eq!(found(params, pointer), Err(ABSENT), "{params}");
        }
        assert_eq!(found(r#"{"a":"x","A":"y"}"#, "/a"), Err(Error::VariantMember));
        assert_eq!(found(r#"{"A":"y"}"#, "/a"), Err(Error::VariantMember));
    }
}
