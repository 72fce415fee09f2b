//! How a person signs in: elsewhere, or with an account of ours.
