//! The budget of bytes, its parts, and what is taken of them.

use std::sync::Arc;

use bytes::Bytes;

use super::{metrics::MemoryMetrics, part::Part, settings::MemorySettings};
use crate::{
    caller::{Caller, Callers, Held, Pool, Resource},
    error::Result,
};

/// The bytes of the process, in parts.
#[derive(Clone, Debug)]
pub struct Budget {
    /// For requests.
    pub requests: Share,
    /// For responses.
    pub answers: Share,
    /// For answers of upstreams.
    pub decoding: Share,
    /// For what is read of upstreams.
    pub loads: Share,
    /// For watched backends.
    pub watch_history: Share,
    /// How many bytes the caches may have together.
    pub cache: usize,
    /// How many bytes the request ids may have.
    pub request_ids: usize,
}

/// A part of the budget. Clones take from the same.
#[derive(Clone, Debug)]
pub struct Share {
    pool: Arc<Pool>,
    /// Who takes what is taken for no caller.
    process: Arc<Caller>,
}

impl Budget {
    /// The budget of this process, of which each caller gets its share.
    #[must_use]
    pub fn new(settings: &MemorySettings, callers: &Callers, metrics: &MemoryMetrics) -> Self {
        let bytes = settings.bytes();
        let limit = |part| {
            // Less than a percent matters to none.
            let limit = bytes / 100 * settings.percent(part);
            metrics.limit(part, limit);
            limit
        };
        let share = |part, resource| {
            let pool = callers.pool(resource, limit(part));
            let measured = Arc::clone(&pool);
            metrics.measure(part, move || measured.held());
            Share::new(pool)
        };
        Self {
            requests: share(Part::Requests, Resource::RequestBytes),
            answers: share(Part::Answers, Resource::AnswerBytes),
            decoding: share(Part::Decoding, Resource::DecodingBytes),
            loads: share(Part::Loads, Resource::LoadBytes),
            watch_history: share(Part::WatchHistory, Resource::HistoryBytes),
            cache: limit(Part::Cache),
            request_ids: limit(Part::RequestIds),
        }
    }

    /// The same for one backend, whose answers and loads leave room for those of the others, and
    /// for what callers sort. One that is `alone` may have all answers.
    #[must_use]
    pub fn of_backend(&self, alone: bool) -> Self {
        let backend = |share: &Share| Share { process: Caller::backend(), ..share.clone() };
        let decoding = if alone { self.decoding.clone() } else { backend(&self.decoding) };
        Self { decoding, loads: backend(&self.loads), ..self.clone() }
    }
}

impl Share {
    fn new(pool: Arc<Pool>) -> Self {
        Self { pool, process: Arc::clone(Caller::gateway()) }
    }

    /// A part without a bound, for what runs alone.
    #[must_use]
    pub fn boundless(resource: Resource) -> Self {
        Self::new(Callers::default().pool(resource, usize::MAX))
    }

    /// A part of so many bytes, for tests.
    #[cfg(test)]
    pub(crate) fn limited(resource: Resource, bytes: usize) -> Self {
        Self::new(Callers::default().pool(resource, bytes))
    }

    /// How many bytes it has.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.pool.bound()
    }

    /// The most bytes that the process itself can take at once, and so one backend.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most_for(&self.process)
    }

    /// The same for a caller.
    #[must_use]
    pub fn most_for(&self, caller: &Caller) -> usize {
        self.pool.most_of(caller)
    }

    /// How many bytes are taken.
    #[must_use]
    pub fn used(&self) -> usize {
        self.pool.held()
    }

    /// Takes bytes for the process itself, before they are used.
    ///
    /// # Errors
    ///
    /// `OVERLOADED` when so many are not left; nothing is taken then.
    pub fn take(&self, bytes: usize) -> Result<Held> {
        self.take_for(&self.process, bytes)
    }

    /// Takes bytes for a caller, before they are used.
    ///
    /// # Errors
    ///
    /// `CALLER_QUOTA_EXCEEDED` when the caller has not so many left, and `OVERLOADED` when all
    /// together have not; nothing is taken then.
    pub fn take_for(&self, caller: &Arc<Caller>, bytes: usize) -> Result<Held> {
        Ok(self.pool.acquire(caller, bytes)?)
    }

    /// Takes bytes for the process itself that are used in any case.
    #[must_use]
    pub fn take_anyway(&self, bytes: usize) -> Held {
        self.take_anyway_for(&self.process, bytes)
    }

    /// The same for a caller.
    #[must_use]
    pub fn take_anyway_for(&self, caller: &Arc<Caller>, bytes: usize) -> Held {
        self.pool.acquire_anyway(caller, bytes)
    }
}

