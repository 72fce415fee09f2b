//! The two answers of policy. Both have private fields, so that only this room can make them.

use super::condition::Unmet;
use super::rule::Rule;
use super::step_up::StepUp;

/// Proof that the rules allow an operation. The code that releases a request demands one.
#[derive(Clone, Copy, Debug)]
pub struct Permit<'a> {
    rule: Option<&'a Rule>,
}

impl<'a> Permit<'a> {
    pub(super) fn by(rule: &'a Rule) -> Self {
        Self { rule: Some(rule) }
    }

    /// For operations that name nothing: the caller was admitted, and no rule could say more.
    pub(super) fn unnamed() -> Self {
        Self { rule: None }
    }

    pub fn rule(&self) -> Option<&'a Rule> {
        self.rule
    }
}

/// A reasoned no.
#[derive(Clone, Debug)]
pub struct Refusal<'a> {
    rule: Option<&'a Rule>,
    why: Why<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Why<'a> {
    /// No rule names the thing.
    NotNamed,
    /// A `deny` rule names it.
    Denied,
    /// The URI has another spelling that a server may read as the same thing (RFC 3986 §6.2.2).
    UriNotCanonical,
    /// Only scopes are missing: all scopes that the rule asks for.
    Scope(Vec<&'a str>),
    /// The login is too weak or too old, and nothing is missing that a new token could not have.
    StepUp(StepUp<'a>),
    /// A condition that no scope can cure.
    Unmet(Unmet<'a>),
}

impl<'a> Refusal<'a> {
    pub(super) fn new(rule: Option<&'a Rule>, why: Why<'a>) -> Self {
        Self { rule, why }
    }

    /// The rule that decided; none where no rule names the thing.
    pub fn rule(&self) -> Option<&'a Rule> {
        self.rule
    }

    pub fn why(&self) -> &Why<'a> {
        &self.why
    }
}
