//! What an upstream tells of its requests.

use std::time::Duration;

use super::breaker::Circuit;

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

/// Why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// The queue was full.
    Full,
    /// Its turn would have come after its deadline.
    TooLate,
    /// It waited until its deadline.
    Waited,
    /// Its turn under the rate limit would have come after its deadline.
    Rate,
}

impl Shed {
    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "queue_full",
            Self::TooLate => "deadline_too_near",
            Self::Waited => "deadline",
            Self::Rate => "rate_limit",
        }
    }
}
