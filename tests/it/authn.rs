//! Who calls, and what proves it.

mod envoy;
mod fetched;
mod forwarded;
mod limits;
mod rotation;
mod streams;
mod tokens;
