//! Accounts of people, in self-managed mode.
