//! How any HTTP upstream is called: transport, deadline, bounds, credentials.
//!
//! It knows no dialect: what an answer means is decided in `dialect`, over the small [`Port`] trait.

mod client;
mod credentials;
mod status;
mod transport;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub use client::{Health, RateLimit, Reach, Session, Settings, Upstream};
pub use credentials::{Auth, Tokens, jwt_lifetime};
pub use status::{Unread, failed_status, unreadable};

use crate::error::Result;

/// Whether a request only reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It changes nothing: a failure surely had no effect.
    Read,
    /// It may change something, also when its answer is lost.
    Write,
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
    /// Headers apart from credentials.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body, if any.
    pub body: Option<Bytes>,
    /// Whether it only reads.
    pub intent: Intent,
}

/// A whole HTTP answer, of whatever status.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, bounded by the backend's settings.
    pub body: Bytes,
}

/// Where dialects send their requests.
#[async_trait]
pub trait Port: Send + Sync {
    /// Sends one request and gives the answer of whatever status, or an error that says whether the
    /// request may have had an effect.
    async fn send(&self, request: Request) -> Result<Reply>;
}

/// Told of every request; the metrics listen.
pub trait Observer: Send + Sync + 'static {
    /// A request ended; `outcome` is an HTTP status class or the kind of failure.
    fn request(
        &self,
        backend: &str,
        operation: &'static str,
        outcome: &'static str,
        took: Duration,
    );
    /// A login ended.
    fn login(&self, backend: &str, outcome: &'static str);
}
