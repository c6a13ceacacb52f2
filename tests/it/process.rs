//! The program as an operator sees it: the real binary in a process of its own, with its
//! flags, environment, ports, signals, exit codes and output.
//!
//! What a call means is tested elsewhere, over an application in the test's own process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod admin;
mod answered_early;
mod audit;
mod broken;
mod callers;
mod calls;
mod compression;
mod config;
mod crash;
mod crowds;
mod doubts;
mod drain;
mod edges;
mod ends;
mod examples;
mod flood;
mod frames;
mod goaway;
mod grpc_web;
mod handshakes;
mod health;
mod health_command;
mod levers;
mod limits;
mod listening;
mod logs;
mod memory;
mod numbered;
mod open_files;
mod permissions;
mod probes;
mod proxies;
mod quiet;
mod reflection;
mod reload;
mod settling;
mod sharing;
mod sinks;
mod sizes;
mod slow;
mod start;
mod store;
mod storm;
mod survive;
mod survive_watch;
mod tls;
mod tls_config;
mod tokens;
mod tools;
mod unread;
mod upstreams;
mod wide;
mod wire;
mod words;

use crate::kit::child;
