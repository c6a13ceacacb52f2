//! The whole program on real sockets: gRPC in, HTTP out to a double or to the sandbox.
//!
//! One binary, a file per behavior; what the files share is `kit`.

#![cfg(feature = "sandbox")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test that panics has failed, and nothing here is a library"
)]

mod kit;

mod acknowledged;
mod alerts;
mod auth;
mod authn;
mod authz;
mod batch;
mod caching;
mod circuit;
mod conformance;
mod contract;
mod creating;
mod data_limits;
mod deploy;
mod describing;
mod diffing;
mod documents;
mod doubtful;
mod explained;
mod hostile;
mod idle;
mod in_doubt;
mod levers;
mod limits;
mod matrix;
mod odd;
mod outcome;
mod preview;
mod process;
mod querying;
mod reading;
mod regressions;
mod reload;
mod replicas;
mod request_ids;
mod retries;
mod seeds;
mod services;
mod shared;
mod soak;
mod throttling;
mod tidy;
mod translate;
mod upstream_age;
mod upstream_proxy;
mod upstream_tls;
mod watching;
mod wording;
mod writing;
