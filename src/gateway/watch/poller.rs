//! Polls one backend in one task for all of its streams, as long as any is open.
//!
//! When the last stream is closed, the task waits until the next poll is due, and ends only then.
//! So streams that come and go cost no more polls than one that stays.
//!
//! Where replicas share what they see, `sharing` runs instead, and numbers what streams wait for
//! instead of polls.

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
    state::{State, replaced},
};
use crate::{
    cache::BackgroundTasks,
    error::{Error, Reason, Result},
    gateway::{backend::Backend, read::cached},
    resources::{Share, is_long_list, off_thread_if},
    shared::history::SharedHistory,
};

/// How much history is kept for one backend, in addition to the size of its list.
const LIMITS: Limits = Limits { changes: 4096, bytes: 8 << 20 };

/// What all streams over one backend share.
pub(super) struct Poller {
    pub(super) settings: WatchSettings,
    pub(super) tasks: BackgroundTasks,
    pub(super) metrics: BackendWatchMetrics,
    state: Mutex<State>,
    /// Wakes the task when a poll is wanted.
    pub(super) wake: Notify,
    /// Notified of the end of each poll.
    pub(super) news: watch::Sender<()>,
    /// Keeps the history, if that outlives the process.
    keeper: Option<Keeper>,
    /// What replicas share of the history, if they do.
    pub(super) shared: Option<Arc<SharedHistory>>,
    /// The backend that is polled.
    backend: Mutex<Option<Arc<Backend>>>,
}

/// What a poll has seen, and what has changed since there was a list.
pub(super) type Seen = (Profiles, Option<Vec<ProfileEvent>>);

impl Poller {
    pub(super) fn new(
        settings: WatchSettings,
        tasks: BackgroundTasks,
        metrics: BackendWatchMetrics,
        memory: Share,
        (earlier, shared): (Option<(Keeper, Option<Earlier>)>, Option<SharedHistory>),
    ) -> Self {
        let mut history = History::new(LIMITS, memory);
        if shared.is_none() {
            // A backend may be replaced while the process runs, and is numbered from the start.
            history.number_for_others();
        }
        let keeper = earlier.map(|(keeper, earlier)| keeper.begin(&mut history, earlier));
        let state = State::new(history, shared.is_some());
        let (news, _) = watch::channel(());
        let (state, wake, shared) = (Mutex::new(state), Notify::new(), shared.map(Arc::new));
        let backend = Mutex::default();
        Self { settings, tasks, metrics, state, wake, news, keeper, shared, backend }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Polls this backend from the next poll on, and no other of its name.
    pub(super) fn bind(&self, backend: &Arc<Backend>) {
        *self.backend.lock() = Some(Arc::clone(backend));
    }

    /// Whether it polls this backend.
    pub(super) fn is_of(&self, backend: &Arc<Backend>) -> bool {
        self.backend.lock().as_ref().is_some_and(|own| Arc::ptr_eq(own, backend))
    }

    /// The backend that is polled now, which may be another one than at the last poll.
    pub(super) fn current(&self, before: &Arc<Backend>) -> Arc<Backend> {
        self.backend.lock().as_ref().map_or_else(|| Arc::clone(before), Arc::clone)
    }

    /// Ends its streams, and the polls: the backend is another one now, or it is gone.
    pub(super) fn retire(&self, backend: &str) {
        let mut state = self.lock();
        state.over = Some(replaced(backend));
        if let Some(keeper) = &self.keeper {
            keeper.give_up(&state.history);
        }
        drop(state);
        self.news.send_replace(());
        self.wake.notify_one();
    }

    pub(super) async fn run(self: &Arc<Self>, backend: &Arc<Backend>) {
        let mut changes = backend.changes();
        let mut cadence = Cadence::new(self.settings.interval);
        loop {
            let backend = &self.current(backend);
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
    pub(super) fn tell(&self, backend: &Backend, cadence: &Cadence, pause: Pause) {
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
        let (seen, polled) = self.see(backend, before.as_deref()).await;
        let follows = self.take_in(number, seen, before.as_deref(), backend)?;
        if let Some(keeper) = &self.keeper {
            keeper.finish(follows).await;
        }
        self.news.send_replace(());
        Some(polled)
    }

    /// Reads all profiles, and compares them with what there was before.
    pub(super) async fn see(
        self: &Arc<Self>,
        backend: &Arc<Backend>,
        before: Option<&Profiles>,
    ) -> (Result<Seen>, Polled) {
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
                let kept = before.map(|before| kept(backend, &listed.unreadable, before));
                profiles.extend(kept.unwrap_or_default());
                match before {
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
        (seen, polled)
    }

    /// Takes in what a poll has seen; `None` if it was given up half way, because no stream was
    /// open any more, or the backend is another one.
    fn take_in(
        &self,
        number: u64,
        seen: Result<Seen>,
        before: Option<&Profiles>,
        backend: &Backend,
    ) -> Option<Follows> {
        let mut state = self.lock();
        state.polling = None;
        if state.over.is_some() {
            state.running = false;
            return None;
        }
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
                if state.over.is_some() {
                    state.running = false;
                    return false;
                }
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
