//! The gRPC services: one file each. They translate messages and hand over to the gateway.
pub mod status;
