//! The generated code of `proto/`, and its descriptors for reflection and masks.
//!
//! Nothing is written by hand here; helpers for these types live in `model`.

#[allow(clippy::all, clippy::pedantic, missing_docs, reason = "generated code")]
mod generated {
    tonic::include_proto!("profilegateway.v1");
}

pub use generated::*;

/// Encoded `google.protobuf.FileDescriptorSet` of `proto/` with all imports and comments.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
