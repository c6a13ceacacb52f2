//! Polls one backend in one task for all of its streams, as long as any is open.
//!
//! When the last stream is closed, the task waits until the next poll is due, and ends only then.
//! So streams that come and go cost no more polls than one that stays.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    cadence::{Cadence, Pause, Polled},
    history::{Earlier, History, Limits, ProfileEvent, Profiles, differences},
    keeper::{Follows, Keeper},
    listed::{kept, own_call, placed},
    metrics::BackendWatchMetrics,
    settings::WatchSettings,
};
use crate::{
    cache::BackgroundTasks,
    error::{Error, Reason, Result},
    gateway::{backend::Backend, read::cached},
    resources::{Share, is_long_list, off_thread_if},
};

/// How much history is kept for one backend, in addition to the size of its list.
const LIMITS: Limits = Limits { changes: 4096, bytes: 8 << 20 };

/// What all streams over one backend share.
pub(super) struct Poller {
    settings: WatchSettings,
    tasks: BackgroundTasks,
    metrics: BackendWatchMetrics,
    state: Mutex<State>,
    /// Wakes the task when a poll is wanted.
    wake: Notify,
    /// Notified of the end of each poll.
    news: watch::Sender<()>,
    /// Keeps the history, if that outlives the process.
    keeper: Option<Keeper>,
}

/// What a poll has seen, and what has changed since there was a list.
type Seen = (Profiles, Option<Vec<ProfileEvent>>);

/// Polls are numbered from 1, so that a stream or a write can ask for one that begins after itself.
pub(super) struct State {
    pub(super) history: History,
    watchers: usize,
    /// Whether the task is running. The task clears this itself when it ends, under the same lock.
    running: bool,
    /// The latest poll that began.
    begun: u64,
    /// The number of writes to the backend before that poll: see [`Backend::changes`].
    changes: u64,
    /// The latest poll that succeeded.
    succeeded: u64,
    /// The latest poll that is wanted.
    wanted: u64,
    /// When the poll began that is running.
    polling: Option<Instant>,
    /// Whether the poll that is running waits for the vendor's limits half way.
    pacing: bool,
    /// The number and the error of the latest poll, if it failed.
    failing: Option<(u64, Error)>,
}

/// A stream's hold on a backend, which is polled as long as any stream holds it.
pub(super) struct Follower {
    backend: Arc<Backend>,
    poller: Arc<Poller>,
    news: watch::Receiver<()>,
}

