//! Doorward keeps the door of MCP servers that have no auth of their own.
//!
//! A request asks four questions in a row: **where to, who, what, may they?** Each question is a
//! room of plain functions over plain values; each answer is a type that the next room needs, so
//! the order cannot be got wrong. Sockets live at the rim. Begin with [`pipeline`].
//!
//! ```text
//!             pure (no I/O, no clock, no framework)                              rim
//!  head ──> route ──> token ──> [ mcp ──> policy ] ──> Permit ──> identity ──> upstream    proxy/
//!             │404      │401        │400          │403                           │         remote/
//!             └─────────┴── Denial ─┴─────────────┘        mcp::listing <────────┘
//!                              └─────────────> Event ──────────────────────────────────>   audit, metrics
//! ```
//!
//! # Who may know whom
//!
//! A room knows only the rooms named on its line. `tests/layers.rs` reads this table and the
//! sources, and fails on any other edge.
//!
//! ```text
//! principal    <- (nothing)
//! certificate  <- (nothing)
//! token        <- principal
//! mcp          <- (nothing)
//! policy       <- principal mcp
//! identity     <- principal
//! oauth        <- principal token identity policy
//! pin          <- mcp
//! route        <- principal token mcp policy identity pin
//! vigil        <- mcp pin route
//! denial       <- principal token mcp policy route oauth pin governance
//! event        <- principal mcp policy denial
//! governance   <- principal token mcp policy
//! session      <- principal mcp route denial
//! config       <- principal token mcp policy identity oauth route denial event certificate pin governance
//! remote       <- config token trace route mcp oauth principal governance
//! store        <- config governance oauth
//! review       <- config governance store
//! comparison   <- config mcp pin remote route
//! control      <- config governance store token review oauth comparison pin route
//! tls          <- certificate config
//! trace        <- event
//! advice       <- config token route
//! audit        <- config event
//! metrics      <- config event mcp governance
//! limit        <- route
//! insist       <- (nothing)
//! streams      <- principal route
//! state        <- config remote token mcp policy route metrics possession assertions vigil governance store
//! signals      <- config governance store remote state audit metrics event
//! possession   <- principal token route
//! assertions   <- token identity route config oauth
//! authenticate <- principal token route remote
//! pipeline     <- principal token mcp policy route denial oauth session authenticate state possession governance
//! server       <- authenticate certificate config metrics state audit event governance identity limit mcp oauth principal remote route store token control tls review
//! proxy        <- principal token mcp policy identity oauth route denial event session config audit metrics limit streams state authenticate pipeline server certificate trace remote insist possession advice vigil pin signals governance tls
//! demo         <- config state audit metrics proxy server
//! command      <- config event oauth authenticate token principal mcp policy route denial state audit metrics proxy server demo remote advice pin vigil governance store signals review control tls comparison
//! ```
//!
//! `pingora` stays in `proxy/`, `reqwest` in `remote/` (and the demo's own client), `sqlx` in `store/`, `serde_yaml`
//! in `config/`, `prometheus` in `metrics.rs`; no clock, file or environment in a pure room.

pub mod principal;

pub mod certificate;

pub mod token;

pub mod mcp;

pub mod policy;

pub mod identity;

pub mod oauth;

pub mod pin;

pub mod route;

pub mod vigil;

pub mod denial;

pub mod event;

pub mod session;
pub mod trace;

pub mod governance;

pub mod config;

pub mod store;

pub mod review;

pub mod comparison;

pub mod control;

pub mod tls;

pub mod assertions;

pub mod remote;

pub mod advice;

pub mod audit;

pub mod metrics;

pub mod limit;

pub mod insist;
pub mod possession;
pub mod streams;

pub mod state;

pub mod signals;

pub mod authenticate;

pub mod pipeline;

pub mod server;

pub mod proxy;

pub mod demo;

pub mod command;
