//! Those who wait for a load, and what it tells them meanwhile.

use std::sync::Arc;

use tokio::{
    sync::{SetOnce, watch},
    time::{Instant, sleep_until},
};

use super::value::Value;
use crate::error::{Error, Result};

/// The result of a load.
pub(super) type Loaded = Result<Value>;

/// Those who wait for a load. Clones share.
#[derive(Clone)]
pub struct Readers(Arc<Shared>);

struct Shared {
    loaded: SetOnce<Loaded>,
    waiting: watch::Sender<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// The earliest and the latest deadline of a reader.
    deadlines: Option<(Instant, Instant)>,
    wait: Option<Wait>,
    /// How many wait now.
    readers: usize,
    /// It is read for those who come later, whether anyone waits or not.
    kept: bool,
    /// It has read nothing yet, and waits to send.
    queued: Option<Queued>,
    /// It has sent something.
    has_begun: bool,
    /// It was given up.
    over: bool,
}

/// What a load waits for that has read nothing yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queued {
    InLine,
    /// Its caller's own share, which others need not wait for.
    ForShare,
}

/// One of those who wait, until this is dropped.
pub(super) struct Reader(Readers);

/// How a wait for a load ended.
pub(super) enum Waited {
    /// The load has ended, or goes on only after the deadline.
    Loaded(Loaded),
    /// The deadline came first.
    TooLong,
    /// The load waits for a share of its caller's, which is not the reader's.
    ForShare,
}

/// Something that a load waits for.
#[derive(Clone)]
pub struct Wait {
    /// It does not go on before.
    pub until: Instant,
    /// Whether that is a guess, which may turn out too long.
    pub guessed: bool,
    /// The error for a reader that cannot wait that long.
    pub refusal: Arc<dyn Fn() -> Error + Send + Sync>,
}

impl Readers {
    pub(super) fn new() -> Self {
        let (loaded, waiting) = (SetOnce::new(), watch::Sender::default());
        Self(Arc::new(Shared { loaded, waiting }))
    }

    /// One more reader, unless the load is given up, or waits for a share that is not the reader's.
    pub(super) fn join(&self, deadline: Instant, own: bool) -> Option<Reader> {
        let mut joins = false;
        self.0.waiting.send_if_modified(|waiting| {
            joins = !waiting.over && !waiting.is_for_share(own);
            if joins {
                waiting.add(deadline);
            }
            false
        });
        joins.then(|| Reader(self.clone()))
    }

    pub(super) fn enter(&self, deadline: Instant) -> Reader {
        self.0.waiting.send_if_modified(|waiting| {
            waiting.add(deadline);
            false
        });
        Reader(self.clone())
    }

    /// Notes that the load has read nothing yet and waits to send; for its caller's share, if so.
    pub fn queues(&self, for_share: bool) {
        let queued = if for_share { Queued::ForShare } else { Queued::InLine };
        self.0.waiting.send_if_modified(|waiting| {
            waiting.queued = Some(queued);
            for_share || waiting.is_abandoned()
        });
    }

    /// Waits for the load to end, or until it is clear that it goes on only after the deadline, or
    /// for a share; that of its caller, if it is not the reader's `own`.
    pub(super) async fn wait(&self, own: bool, deadline: Instant) -> Waited {
        let mut waiting = self.0.waiting.subscribe();
        let held_up = async {
            let too_long = |waiting: &Waiting| {
                waiting.wait.as_ref().filter(|wait| deadline <= wait.until).cloned()
            };
            let held_up =
                |waiting: &Waiting| waiting.is_for_share(own) || too_long(waiting).is_some();
            // Its other end is in the same place as this one.
            let waiting = waiting.wait_for(held_up).await.ok()?;
            Some(too_long(&waiting).filter(|_| !waiting.is_for_share(own)))
        };
        tokio::select! {
            biased;
            loaded = self.0.loaded.wait() => Waited::Loaded(loaded.clone()),
            Some(wait) = held_up => match wait {
                Some(wait) => Waited::Loaded(Err((wait.refusal)())),
                None => Waited::ForShare,
            },
            () = sleep_until(deadline) => Waited::TooLong,
        }
    }

