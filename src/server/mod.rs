//! Answers of our own: the admin listener, and the authorization server inside.

pub mod admin;
pub mod authorization;
