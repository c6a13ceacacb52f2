//! This replica among those that share a store.

use std::{io, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    cache::{AccountName, Cache, Followers},
    call::Writes,
    config::Config,
    error::Effect,
    gateway::{Agreement, Rules},
    shared::{
        Condition, Conditions, SharedMetrics, SharedSettings,
        connection::{Proof, Server, Supervisor},
        membership::{Following, Membership},
        protocol::{Process, Timing},
    },
    telemetry::Registry,
};

/// How long a replica may lag behind the log before its connection counts as broken.
const LONGEST_LAG: Duration = Duration::from_secs(1);

/// What this process has of the others.
#[derive(Clone)]
pub(super) struct Replicas {
    pub(super) membership: Arc<Membership>,
    /// How it does among them.
    pub(super) conditions: Conditions,
    server: Arc<Server>,
    followers: Followers,
    rules: Rules,
}

impl Replicas {
    /// Begins to connect, if replicas share a store. Until that succeeds, writes are refused, and
    /// nothing is answered from memory.
    pub(super) fn start(
        config: &Config,
        metrics: &SharedMetrics,
        registry: &mut Registry,
    ) -> io::Result<Option<(Self, Supervisor)>> {
        let Some(settings) = &config.shared else { return Ok(None) };
        let process = Process::new();
        let followers = Followers::new(process);
        let kept = config.request_ids.kept_for;
        let memory = Box::new(followers.clone());
        let timing = timing(settings);
        let membership = Membership::new(&settings.namespace, timing, kept, process, memory);
        let membership = Arc::new(membership);
        let server = Server::new(settings).map_err(|why| io::Error::other(why.to_string()))?;
        let server = Arc::new(server);
        let session = Arc::new(Following::new(Arc::clone(&membership), metrics.clone()));
        let supervisor = Supervisor::start(Arc::clone(&server), session, metrics.clone());
        let state = supervisor.state();
        let conditions = Conditions::new(&server, settings, Arc::clone(&membership), state);
        let rules = Rules {
            acknowledge: settings.acknowledge,
            when_unreachable: settings.when_unreachable,
            durable_replicas: settings.durable_replicas,
        };
        let replicas = Self { membership, conditions, server, followers, rules };
        replicas.measured_by(registry, metrics);
        Ok(Some((replicas, supervisor)))
    }

    /// How they agree on the writes of this process.
    pub(super) fn agreement(&self, metrics: &SharedMetrics, writes: &Writes) -> Arc<Agreement> {
        let Self { membership, rules, .. } = self;
        let membership = Arc::clone(membership);
        Arc::new(Agreement::new(membership, metrics.clone(), *rules, writes.clone()))
    }

    /// Has measured, whenever the metrics are read, how this replica does.
    fn measured_by(&self, registry: &mut Registry, metrics: &SharedMetrics) {
        let (membership, metrics) = (Arc::clone(&self.membership), metrics.clone());
        registry.before_scrape(move || {
            metrics.lease_valid(membership.may_serve());
            metrics.members(membership.members());
        });
    }

    /// Sets up other credentials, which the next connections are opened with.
    pub(super) fn proof(settings: &SharedSettings) -> io::Result<Proof> {
        Proof::new(settings).map_err(|why| io::Error::other(why.to_string()))
    }

    /// The next connections are opened with these credentials.
    pub(super) fn prove_with(&self, proof: Proof) {
        self.server.prove_with(proof);
    }

    /// Has a cache follow the writes of all replicas to its account.
    pub(super) fn follow(&self, account: &AccountName, cache: &Cache, settle_time: Duration) {
        self.followers.follow(account, cache, settle_time, self.membership.lease());
    }
}

/// What `/readyz` says of a replica.
pub(super) fn shown(condition: &Condition) -> Value {
    let mut shown = json!({
        "server": *condition.server,
        "connected": condition.is_connected,
        "since_seconds": condition.since.as_secs(),
        "serves_from_memory": condition.serves_from_memory,
        "epoch": condition.epoch.as_deref(),
        "members": condition.members,
    });
    if let (Some(why), Some(shown)) = (&condition.trouble, shown.as_object_mut()) {
        let writes = if condition.writes_alone { "alone" } else { "refused" };
        shown.insert("fault".to_owned(), why.fault.name().into());
        shown.insert("why".to_owned(), why.to_string().into());
        shown.insert("writes".to_owned(), writes.into());
    }
    shown
}

fn timing(settings: &SharedSettings) -> Timing {
    let lease = settings.lease;
    Timing {
        lease,
        // So that every replica has joined, and has restored what it knows.
        grace: Timing::waited(lease),
        settle: Effect::SETTLES_WITHIN,
        longest_lag: LONGEST_LAG,
    }
}
