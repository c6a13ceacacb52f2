//! Adds the id of its call to a status that is on its way.
//!
//! Every status needs it, and many are made where the call is not known, so it is spliced into the
//! encoded details: decoding and encoding all of them would cost more than the status itself. Where
//! the call is known, it is added before they become text, which costs less still.

use base64::Engine as _;
use http::HeaderValue;
use prost::encoding::{WireType, encode_varint, encoded_len_varint};

use super::encoded::{BASE64, DETAILS, METADATA, VALUE, find, is_error_info};
use crate::{
    call::{CALL_ID_LENGTH, CallId},
    error::metadata::CALL_ID,
};

/// The most that the id adds to the size of headers.
pub const CALL_ID_BYTES: usize = 44;

/// The value of `grpc-status-details-bin` with the id in the metadata of its `ErrorInfo`. `None` if
/// it has no such detail.
#[must_use]
pub fn of_call(details: &HeaderValue, call: CallId) -> Option<HeaderValue> {
    let status = BASE64.decode(details.as_bytes()).ok()?;
    let named = spliced(&status, &entry(call))?;
    HeaderValue::try_from(BASE64.encode(named)).ok()
}

/// The same of the details of a status, before they become text.
pub(super) fn in_details(details: &[u8], call: CallId) -> Option<Vec<u8>> {
    spliced(details, &entry(call))
}

/// The id as one entry of the metadata, to be appended to an encoded `ErrorInfo`: fields may stand
/// in any order.
fn entry(call: CallId) -> Vec<u8> {
    let mut pair = Vec::with_capacity(4 + CALL_ID.len() + CALL_ID_LENGTH);
    field(1, CALL_ID.as_bytes(), &mut pair);
    field(2, call.shown().as_str().as_bytes(), &mut pair);
    let mut entry = Vec::with_capacity(2 + pair.len());
    field(METADATA, &pair, &mut entry);
    entry
}

fn field(tag: u32, bytes: &[u8], to: &mut Vec<u8>) {
    prost::encoding::encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(bytes.len() as u64, to);
    to.extend_from_slice(bytes);
}

/// An encoded `Status` in which the first detail, an `ErrorInfo`, goes on with `entry`.
fn spliced(status: &[u8], entry: &[u8]) -> Option<Vec<u8>> {
    let (before, any, after) = find(status, DETAILS)?;
    let (kind, info, rest) = find(any, VALUE)?;
    // The type comes first, and the value is the last field.
    if !is_error_info(kind) || !rest.is_empty() {
        return None;
    }
    let info_length = (info.len() + entry.len()) as u64;
    let any_length = (kind.len() + 1 + encoded_len_varint(info_length)) as u64 + info_length;
    let mut named = Vec::with_capacity(status.len() + entry.len() + 4);
    named.extend_from_slice(before);
    prost::encoding::encode_key(DETAILS, WireType::LengthDelimited, &mut named);
    encode_varint(any_length, &mut named);
    named.extend_from_slice(kind);
    prost::encoding::encode_key(VALUE, WireType::LengthDelimited, &mut named);
    encode_varint(info_length, &mut named);
    named.extend_from_slice(info);
    named.extend_from_slice(entry);
    named.extend_from_slice(after);
    Some(named)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use tonic::Status;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;
    use crate::{
        call::CallRecord,
        error::{Error, Reason},
        rpc::status::{self, header_bytes},
    };

    fn headers(status: &Status) -> HeaderMap {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        headers
    }

    #[test]
    fn the_id_joins_what_a_status_says() {
        let id = CallRecord::default().id();
        // Lengths of one byte, of two, and those that become longer by the id.
        for length in (0..400).chain([16_300, 16_384]) {
            let error = Error::new(Reason::Overloaded, "too much")
                .with_metadata("backend", "x".repeat(length))
                .with_resource("backends/sft");
            let mut headers = headers(&status::status(&error));
            let before = header_bytes(&headers);
            let value = of_call(&headers["grpc-status-details-bin"], id).unwrap();
            let (same, has_it) = status::with_call(status::status(&error), id);
            assert!(has_it);
            assert_eq!(self::headers(&same)["grpc-status-details-bin"], value);
            headers.insert("grpc-status-details-bin", value);
            assert!(header_bytes(&headers) - before <= CALL_ID_BYTES);
            let named = Status::from_header_map(&headers).unwrap().get_error_details();
            let mut metadata = named.error_info().unwrap().metadata.clone();
            assert_eq!(metadata.remove(CALL_ID), Some(id.to_string()), "{length}");
            let plain = status::status(&error).get_error_details();
            assert_eq!(metadata, plain.error_info().unwrap().metadata);
            let details = |of: &ErrorDetails| {
                let delay = of.retry_info().map(|info| info.retry_delay);
                (delay, of.resource_info().map(|info| info.resource_name.clone()))
            };
            assert_eq!(details(&named), details(&plain));
        }
    }

    #[test]
    fn details_of_another_kind_stay_as_they_are() {
        let id = CallRecord::default().id();
        for value in ["", "!", "CAM", "CAMSA2Fib3Q", "////////"] {
            assert_eq!(of_call(&HeaderValue::from_static(value), id), None, "{value}");
        }
        let (status, has_it) = status::with_call(Status::not_found("it"), id);
        assert_eq!((status.message(), status.details(), has_it), ("it", &b""[..], false));
    }
}
