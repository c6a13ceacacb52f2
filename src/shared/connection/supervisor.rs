//! The one task that connects to the shared store, watches over the connections, and tries again.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    HEARTBEAT,
    failure::Failure,
    fault::{Connection, Fault},
    info::{Replication, ServerInfo},
    server::{Connections, Server},
};
use crate::shared::metrics::SharedMetrics;

/// First pause between attempts to connect; it doubles, with jitter, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest: writes are refused meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Connections that have lasted so long were good: the next attempt comes after the first pause.
const CALM: Duration = Duration::from_secs(10);
/// How long a session may take to begin, or to leave.
const SESSION: Duration = Duration::from_secs(5);

/// What is done over the connections, from when they are opened until they end. Each time, it is a
/// new session: what the server knew of the one before is gone or not to be relied on.
#[async_trait]
pub trait Session: Send + Sync + 'static {
    /// Connections were opened, and nothing was sent on them. No command of others is let through
    /// before this succeeds.
    async fn begin(&self, connections: &Connections, server: &ServerInfo) -> Result<(), Failure>;

    /// Half a second has passed, and the server is what it was. The session ends with this if the
    /// fault is one that connections are dropped for.
    async fn renew(&self, connections: &Connections, said: &Replication) -> Result<(), Failure>;

    /// The connections have ended. Called once for each that has begun, also in part, before there
    /// are others.
    fn lose(&self, why: &Failure);

    /// The process ends: takes leave of the server, while there are connections.
    async fn leave(&self, connections: &Connections);
}

/// How this replica is connected.
#[derive(Debug, Clone)]
pub enum State {
    /// Not at all: why, and since when.
    Down(Failure, Instant),
    /// There are connections, and the session is beginning; since when there was no session.
    Joining(Instant),
    /// There are connections.
    Up(Arc<Connections>),
}

/// Keeps the connections.
pub struct Supervisor {
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("state", &*self.state.borrow()).finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Begins to connect, and goes on until [`Self::end`] or until it is dropped.
    #[must_use]
    pub fn start(
        server: impl Into<Arc<Server>>,
        session: Arc<dyn Session>,
        metrics: SharedMetrics,
    ) -> Self {
        let server = server.into();
        let first = Failure::new(Fault::NotConnected, "");
        let (sender, state) = watch::channel(State::Down(first, Instant::now()));
        let stop = CancellationToken::new();
        let keeper = Keeper {
            server,
            session,
            metrics,
            state: sender,
            stop: stop.clone(),
            is_cautioned: AtomicBool::new(false),
        };
        Self { state, task: tokio::spawn(keeper.run()), stop: stop.drop_guard() }
    }

    /// The connections, at once.
    ///
    /// # Errors
    ///
    /// Why this replica is not connected.
    pub fn connections(&self) -> Result<Arc<Connections>, Failure> {
        match &*self.state.borrow() {
            State::Up(connections) => Ok(Arc::clone(connections)),
            State::Joining(_) => Err(Failure::new(Fault::NotConnected, "")),
            State::Down(why, _) => Err(why.clone()),
        }
    }

    /// How this replica is connected, and what follows.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Takes leave of the server, and ends the connections.
    pub async fn end(self) {
        drop(self.stop);
        // It ends by itself: all that it waits for is bounded.
        let _ = self.task.await;
    }
}

/// What the task works with.
struct Keeper {
    server: Arc<Server>,
    session: Arc<dyn Session>,
    metrics: SharedMetrics,
    state: watch::Sender<State>,
    stop: CancellationToken,
    is_cautioned: AtomicBool,
}

impl Keeper {
    async fn run(self) {
        let mut pauses = pauses();
        // What the log has of the attempts since there were connections.
        let mut told = None;
        loop {
            let began = Instant::now();
            let connect = self.server.connect(&self.metrics);
            let Some(opened) = self.stop.run_until_cancelled(connect).await else { break };
            let why = match opened {
                Ok((connections, server)) => {
                    told = None;
                    self.keep(connections, &server).await
                }
                Err(why) => why,
            };
            if self.stop.is_cancelled() {
                break;
            }
            self.report(&why, told.replace(why.fault));
            self.is_down(why);
            if began.elapsed() >= CALM {
                pauses = self::pauses();
            }
            let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
            if self.stop.run_until_cancelled(sleep(pause)).await.is_none() {
                break;
            }
        }
        self.is_down(ends());
    }

