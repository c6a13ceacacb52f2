//! How any HTTP upstream is called: transport, deadline, bounds, credentials, and what is done when it
//! fails: `attempt` holds the one loop that sends again, `budget` how often, `breaker` when not at all,
//! `bulkhead` how many at once, `pace` how fast.
//!
//! It knows no dialect: what an answer means is decided in `dialect`, over the small [`Port`] trait.

mod attempt;
mod breaker;
mod budget;
mod bulkhead;
mod client;
mod credentials;
mod login;
mod pace;
mod status;
mod transport;

use std::{sync::OnceLock, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;

pub use attempt::Session;
pub use breaker::{Circuit, Thresholds};
pub use bulkhead::Shed;
pub use client::{Health, Reach, Settings, Upstream};
pub use credentials::{Auth, Tokens, jwt_lifetime};
pub use pace::RateLimit;
pub use status::{Unread, failed_status, unreadable};

use crate::error::Result;

/// Whether a request only reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
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
    pub safety: Safety,
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
    json: OnceLock<Result<Value, Unread>>,
}

impl Reply {
    /// An answer that has been read to its end.
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, body, json: OnceLock::new() }
    }

    /// The body as JSON, or why it is none. Parsed once, however many ask.
    pub fn json(&self) -> Result<&Value, Unread> {
        let parse = || serde_json::from_slice(&self.body).map_err(|_| Unread::of(&self.body));
        self.json.get_or_init(parse).as_ref().map_err(|why| *why)
    }
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
    /// Something else happened at the one backend that this observer is for.
    fn notice(&self, _: Notice) {}
}

/// What happens around the requests of a backend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Notice {
    /// A request is sent again.
    Retried(&'static str),
    /// A request would have been sent again, but the retry budget is spent.
    BudgetSpent,
    /// A request was turned away unsent.
    Shed(Shed),
    /// So many more wait in the queue.
    Queued(i64),
    /// So many more are under way.
    InFlight(i64),
    /// The circuit is in another state, that of refused credentials included.
    Circuit(Circuit),
    /// The upstream answered 429.
    Throttled,
    /// Requests per second that may leave from now on.
    Rate(f64),
}
