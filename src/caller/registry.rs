//! The callers that are told apart.
//!
//! Asked once for each connection, which keeps what it gets. Their number is bounded: those without
//! a connection are forgotten, and everyone beyond the bound shares what one caller may hold. All
//! stay who they are, because the ids of their requests and their tokens are theirs alone.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    allowance::Allowance,
    identity::{Caller, CallerId},
    metrics::{Bound, CallerMetrics},
    name::Name,
    named::Named,
    pool::Pool,
    resource::Resource,
    settings::{CallerSettings, QuotaSettings},
    verifications::Verifications,
};

/// Most callers that are told apart.
const MAX_CALLERS: usize = 16_384;
/// How often idle callers are looked for while there are so many: a look costs as much as they are.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The callers of the process. Clones share them.
#[derive(Debug, Clone)]
pub struct Callers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: CallerSettings,
    metrics: CallerMetrics,
    others: Arc<Caller>,
    verifications: Verifications,
    known: Mutex<Known>,
    /// Those that the configuration names.
    named: Mutex<BTreeMap<Name, Arc<Caller>>>,
}

#[derive(Debug, Default)]
struct Known {
    callers: HashMap<CallerId, Arc<Caller>>,
    swept: Option<Instant>,
}

impl Default for Callers {
    fn default() -> Self {
        Self::new(CallerSettings::default(), CallerMetrics::default())
    }
}

impl Callers {
    /// No caller yet.
    #[must_use]
    pub fn new(settings: CallerSettings, metrics: CallerMetrics) -> Self {
        let (others, known) = (caller(CallerId::Others, &settings, &metrics), Mutex::default());
        let named = Mutex::default();
        let verifications = Verifications::new(&metrics);
        Self(Arc::new(Shared { settings, metrics, others, verifications, known, named }))
    }

    /// How many tokens that turn out not to be valid may be verified.
    #[must_use]
    pub fn verifications(&self) -> &Verifications {
        &self.0.verifications
    }

    /// The same callers, apart from these: for a runtime of its own, whose threads are not those
    /// that these take turns on.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self::new(self.0.settings.clone(), CallerMetrics::default())
    }

    /// The caller at this address.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Arc<Caller> {
        self.of(self.id_at(address))
    }

    /// The caller who is that.
    #[must_use]
    pub fn of(&self, id: CallerId) -> Arc<Caller> {
        let shared = &*self.0;
        let mut known = shared.known.lock();
        if let Some(caller) = known.callers.get(&id) {
            return Arc::clone(caller);
        }
        if known.callers.len() >= MAX_CALLERS {
            let now = Instant::now();
            if known.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP_EVERY) {
                known.swept = Some(now);
                known.sweep();
            }
            if known.callers.len() >= MAX_CALLERS {
                return shared.others.sharing(id);
            }
        }
        let caller = caller(id, &shared.settings, &shared.metrics);
        known.callers.insert(id, Arc::clone(&caller));
        shared.metrics.known(known.callers.len());
        caller
    }

    /// Who that is, whether it is told apart or not.
    #[must_use]
    pub fn id_at(&self, address: IpAddr) -> CallerId {
        let bits = |bits: u32| u8::try_from(bits).unwrap_or(u8::MAX);
        let CallerSettings { ipv4_prefix_bits, ipv6_prefix_bits, .. } = self.0.settings;
        CallerId::network(address, bits(ipv4_prefix_bits), bits(ipv6_prefix_bits))
    }

    /// A caller that proves who it is, wherever it calls from.
    #[must_use]
    pub fn named(&self, name: Name) -> Arc<Caller> {
        let mut named = self.0.named.lock();
        let new = || self.0.open(name, &QuotaSettings::default());
        Arc::clone(named.entry(name).or_insert_with(new))
    }

    /// From now on, the configuration names these, with these quotas. What those of before hold
    /// stays with their names; those that are not named any more are forgotten.
    pub fn configure(&self, quotas: &BTreeMap<Name, QuotaSettings>) {
        let mut named = self.0.named.lock();
        named.retain(|name, _| quotas.contains_key(name));
        for (name, quota) in quotas {
            let caller = named.entry(*name).or_insert_with(|| self.0.open(*name, quota));
            caller.named().into_iter().for_each(|named| named.set(quota));
        }
    }

    /// The caller that the configuration gives this name.
    #[must_use]
    pub fn find_named(&self, id: CallerId) -> Option<Arc<Caller>> {
        let CallerId::Principal(name) = id else { return None };
        self.0.named.lock().get(&name).cloned()
    }

    /// Everyone who is not told apart.
    #[must_use]
    pub fn others(&self) -> Arc<Caller> {
        Arc::clone(&self.0.others)
    }

    /// How much one caller may hold of what all may hold so much of. `None` if that is everything.
    #[must_use]
    pub fn share_of(&self, bound: usize) -> Option<usize> {
        self.0.others.share_of(bound)
    }

    /// The places of a resource, of which each caller gets its share.
    #[must_use]
    pub fn pool(&self, resource: Resource, bound: usize) -> Arc<Pool> {
        Pool::new(resource, bound, &self.0.metrics)
    }

    /// Forgets the callers that hold nothing, so that the metric counts those that are there.
    pub fn forget_idle(&self) {
        let mut known = self.0.known.lock();
        known.sweep();
        self.0.metrics.known(known.callers.len());
    }

    /// Brings the metrics of those that are named up to date.
    pub fn measure_named(&self) {
        let named = self.0.named.lock();
        for (caller, named) in named.values().filter_map(|caller| Some((caller, caller.named()?))) {
            named.measure(caller.holds(Resource::Calls));
        }
    }
}

