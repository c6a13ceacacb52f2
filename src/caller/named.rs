//! What the configuration allows one caller that it names, in place of the share of every caller,
//! and what is counted of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;

use super::{
    metrics::CallerMetrics,
    name::Name,
    rate::Rated,
    resource::{NamedQuota, Resource},
    settings::QuotaSettings,
};
use crate::error::{Error, Reason, Retry, whole_seconds};

/// No bound.
const UNBOUNDED: usize = usize::MAX;

/// The quota of a caller, which may change while it calls.
#[derive(Debug)]
pub struct Named {
    name: Arc<str>,
    calls: AtomicUsize,
    streams: AtomicUsize,
    bytes: AtomicUsize,
    request_ids: AtomicUsize,
    rate: Rated,
    upstream_rate: Rated,
    succeeded: Counter,
    upstream_requests: Counter,
    metrics: CallerMetrics,
}

impl Named {
    pub(super) fn new(name: Name, quota: &QuotaSettings, metrics: &CallerMetrics) -> Self {
        let name: Arc<str> = name.as_str().into();
        let named = Self {
            calls: AtomicUsize::default(),
            streams: AtomicUsize::default(),
            bytes: AtomicUsize::default(),
            request_ids: AtomicUsize::default(),
            rate: Rated::default(),
            upstream_rate: Rated::default(),
            succeeded: metrics.named_calls(&name, "OK"),
            upstream_requests: metrics.named_upstream_requests(&name),
            metrics: metrics.clone(),
            name,
        };
        named.set(quota);
        named
    }

    /// From now on, this is the quota. What the caller holds stays, and what it has used of the
    /// rates that are as they were.
    pub(super) fn set(&self, quota: &QuotaSettings) {
        let QuotaSettings { calls, rate, upstream_rate, streams, request_ids, bytes } = *quota;
        for (bound, to) in [
            (calls, &self.calls),
            (streams, &self.streams),
            (bytes, &self.bytes),
            (request_ids, &self.request_ids),
        ] {
            to.store(bound.unwrap_or(UNBOUNDED), Ordering::Relaxed);
        }
        self.rate.set(rate);
        self.upstream_rate.set(upstream_rate);
    }

    /// How much it may hold of a resource, if its quota says that.
    pub(super) fn of(&self, resource: Resource) -> Option<usize> {
        bound(match resource.quota()? {
            NamedQuota::Calls => &self.calls,
            NamedQuota::Streams => &self.streams,
            NamedQuota::Bytes => &self.bytes,
            NamedQuota::RequestIds | NamedQuota::Rate | NamedQuota::UpstreamRate => return None,
        })
    }

    /// How many writes of it may be remembered, if its quota says that.
    #[must_use]
    pub fn request_ids(&self) -> Option<usize> {
        bound(&self.request_ids)
    }

    /// Counts that it holds as much of a resource as it may, if its quota says how much that is;
    /// returns whether it does.
    pub(super) fn refuses(&self, resource: Resource) -> bool {
        let quota = resource.quota().filter(|_| self.of(resource).is_some());
        quota.into_iter().for_each(|quota| self.refused(quota));
        quota.is_some()
    }

    /// Counts that it has as many remembered writes as its quota says.
    pub fn refused_request_id(&self) {
        self.refused(NamedQuota::RequestIds);
    }

    fn refused(&self, quota: NamedQuota) {
        self.metrics.named_refusal(&self.name, quota);
    }

    /// Takes one call of the rate.
    pub(super) fn begin_call(&self) -> Result<(), Error> {
        self.rate.take().map_err(|wait| {
            self.refused(NamedQuota::Rate);
            let wait = whole_seconds(wait);
            let message = format!(
                "this caller calls too often (`{}` in its `[auth.callers.NAME.quota]`); the next \
                 call may come in {}",
                NamedQuota::Rate.name(),
                humantime::format_duration(wait)
            );
            Error::new(Reason::CallerQuotaExceeded, message).with_retry(Retry::After(Some(wait)))
        })
    }

    /// Whether it may have requests sent upstream, or how long it takes until it may.
    pub(super) fn may_ask_upstream(&self) -> Result<(), Duration> {
        self.upstream_rate.has_one().inspect_err(|_| self.refused(NamedQuota::UpstreamRate))
    }

    /// A request of it was sent upstream.
    pub(super) fn asked_upstream(&self) {
        self.upstream_requests.inc();
        self.upstream_rate.charge();
    }

    /// A call of it is over.
    pub(super) fn ended(&self, code: &'static str) {
        match code {
            "OK" => self.succeeded.inc(),
            code => self.metrics.named_calls(&self.name, code).inc(),
        };
    }

    /// So many calls of it have a place.
    pub(super) fn measure(&self, calls: usize) {
        self.metrics.named_in_flight(&self.name, calls);
    }
}

fn bound(of: &AtomicUsize) -> Option<usize> {
    Some(of.load(Ordering::Relaxed)).filter(|bound| *bound != UNBOUNDED)
}
