//! Requests to and replies from an upstream, and the [`Port`] that dialects send them through.

use std::{
    borrow::Cow,
    future::Future,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    pin::Pin,
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::{
    error::{Effect, Result},
    model::object,
};

/// Whether a request only reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
    /// It changes nothing: a failure has no effect.
    Read,
    /// It may change something, even if its answer is lost.
    Write,
}

impl Safety {
    /// What a failed request may have done: nothing if it is a read, `of_a_write` if it is a write.
    #[must_use]
    pub const fn effect(self, of_a_write: Effect) -> Effect {
        match self {
            Self::Read => Effect::None,
            Self::Write => of_a_write,
        }
    }
}

/// One HTTP request to an upstream, without credentials.
#[derive(Debug, Clone)]
pub struct Request {
    /// The upstream's name for the operation, for metrics and messages.
    pub operation: &'static str,
    /// HTTP method.
    pub method: Method,
    /// Path and query below the base URL, percent-encoded.
    pub path: String,
    /// The id of the profile that it reads or changes, if it is about one.
    pub profile: Option<String>,
    /// Headers apart from credentials.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body, if any.
    pub body: Option<Bytes>,
    /// Whether it only reads.
    pub safety: Safety,
}

impl Request {
    /// The same request, about a profile.
    #[must_use]
    pub fn about(self, id: &str) -> Self {
        Self { profile: Some(id.to_owned()), ..self }
    }

    /// What it is about: a profile, whatever is done to it, or else the operation.
    pub(super) fn subject(&self) -> u64 {
        subject(self.profile.as_deref(), Some(self.operation))
    }
}

/// What a request is about.
pub(super) fn subject(profile: Option<&str>, operation: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (profile, operation.filter(|_| profile.is_none())).hash(&mut hasher);
    hasher.finish()
}

/// A complete HTTP response of any status.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, bounded by the backend's settings.
    pub body: Bytes,
    /// How long the backend pauses because of it, if it is a 429.
    pub(super) pause: Option<Duration>,
}

impl Reply {
    /// A reply that has been read to its end. A byte order mark before the body is ignored (RFC
    /// 8259, 8.1).
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap, mut body: Bytes) -> Self {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if body.starts_with(MARK) {
            body.advance(MARK.len());
        }
        Self { status, headers, body, pause: None }
    }
}

/// Why a body could not be read by its dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The body is empty.
    Empty,
    /// HTML or XML.
    Html,
    /// Not JSON, truncated JSON, or JSON that is nested too deeply.
    NotJson,
    /// JSON but for bytes in its texts that are not UTF-8.
    NotUtf8,
    /// JSON without the members that the dialect promises.
    NotTheDialect,
    /// More of something than any account has.
    TooMany(Bound),
}

/// The most that is read of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// How many.
    pub most: usize,
    /// Of what, as a message says it.
    pub what: &'static str,
}

impl Unread {
    /// Why a body is not JSON.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        let start = body.trim_ascii_start();
        match start.first() {
            None => Self::Empty,
            Some(b'<') => Self::Html,
            Some(_) => Self::NotJson,
        }
    }

    /// Why a body has no object, or no list of objects.
    #[must_use]
    pub fn without_objects(body: &[u8]) -> Self {
        match (object::is_json(body), std::str::from_utf8(body)) {
            (true, Ok(_)) => Self::NotTheDialect,
            (true, Err(_)) => Self::NotUtf8,
            (false, _) => Self::of(body),
        }
    }

    /// What the body is, for a message.
    #[must_use]
    pub fn what(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Empty => "an empty body",
            Self::Html => "an HTML or XML page",
            Self::NotJson => "a body that is not valid JSON",
            Self::NotUtf8 => "JSON that is not UTF-8",
            Self::NotTheDialect => "JSON that lacks the members that its API promises",
            Self::TooMany(Bound { most, what }) => {
                return Cow::Owned(format!("more than {most} {what}"));
            }
        })
    }
}

/// Where dialects send their requests.
#[async_trait]
pub trait Port: Send + Sync {
    /// Sends one request and returns the reply of any status, or an error that says whether the
    /// request may have had an effect.
    async fn send(&self, request: Request) -> Result<Reply>;

    /// Fails if so many more requests cannot be sent in time, and says which limit it is.
    fn foresee(&self, _requests: usize) -> Result<()> {
        Ok(())
    }

    /// How many requests the vendor's windows have room for now.
    fn room(&self) -> usize {
        usize::MAX
    }

    /// When they will have room for so many, or for as many as they ever have.
    fn room_in(&self, _requests: usize) -> Duration {
        Duration::ZERO
    }

    /// The text without the secrets that the requests carry, because the upstream may repeat them;
    /// `None` if it contains none.
    fn redact(&self, text: &str) -> Option<String>;

    /// Whether the body of an answer has one of these secrets.
    async fn repeats_secret(&self, body: &Bytes) -> bool;
}

/// A port in front of another one: it looks at what is sent, and leaves the rest to that one.
#[async_trait]
pub trait PortLayer: Send + Sync {
    /// The port behind it.
    fn inner(&self) -> &dyn Port;

    /// See [`Port::send`].
    async fn pass(&self, request: Request) -> Result<Reply>;
}

type Sending<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

// Written out, because another future around each would be one more allocation.
impl<L: PortLayer> Port for L {
    fn send<'s: 'f, 'f>(&'s self, request: Request) -> Sending<'f, Result<Reply>>
    where
        Self: 'f,
    {
        self.pass(request)
    }

    fn foresee(&self, requests: usize) -> Result<()> {
        self.inner().foresee(requests)
    }

    fn room(&self) -> usize {
        self.inner().room()
    }

    fn room_in(&self, requests: usize) -> Duration {
        self.inner().room_in(requests)
    }

    fn redact(&self, text: &str) -> Option<String> {
        self.inner().redact(text)
    }

    fn repeats_secret<'s: 'f, 'b: 'f, 'f>(&'s self, body: &'b Bytes) -> Sending<'f, bool>
    where
        Self: 'f,
    {
        self.inner().repeats_secret(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_done_to_a_profile_has_one_subject() {
        let request = |operation, body: &'static str| Request {
            operation,
            method: Method::PUT,
            path: format!("/{operation}"),
            profile: None,
            headers: Vec::new(),
            body: Some(Bytes::from_static(body.as_bytes())),
            safety: Safety::Write,
        };
        let of = |operation, body, id| request(operation, body).about(id).subject();
        assert_eq!(of("update", "1", "SP_1"), of("delete", "2", "SP_1"));
        assert_ne!(of("update", "1", "SP_1"), of("update", "1", "SP_2"));
        // What is about none is about what it does.
        assert_eq!(request("create", "1").subject(), request("create", "2").subject());
        assert_ne!(request("create", "1").subject(), request("list", "1").subject());
    }
}
