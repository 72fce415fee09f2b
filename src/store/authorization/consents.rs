//! What a person agreed to, for which client.
