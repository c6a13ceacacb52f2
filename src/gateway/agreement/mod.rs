//! What the replicas of the gateway agree on about writes, over the store that they share.
//!
//! - one at a time has the turn of a profile, or of the display name of a creation
//! - each write is announced there before it is sent, and closed when it is over, so that all of
//!   them outdate what they have in memory
//! - a write is answered once all of them know of its end ([`Agreement::acknowledged`])
//! - nothing is sent by who has lost its turn, or cannot know whether it has it
//!
//! Every command can be repeated with the same tokens, so it is, until there is an answer or no
//! more time. What was not announced is not sent; what could not be closed is closed later, apart
//! from its call, or ends at its declared end.

mod ask;
mod left;
mod permission;
mod purge;
mod reference;
mod request;
mod turn;
mod write;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout_at},
};

pub use self::write::SharedWrite;
pub(crate) use self::{
    permission::Permission,
    reference::RequestRef,
    request::RequestBegun,
    turn::{Looks, NoTurn},
};
use crate::{
    call::Writes,
    shared::{
        Acknowledge, SharedMetrics, WhenUnreachable, connection,
        membership::{Membership, NoAnswer},
        protocol::{Answer, Closed, Step, Time, Timing},
    },
};

/// How long before the end of a call its write is answered, also if some do not know of it.
const ANSWERS_BEFORE: Duration = Duration::from_millis(100);
/// How long a process that drains closes what its calls have left, at least.
const WHILE_DRAINING: Duration = Duration::from_secs(2);
/// The pause before the members are asked for again, if they were not told.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// How much longer the server grants than a write may send.
const MARGIN: Duration = Duration::from_secs(1);

/// How replicas agree.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whose memory a write has left when it is answered.
    pub acknowledge: Acknowledge,
    /// What is done with writes while the store cannot be reached.
    pub when_unreachable: WhenUnreachable,
    /// How many replicas of the server have to have a record before its write is sent.
    pub durable_replicas: u8,
}

/// What this replica agrees on with the others.
pub struct Agreement {
    pub(super) membership: Arc<Membership>,
    metrics: SharedMetrics,
    pub(super) rules: Rules,
    /// What the drain waits for.
    writes: Writes,
    /// Since when nothing was answered.
    down_since: Mutex<Option<Instant>>,
}

impl fmt::Debug for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreement").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Agreement {
    /// With the others in this membership. The drain of `writes` waits for what is closed apart
    /// from its call.
    #[must_use]
    pub fn new(
        membership: Arc<Membership>,
        metrics: SharedMetrics,
        rules: Rules,
        writes: Writes,
    ) -> Self {
        Self { membership, metrics, rules, writes, down_since: Mutex::default() }
    }

    /// Whether a write is sent although the store has not said that it may be.
    pub(super) fn may_go_alone(&self, why: &NoAnswer) -> bool {
        let is_unreachable = match why {
            NoAnswer::Down | NoAnswer::Epoch => true,
            NoAnswer::Lost(failure) => {
                failure.fault.facts().writes == connection::Writes::RefusedUnlessAlone
            }
        };
        is_unreachable && self.rules.when_unreachable == WhenUnreachable::WriteAlone
    }

    /// How long the server has to grant what this process uses until then: its clock may run
    /// faster.
    pub(super) fn lasts(until: Instant) -> Duration {
        Timing::waited(until.saturating_duration_since(Instant::now())) + MARGIN
    }

    /// This moment on the clock of the protocol.
    pub(super) fn time_of(&self, moment: Instant) -> Time {
        self.membership.now() + moment.saturating_duration_since(Instant::now())
    }

    /// When a call has to be answered that ends then.
    pub(super) fn answers_by(deadline: Instant) -> Instant {
        deadline.checked_sub(ANSWERS_BEFORE).unwrap_or(deadline)
    }

    /// Waits until no replica can answer with what was there before a write was closed. A repeat
    /// waits for the memory of this one too.
    pub(super) async fn acknowledged(&self, closed: &Closed, is_repeat: bool) {
        if self.rules.acknowledge == Acknowledge::Here {
            return;
        }
        let membership = &self.membership;
        let mut wait = membership.acknowledgement(closed, is_repeat, Time::MAX);
        loop {
            match wait.step(membership.now()) {
                Step::Answer => return,
                // Only time cuts it, and that is with who waits for this.
                Step::Cut => wait.cut(),
                Step::Wait(until) => sleep(until.saturating_sub(membership.now())).await,
                Step::Poll(members) => match membership.call(&members).await {
                    Ok(Answer::Members(members)) => wait.polled(&members, membership.now()),
                    Ok(_) | Err(NoAnswer::Down | NoAnswer::Epoch) => wait.cannot_poll(),
                    Err(NoAnswer::Lost(_)) => sleep(ASKED_AGAIN_AFTER).await,
                },
                Step::Evict(members) => {
                    // Their leases are over; if this is not heard, the next write says it again.
                    let _ = membership.call(&members).await;
                    return;
                }
            }
        }
    }

    /// The same within the time of a call; then the rest goes on apart from it.
    pub(super) async fn waits<T>(
        &self,
        answers_by: Instant,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let began = Instant::now();
        let done = timeout_at(answers_by, work).await.ok();
        self.metrics.ack_wait(began.elapsed(), done.is_none());
        done
    }

    /// Does something apart from its call. A drain waits for it, and not for long: as long as the
    /// leases of others may last.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let draining = self.writes.draining().clone();
        let longest = Timing::waited(self.membership.timing().lease).max(WHILE_DRAINING);
        let drained = async move {
            draining.cancelled().await;
            sleep(longest).await;
        };
        // Without a runtime, the process has ended.
        if Handle::try_current().is_ok() {
            drop(self.writes.spawn(async move {
                tokio::select! {
                    () = work => {}
                    () = drained => {}
                }
            }));
        }
    }
}
