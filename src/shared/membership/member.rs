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

use super::{
    lease::Lease,
    wakes::{Wakes, Woken},
};
use crate::shared::{
    commands::{Keys, Scripts},
    connection::{COMMAND, Failure, Fault, Link},
    protocol::{
        Acknowledgement, Answer, Begun, Closed, Command, Entry, EpochId, Memory, Next, Opened,
        OwnWrites, Process, Refused, Replica, Restore, Session, Time, Timing, WriteId,
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

/// Whether an attempt relies on what was written with this answer.
fn has_written(answer: &Answer) -> bool {
    matches!(
        answer,
        Answer::Begun(Begun::Fresh { .. } | Begun::Unknown { .. }) | Answer::Opened(Opened::Opened)
    )
}

/// What the server said instead of an answer.
pub(super) type Asked = Result<Result<Answer, Refused>, Failure>;

/// This replica as a member.
pub struct Membership {
    pub(in crate::shared) keys: Keys,
    scripts: Scripts,
    timing: Timing,
    /// How long an outcome is remembered.
    kept: Duration,
    process: Process,
    /// What commands are sent on, while this replica is a member.
    commands: ArcSwapOption<Link>,
    /// What is waited for until replicas of the server have it.
    durable: ArcSwapOption<Link>,
    lease: Arc<Lease>,
    wakes: Wakes,
    /// How many replicas there are, as was last heard.
    members: AtomicU64,
    /// Why the server does not do what it is asked, although there are connections.
    trouble: Mutex<Option<(Failure, Instant)>>,
    known: Mutex<Known>,
}

/// What this replica knows.
pub(super) struct Known {
    pub(super) replica: Replica,
    pub(super) own: OwnWrites,
    pub(super) memory: Box<dyn Memory + Send>,
    /// The last epoch that knows of all own writes.
    restored_in: Option<EpochId>,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

impl Membership {
    /// One that is not a member yet. `memory` follows the log.
    #[must_use]
    pub fn new(
        namespace: &str,
        timing: Timing,
        kept: Duration,
        process: Process,
        memory: Box<dyn Memory + Send>,
    ) -> Self {
        let replica = Replica::new(timing);
        let own = OwnWrites::default();
        Self {
            keys: Keys::new(namespace),
            scripts: Scripts::default(),
            timing,
            kept,
            process,
            commands: ArcSwapOption::empty(),
            durable: ArcSwapOption::empty(),
            lease: Arc::new(Lease::new()),
            wakes: Wakes::default(),
            members: AtomicU64::new(0),
            trouble: Mutex::default(),
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
        self.lease.now()
    }

    /// How long things take.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// How long an outcome is remembered.
    #[must_use]
    pub fn kept(&self) -> Duration {
        self.kept
    }

    /// Until when memory may be used.
    #[must_use]
    pub fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// Whether a read that has begun may be answered from memory.
    #[must_use]
    pub fn may_serve(&self) -> bool {
        self.lease.may_serve()
    }

    /// The id of a new write of this process.
    #[must_use]
    pub fn new_write(&self) -> WriteId {
        self.process.new_write()
    }

    /// This process among all.
    #[must_use]
    pub fn process(&self) -> Process {
        self.process
    }

    /// Waits for the end of a write, of whichever replica, with this target or of this request id.
    /// To be asked for before the server is asked what is under way.
    #[must_use]
    pub fn when_closed(&self, what: &str) -> Woken {
        self.wakes.when_closed(what)
    }

    /// The epoch of which this replica is a member.
    #[must_use]
    pub fn epoch(&self) -> Option<EpochId> {
        self.known.lock().replica.member().map(|(epoch, _)| epoch.clone())
    }

    /// How many replicas are members, this one among them, as was last heard: one that has ended
    /// without notice is, for ten seconds or until a write has waited for it.
    #[must_use]
    pub fn members(&self) -> u64 {
        self.members.load(Ordering::Relaxed)
    }

    /// So many are members.
    pub(super) fn heard_of(&self, members: u64) {
        self.members.store(members, Ordering::Relaxed);
    }

    /// Why the server does not do what it is asked, although there are connections, and since when.
    #[must_use]
    pub fn trouble(&self) -> Option<(Failure, Instant)> {
        self.trouble.lock().clone()
    }

    /// The server has done what it was asked, or has not. Gives whether that is new.
    pub(super) fn fares(&self, trouble: Option<&Failure>) -> bool {
        let mut known = self.trouble.lock();
        let is_new = known.as_ref().map(|(why, _)| why.fault) != trouble.map(|why| why.fault);
        let since = known.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        *known = trouble.map(|why| (why.clone(), since));
        is_new
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
        self.call_on(&link, command).await
    }

    /// The same, and waits until so many replicas of the server have what it has written.
    ///
    /// # Errors
    ///
    /// The same, also if they do not have it in this time: the command can be sent again.
    pub async fn call_kept(
        &self,
        command: &Command,
        replicas: u8,
        time: Duration,
    ) -> Result<Answer, NoAnswer> {
        // While commands are carried out, this one is there.
        let link = self.commands.load().is_some().then(|| self.durable.load_full()).flatten();
        let Some(link) = link else { return Err(NoAnswer::Down) };
        let answer = self.call_on(&link, command).await?;
        if !has_written(&answer) {
            return Ok(answer);
        }
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (mut connection, mut wait) = (link.connection(), redis::cmd("WAIT"));
        let wait = wait.arg(replicas).arg(millis).query_async::<u64>(&mut connection);
        let kept = link.within(time + COMMAND, wait).await.map_err(NoAnswer::Lost)?;
        if kept < u64::from(replicas) {
            let message = format_args!("{kept} of {replicas} replicas have it in time");
            return Err(NoAnswer::Lost(Failure::new(Fault::TooFewReplicas, message)));
        }
        Ok(answer)
    }

    async fn call_on(&self, link: &Link, command: &Command) -> Result<Answer, NoAnswer> {
        let Some(epoch) = self.epoch() else { return Err(NoAnswer::Epoch) };
        match self.ask(link, Some(&epoch), command).await {
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

    /// What is waited for until replicas of the server have it is sent on this from now on.
    pub(super) fn set_durable(&self, link: Option<&Link>) {
        self.durable.store(link.cloned().map(Arc::new));
    }

    /// Has the server write what means nothing.
    pub(super) async fn write_something(&self, link: &Link) -> Result<(), Failure> {
        link.ask::<u64>(&self.keys.write_something()).await.map(drop)
    }

    /// Lets commands through, or no more.
    pub(super) fn set_commands(&self, link: Option<&Link>) {
        self.commands.store(link.cloned().map(Arc::new));
    }

    /// Changes what this replica knows, and publishes its lease. Writes whose end was never told
    /// end before.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Known, Time) -> T) -> T {
        let mut known = self.known.lock();
        let now = self.now();
        let Known { replica, memory, .. } = &mut *known;
        replica.expire(now, memory);
        let changed = change(&mut known, now);
        self.lease.set(known.replica.lease_until());
        changed
    }

    /// Applies entries of the log that were read in this membership, and wakes who waits for them.
    pub(super) fn apply(&self, entries: &[Entry], session: Session) -> Next {
        let next = self.change(|known, now| match known.replica.member() {
            // What was read before it has joined again is of another place.
            Some((_, now_in)) if now_in == session => {
                known.replica.read(entries, now, &mut known.memory)
            }
            _ => Next::GoOn,
        });
        self.wakes.applied(entries);
        next
    }

    /// Some entries of the log were not read: who waits for them asks again.
    pub(super) fn wake_all(&self) {
        self.wakes.all();
    }

    /// The connection for commands, while they are carried out.
    pub(in crate::shared) fn link(&self) -> Option<Arc<Link>> {
        self.commands.load_full()
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
