//! Is this one JSON object with one reading? Duplicate members at any depth are refused (RFC 8725, RFC 8259 §4).
//!
//! Knows nothing of tokens; nesting is bounded by the parser (128).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::principal::Object;

/// Members that most objects of tokens have at most; one with more makes room as it is read.
const USUAL: usize = 14;

/// Members that are found faster by comparing names than by hashing them.
const FEW: usize = 32;

/// The object, or none where the text is anything else.
pub(crate) fn object(text: &[u8]) -> Option<Map<String, Value>> {
    members(text).map(Map::from)
}

/// The members of the object, or none where the text is anything else.
pub(crate) fn members(text: &[u8]) -> Option<Members> {
    serde_json::from_slice(text).ok()
}

/// The members of a JSON object, each once: the few of a token, which are asked for by many names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    /// In the order of their names where they are more than a [`FEW`], else as they were written.
    all: Vec<(String, Value)>,
}

impl Members {
    /// None where two have one name.
    fn of(mut all: Vec<(String, Value)>) -> Option<Self> {
        let is_double = if all.len() > FEW {
            all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            all.iter().zip(all.iter().skip(1)).any(|((one, _), (next, _))| one == next)
        } else {
            all.iter().enumerate().any(|(at, (name, _))| all.iter().take(at).any(|(before, _)| before == name))
        };
        (!is_double).then_some(Self { all })
    }

    /// The value of the member with this name; none where there is no such member.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let found = if self.all.len() > FEW {
            self.all.binary_search_by(|(own, _)| own.as_str().cmp(name)).ok().and_then(|at| self.all.get(at))
        } else {
            self.all.iter().find(|(own, _)| own == name)
        };
        found.map(|(_, value)| value)
    }

    /// Whether there is a member with this name, whatever its value.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The names of all members.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.all.iter().map(|(name, _)| name)
    }

    /// Every member, by name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.all.iter().map(|(name, value)| (name, value))
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.keys().position(|own| own == name)?;
        Some(self.all.remove(at).1)
    }
}

impl Object for Members {
    fn member(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }
}

impl From<Members> for Map<String, Value> {
    fn from(members: Members) -> Self {
        members.all.into_iter().collect()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object without duplicate members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members, A::Error> {
        let mut all = Vec::with_capacity(USUAL);
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            all.push((name, value));
        }
        Members::of(all).ok_or_else(|| A::Error::custom("duplicate member"))
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Value, A::Error> {
        MembersVisitor.visit_map(members).map(|members| Value::Object(members.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,1.5,null,true,"x",{"b":{}}]}"#;
        assert_eq!(object(text.as_bytes()).map(Value::Object), serde_json::from_str(text).ok());
    }

    #[test]
    fn duplicates_are_refused_at_any_depth_and_by_any_spelling() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":{"a":1,"a":2}}"#, r#"{"x":[{"a":1,"a":2}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert_eq!(object(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn members_are_found_and_duplicates_refused_however_many_there_are() {
        for count in [0, 1, 2, FEW - 1, FEW, FEW + 1, FEW + 2, 10 * FEW] {
            let name = |n: usize| format!("m{}", n * 7_919 % 1_009);
            let text = |names: &mut dyn Iterator<Item = usize>| {
                let members: Vec<String> = names.map(|n| format!("\"{}\":{n}", name(n))).collect();
                format!("{{{}}}", members.join(","))
            };
            let mut all = members(text(&mut (0..count)).as_bytes()).expect("members");
            for n in 0..count {
                assert_eq!(all.get(&name(n)), Some(&Value::from(n)), "{count}");
            }
            assert_eq!((all.get("m"), all.get("other"), all.keys().count()), (None, None, count));
            for again in [0, count / 2, count.saturating_sub(1)].into_iter().filter(|again| *again < count) {
                assert_eq!(members(text(&mut (0..count).chain([again])).as_bytes()), None, "{count} and {again}");
            }
            if count > 0 {
                assert_eq!((all.remove(&name(0)), all.remove(&name(0))), (Some(Value::from(0)), None));
            }
            for n in 1..count {
                assert_eq!(all.get(&name(n)), Some(&Value::from(n)), "{count}, after one was taken out");
            }
        }
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for text in ["", "1", "[]", "null", "{}{}", "{} x", "{", r#"{"a":1,}"#, "{'a':1}", "{\"a\":\"\u{1}\"}", "\u{feff}{}"] {
            assert_eq!(object(text.as_bytes()), None, "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(object(deep.as_bytes()), None);
    }
}
