//! The details of a status as they are sent, read without decoding all of them: most calls of a
//! flood end with one.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderName, HeaderValue};
use prost::encoding::{WireType, decode_key, decode_varint};

use crate::error::Reason;

// Names, not text: text would be parsed at every use.
/// The header or trailer with the code.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// That with the message, percent-encoded.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// That with the details, in base64.
pub const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// As gRPC's PROTOCOL-HTTP2 has it: written without padding, and read with or without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `details` of `google.rpc.Status`.
pub(super) const DETAILS: u32 = 3;
/// `value` of `google.protobuf.Any`.
pub(super) const VALUE: u32 = 2;
/// `metadata` of `google.rpc.ErrorInfo`.
pub(super) const METADATA: u32 = 3;
const TYPE: &[u8] = b"type.googleapis.com/google.rpc.ErrorInfo";
/// `reason` of `google.rpc.ErrorInfo`.
const REASON: u32 = 1;

/// The reason in a value of `grpc-status-details-bin`, if its first detail is an `ErrorInfo`, as
/// that of every status of `rpc::status` is.
#[must_use]
pub fn reason(details: &HeaderValue) -> Option<Reason> {
    let status = BASE64.decode(details.as_bytes()).ok()?;
    let (_, any, _) = find(&status, DETAILS)?;
    let (kind, info, _) = find(any, VALUE)?;
    let (_, name, _) = find(info, REASON).filter(|_| is_error_info(kind))?;
    Reason::from_name(std::str::from_utf8(name).ok()?)
}

/// Whether what comes before the value of a `google.protobuf.Any` says that it is an `ErrorInfo`.
pub(super) fn is_error_info(kind: &[u8]) -> bool {
    // The type comes first, after its key and its length.
    kind.get(2..) == Some(TYPE)
}

/// The first field of this number: what is before it, its bytes, and what is after it.
pub(super) fn find(message: &[u8], wanted: u32) -> Option<(&[u8], &[u8], &[u8])> {
    let mut rest = message;
    loop {
        let start = message.len() - rest.len();
        let (number, wire) = decode_key(&mut rest).ok()?;
        let length = match wire {
            WireType::LengthDelimited => usize::try_from(decode_varint(&mut rest).ok()?).ok()?,
            WireType::Varint => {
                decode_varint(&mut rest).ok()?;
                0
            }
            _ => return None,
        };
        let (bytes, after) = rest.split_at_checked(length)?;
        if number == wanted {
            return Some((message.get(..start)?, bytes, after));
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::{
        error::{Error, UpstreamFacts},
        rpc::status::status,
    };

    #[test]
    fn the_reason_is_read_of_every_status() {
        for reason in (1..1000).filter_map(|n| Reason::try_from(n).ok()) {
            let facts = UpstreamFacts { code: Some("x".repeat(300)), ..UpstreamFacts::default() };
            let error = Error::new(reason, "it failed").with_resource("backends/sft");
            for error in [error.clone(), error.with_upstream(facts)] {
                let mut headers = HeaderMap::new();
                status(&error).add_header(&mut headers).unwrap();
                let details = &headers["grpc-status-details-bin"];
                assert_eq!(super::reason(details), Some(reason));
            }
        }
        for value in ["", "!", "CAM", "CAMSA2Fib3Q", "////////"] {
            let value = HeaderValue::from_static(value);
            assert_eq!(super::reason(&value), None, "{value:?}");
        }
    }
}
