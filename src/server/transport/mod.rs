//! Everything below HTTP: sockets, connections, who runs their streams, and how they end.
//!
//! Knows nothing of gRPC.

mod authority;
mod bound;
mod clock;
pub(super) mod closing;
pub(super) mod connection;
pub(super) mod connections;
mod counting;
pub(super) mod drain;
pub(super) mod executor;
mod handshake;
mod hpack;
mod huffman;
pub(super) mod listener;
pub(super) mod places;
mod pulse;
mod rarely;
pub(super) mod rest;
pub(super) mod socket;
pub(super) mod stream;
