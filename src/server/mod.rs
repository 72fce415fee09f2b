//! Answers of our own that are not about one MCP request: today the admin listener.

pub mod admin;
