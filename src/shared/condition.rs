//! How this replica does among the others, for people.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    connection::{Failure, Fault, State, Writes},
    membership::Membership,
    protocol::EpochId,
    settings::{SharedSettings, WhenUnreachable},
};

/// What tells how a replica does. Clones tell the same.
#[derive(Clone)]
pub struct Conditions {
    server: Arc<str>,
    writes_alone: bool,
    membership: Arc<Membership>,
    state: watch::Receiver<State>,
}

/// How a replica does.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The server that it shares with the others, as it is configured.
    pub server: Arc<str>,
    /// Whether there are connections to it.
    pub is_connected: bool,
    /// Why there are no connections, or why the server does not do what it is asked.
    pub trouble: Option<Failure>,
    /// Since when that is so; without trouble, since when there are connections.
    pub since: Duration,
    /// Whether this replica may answer from its memory.
    pub serves_from_memory: bool,
    /// The epoch of which it is a member.
    pub epoch: Option<EpochId>,
    /// How many replicas there are, as it has last heard.
    pub members: u64,
    /// Whether writes are sent all the same, without the others knowing.
    pub writes_alone: bool,
}

impl fmt::Debug for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.now().fmt(f)
    }
}

impl Conditions {
    /// Of a replica with these settings.
    #[must_use]
    pub fn new(
        server: impl fmt::Display,
        settings: &SharedSettings,
        membership: Arc<Membership>,
        state: watch::Receiver<State>,
    ) -> Self {
        let writes_alone = settings.when_unreachable == WhenUnreachable::WriteAlone;
        Self { server: server.to_string().into(), writes_alone, membership, state }
    }

    /// How it does now.
    #[must_use]
    pub fn now(&self) -> Condition {
        let (is_connected, trouble, since) = match &*self.state.borrow() {
            State::Down(why, since) => (false, Some(why.clone()), *since),
            State::Joining(since) => {
                let why = Failure::new(Fault::NotConnected, "it joins the other replicas");
                (false, Some(why), *since)
            }
            State::Up(connections) => match self.membership.trouble() {
                Some((why, since)) => (true, Some(why), since),
                None => (true, None, connections.since()),
            },
        };
        let unless_alone = |why: &Failure| why.fault.facts().writes == Writes::RefusedUnlessAlone;
        Condition {
            server: Arc::clone(&self.server),
            is_connected,
            writes_alone: self.writes_alone && trouble.as_ref().is_some_and(unless_alone),
            trouble,
            since: Instant::now().saturating_duration_since(since),
            serves_from_memory: self.membership.may_serve(),
            epoch: self.membership.epoch(),
            members: self.membership.members(),
        }
    }
}

impl Condition {
    /// What callers are told while there is trouble: a sentence without its end.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        let why = self.trouble.as_ref()?.fault.facts().why;
        let is = if self.is_connected { "refuses what it is asked" } else { "is away" };
        let writes = match self.writes_alone {
            true => "writes are sent, and the other replicas do not know of them",
            false => "writes are refused with STORE_UNAVAILABLE",
        };
        let reads = match self.serves_from_memory {
            true => "",
            false => ", and reads go to the upstream",
        };
        Some(format!(
            "at the moment the store that replicas share {is} (for {} s now), because {why}: \
             {writes}{reads}",
            self.since.as_secs(),
        ))
    }
}
