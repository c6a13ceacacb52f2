//! Answers to vendors' clients, and the distortions that are the same for every vendor.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use futures_util::{StreamExt as _, stream};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::Value;

use super::fault_kind::FaultKind;

/// Time between the last byte of a cut body and the close, so that the bytes leave this machine
/// first.
const BEFORE_CUT: Duration = Duration::from_millis(20);
/// Filler for huge answers, sent repeatedly.
static FILLER: [u8; 64 * 1024] = [b'x'; 64 * 1024];
/// Marks where invalid bytes go until the answer is text: a private-use character that no vendor
/// sends.
const INVALID_MARK: &str = "\u{e0ff}";

/// An answer before it is serialized.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub content: Content,
}

pub(super) enum Content {
    /// Faults that change members apply only to this variant.
    Json(Value),
    Text(String),
    Nothing,
}

impl Answer {
    pub(super) fn json(status: StatusCode, value: Value) -> Self {
        Self::new(
            status,
            HeaderValue::from_static("application/json;charset=UTF-8"),
            Content::Json(value),
        )
    }

    /// A page like those that Apache Tomcat sends when a request reaches no application.
    pub(super) fn page(status: StatusCode) -> Self {
        let title = format!(
            "HTTP Status {} - {}",
            status.as_u16(),
            status.canonical_reason().unwrap_or("Unknown")
        );
        let page = format!(
            "<!doctype html><html lang=\"en\"><head><title>{title}</title></head>\
             <body><h1>{title}</h1><hr class=\"line\"/></body></html>"
        );
        Self::new(status, HeaderValue::from_static("text/html;charset=utf-8"), Content::Text(page))
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), content: Content::Nothing }
    }

    pub(super) fn literal(status: StatusCode, content_type: &str, body: &str) -> Self {
        let content_type = HeaderValue::from_str(content_type)
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        Self::new(status, content_type, Content::Text(body.to_owned()))
    }

    pub(super) fn with_retry_after(mut self, seconds: Option<u64>) -> Self {
        if let Some(seconds) = seconds {
            self.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        self
    }

    fn new(status: StatusCode, content_type: HeaderValue, content: Content) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type);
        Self { status, headers, content }
    }

    /// The HTTP response, distorted by the fault, unless faults of its kind do not distort
    /// responses.
    pub(super) fn into_response(mut self, fault: Option<&FaultKind>) -> Response<Body> {
        if let Content::Json(value) = &mut self.content {
            distort_value(value, fault);
        }
        let mut text = match self.content {
            Content::Json(value) => value.to_string().into_bytes(),
            Content::Text(text) => text.into_bytes(),
            Content::Nothing => Vec::new(),
        };
        match fault {
            Some(FaultKind::Deep { depth }) => text = with_deep_member(text, *depth),
            Some(FaultKind::InvalidUtf8 {}) => text = with_invalid_bytes(text),
            Some(FaultKind::Coding { coding }) => {
                text = coded(text, &coding.to_ascii_lowercase());
                if let Ok(value) = HeaderValue::from_str(coding) {
                    self.headers.insert(CONTENT_ENCODING, value);
                }
            }
            _ => {}
        }
        let length = text.len() as u64;
        let (body, length) = match fault {
            Some(FaultKind::Truncate { bytes }) => (truncated(text, *bytes), Some(length)),
            Some(FaultKind::Trickle { chunk, pause_ms }) => {
                let pause = Duration::from_millis(*pause_ms);
                (trickled(Bytes::from(text), *chunk, pause), Some(length))
            }
            Some(FaultKind::Huge { bytes, declared }) => {
                let (body, length) = padded(text, *bytes);
                (body, declared.then_some(length))
            }
            _ => (Body::from(text), None),
        };
        if let Some(length) = length {
            self.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// The body in a coding that is known here.
fn coded(body: Vec<u8>, coding: &str) -> Vec<u8> {
    let level = Compression::fast();
    let coded = match coding {
        "gzip" | "x-gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(&body).and_then(|()| encoder.finish())
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(&body).and_then(|()| encoder.finish())
        }
        _ => return body,
    };
    coded.unwrap_or(body)
}

fn distort_value(value: &mut Value, fault: Option<&FaultKind>) {
    match fault {
        Some(FaultKind::Missing { members }) => remove_members(value, members),
        Some(FaultKind::Nulls { members }) => {
            each_member(value, &mut |name, member| {
                if members.iter().any(|wanted| wanted == name) {
                    *member = Value::Null;
                }
            });
        }
        Some(FaultKind::TotalCount { value: count }) => {
            each_member(value, &mut |name, member| {
                if name == "totalCount" {
                    *member = count.clone();
                }
            });
        }
        Some(FaultKind::InvalidUtf8 {}) => mark_strings(value),
        _ => {}
    }
}

/// Calls `change` on every member of every object, outer ones first.
pub(super) fn each_member(value: &mut Value, change: &mut dyn FnMut(&str, &mut Value)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                change(name, member);
                each_member(member, change);
            }
        }
        Value::Array(items) => {
            for item in items {
                each_member(item, change);
            }
        }
        _ => {}
    }
}

