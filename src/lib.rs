//! One gRPC API over IoT service profiles that live in several upstream systems.
//!
//! This library is the program `profile-gateway`; it has no API for others. What is public is there
//! for its own `main.rs`, tests, benches and fuzz targets. Clients in Rust use the crate
//! `profile-gateway-contract`.
//!
//! # Layout
//!
//! A call goes down these rooms, and each room uses only what is below it:
//!
//! - [`app`]: a checked configuration becomes a running gateway
//! - [`config`]: the file and the environment, composed of each room's settings
//! - [`server`]: the two ports, the layers that a call passes, health, reflection, and the end
//! - [`rpc`]: one file for each gRPC service; the only maker of statuses
//! - [`gateway`]: what each method does: read, write, plan, watch
//! - [`dialect`]: what each upstream speaks, with what it can do
//! - [`upstream`]: how any upstream is called, and what is done when it fails
//! - [`cache`]: what reads have found, kept for a while
//! - [`store`]: what outlives the process
//! - [`shared`]: what replicas agree on, through a server that they share; nothing uses it yet
//! - [`query`]: filters, sort orders, page and resume tokens
//! - [`call`]: what is known of one call
//! - [`auth`]: what proves who calls, and what that caller may do
//! - [`caller`]: who calls, and how much one caller may hold
//! - [`levers`]: what operators set while the gateway runs, each for a time
//! - [`model`], [`error`], [`pb`], [`text`]: the profile, the one error, the contract, texts
//!
//! Three rooms are used from everywhere: `settings` to declare what can be configured,
//! [`telemetry`] to log and to count, and [`resources`] to take bytes before they are kept.
//!
//! # What to read first
//!
//! `ARCHITECTURE.md` has the invariants, and follows a read and a write from file to file. In the
//! code: [`app::App::start`] shows how everything is put together, `server::stack` what each call
//! passes, and [`dialect::Dialect`] what an upstream has to offer.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test that panics has failed"
    )
)]

pub mod app;
pub mod auth;
pub mod cache;
pub mod call;
pub mod caller;
pub mod config;
pub mod dialect;
pub mod error;
pub mod gateway;
pub mod levers;
pub mod model;
pub mod pb;
pub mod query;
pub mod resources;
pub mod rpc;
pub mod server;
mod settings;
pub mod shared;
pub mod store;
pub mod telemetry;
pub mod text;
pub mod upstream;
