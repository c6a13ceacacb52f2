//! Makes all changes, one commit after the other: what comes during one goes into the next.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::{sync::oneshot, time::Instant};

use super::{
    super::{Change, StoreMetrics, Table, Unavailable},
    database::Database,
};

/// How long changes wait that no write waits for.
const IDLE: Duration = Duration::from_millis(50);
/// The pause until what could not be written is tried again, unless other changes come.
const PAUSE: Duration = Duration::from_secs(1);
/// After a failure, it has to be written for so long until the log says that it can be.
const CALM: Duration = Duration::from_secs(10);
/// The most bytes of changes that wait. Beyond, those are refused that can be.
const MAX_WAITING: usize = 64 << 20;

/// Changes that are made together.
pub(super) struct Job {
    pub(super) changes: Vec<Change>,
    pub(super) urgency: Urgency,
    pub(super) asker: Option<oneshot::Sender<Result<(), Unavailable>>>,
}

/// How changes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// At once, or not at all.
    Refusable,
    /// At once, and if that fails as soon as possible.
    Due,
    /// With others.
    Idle,
}

/// The changes that wait.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    some: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    urgent: bool,
    over: bool,
    /// Why the last commit failed, if it did: until one succeeds, what can be refused is.
    trouble: Option<Unavailable>,
}

impl Queue {
    pub(super) fn add(&self, job: Job) -> Result<(), Unavailable> {
        let size: usize = job.changes.iter().map(Change::size).sum();
        let mut waiting = self.waiting.lock();
        if waiting.over {
            return Err(Unavailable::closed());
        }
        if job.urgency == Urgency::Refusable
            && let Some(cause) = waiting.refuses(size)
        {
            return Err(cause);
        }
        waiting.bytes += size;
        waiting.urgent |= job.urgency != Urgency::Idle;
        waiting.jobs.push_back(job);
        self.some.notify_one();
        Ok(())
    }

    /// Why a change that can be refused would be, if it would.
    pub(super) fn trouble(&self) -> Option<Unavailable> {
        self.waiting.lock().refuses(0)
    }

    fn is_in_trouble(&self, trouble: Option<Unavailable>) {
        self.waiting.lock().trouble = trouble;
    }

    /// Nothing will come.
    pub(super) fn close(&self) {
        self.waiting.lock().over = true;
        self.some.notify_one();
    }

    /// Nothing more is made, also not of what waits.
    fn give_up(&self) {
        let mut waiting = self.waiting.lock();
        (waiting.over, waiting.bytes) = (true, 0);
        waiting.jobs.clear();
    }

    /// Waits for changes, or for the time to try again; `None` when none will come.
    fn next(&self, again: bool) -> Option<VecDeque<Job>> {
        let mut waiting = self.waiting.lock();
        let is_calm = |waiting: &mut Waiting| !waiting.urgent && !waiting.over;
        if again {
            self.some.wait_while_for(&mut waiting, is_calm, PAUSE);
        } else {
            let is_empty = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.over;
            self.some.wait_while(&mut waiting, is_empty);
            self.some.wait_while_for(&mut waiting, is_calm, IDLE);
        }
        (waiting.urgent, waiting.bytes) = (false, 0);
        let jobs = mem::take(&mut waiting.jobs);
        (!jobs.is_empty() || !waiting.over).then_some(jobs)
    }
}

impl Waiting {
    /// Why changes of this size are refused that can be.
    fn refuses(&self, size: usize) -> Option<Unavailable> {
        if self.over {
            return Some(Unavailable::closed());
        }
        let is_full = self.bytes + size > MAX_WAITING;
        let full = is_full.then(|| {
            let why = "too many changes wait for its disk";
            Unavailable::new(why, why)
        });
        self.trouble.clone().or(full)
    }
}

/// Gives up what waits when the thread ends, however it does: what comes later is refused.
struct Ending<'q>(&'q Queue);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Makes changes until the queue is closed and empty.
pub(super) fn run(queue: &Queue, database: Database, metrics: &StoreMetrics) {
    let _ending = Ending(queue);
    // Of one that cannot be written at the start, the log says so by now.
    let failed = database.trouble().map(|_| Instant::now());
    let left = BTreeMap::new();
    let mut writer = Writer { queue, database, metrics, left, failed, has_kept: false };
    queue.is_in_trouble(writer.database.trouble().cloned());
    while let Some(jobs) = queue.next(writer.tries_again()) {
        writer.write(jobs);
    }
    writer.finish();
}

struct Writer<'m> {
    queue: &'m Queue,
    database: Database,
    metrics: &'m StoreMetrics,
    /// What could not be written and cannot be refused: the last value of each entry.
    left: BTreeMap<(Table, Bytes), Change>,
    /// When it failed last, until the log says that it can be written again.
    failed: Option<Instant>,
    /// Something has been kept since.
    has_kept: bool,
}

