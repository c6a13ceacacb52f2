//! Content types, as HTTP compares them.

use http::{HeaderMap, header};

/// Whether the content type is one of these, without regard to case and parameters.
pub(super) fn is<const N: usize>(headers: &HeaderMap, wanted: [&str; N]) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return false };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    wanted.iter().any(|wanted| essence.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}