    /// There are no connections, now or still.
    fn is_down(&self, why: Failure) {
        self.state.send_modify(|state| {
            let since = match state {
                State::Down(_, since) | State::Joining(since) => *since,
                State::Up(_) => Instant::now(),
            };
            *state = State::Down(why, since);
        });
    }

    /// Counts and logs that there are no connections, once for each reason.
    fn report(&self, why: &Failure, told: Option<Fault>) {
        self.metrics.fault(why.fault);
        if told != Some(why.fault) {
            tracing::warn!(
                target: "store",
                server = %self.server,
                fault = why.fault.name(),
                "not connected to the shared store: {why}"
            );
        }
    }

    /// Keeps connections until they end. Gives why they have.
    async fn keep(&self, connections: Connections, server: &ServerInfo) -> Failure {
        let connections = Arc::new(connections);
        self.state.send_modify(|state| {
            *state = match state {
                State::Down(_, since) | State::Joining(since) => State::Joining(*since),
                State::Up(_) => State::Joining(Instant::now()),
            };
        });
        let begin = timeout(SESSION, self.session.begin(&connections, server));
        let began = tokio::select! {
            why = connections.ended() => Err(why),
            began = begin => began.unwrap_or_else(|_| {
                Err(Failure::new(Fault::TimedOut, "the session has not begun in time"))
            }),
            () = self.stop.cancelled() => Err(ends()),
        };
        let why = match began {
            Ok(()) => self.is_up(&connections, server).await,
            Err(why) => why,
        };
        // First, so that no one is given them any more.
        self.is_down(why.clone());
        connections.close(&why);
        self.session.lose(&why);
        why
    }

    /// Says once what of the server is probably not meant.
    fn caution(&self, server: &ServerInfo) {
        let fresh = !self.is_cautioned.swap(true, Ordering::Relaxed);
        for caution in server.cautions().into_iter().filter(|_| fresh) {
            tracing::warn!(target: "store", server = %self.server, "the shared store: {caution}");
        }
    }

    async fn is_up(&self, connections: &Arc<Connections>, server: &ServerInfo) -> Failure {
        self.state.send_replace(State::Up(Arc::clone(connections)));
        self.metrics.connected(true);
        tracing::info!(
            target: "store",
            server = %self.server,
            version = server.version,
            "connected to the shared store"
        );
        self.caution(server);
        let why = tokio::select! {
            why = connections.ended() => why,
            why = self.watch_over(connections) => why,
            () = self.stop.cancelled() => {
                // What takes leave may take no longer, and what it cannot say is known by time.
                let _ = timeout(SESSION, self.session.leave(connections)).await;
                ends()
            }
        };
        self.metrics.connected(false);
        why
    }

    /// Asks the server again and again whether all is as it was. Gives what is not.
    async fn watch_over(&self, connections: &Connections) -> Failure {
        let mut beats = interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            let said = match connections.check().await {
                Ok(said) => said,
                // The second in a row ends the connections by itself.
                Err(why) if why.fault == Fault::TimedOut => continue,
                Err(why) => return why,
            };
            match self.session.renew(connections, &said).await {
                Err(why) if why.fault.facts().connection == Connection::Dropped => return why,
                // What is not renewed runs out, and the next time may be better.
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Why there are no connections at the end.
fn ends() -> Failure {
    Failure::new(Fault::NotConnected, "the process ends")
}

/// The pauses between attempts to connect.
fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_begin_short_get_long_and_never_end() {
        let all: Vec<Duration> = pauses().take(100).collect();
        assert_eq!(all.len(), 100);
        assert!(all[0] >= FIRST_PAUSE && all[0] <= 2 * FIRST_PAUSE, "{all:?}");
        assert!(all[99] >= LONGEST_PAUSE, "{all:?}");
        assert!(all.iter().all(|pause| *pause <= 2 * LONGEST_PAUSE), "{all:?}");
        let others: Vec<Duration> = pauses().take(100).collect();
        assert_ne!(all, others, "replicas that have lost the server together come apart");
    }
}
