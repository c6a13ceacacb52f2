//! The use cases: what a call means, whatever the dialect.
pub mod call;
