//! The encodings of compressed messages.

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::codec::CompressionEncoding::{self, Gzip, Zstd};

const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// All that are read, and written for callers that accept them; of several, the caller's first.
const ENCODINGS: [(CompressionEncoding, &str); 2] = [(Gzip, "gzip"), (Zstd, "zstd")];

/// Adds each encoding to a service, by the method of it that adds one.
pub(crate) fn with_each<S>(service: S, add: impl Fn(S, CompressionEncoding) -> S) -> S {
    ENCODINGS.into_iter().fold(service, |service, (encoding, _)| add(service, encoding))
}

/// Their names, as an error lists them.
pub(crate) fn names() -> String {
    ENCODINGS.map(|(_, name)| name).join(", ")
}

/// Whether the caller accepts any. Many libraries say so in each call, so it is asked of the bytes.
pub(super) fn is_accepted(metadata: &HeaderMap) -> bool {
    let accepted = metadata.get(ACCEPTED).map(HeaderValue::as_bytes);
    let mut accepted = accepted.unwrap_or_default().split(|byte| *byte == b',');
    accepted.any(|accepted| {
        let accepted = accepted.trim_ascii();
        ENCODINGS.iter().any(|(_, name)| accepted == name.as_bytes())
    })
}