/// The same bytes, which keep what was taken for them until the last part of them is dropped.
#[must_use]
pub fn held(bytes: Bytes, taken: Held) -> Bytes {
    struct Owner(Bytes, #[expect(dead_code, reason = "given back with the bytes")] Held);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Owner(bytes, taken))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{caller::CallerMetrics, error::Reason, telemetry::Registry};

    #[test]
    fn a_part_gives_no_more_than_it_has_and_says_so() {
        let mut registry = Registry::new("test");
        let metrics = MemoryMetrics::register(&mut registry);
        let refusals = CallerMetrics::register(&mut registry);
        let callers = Callers::new(<_>::default(), refusals);
        let settings = MemorySettings { budget_bytes: Some(100_000), ..MemorySettings::default() };
        let budget = Budget::new(&settings, &callers, &metrics);
        let (caller, limit) = (callers.at([192, 0, 2, 1].into()), 10_000);
        let half = budget.requests.take_for(&caller, limit / 2).unwrap();
        let refused = budget.requests.take_for(&caller, 1).unwrap_err();
        assert_eq!(refused.reason(), Reason::CallerQuotaExceeded);
        let rest = budget.requests.take(limit / 2).unwrap();
        assert_eq!(budget.requests.take(1).unwrap_err().reason(), Reason::Overloaded);
        assert!(budget.answers.take(1).is_ok());
        let text = registry.encode();
        for line in [
            r#"profile_gateway_caller_refusals_total{resource="request_bytes",bound="all"} 1"#,
            r#"profile_gateway_memory_used_bytes{part="requests"} 10000"#,
            r#"profile_gateway_memory_limit_bytes{part="requests"} 10000"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        drop((half, rest));
        assert_eq!(budget.requests.used(), 0);
    }

    #[test]
    fn what_one_backend_reads_leaves_room_for_others_and_for_callers() {
        let callers = Callers::default();
        let settings = MemorySettings { budget_bytes: Some(100_000), ..MemorySettings::default() };
        let metrics = MemoryMetrics::register(&mut Registry::new("test"));
        let budget = Budget::new(&settings, &callers, &metrics);
        let (one, other) = (budget.of_backend(false), budget.of_backend(false));
        for (one, other) in [(one.decoding, other.decoding), (one.loads, other.loads)] {
            let half = one.limit() / 2;
            let held = one.take(half).unwrap();
            assert_eq!(one.take(1).unwrap_err().reason(), Reason::Overloaded);
            let others = other.take(half / 2).unwrap();
            one.take_for(&callers.at([192, 0, 2, 1].into()), half / 2).unwrap();
            drop((held, others));
        }
        let alone = budget.of_backend(true);
        alone.decoding.take(alone.decoding.limit()).unwrap();
        alone.loads.take(alone.loads.limit()).unwrap_err();
    }

    #[test]
    fn bytes_keep_what_was_taken_for_them_until_their_last_part_is_gone() {
        let share = Share::boundless(Resource::AnswerBytes);
        let mut bytes = held(Bytes::from_static(b"abcdef"), share.take(6).unwrap());
        let first = bytes.split_to(2);
        drop(bytes);
        assert_eq!((&*first, share.used()), (&b"ab"[..], 6));
        drop(first);
        assert_eq!(share.used(), 0);
    }
}
