//! How a replica is connected to the store that replicas share: its connections to real servers,
//! over wires that fail.

mod bench;
mod failing;
mod failover;
mod hanging;
mod membership;
mod refused;
mod tls;
