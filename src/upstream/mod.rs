//! How any HTTP upstream is called: transport, deadline, bounds, credentials, and what is done when
//! it fails: `attempt` holds the one loop that sends again, `budget` how often, `breaker` when not
//! at all, `bulkhead` how many at once, `pace` how fast.
//!
//! It knows no dialect: what an answer means is decided in `dialect`, over the small [`Port`] trait
//! of `message`.

mod attempt;
mod base_url;
mod breaker;
mod budget;
mod bulkhead;
mod client;
mod credentials;
mod login;
mod message;
mod metrics;
mod pace;
mod settings;
mod status;
mod transport;

pub use attempt::Session;
pub use base_url::BaseUrl;
pub use breaker::Circuit;
pub use client::{Health, Reach, Upstream};
pub use credentials::{Auth, Tokens, jwt_lifetime};
pub use message::{Port, Reply, Request, Safety, Unread};
pub use metrics::{BackendUpstreamMetrics, UpstreamMetrics};
pub use pace::RateLimit;
pub use settings::{Thresholds, UpstreamSettings};
pub use status::{failed_status, unreadable};
