//! Answers of our own that are not about one MCP request: metrics, health, and the admin API.

pub mod admin;
pub mod api;
pub mod listen;
