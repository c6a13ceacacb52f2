//! What the server itself serves: health and reflection over gRPC, and the ports for operators and
//! for probes.

pub(super) mod admin;
pub(super) mod asker;
pub(super) mod descriptors;
mod guard;
pub(super) mod health;
pub(super) mod heartbeat;
pub(super) mod levers;
mod page;
pub(super) mod probes;
pub(super) mod reflection;
mod symbols;
