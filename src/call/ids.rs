//! What callers call their calls: the ids that they send along, which the logs repeat, so that both
//! sides can find the other's lines. Nothing is decided by them.

use http::{HeaderMap, HeaderName, HeaderValue};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The longest id that is repeated.
const MAX_REQUEST_ID_BYTES: usize = 128;
/// Version, trace id, parent id and flags, with what separates them.
const TRACE_PARENT_BYTES: usize = 55;

/// The ids that came with one call, if any did.
#[derive(Debug, Default)]
pub struct CallerIds(Option<Box<Ids>>);

#[derive(Debug)]
struct Ids {
    request_id: Option<HeaderValue>,
    trace_parent: Option<HeaderValue>,
}

impl CallerIds {
    /// Those in the metadata of a request that can be shown as they are; others are left out.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let one = |name: &HeaderName, shown: fn(&HeaderValue) -> Option<&str>| {
            headers.get(name).filter(|value| shown(value).is_some()).cloned()
        };
        let request_id = one(&REQUEST_ID, request_id);
        let trace_parent = one(&TRACE_PARENT, trace_id);
        // Most calls have none, and pay for no memory.
        let any = request_id.is_some() || trace_parent.is_some();
        Self(any.then(|| Box::new(Ids { request_id, trace_parent })))
    }

    /// `x-request-id`.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.as_ref().and_then(|ids| request_id(ids.request_id.as_ref()?))
    }

    /// The trace id in `traceparent`.
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        self.0.as_ref().and_then(|ids| trace_id(ids.trace_parent.as_ref()?))
    }
}

/// An id of visible ASCII that is not too long.
fn request_id(value: &HeaderValue) -> Option<&str> {
    let id = std::str::from_utf8(value.as_bytes()).ok()?;
    let is_visible = id.bytes().all(|byte| byte.is_ascii_graphic());
    (is_visible && (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())).then_some(id)
}

/// The trace id of a W3C `traceparent`, also of a later version, whose further parts say nothing
/// here.
fn trace_id(value: &HeaderValue) -> Option<&str> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let (known, further) = text.split_at_checked(TRACE_PARENT_BYTES)?;
    let mut parts = known.split('-');
    let mut part = |length: usize| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        parts.next().filter(|part| part.len() == length && part.bytes().all(is_hex))
    };
    let (version, id, parent, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_set = |id: &str| id.bytes().any(|digit| digit != b'0');
    let is_whole = further.is_empty() || version != "00" && further.starts_with('-');
    (version != "ff" && is_set(id) && is_set(parent) && is_whole).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(name: HeaderName, value: &str) -> CallerIds {
        CallerIds::of(&HeaderMap::from_iter([(
            name,
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        )]))
    }

    #[test]
    fn only_an_id_that_can_be_shown_as_it_is_is_repeated() {
        let (longest, too_long) = ("x".repeat(128), "x".repeat(129));
        for (value, shown) in [
            ("a1b2-C3/\"{}", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            ("é", false),
        ] {
            let ids = ids(REQUEST_ID, value);
            assert_eq!(ids.request_id(), shown.then_some(value));
            assert_eq!(ids.trace_id(), None);
        }
        assert!(CallerIds::of(&HeaderMap::new()).0.is_none());
    }

    #[test]
    fn a_trace_id_is_taken_from_what_w3c_defines() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (value, valid) in [
            ("00-ID-00f067aa0ba902b7-01", true),
            ("00-ID-00f067aa0ba902b7-00", true),
            ("cc-ID-00f067aa0ba902b7-01", true),
            ("cc-ID-00f067aa0ba902b7-01-more", true),
            ("cc-ID-00f067aa0ba902b7-01more", false),
            ("00-ID-00f067aa0ba902b7-01-more", false),
            ("ff-ID-00f067aa0ba902b7-01", false),
            ("00-ID-0000000000000000-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("00-ID-00f067aa0ba902b7", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01", false),
            ("", false),
        ] {
            let ids = ids(TRACE_PARENT, &value.replace("ID", id));
            assert_eq!(ids.trace_id(), valid.then_some(id), "{value}");
            assert_eq!(ids.request_id(), None);
        }
    }
}
