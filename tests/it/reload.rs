//! The configuration changes while the gateway runs.

mod backends;
mod callers;
mod files;
mod load;
mod secrets;
mod streams;