impl Writer<'_> {
    /// Whether it is tried again by itself, also if nothing is left: what can be refused is refused
    /// until then.
    fn tries_again(&self) -> bool {
        !self.left.is_empty() || self.failed.is_some()
    }

    /// Says that it can be written again. A disk that is almost full takes one commit and not the
    /// next, so not at the first one.
    fn recovers(&mut self) {
        if self.has_kept && self.failed.is_some_and(|failed| failed.elapsed() >= CALM) {
            self.failed = None;
            tracing::warn!(target: "store", "the store can be written again");
        }
    }

    fn write(&mut self, jobs: VecDeque<Job>) {
        // Who has stopped waiting does not write.
        let is_wanted = |job: &Job| {
            let left = job.asker.as_ref().is_some_and(oneshot::Sender::is_closed);
            job.urgency != Urgency::Refusable || !left
        };
        let jobs: Vec<Job> = jobs.into_iter().filter(is_wanted).collect();
        let left = mem::take(&mut self.left);
        let changes = jobs.iter().flat_map(|job| &job.changes);
        let changes: Vec<&Change> = left.values().chain(changes).collect();
        let result = self.commit(&changes);
        if result.is_err() {
            self.left = left;
        }
        for job in jobs {
            if let (Err(_), Urgency::Due | Urgency::Idle) = (&result, job.urgency) {
                for change in job.changes {
                    self.left.insert((change.table, change.key.clone()), change);
                }
            }
            if let Some(asker) = job.asker {
                // It may have stopped waiting.
                let _ = asker.send(result.clone());
            }
        }
    }

    fn commit(&mut self, changes: &[&Change]) -> Result<(), Unavailable> {
        let (began, well) = (Instant::now(), self.database.trouble().is_none());
        if changes.is_empty() && well {
            self.recovers();
            return Ok(());
        }
        let result = self.database.commit(changes);
        match &result {
            Ok(()) => {
                self.metrics.commits.observe(began.elapsed().as_secs_f64());
                self.metrics.changes.inc_by(changes.len() as u64);
                self.has_kept |= !changes.is_empty();
            }
            Err(error) => {
                self.metrics.failures.inc();
                self.has_kept = false;
                if self.failed.replace(Instant::now()).is_none() {
                    tracing::error!(
                        target: "store", %error,
                        "the store cannot be written: writes are refused until it can"
                    );
                }
            }
        }
        self.metrics.bytes.set(i64::try_from(self.database.bytes()).unwrap_or(i64::MAX));
        self.queue.is_in_trouble(result.as_ref().err().cloned());
        result
    }

    fn finish(mut self) {
        if !self.left.is_empty() {
            self.write(VecDeque::new());
        }
        if !self.left.is_empty() {
            tracing::error!(
                target: "store", entries = self.left.len(),
                "the ends of some writes are not in the store: after the next start, they are \
                 looked for upstream"
            );
        }
        if let Err(error) = self.database.close() {
            tracing::warn!(target: "store", %error, "the store could not be closed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        panic::{AssertUnwindSafe, catch_unwind},
    };

    use tempfile::TempDir;
    use tokio::time::advance;

    use super::*;

    #[test]
    fn after_a_panic_nothing_waits_for_a_thread_that_is_gone() {
        let queue = Queue::default();
        let job = |urgency| {
            let changes = vec![Change::put(Table::Claims, "key", "value")];
            Job { changes, urgency, asker: None }
        };
        queue.add(job(Urgency::Idle)).unwrap();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let _ending = Ending(&queue);
            panic!("on purpose");
        }));
        assert!(ended.is_err());
        assert!(queue.waiting.lock().jobs.is_empty());
        for urgency in [Urgency::Refusable, Urgency::Due, Urgency::Idle] {
            assert!(queue.add(job(urgency)).is_err(), "{urgency:?}");
        }
    }
    #[tokio::test(start_paused = true)]
    async fn it_counts_as_well_again_once_it_has_kept_something_and_not_failed_for_a_while() {
        let (directory, queue) = (TempDir::new().unwrap(), Queue::default());
        let (database, _) = Database::open(directory.path()).unwrap();
        let (metrics, left) = (StoreMetrics::default(), BTreeMap::new());
        let (failed, has_kept, metrics) = (None, false, &metrics);
        let mut writer = Writer { queue: &queue, database, metrics, left, failed, has_kept };
        let change = Change::put(Table::Claims, "key", "value");
        let [there, away] = ["store.redb", "away"].map(|name| directory.path().join(name));
        for _ in 0..2 {
            fs::rename(&there, &away).unwrap();
            writer.commit(&[&change]).unwrap_err();
            fs::rename(&away, &there).unwrap();
            writer.commit(&[&change]).unwrap();
            writer.commit(&[]).unwrap();
            assert!(writer.failed.is_some(), "it may fail again at once");
        }
        advance(CALM).await;
        assert!(writer.tries_again(), "or the log would never say so");
        writer.commit(&[]).unwrap();
        assert_eq!(writer.failed, None);

        fs::rename(&there, &away).unwrap();
        writer.commit(&[&change]).unwrap_err();
        fs::rename(&away, &there).unwrap();
        writer.commit(&[]).unwrap();
        advance(CALM).await;
        writer.commit(&[]).unwrap();
        assert!(writer.failed.is_some(), "it has kept nothing since");
        writer.finish();
    }
}
