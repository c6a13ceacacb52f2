//! Keeps this replica a member over its connections: joins, renews the lease, and reads the log.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{clock::ServerClock, member::Membership};
use crate::shared::{
    commands::{LogRead, read_log},
    connection::{
        COMMAND, Connection, Connections, Failure, Fault, HEARTBEAT, Link, Replication, ServerInfo,
        Session,
    },
    metrics::{Resync, SharedMetrics},
    protocol::{
        self, Answer, Command, EpochId, Join, Joined, Next, Refused, Renewal, Restore, Token,
    },
};

/// How many entries of the log are read at once.
const BATCH: usize = 500;
/// How long a read of the log waits for an entry.
const LOG_WAIT: Duration = Duration::from_millis(500);
/// With so many heartbeats, something is written, even if there is nothing to write: a server that
/// is full, or has too few replicas, answers as long as it is only read.
const WRITES_EVERY: u64 = 8;
/// How many own writes are restored at once.
const RESTORED_AT_ONCE: usize = 64;

/// What keeps a replica a member. Given to a supervisor, which tells it of connections.
pub struct Following {
    shared: Arc<Shared>,
    /// The task that reads the log, while there are connections.
    reader: Mutex<Option<AbortOnDropHandle<()>>>,
}

struct Shared {
    member: Arc<Membership>,
    metrics: SharedMetrics,
    /// Why it joins again, if it does not only for new connections.
    why: Mutex<Resync>,
    has_joined: Notify,
    clock: Mutex<ServerClock>,
    beats: AtomicU64,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("member", &self.shared.member).finish_non_exhaustive()
    }
}

impl Following {
    /// For this replica.
    #[must_use]
    pub fn new(member: Arc<Membership>, metrics: SharedMetrics) -> Self {
        let why = Mutex::new(Resync::Connected);
        let shared = Shared {
            member,
            metrics,
            why,
            has_joined: Notify::new(),
            clock: Mutex::default(),
            beats: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), reader: Mutex::default() }
    }
}

#[async_trait]
impl Session for Following {
    /// A member that was away for a moment stays one: the log has what it has missed.
    async fn begin(&self, connections: &Connections, _: &ServerInfo) -> Result<(), Failure> {
        self.shared.member.set_durable(Some(&connections.durable));
        self.shared.keep(&connections.commands).await?;
        let (shared, connections) = (Arc::clone(&self.shared), connections.clone());
        let reader = tokio::spawn(async move { shared.read(&connections).await });
        *self.reader.lock() = Some(AbortOnDropHandle::new(reader));
        Ok(())
    }

    async fn renew(&self, connections: &Connections, said: &Replication) -> Result<(), Failure> {
        if let Some(at_server) = said.time {
            self.shared.clock.lock().told(at_server, self.shared.member.now());
        }
        let kept = self.shared.keep(&connections.commands).await;
        match &kept {
            // The connections tell.
            Err(why) if why.fault.facts().connection == Connection::Dropped => {}
            Err(why) => self.shared.look_after(&connections.commands, Some(why)).await,
            Ok(()) => self.shared.look_after(&connections.commands, None).await,
        }
        kept
    }

    fn lose(&self, _: &Failure) {
        self.shared.member.set_commands(None);
        self.shared.member.set_durable(None);
        // From now on, the connections tell.
        self.shared.member.fares(None);
        *self.reader.lock() = None;
    }

    /// No write waits any more for a replica that has ended.
    async fn leave(&self, connections: &Connections) {
        let member = &self.shared.member;
        member.set_commands(None);
        let Some((epoch, leave)) = member.change(|known, _| known.replica.end()) else { return };
        // If it is not heard, its lease is waited for.
        let _ = member.ask(&connections.commands, Some(&epoch), &leave).await;
    }
}

impl Shared {
    /// Renews the membership, or joins again, and says what the epoch does not know yet.
    async fn keep(&self, link: &Link) -> Result<(), Failure> {
        if self.renew(link).await? == Next::Join {
            self.join(link).await?;
        }
        if self.restore(link).await? {
            self.member.set_commands(Some(link));
        }
        Ok(())
    }

    /// Learns what people want to know: whether the server takes writes, and how many replicas
    /// there are. `trouble` is known already.
    async fn look_after(&self, link: &Link, trouble: Option<&Failure>) {
        let beat = self.beats.fetch_add(1, Ordering::Relaxed);
        let is_due = beat.is_multiple_of(WRITES_EVERY) || self.member.trouble().is_some();
        let refused = match trouble {
            Some(why) => Some(why.clone()),
            None if is_due => self.member.write_something(link).await.err(),
            None => return self.count(link).await,
        };
        let is_new = self.member.fares(refused.as_ref());
        match refused {
            Some(why) if is_new => {
                tracing::warn!(
                    target: "store",
                    fault = why.fault.name(),
                    "the shared store does not do what it is asked: {why}"
                );
            }
            None if is_new => {
                tracing::info!(target: "store", "the shared store does what it is asked");
            }
            _ => {}
        }
        self.count(link).await;
    }

    async fn count(&self, link: &Link) {
        let Some(epoch) = self.member.epoch() else { return };
        let asked = self.member.ask(link, Some(&epoch), &Command::Count).await;
        if let Ok(Ok(Answer::Counted { alive })) = asked {
            self.member.heard_of(alive);
        }
    }