impl Poller {
    pub(super) fn new(
        settings: WatchSettings,
        tasks: BackgroundTasks,
        metrics: BackendWatchMetrics,
        memory: Share,
        earlier: Option<(Keeper, Option<Earlier>)>,
    ) -> Self {
        let mut history = History::new(LIMITS, memory);
        let keeper = earlier.map(|(keeper, earlier)| keeper.begin(&mut history, earlier));
        let state = State {
            history,
            watchers: 0,
            running: false,
            begun: 0,
            changes: 0,
            succeeded: 0,
            wanted: 0,
            polling: None,
            pacing: false,
            failing: None,
        };
        let (news, _) = watch::channel(());
        let (state, wake) = (Mutex::new(state), Notify::new());
        Self { settings, tasks, metrics, state, wake, news, keeper }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    async fn run(self: &Arc<Self>, backend: &Arc<Backend>) {
        let mut changes = backend.changes();
        let mut cadence = Cadence::new(self.settings.interval);
        loop {
            let began = Instant::now();
            let seen = *changes.borrow_and_update();
            let Some(polled) = self.poll(backend, seen).await else { break };
            let mut pause = cadence.after(&polled, backend.sustainable_watch());
            // What is read half way through a poll is the older the longer it waits for the rest.
            pause.least = pause.least.max(backend.watch_room(cadence.cost()));
            self.tell(backend, &cadence, pause);
            if !self.pause(began, pause, &mut changes).await {
                break;
            }
        }
        backend.set_slow_watch(None);
        self.metrics.interval(Duration::ZERO);
    }

    /// Says whether the configured interval is kept.
    fn tell(&self, backend: &Backend, cadence: &Cadence, pause: Pause) {
        self.metrics.interval(pause.interval);
        backend.set_slow_watch(cadence.is_slow().then_some(pause.interval));
        let (backend, requests) = (backend.name().id(), cadence.cost());
        let interval = humantime::format_duration(Duration::from_secs(pause.interval.as_secs()));
        match pause.news {
            Some(false) => tracing::warn!(
                target: "gateway", backend, requests, %interval,
                "the vendor's limits leave no room to poll at `watch_interval`; polls for changes \
                 come more rarely"
            ),
            Some(true) => tracing::info!(
                target: "gateway", backend, requests, %interval,
                "polls for changes come at `watch_interval` again"
            ),
            None => {}
        }
    }

    /// `None` if it was given up half way, because no stream was open any more: then the task ends.
    async fn poll(self: &Arc<Self>, backend: &Arc<Backend>, changes: u64) -> Option<Polled> {
        let (number, before) = self.begin(changes);
        let (call, poller) = (own_call(), Arc::clone(self));
        // A panic must not leave the streams without their task.
        let listed = cached::watched(backend, &call, move || poller.paces());
        let listed = AssertUnwindSafe(listed).catch_unwind().await;
        let seen = match listed.unwrap_or_else(|_| {
            Err(Error::new(Reason::GatewayInternal, "internal error while reading the upstream"))
        }) {
            Ok(listed) => {
                let mut profiles = {
                    let list = &listed.list;
                    off_thread_if(is_long_list(list.len()), || placed(backend, list))
                };
                let kept = before.as_ref().map(|before| kept(backend, &listed.unreadable, before));
                profiles.extend(kept.unwrap_or_default());
                match &before {
                    None => Ok((profiles, None)),
                    Some(before) => differences(before, &profiles)
                        .await
                        .map(|changes| (profiles, Some(changes))),
                }
            }
            Err(error) => Err(error),
        };
        self.metrics.polled(seen.is_ok());
        let polled = Polled::new(call.record.upstream_calls(), seen.as_ref().err());
        let follows = self.take_in(number, seen, before.as_deref(), backend)?;
        if let Some(keeper) = &self.keeper {
            keeper.finish(follows).await;
        }
        self.news.send_replace(());
        Some(polled)
    }

    /// Takes in what a poll has seen; `None` if it was given up half way, because no stream was
    /// open any more.
    fn take_in(
        &self,
        number: u64,
        seen: Result<Seen>,
        before: Option<&Profiles>,
        backend: &Backend,
    ) -> Option<Follows> {
        let mut state = self.lock();
        state.polling = None;
        let unwanted = std::mem::take(&mut state.pacing) && state.watchers == 0;
        match seen {
            Err(_) if unwanted => {
                state.running = false;
                None
            }
            Ok((profiles, changes)) => {
                let bounds = state.history.bounds();
                match changes {
                    None => state.history.begin(profiles),
                    Some(changes) => state.history.advance(profiles, changes),
                }
                state.recovered(number, backend);
                let keeper = self.keeper.as_ref();
                let follows = keeper.map(|keeper| keeper.follow(&state.history, bounds, before));
                Some(follows.unwrap_or(Follows::Nothing))
            }
            Err(error) => {
                state.failed(number, error, backend);
                Some(Follows::Nothing)
            }
        }
    }

    /// Notes that a poll begins, and gives its number and what there is to compare with.
    fn begin(&self, changes: u64) -> (u64, Option<Arc<Profiles>>) {
        let mut state = self.lock();
        let number = state.begun + 1;
        (state.begun, state.polling, state.changes) = (number, Some(Instant::now()), changes);
        (number, state.history.has_begun().then(|| Arc::clone(state.history.profiles())))
    }

    /// Notes that a poll waits half way, and says whether anyone wants its end.
    fn paces(&self) -> bool {
        let mut state = self.lock();
        state.pacing = true;
        let watched = state.watchers > 0;
        drop(state);
        self.news.send_replace(());
        watched
    }

    /// Waits until the next poll is due. Returns false if no stream is open then.
    async fn pause(
        &self,
        began: Instant,
        pause: Pause,
        changes: &mut watch::Receiver<u64>,
    ) -> bool {
        let now = Instant::now();
        let due = now + pause.interval;
        // Polls after writes take at most half of the time: otherwise those of a long list would
        // use up the upstream's rate limit.
        let rested = now + (now - began).max(pause.least);
        loop {
            let woken = async {
                tokio::select! {
                    () = self.wake.notified() => {}
                    // The sender lives as long as the backend, which the task holds.
                    _ = changes.changed() => {}
                }
            };
            let woken = timeout_at(due.max(rested), woken).await.is_ok();
            let wanted = {
                let mut state = self.lock();
                state.catch_up(*changes.borrow());
                if state.watchers == 0 {
                    if woken {
                        continue;
                    }
                    state.running = false;
                    return false;
                }
                state.wanted > state.begun
            };
            if wanted {
                sleep_until(rested).await;
                return true;
            }
            if !woken {
                return true;
            }
        }
    }
}

impl State {
    /// Asks for a poll if a write came after the latest poll began. Applying the write itself would
    /// not be enough: in the upstream, it may also affect other profiles.
    fn catch_up(&mut self, changes: u64) {
        if changes != self.changes {
            self.want();
        }
    }