fn remove_members(value: &mut Value, names: &[String]) {
    if let Value::Object(members) = value {
        members.retain(|name, _| !names.contains(name));
    }
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(|member| remove_members(member, names))
        }
        Value::Array(items) => items.iter_mut().for_each(|item| remove_members(item, names)),
        _ => {}
    }
}

/// Only strings with a letter: a result code that stays readable makes the broken text easier to
/// miss.
fn mark_strings(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().any(char::is_alphabetic) => text.push_str(INVALID_MARK),
        Value::Array(items) => items.iter_mut().for_each(mark_strings),
        Value::Object(members) => members.values_mut().for_each(mark_strings),
        _ => {}
    }
}

/// Replaces the three bytes of each mark with three that never occur in UTF-8.
fn with_invalid_bytes(mut text: Vec<u8>) -> Vec<u8> {
    let mark = INVALID_MARK.as_bytes();
    let mut from = 0;
    while let Some(found) =
        text.get(from..).and_then(|rest| rest.windows(mark.len()).position(|window| window == mark))
    {
        let start = from + found;
        if let Some(marked) = text.get_mut(start..start + mark.len()) {
            marked.fill(0xff);
        }
        from = start + mark.len();
    }
    text
}

/// Works on the text: a `Value` this deep could be neither written nor freed without overflowing
/// the stack.
fn with_deep_member(mut text: Vec<u8>, depth: u32) -> Vec<u8> {
    let depth = usize::try_from(depth).unwrap_or(usize::MAX);
    // In a list of objects, the last object gets the member.
    let end: &[u8] = if text.ends_with(b"}]") { b"}]" } else { b"}" };
    if !text.ends_with(end) {
        return text;
    }
    text.truncate(text.len() - end.len());
    if text.last() != Some(&b'{') {
        text.push(b',');
    }
    text.extend_from_slice(b"\"nested\":");
    text.resize(text.len() + depth, b'[');
    text.resize(text.len() + depth, b']');
    text.extend_from_slice(end);
    text
}

fn truncated(mut text: Vec<u8>, bytes: Option<usize>) -> Body {
    // At least one byte must be missing, or the body would not be cut.
    let most = text.len().saturating_sub(1);
    text.truncate(bytes.unwrap_or(text.len() / 2).min(most));
    let sent = stream::iter([Ok(Bytes::from(text))]);
    let cut = stream::once(async {
        tokio::time::sleep(BEFORE_CUT).await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    Body::from_stream(sent.chain(cut))
}

fn trickled(text: Bytes, chunk: usize, pause: Duration) -> Body {
    let chunks = stream::unfold((text, false), move |(mut rest, started)| async move {
        if rest.is_empty() {
            return None;
        }
        if started {
            tokio::time::sleep(pause).await;
        }
        let next = rest.split_to(chunk.min(rest.len()));
        Some((Ok::<_, io::Error>(next), (rest, true)))
    });
    Body::from_stream(chunks)
}

/// The answer with a first member of filler, so that the whole has at least `bytes` bytes, and is
/// valid JSON if the answer is an object or a list of objects; with its length.
fn padded(text: Vec<u8>, bytes: u64) -> (Body, u64) {
    let start: &[u8] = if text.starts_with(b"[{") { b"[{" } else { b"{" };
    let (head, tail) = match text.strip_prefix(start) {
        Some(rest) => {
            let end: &[u8] = if rest.starts_with(b"}") { b"\"" } else { b"\"," };
            ([start, b"\"padding\":\""].concat(), [end, rest].concat())
        }
        None => (Vec::new(), text),
    };
    let around = (head.len() + tail.len()) as u64;
    let filler = bytes.saturating_sub(around);
    let fill = stream::unfold(filler, |left| async move {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let piece = FILLER.get(..most).unwrap_or(&FILLER);
        let rest = left.saturating_sub(piece.len() as u64);
        (!piece.is_empty()).then(|| (Ok::<_, io::Error>(Bytes::from_static(piece)), rest))
    });
    let head = stream::iter([Ok(Bytes::from(head))]);
    let tail = stream::iter([Ok(Bytes::from(tail))]);
    (Body::from_stream(head.chain(fill).chain(tail)), around + filler)
}
