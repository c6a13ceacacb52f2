//! Who calls, and what proves it.

mod asking;
mod certificates;
mod envoy;
mod fetched;
mod forwarded;
mod goaway;
mod issuers;
mod limits;
mod rotation;
mod streams;
mod tokens;
