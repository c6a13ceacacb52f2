//! Calls HTTP upstreams: transport, deadlines, limits, credentials, and failure handling. `attempt`
//! has the only retry loop, `budget` limits the retries, `breaker` stops calls after repeated
//! failures, `bulkhead` limits concurrency, `pace` limits the rate, and `patience` says who waits.
//!
//! It knows no dialect: `dialect` decides what a reply means, through the small [`Port`] trait of
//! `message`.

mod attempt;
mod authentication;
mod base_url;
mod body;
mod breaker;
mod budget;
mod bulkhead;
mod carried;
mod cause;
mod class;
mod client;
mod clients;
mod coding;
mod connection;
mod credentials;
mod debug_log;
mod escapes;
mod forced;
mod keeper;
mod keeping;
mod kept;
mod limits;
mod login;
mod message;
mod metrics;
mod needles;
mod pace;
mod patience;
mod permit;
mod redact;
mod refusal;
mod renewing;
mod reserving;
mod retry;
mod settings;
mod shared;
mod shares;
mod sharing;
mod sign_in;
mod slowing;
mod status;
mod transport;
mod turns;
mod unsent;
mod watched;
mod window;

pub use attempt::Session;
pub use authentication::{Auth, Tokens, jwt_lifetime};
pub use base_url::BaseUrl;
pub use body::least_memory;
pub use breaker::Circuit;
pub use class::Class;
pub use client::{Health, Reach, Upstream};
pub use connection::{ProxyChoice, ProxySettings, Roots, TlsSettings, TlsVersion};
pub use keeper::{Account, EarlierUpstreams};
pub use kept::{can_read, describe};
pub use limits::{Chosen, Limits, RateLimit, WindowLimit};
pub use message::{Bound, Port, PortLayer, Reply, Request, Safety, Unread};
pub use metrics::{BackendUpstreamMetrics, UpstreamMetrics};
pub use patience::{Delay, Waiters};
pub use permit::Permit;
pub use refusal::is_unanswered;
pub use renewing::Connections;
pub use settings::{Thresholds, UpstreamSettings};
pub use shared::Replicas;
pub use status::{failed_status, unreadable};
