//! The connections of this replica to the shared store, which are made again when they fail.
//!
//! There are three, because some commands block the connection that they are sent on:
//! [`Connections`]. They begin and end together, and lead to one server. A [`Supervisor`] keeps
//! them: it finds the server, checks that the gateway can rely on it, lets its [`Session`] say what
//! has to be said first, and watches over what follows. Without connections, every command fails at
//! once.
//!
//! # Layout
//!
//! - `supervisor`: the one task that connects, watches, and tries again
//! - `server`: where the server is, and how all connections to it are opened
//! - `link`: one connection, and a command on it within its time
//! - `open`: a socket, with TLS and credentials
//! - `info`: what a server says of itself, and whether it will do
//! - `sentinel`: which server is the primary
//! - `fault`, `failure`: what can go wrong, and how it is told
//!
//! # Why not the manager of the library
//!
//! It waits for a new connection outside of the time-out of a command, keeps a connection whose
//! answers have stopped or whose server became a replica, and connects again before it says that it
//! had to.

mod failure;
mod fault;
mod info;
mod link;
mod open;
mod sentinel;
mod server;
mod supervisor;
mod tls;

use std::time::Duration;

pub use self::{
    failure::Failure,
    fault::{Connection, Facts, Fault, Writes},
    info::{Replication, ServerInfo},
    link::Link,
    server::{Connections, Proof, Server},
    supervisor::{Session, State, Supervisor},
};

/// How often a server is asked whether all is as it was: four times within the shortest lease.
pub const HEARTBEAT: Duration = Duration::from_millis(500);

/// How long a command that does not block may take. Two in a row that take longer end the
/// connection, so a server that has stopped to answer is left before the shortest lease is over.
pub const COMMAND: Duration = Duration::from_millis(500);

/// How long it may take until all connections to one address are open.
const CONNECT: Duration = Duration::from_secs(2);

/// How long one Sentinel may take.
const SENTINEL: Duration = Duration::from_millis(500);
