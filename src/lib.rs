//! One gRPC API over IoT service profiles that live in several upstream systems.

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
pub mod cache;
pub mod call;
pub mod config;
pub mod dialect;
pub mod error;
pub mod gateway;
pub mod model;
pub mod pb;
pub mod query;
pub mod rpc;
pub mod server;
mod settings;
pub mod telemetry;
pub mod text;
pub mod upstream;
