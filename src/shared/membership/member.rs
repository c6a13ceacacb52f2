//! What this replica knows of the others, and how it asks the server.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::shared::{
    commands::{Keys, Scripts},
    connection::{COMMAND, Failure, Link},
    protocol::{
        Acknowledgement, Answer, Closed, Command, EpochId, Memory, OwnWrites, Refused, Replica,
        Restore, Time, Timing, WriteId,
    },
};

/// Why a command has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// This replica has no connection, or is about to join: it was not sent.
    Down,
    /// The epoch is over: it was not carried out. The replica joins again.
    Epoch,
    /// It may have been carried out, or may be yet.
    Lost(Failure),
}

/// What the server said instead of an answer.
pub(super) type Asked = Result<Result<Answer, Refused>, Failure>;

/// This replica as a member.
pub struct Membership<M> {
    pub(super) keys: Keys,
    scripts: Scripts,
    timing: Timing,
    /// How long an outcome is remembered.
    kept: Duration,
    start: Instant,
    /// What commands are sent on, while this replica is a member.
    commands: ArcSwapOption<Link>,
    /// Until when memory may be used, in nanoseconds since the start.
    lease_until: AtomicU64,
    known: Mutex<Known<M>>,
}

/// What this replica knows.
pub(super) struct Known<M> {
    pub(super) replica: Replica,
    pub(super) own: OwnWrites,
    pub(super) memory: M,
    /// The last epoch that knows of all own writes.
    restored_in: Option<EpochId>,
}

impl<M: Memory + Send + 'static> fmt::Debug for Membership<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

impl<M: Memory + Send + 'static> Membership<M> {
    /// One that is not a member yet. `memory` follows the log.
    #[must_use]
    pub fn new(namespace: &str, timing: Timing, kept: Duration, memory: M) -> Self {
        let replica = Replica::new(timing);
        let own = OwnWrites::default();
        Self {
            keys: Keys::new(namespace),
            scripts: Scripts::default(),
            timing,
            kept,
            start: Instant::now(),
            commands: ArcSwapOption::empty(),
            lease_until: AtomicU64::new(0),
            known: Mutex::new(Known { replica, own, memory, restored_in: None }),
        }
    }

    /// Whether commands are carried out.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.commands.load().is_some()
    }

    /// The time on the clock of the protocol.
    #[must_use]
    pub fn now(&self) -> Time {
        self.start.elapsed()
    }

    /// Whether a read that has begun may be answered from memory.
    #[must_use]
    pub fn may_serve(&self) -> bool {
        nanoseconds(self.now()) < self.lease_until.load(Ordering::SeqCst)
    }

    /// The epoch of which this replica is a member.
    #[must_use]
    pub fn epoch(&self) -> Option<EpochId> {
        self.known.lock().replica.member().map(|(epoch, _)| epoch.clone())
    }

    /// What this replica has written: it is restored in a new epoch.
    pub fn own<T>(&self, with: impl FnOnce(&mut OwnWrites) -> T) -> T {
        with(&mut self.known.lock().own)
    }

    /// Whether a write may send its first request.
    #[must_use]
    pub fn may_begin(&self, write: WriteId) -> bool {
        let now = self.now();
        let known = self.known.lock();
        known.replica.may_serve(now) && known.own.may_send(write, now)
    }

    /// Begins to wait until all replicas know of the end of a write, from its answer on. The answer
    /// to a repeat waits for this replica, too.
    #[must_use]
    pub fn acknowledgement(
        &self,
        closed: &Closed,
        is_repeat: bool,
        cut_at: Time,
    ) -> Acknowledgement {
        let now = self.now();
        let known = self.known.lock();
        let own = known.replica.member().map(|(_, session)| session).filter(|_| !is_repeat);
        let earlier_until = known.replica.earlier_leases_until();
        Acknowledgement::new(closed, own, earlier_until, cut_at, now, self.timing)
    }

    /// Carries out a command.
    ///
    /// # Errors
    ///
    /// If there is no answer in time. The command can be sent again.
    pub async fn call(&self, command: &Command) -> Result<Answer, NoAnswer> {
        let Some(link) = self.commands.load_full() else { return Err(NoAnswer::Down) };
        let Some(epoch) = self.epoch() else { return Err(NoAnswer::Epoch) };
        match self.ask(&link, Some(&epoch), command).await {
            Ok(Ok(answer)) => Ok(answer),
            // The next heartbeat sees it, too.
            Ok(Err(Refused::Epoch | Refused::Demoted)) => Err(NoAnswer::Epoch),
            Err(why) => Err(NoAnswer::Lost(why)),
        }
    }

    pub(super) async fn ask(
        &self,
        link: &Link,
        epoch: Option<&EpochId>,
        command: &Command,
    ) -> Asked {
        let mut connection = link.connection();
        let run = self.scripts.run(&mut connection, &self.keys, epoch, command);
        link.within(COMMAND, run).await
    }

    /// Lets commands through, or no more.
    pub(super) fn set_commands(&self, link: Option<&Link>) {
        self.commands.store(link.cloned().map(Arc::new));
    }

    /// Changes what this replica knows, and publishes its lease. Writes whose end was never told
    /// end before.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Known<M>, Time) -> T) -> T {
        let mut known = self.known.lock();
        let now = self.now();
        let Known { replica, memory, .. } = &mut *known;
        replica.expire(now, memory);
        let changed = change(&mut known, now);
        self.lease_until.store(nanoseconds(known.replica.lease_until()), Ordering::SeqCst);
        changed
    }

    /// What this epoch has to be told of own writes, if it does not know of all.
    pub(super) fn to_restore(&self) -> Option<(EpochId, Vec<Restore>)> {
        let (timing, kept) = (self.timing, self.kept);
        self.change(|known, now| {
            let (epoch, _) = known.replica.member()?;
            let epoch = epoch.clone();
            let is_new = known.restored_in.as_ref() != Some(&epoch);
            is_new.then(|| (epoch, known.own.to_restore(now, timing, kept)))
        })
    }

    /// This epoch knows of all own writes.
    pub(super) fn has_restored(&self, epoch: EpochId) {
        self.known.lock().restored_in = Some(epoch);
    }
}

fn nanoseconds(time: Time) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
