//! Clients that registered themselves.
