//! How a request message is read: what it repeats is counted in its bytes before anything is built.
//!
//! Two bytes on the wire can stand for some hundred bytes of a message in memory, so a limit of
//! bytes alone does not bound what a request costs.

mod bounds;
mod codec;
mod count;
mod schema;
#[cfg(test)]
mod tests;
mod weight;

pub use bounds::reference;
pub use codec::Checked;
pub use weight::{PER_CALL, weight};
