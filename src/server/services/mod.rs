//! What the server itself serves: health and reflection over gRPC, and the HTTP port for operators.

pub(super) mod admin;
pub(super) mod descriptors;
pub(super) mod health;
pub(super) mod reflection;
mod symbols;
