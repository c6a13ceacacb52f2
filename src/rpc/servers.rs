//! The generated servers of the contract's services (see `build.rs`). They read their requests with
//! [`super::request::Checked`].

#![allow(clippy::all, clippy::pedantic, missing_docs, reason = "generated code")]

tonic::include_proto!("profilegateway.v1");
