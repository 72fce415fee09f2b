//! What was decided about tokens, clients and issuers' keys, as plain rules over plain values.
//!
//! Knows no database and no clock: decisions come in from `store/`, time with each question.

pub mod client;
pub mod observed;
pub mod review;
pub mod revocation;
pub mod signal;
pub mod surface;

pub use client::{Barred, Clients};
pub use observed::Observed;
pub use revocation::{Asked, Bounds, Full, Revocation, Revocations, Selector, Since};
pub use surface::{Acceptance, IssuerKey, IssuerKeys, KeyState};
