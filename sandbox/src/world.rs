//! What the parts of the sandbox share: the simulators, the armed faults, the journal, and the
//! running tasks.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use super::{
    endpoint::Endpoint, faults::FaultTable, journal::Journal, options::Options, pcc::Pcc, sft::Sft,
    simulator::Simulator,
};

/// Most effects that may be pending after their client got its answer or disconnected.
const MAX_DETACHED: usize = 4_096;

pub(super) struct World {
    pub faults: FaultTable,
    pub journal: Journal,
    pub sft: Arc<Sft>,
    pub endpoint: Arc<Endpoint>,
    pub pcc: Arc<Pcc>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Child of `stop`; also cancelled by a reset, so that waits and late effects from before it
    /// never change the state after it.
    epoch: Mutex<CancellationToken>,
    detached: Arc<tokio::sync::Semaphore>,
}

impl World {
    pub(super) fn new(options: Options, stop: CancellationToken) -> Self {
        Self {
            faults: FaultTable::default(),
            journal: Journal::default(),
            sft: Arc::new(Sft::new(options.clone())),
            endpoint: Arc::new(Endpoint::new(options.clone())),
            pcc: Arc::new(Pcc::new(options)),
            tasks: TaskTracker::new(),
            epoch: Mutex::new(stop.child_token()),
            stop,
            detached: Arc::new(tokio::sync::Semaphore::new(MAX_DETACHED)),
        }
    }

    /// Every simulated vendor. This is the one place that lists them; if several own a path, the
    /// first one gets the request.
    pub(super) fn simulators(&self) -> [Arc<dyn Simulator>; 3] {
        // The endpoint API owns `/api/v1/`, so it comes before SFT, which owns all of `/api/`.
        [self.endpoint.clone(), self.sft.clone(), self.pcc.clone()]
    }

    /// Returns to the initial state: profiles and switches are restored, faults and journal
    /// cleared, and waiting requests cut.
    pub(super) fn reset(&self) {
        let mut epoch = self.epoch.lock();
        epoch.cancel();
        self.faults.clear();
        for simulator in self.simulators() {
            simulator.reset();
        }
        self.journal.clear();
        *epoch = self.stop.child_token();
    }

    /// Cancelled by a reset and by the stop of the sandbox.
    pub(super) fn epoch(&self) -> CancellationToken {
        self.epoch.lock().clone()
    }

    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    pub(super) fn spawn<F>(&self, name: &'static str, work: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(work.instrument(tracing::debug_span!("sandbox_task", name)))
    }

    /// Like `spawn`, for work that outlives its request; `None` if too much of it is pending
    /// already.
    pub(super) fn spawn_detached<F>(
        &self,
        name: &'static str,
        work: F,
    ) -> Option<tokio::task::JoinHandle<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let permit = Arc::clone(&self.detached).try_acquire_owned().ok()?;
        Some(self.spawn(name, async move {
            let output = work.await;
            drop(permit);
            output
        }))
    }

    /// Stops all tasks and waits for them; false if some are still running after `limit`.
    pub(super) async fn stop(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}