    /// Waits for the load to end, however it ends, or to be held up by a share that is not the
    /// reader's `own`; false if the deadline comes first.
    pub(super) async fn is_over(&self, own: bool, deadline: Instant) -> bool {
        let mut waiting = self.0.waiting.subscribe();
        tokio::select! {
            biased;
            _ = self.0.loaded.wait() => true,
            Ok(_) = waiting.wait_for(|waiting| waiting.is_for_share(own)) => true,
            () = sleep_until(deadline) => false,
        }
    }

    /// Whether the load waits for a share of its caller's, which is not the reader's `own`.
    pub(super) fn is_for_share(&self, own: bool) -> bool {
        self.0.waiting.borrow().is_for_share(own)
    }

    /// Whether the load has sent something.
    pub(super) fn have_begun(&self) -> bool {
        self.0.waiting.borrow().has_begun
    }

    /// Tells them how the load has ended, unless they know.
    pub(super) fn complete(&self, loaded: Loaded) {
        let _ = self.0.loaded.set(loaded);
    }

    /// Waits until no one waits for the load while it has read nothing and waits to send. From then
    /// on, no one joins it.
    pub(super) async fn abandoned(&self) {
        let mut waiting = self.0.waiting.subscribe();
        loop {
            if waiting.wait_for(Waiting::is_abandoned).await.is_err() {
                // Its other end is in the same place as this one.
                return;
            }
            let mut over = false;
            self.0.waiting.send_if_modified(|waiting| {
                waiting.over = waiting.is_abandoned();
                over = waiting.over;
                false
            });
            if over {
                return;
            }
        }
    }

    /// Tells them that the load waits. Those who cannot wait that long fail at once, each with an
    /// error of its own. Whether the load should wait: if it is not `worth_keeping`, only for one
    /// who can.
    #[must_use]
    pub fn tell(&self, wait: Wait, worth_keeping: bool) -> bool {
        let (mut waits, until) = (worth_keeping, wait.until);
        self.0.waiting.send_if_modified(|waiting| {
            waits |= waiting.deadlines.is_some_and(|(_, latest)| until < latest);
            let grows = waiting.wait.as_ref().is_none_or(|other| other.until < until);
            if waits && grows {
                waiting.wait = Some(wait);
            }
            // Who can wait need not wake up.
            waits && grows && waiting.deadlines.is_some_and(|(earliest, _)| earliest <= until)
        });
        waits
    }

    /// Takes back what was only guessed, because the load goes on.
    pub fn goes_on(&self) {
        self.0.waiting.send_if_modified(|waiting| {
            (waiting.queued, waiting.has_begun) = (None, true);
            waiting.wait.take_if(|wait| wait.guessed);
            false
        });
    }
}

impl Waiting {
    /// Whether a reader would wait for a share of another caller's.
    fn is_for_share(&self, own: bool) -> bool {
        !own && self.queued == Some(Queued::ForShare)
    }

    fn add(&mut self, deadline: Instant) {
        let (earliest, latest) = self.deadlines.unwrap_or((deadline, deadline));
        self.deadlines = Some((earliest.min(deadline), latest.max(deadline)));
        self.readers += 1;
    }

    fn is_abandoned(&self) -> bool {
        self.queued.is_some() && self.readers == 0 && !self.kept
    }
}

impl Reader {
    /// Leaves, and lets the load go on for those who come later.
    pub(super) fn keep(self) {
        self.0.0.waiting.send_if_modified(|waiting| {
            waiting.kept = true;
            false
        });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.0.waiting.send_if_modified(|waiting| {
            waiting.readers = waiting.readers.saturating_sub(1);
            waiting.is_abandoned()
        });
    }
}
