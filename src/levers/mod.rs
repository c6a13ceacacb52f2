//! Levers: what an operator sets while the gateway runs, each for a time after which it ends by
//! itself.
//!
//! - `lever`: which there are, and one that is in force
//! - `slot`: the place of one, which is empty from the moment on at which it ends
//! - `backend`: those of one backend, and whom they concern
//! - `registry`: all of them; sets and ends them
//! - `report`: what the log and the audit log say of that
//! - `metrics`: which are in force
//!
//! They are kept by the name of a backend and not in it: what serves a backend may be replaced, and
//! its levers stay. A restart forgets them. What a lever does is up to who asks for it: `upstream`
//! for the circuit, `gateway` for writes. Only the level of the log is changed from here.

mod backend;
mod lever;
mod metrics;
mod registry;
mod report;
mod slot;
#[cfg(test)]
mod tests;

pub use self::{
    backend::BackendLevers,
    lever::{Asked, InForce, LONGEST, Lever, Operator, SHORTEST},
    metrics::LeverMetrics,
    registry::{Levers, Set},
};
