//! An attempt of this process at the write of a request id, as all replicas know it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::words::Effective;
use crate::{
    error::{Reason, Result},
    gateway::{
        agreement::{RequestRef, SharedWrite},
        idempotency::End,
    },
    shared::{
        membership::NoAnswer,
        protocol::{Closed, Outcome, Token},
    },
};

/// An attempt.
pub(super) struct Attempted {
    /// When its call has to be answered.
    pub(super) answers_by: Instant,
    /// What other replicas find; `None` without a store.
    request: Option<Named>,
    state: Mutex<State>,
}

/// Its request id.
struct Named {
    request: RequestRef,
    /// Holds it while nothing is announced; `None` if no one else can name it.
    holds: Option<Arc<SharedWrite>>,
}

#[derive(Default)]
struct State {
    /// What it writes, or finds out, at this time.
    write: Option<Arc<SharedWrite>>,
    /// What it was about to send last.
    intent: Option<Arc<[u8]>>,
}

impl Attempted {
    /// One that goes on without a store.
    pub(super) fn alone(answers_by: Instant) -> Self {
        Self { answers_by, request: None, state: Mutex::default() }
    }

    /// One that no repeat can find: others know of it from when it announces something.
    pub(super) fn unnamed(answers_by: Instant, request: RequestRef) -> Self {
        let request = Some(Named { request, holds: None });
        Self { answers_by, request, state: Mutex::default() }
    }

    /// One that the store has granted, and that this holds for now. The store may have `forgotten`
    /// what an earlier one intended.
    pub(super) fn named(
        answers_by: Instant,
        request: RequestRef,
        holds: SharedWrite,
        forgotten: Option<Arc<[u8]>>,
    ) -> Self {
        let request = Some(Named { request, holds: Some(Arc::new(holds)) });
        let state = Mutex::new(State { write: None, intent: forgotten });
        Self { answers_by, request, state }
    }

    /// What it is about to do comes under this write.
    pub(super) fn under(&self, write: &Arc<SharedWrite>) {
        self.state.lock().write = Some(Arc::clone(write));
    }

    /// Announces what it is about to send, or that it finds out what an earlier attempt did.
    pub(super) async fn open(&self, intent: Option<Arc<[u8]>>) -> Result<()> {
        let write = {
            let mut state = self.state.lock();
            if intent.is_some() {
                state.intent.clone_from(&intent);
            }
            state.write.clone()
        };
        // What sends nothing has none.
        let Some(write) = write else { return Ok(()) };
        let request = self.request.as_ref();
        if let Some(holds) = request.and_then(|named| named.holds.as_ref()) {
            write.take_request(holds);
        }
        write.open(request.map(|named| &named.request), intent, self.answers_by).await
    }

    /// Ends what was announced. The attempt goes on.
    pub(super) async fn let_go(&self) {
        let Some(write) = self.state.lock().write.take() else { return };
        if let Some(holds) = self.request.as_ref().and_then(|named| named.holds.as_ref()) {
            holds.take_request(&write);
        }
        let end = self.answers_by.min(write.forgotten_at());
        // Otherwise its turn ends by itself.
        let _ = write.close(Outcome::Nothing, None, None, end).await;
    }

    /// The attempt, as all replicas know it.
    pub(super) fn token(&self) -> Option<Token> {
        self.request.as_ref().map(|named| named.request.attempt)
    }

    /// Ends it, and asks for as long as anyone remembers it.
    pub(super) async fn close(&self, end: &End) -> Result<Option<Closed>, NoAnswer> {
        let has_intended = self.state.lock().intent.is_some();
        let (outcome, is_unsettled) = outcome(end, has_intended);
        self.close_as(outcome, is_unsettled).await
    }

    /// The same with this outcome. `is_unsettled`: what it sent may still take effect, although a
    /// repeat may write.
    pub(super) async fn close_as(
        &self,
        outcome: Outcome,
        is_unsettled: bool,
    ) -> Result<Option<Closed>, NoAnswer> {
        let (write, intent) = {
            let mut state = self.state.lock();
            (state.write.take(), state.intent.take())
        };
        let intent = intent.filter(|_| outcome == Outcome::Unknown);
        let Some(Named { request, holds }) = &self.request else {
            let Some(write) = write else { return Ok(None) };
            let outcome = if is_unsettled { Outcome::Unknown } else { outcome };
            return write.close(outcome, None, None, write.forgotten_at()).await;
        };
        let Some(write) = write else {
            let Some(holds) = holds else { return Ok(None) };
            return holds.close(outcome, Some(request), intent, holds.forgotten_at()).await;
        };
        if is_unsettled {
            // The record says that a repeat may write, the log that what was sent may come.
            let last = holds.as_ref().unwrap_or(&write);
            last.take_request(&write);
            write.close(Outcome::Unknown, None, None, write.forgotten_at()).await?;
            return last.close(outcome, Some(request), None, last.forgotten_at()).await;
        }
        if let Some(holds) = holds {
            // Its turn was not there to be had, and its id was.
            if write.is_alone() {
                return holds.close(outcome, Some(request), intent, holds.forgotten_at()).await;
            }
            write.take_request(holds);
            holds.is_over();
        }
        write.close(outcome, Some(request), intent, write.forgotten_at()).await
    }
}

/// How an attempt has ended for all replicas, and whether what it sent may still take effect
/// although a repeat may write.
fn outcome(end: &End, has_intended: bool) -> (Outcome, bool) {
    match end {
        End::Done(result) => (Outcome::Done(Effective::Done(result.clone()).written()), false),
        End::Unknown if has_intended => (Outcome::Unknown, false),
        // What an earlier attempt did is as unknown as before.
        End::Unknown => (Outcome::Nothing, false),
        End::Failed(error) => {
            (Outcome::NoEffect, has_intended && error.reason() == Reason::PartiallyApplied)
        }
        End::Nothing(_) | End::NoEffect => (Outcome::NoEffect, false),
    }
}