impl Shared {
    fn open(&self, name: Name, quota: &QuotaSettings) -> Arc<Caller> {
        let CallerSettings { share_percent, log_lines_per_second, .. } = self.settings;
        let named = Named::new(name, quota, &self.metrics);
        let purges = Allowance::new(self.metrics.refusals(Resource::Purges, Bound::Caller));
        let id = CallerId::Principal(name);
        Caller::with(id, share_percent, purges, log_lines_per_second, Some(named))
    }
}

fn caller(id: CallerId, settings: &CallerSettings, metrics: &CallerMetrics) -> Arc<Caller> {
    let purges = Allowance::new(metrics.refusals(Resource::Purges, Bound::Caller));
    Caller::new(id, settings.share_percent, purges, settings.log_lines_per_second)
}

impl Known {
    fn sweep(&mut self) {
        self.callers.retain(|_, caller| !caller.is_idle());
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(n: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n).unwrap()))
    }

    #[test]
    fn connections_of_one_network_are_one_caller() {
        let settings = CallerSettings { ipv4_prefix_bits: 24, ..CallerSettings::default() };
        let callers = Callers::new(settings, CallerMetrics::default());
        let one = callers.at("192.0.2.1".parse().unwrap());
        assert!(Arc::ptr_eq(&one, &callers.at("192.0.2.200".parse().unwrap())));
        assert!(Arc::ptr_eq(&one, &callers.at("::ffff:192.0.2.9".parse().unwrap())));
        assert!(!Arc::ptr_eq(&one, &callers.at("192.0.3.1".parse().unwrap())));
    }

    #[test]
    fn beyond_the_bound_all_share_what_one_may_hold_until_others_leave_and_stay_who_they_are() {
        let callers = Callers::default();
        let kept: Vec<Arc<Caller>> = (0..MAX_CALLERS).map(|n| callers.at(address(n))).collect();
        let pool = callers.pool(Resource::Calls, 10);
        let beyond = [MAX_CALLERS, MAX_CALLERS + 1].map(|n| callers.at(address(n)));
        assert_eq!(
            beyond.each_ref().map(|caller| caller.id().to_string()),
            ["10.0.64.0", "10.0.64.1"]
        );
        let held = pool.acquire(&beyond[0], 5).unwrap();
        assert!(pool.acquire(&beyond[1], 1).is_err());
        drop(held);
        // Those that are known stay who they are.
        assert!(Arc::ptr_eq(&callers.at(address(7)), &kept[7]));
        drop(kept);
        callers.forget_idle();
        let _held = pool.acquire(&callers.at(address(MAX_CALLERS)), 5).unwrap();
        assert_eq!(beyond[0].holds(Resource::Calls), 0);
    }

    #[test]
    fn who_holds_a_place_is_not_forgotten() {
        let callers = Callers::default();
        let pool = callers.pool(Resource::Calls, 10);
        let held = pool.acquire(&callers.at(address(1)), 1).unwrap();
        callers.forget_idle();
        assert_eq!(callers.at(address(1)).holds(Resource::Calls), 1);
        drop(held);
        callers.forget_idle();
        assert!(callers.0.known.lock().callers.is_empty());
    }
}