    async fn renew(&self, link: &Link) -> Result<Next, Failure> {
        let Some(sent) = self.member.change(|known, now| known.replica.renew(now)) else {
            return Ok(Next::Join);
        };
        let answer = match self.member.ask(link, Some(&sent.epoch), &sent.command()).await? {
            Ok(Answer::Renewal(renewal)) => Ok(renewal),
            Ok(_) => return Err(unexpected()),
            Err(Refused::Demoted) => return Err(demoted()),
            Err(Refused::Epoch) => Err(Refused::Epoch),
        };
        let next = self.member.change(|known, now| known.replica.renewed(&sent, answer, now));
        match next {
            Next::Join => *self.why.lock() = why(answer),
            Next::Reconnect => {
                return Err(Failure::new(Fault::ConnectionLost, "the log does not come"));
            }
            Next::GoOn | Next::Renew => {}
        }
        Ok(next)
    }

    async fn join(&self, link: &Link) -> Result<(), Failure> {
        self.member.set_commands(None);
        let (session, token) = (self.member.process().new_session(), Token(rand::random()));
        let join = self.member.change(|known, _| known.replica.join(session, token));
        let joined = self.joined(link, join).await?;
        self.member.change(|known, now| {
            known.replica.joined(session, &joined, now, &mut known.memory);
        });
        self.member.wake_all();
        let why = std::mem::replace(&mut *self.why.lock(), Resync::Connected);
        self.metrics.resync(why);
        self.has_joined.notify_one();
        tracing::info!(target: "store", epoch = &*joined.epoch, "joined the other replicas");
        Ok(())
    }

    async fn joined(&self, link: &Link, join: Join) -> Result<Joined, Failure> {
        let command = Command::Join(join);
        let mut asked = self.member.ask(link, None, &command).await;
        // The session is the same. Two in a row end the connection.
        if matches!(&asked, Err(why) if why.fault == Fault::TimedOut) {
            asked = self.member.ask(link, None, &command).await;
        }
        match asked? {
            Ok(Answer::Joined(joined)) => Ok(joined),
            Err(Refused::Demoted) => Err(demoted()),
            Ok(_) | Err(Refused::Epoch) => Err(unexpected()),
        }
    }

    /// Says again what the server may have lost of own writes. Gives whether the epoch knows of all
    /// of them; if it does not, it is over, which the next heartbeat sees.
    async fn restore(&self, link: &Link) -> Result<bool, Failure> {
        let Some((epoch, all)) = self.member.to_restore() else {
            return Ok(self.member.epoch().is_some());
        };
        let answers = stream::iter(all.into_iter().map(|own| self.restore_one(link, &epoch, own)));
        let mut answers = answers.buffer_unordered(RESTORED_AT_ONCE);
        while let Some(is_valid) = answers.try_next().await? {
            if !is_valid {
                return Ok(false);
            }
        }
        drop(answers);
        self.member.has_restored(epoch);
        Ok(true)
    }

    /// Gives whether the epoch is still the same.
    async fn restore_one(
        &self,
        link: &Link,
        epoch: &EpochId,
        own: Restore,
    ) -> Result<bool, Failure> {
        let write = own.write;
        match self.member.ask(link, Some(epoch), &Command::Restore(own)).await? {
            Ok(Answer::Restored(restored)) => {
                self.member.own(|own| own.restored(write, restored, epoch));
                Ok(true)
            }
            Ok(_) => Err(unexpected()),
            Err(Refused::Epoch | Refused::Demoted) => Ok(false),
        }
    }

    /// Reads the log until the connections end, and says so at once when there was something.
    async fn read(&self, connections: &Connections) {
        let log = &connections.log;
        loop {
            let Some((session, after)) = self.position() else {
                // The next heartbeat joins.
                self.has_joined.notified().await;
                continue;
            };
            let mut connection = log.connection();
            let read = read_log(&mut connection, &self.member.keys, after, BATCH, LOG_WAIT);
            let Ok(LogRead { entries, written }) = log.within(LOG_WAIT + COMMAND, read).await
            else {
                // If the connections have not ended, the log lags, and then the lease is over.
                sleep(HEARTBEAT).await;
                continue;
            };
            let next = self.member.apply(&entries, session);
            if let Some(age) = written.and_then(|at| self.clock.lock().age(at, self.member.now())) {
                self.metrics.log_lag(age);
            }
            match next {
                Next::Join => *self.why.lock() = Resync::Gap,
                // The next heartbeat sees what fails.
                Next::Renew => drop(self.renew(&connections.commands).await),
                Next::GoOn | Next::Reconnect => {}
            }
        }
    }

    /// Who reads the log, and after which entry.
    fn position(&self) -> Option<(protocol::Session, u64)> {
        self.member.change(|known, _| {
            let (_, session) = known.replica.member()?;
            Some((session, known.replica.applied()))
        })
    }
}

/// Why a replica whose renewal was answered so joins again.
fn why(answer: Result<Renewal, Refused>) -> Resync {
    match answer {
        Ok(Renewal::Gone) => Resync::Evicted,
        Ok(Renewal::Valid | Renewal::Behind { .. }) | Err(_) => Resync::Epoch,
    }
}

fn demoted() -> Failure {
    Failure::new(Fault::IsReplica, "a script found that it is not the primary")
}

fn unexpected() -> Failure {
    Failure::new(Fault::NotRedis, "a script gave the answer of another one")
}
