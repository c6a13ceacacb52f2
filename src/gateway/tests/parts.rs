//! A gateway of parts that a test may choose.

use std::sync::Arc;

use super::{Bench, any_number, fake::Fake};
use crate::{
    call::Writes,
    gateway::{
        EarlierWrites, Gateway,
        idempotency::{IdempotencyStore, Ledger, Limits, RequestIdMetrics},
    },
    levers::{LeverMetrics, Levers},
    query::page::PageTokens,
    resources::Processors,
    store::Store,
    telemetry::AuditLog,
};

/// What a gateway is made of, apart from its upstream and its store.
pub(super) struct Parts {
    pub(super) processors: Processors,
    pub(super) limits: Limits,
    /// Those under way, which a test may drain.
    pub(super) writes: Writes,
    pub(super) log: AuditLog,
    /// What operators can set.
    pub(super) levers: Levers,
    pub(super) requests: fn(Ledger) -> Arc<dyn IdempotencyStore>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            processors: Processors::default(),
            limits: any_number(),
            writes: Writes::default(),
            log: AuditLog::in_memory(usize::MAX),
            levers: Levers::new(AuditLog::in_memory(usize::MAX), LeverMetrics::default()),
            requests: |ledger| Arc::new(ledger),
        }
    }
}

impl Parts {
    pub(super) fn over(self, fake: Fake, store: Arc<dyn Store>) -> Bench {
        let Self { processors, limits, writes, log, levers, requests } = self;
        let ledger = Ledger::load(limits, RequestIdMetrics::default(), Arc::clone(&store)).unwrap();
        let earlier = EarlierWrites::load(requests(ledger), store).unwrap();
        let tokens = PageTokens::new([0; 32], usize::MAX);
        let backends = [fake.backend().under(levers.of_backend("fake"))];
        let gateway =
            Gateway::new(backends, writes, earlier, log, tokens, Fake::watches(), processors);
        Bench { fake, gateway: Arc::new(gateway) }
    }
}
