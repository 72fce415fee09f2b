//! Answers of our own: metrics, health and the admin API, and the authorization server inside.

pub mod admin;
pub mod api;
pub mod authorization;
pub mod listen;
