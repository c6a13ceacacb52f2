//! Who calls, and what proves it.

mod forwarded;
mod rotation;
mod streams;
mod tokens;
