//! The gRPC API of profile-gateway for programs in Rust: messages, clients and descriptors.
//!
//! All of it is generated from `proto/`, whose comments say what each method, field and value
//! means. A client needs nothing else of the gateway:
//!
//! ```no_run
//! use profile_gateway_contract::{
//!     ListProfilesRequest, profile_service_client::ProfileServiceClient,
//! };
//!
//! # async fn list() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = ProfileServiceClient::connect("http://127.0.0.1:50051").await?;
//! let parent = "backends/sft".to_owned();
//! let request = ListProfilesRequest { parent, ..ListProfilesRequest::default() };
//! for profile in client.list_profiles(request).await?.into_inner().profiles {
//!     println!("{}: {}", profile.name, profile.display_name);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `connect` comes with the feature `transport`, which is on by default. Without it the clients
//! take any `tonic::client::GrpcService`.
//!
//! Servers are not here: the gateway generates its own, because they answer with encoded bytes.

#![forbid(unsafe_code)]

#[allow(clippy::all, clippy::pedantic, missing_docs, reason = "generated code")]
mod generated {
    tonic::include_proto!("profilegateway.v1");
}

pub use generated::*;

/// Encoded `google.protobuf.FileDescriptorSet` of `proto/`, with all imports and comments.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// `google.rpc.ErrorInfo.domain` of every error that the gateway makes.
pub const ERROR_DOMAIN: &str = "profile-gateway";

/// What the names of [`ErrorReason`] begin with, and those on the wire do not.
const REASON_PREFIX: &str = "ERROR_REASON_";

impl ErrorReason {
    /// The name in `google.rpc.ErrorInfo.reason`: that of the enum value without its prefix.
    #[must_use]
    pub fn name(self) -> &'static str {
        let name = self.as_str_name();
        name.strip_prefix(REASON_PREFIX).unwrap_or(name)
    }

    /// The reason with this name in `google.rpc.ErrorInfo.reason`; `None` for a name that this
    /// version does not know, as a newer gateway may send.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::from_str_name(&format!("{REASON_PREFIX}{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_found_by_its_name_on_the_wire() {
        let reason = ErrorReason::WriteOutcomeUnknown;
        assert_eq!(reason.name(), "WRITE_OUTCOME_UNKNOWN");
        assert_eq!(ErrorReason::from_name(reason.name()), Some(reason));
        assert_eq!(ErrorReason::from_name("ERROR_REASON_WRITE_OUTCOME_UNKNOWN"), None);
        assert_eq!(ErrorReason::from_name("SOMETHING_NEWER"), None);
    }
}
