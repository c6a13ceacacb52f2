//! One suite for all dialects: it loops over the registry and over what `GetBackend` says that each
//! of them can do, and holds that against the sandbox.

pub mod bench;
mod credentials;
mod errors;
mod fields;
mod literal;
mod mutated;
pub mod samples;
mod services;
mod shared;
mod steps;
mod values;