    /// Asks for a poll that has not begun yet.
    fn want(&mut self) {
        self.wanted = self.begun + 1;
    }

    /// The latest poll that has ended.
    fn ended(&self) -> u64 {
        self.succeeded.max(self.failing.as_ref().map_or(0, |(failed, _)| *failed))
    }

    fn recovered(&mut self, number: u64, backend: &Backend) {
        self.succeeded = number;
        if self.failing.take().is_some() {
            let backend = backend.name().id();
            tracing::info!(target: "gateway", backend, "a watched backend can be read again");
        }
    }

    // Only the first failure is logged; the backend's status shows later ones.
    fn failed(&mut self, number: u64, error: Error, backend: &Backend) {
        if self.failing.is_none() {
            let backend = backend.name().id();
            tracing::warn!(
                target: "gateway", backend, %error,
                "a watched backend cannot be read; its streams wait"
            );
        }
        self.failing = Some((number, error));
    }

    /// Whether the next outcome is far off: the poll that is running waits for the vendor's limits.
    pub(super) fn is_pacing(&self) -> bool {
        self.pacing
    }

    /// How the poll of this number, or a later one, ended; `None` if none of them has ended yet.
    pub(super) fn outcome(&self, number: u64) -> Option<Result<()>> {
        if self.succeeded >= number {
            return Some(Ok(()));
        }
        let (failed, error) = self.failing.as_ref()?;
        (*failed >= number).then(|| Err(error.clone()))
    }
}

impl Follower {
    /// Follows a backend, and so has it polled. Also returns the number of the poll that a stream
    /// may begin with: the latest one, however it ended, if no write came after it began.
    pub(super) fn new(backend: &Arc<Backend>, poller: &Arc<Poller>) -> (Self, u64) {
        let news = poller.news.subscribe();
        let mut state = poller.lock();
        state.watchers += 1;
        if state.running {
            state.catch_up(*backend.changes().borrow());
        } else {
            state.running = true;
            let (watched, poller) = (Arc::clone(backend), Arc::clone(poller));
            let tasks = poller.tasks.clone();
            tasks.spawn(async move { poller.run(&watched).await });
            state.want();
        }
        let first = state.ended().max(state.wanted);
        drop(state);
        poller.wake.notify_one();
        poller.metrics.watching(true);
        (Self { backend: Arc::clone(backend), poller: Arc::clone(poller), news }, first)
    }

    /// The shared state of the backend.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.poller.lock()
    }

    pub(super) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Whether what changes in the backend may go unseen: it has not been read yet, the latest poll
    /// failed, or the poll that is running takes longer than the time between polls.
    pub(super) fn is_blind(&self) -> bool {
        let (state, interval) = (self.poller.lock(), self.poller.settings.interval);
        state.succeeded == 0
            || state.failing.is_some()
            || state.polling.is_some_and(|began| began.elapsed() > interval)
    }

    /// Forgets the polls that have ended so far.
    pub(super) fn listen(&mut self) {
        self.news.mark_unchanged();
    }

    /// Waits until a poll has ended since [`Self::listen`].
    pub(super) async fn news(&mut self) {
        // The sender lives as long as the poller, which this holds.
        let _ = self.news.changed().await;
    }

    /// Counts a stream that was too slow.
    pub(super) fn dropped(&self) {
        self.poller.metrics.dropped();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.poller.lock().watchers -= 1;
        self.poller.metrics.watching(false);
    }
}
