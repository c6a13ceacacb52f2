//! How the ledger serves those who look after writes in doubt: the gateway itself, and operators.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{
    Attempter, Closed, Closing, Doubt, KeptRequest, RequestKey, Settler, Unsettled,
    entries::{Entry, State, Unresolved},
    ledger::Ledger,
    metrics::SettledAs,
    record::{self, KeptState},
};
use crate::{
    call::CallId,
    error::{Error, Reason, Result},
    store::Kept,
    text,
};

/// The longest message that is kept of a look.
const MAX_MESSAGE_BYTES: usize = 512;
/// The most profiles that are kept of one.
const MAX_CANDIDATES: usize = 8;

impl Ledger {
    /// What tells the request of an entry from another one of the same id.
    pub(super) fn fingerprint_of(&self, key: RequestKey) -> Option<[u8; 32]> {
        self.lock().all.get(&key).map(|entry| entry.fingerprint)
    }

    pub(super) fn list_doubts(&self, after: u64, limit: usize) -> Vec<Doubt> {
        let Some(first) = after.checked_add(1) else { return Vec::new() };
        let inner = self.lock();
        let after = inner.doubts.range(first..).take(limit);
        after.filter_map(|(_, key)| inner.all.get(key)?.doubt(*key, self.clock)).collect()
    }

    pub(super) fn begin_to_settle(
        &self,
        number: u64,
        settler: Settler,
    ) -> Option<(Box<Doubt>, u64)> {
        let mut inner = self.lock();
        self.expire(&mut inner);
        let key = *inner.doubts.get(&number)?;
        let doubt = inner.all.get(&key)?.doubt(key, self.clock)?;
        let Settler { until, gives_way } = settler;
        let (call, resource) = (CallId::default(), String::new());
        let by = Attempter { call, resource, deadline: until, until };
        let (attempt, ..) = inner.resume(key, ("", by), Some(gives_way))?;
        Some((Box::new(doubt), attempt))
    }

    pub(super) fn end_unsettled(&self, key: RequestKey, attempt: u64, why: Unsettled) {
        let mut inner = self.lock();
        let Some(entry) = inner.take_running(key, attempt) else { return };
        let Entry { fingerprint, number, sent, state } = entry;
        let State::Running(running) = state else { return };
        let Some(mut earlier) = running.earlier else { return };
        let kept = &mut earlier.kept;
        kept.looks = kept.looks.saturating_add(1);
        kept.looked_at = self.clock.to_kept(self.clock.now());
        why.reason.name().clone_into(&mut kept.unsettled_reason);
        kept.unsettled_message = text::cut(&why.message, MAX_MESSAGE_BYTES).into_owned();
        kept.candidates = why.candidates;
        kept.candidates.truncate(MAX_CANDIDATES);
        self.note(|| record::keep(number, kept));
        inner.put(key, Entry { fingerprint, number, sent, state: State::Unknown(earlier) });
        self.measure(&inner);
    }

    /// Lets an attempt of the gateway itself go on, if it does not have to give way.
    pub(super) fn hold(&self, key: RequestKey, attempt: u64) -> Result<()> {
        let mut inner = self.lock();
        match inner.all.get_mut(&key).map(|entry| &mut entry.state) {
            Some(State::Running(running))
                if running.attempt == attempt
                    && running.gives_way.as_ref().is_some_and(|token| !token.is_cancelled()) =>
            {
                running.goes_on = true;
                Ok(())
            }
            _ => Err(Error::new(Reason::CallerCancelled, "someone else ends this doubt")),
        }
    }

    /// The change is to be waited for.
    pub(super) fn close_by_hand(
        &self,
        seen: &Doubt,
        closing: Closing,
    ) -> Result<(Closed, Option<Kept>)> {
        match self.store.trouble() {
            Some(cause) => Err(cause.not_closed()),
            None => Ok(self.close_now(seen, closing)),
        }
    }

    fn close_now(&self, seen: &Doubt, closing: Closing) -> (Closed, Option<Kept>) {
        let mut inner = self.lock();
        self.expire(&mut inner);
        let key = inner.doubts.get(&seen.number).copied();
        let Some(key) = key else { return (Closed::Missing, None) };
        let doubt = match inner.all.get(&key) {
            Some(entry) if is_held(&entry.state) || entry.sent != seen.sent => {
                return (Closed::Attended, None);
            }
            entry => entry.and_then(|entry| entry.doubt(key, self.clock)),
        };
        let (Some(doubt), Some(entry)) = (doubt, inner.take(key)) else {
            return (Closed::Missing, None);
        };
        let Entry { fingerprint, number, sent, state } = entry;
        let kept = kept_of(state);
        self.metrics.settled(match closing {
            Closing::NoEffect => SettledAs::ClosedAsFailed,
            Closing::TookEffect(_) => SettledAs::ClosedAsDone,
        });
        let now = (self.clock.now(), inner.number());
        let state = match closing {
            Closing::TookEffect(result) if key.is_named => {
                Some(result.map_or(State::Closed(now), |result| State::Done(now, result)))
            }
            Closing::TookEffect(_) | Closing::NoEffect => None,
        };
        let change = match &state {
            None => record::forget(number),
            Some(state) => {
                let mut kept = KeptRequest { intent: Bytes::new(), ..kept };
                kept.ended_at = self.clock.to_kept(now.0);
                kept.set_state(KeptState::Closed);
                if let State::Done(_, result) = state {
                    kept.set_state(KeptState::Done);
                    kept.result = result.clone();
                }
                record::keep(number, &kept)
            }
        };
        if let Some(state) = state {
            inner.put(key, Entry { fingerprint, number, sent, state });
        }
        self.measure(&inner);
        (Closed::Closed(Box::new(doubt)), self.keep(|| change))
    }

    /// Counts the doubts of now, for the metrics.
    pub fn measure_doubts(&self) {
        let inner = self.lock();
        let mut by_backend: BTreeMap<Arc<str>, i64> = BTreeMap::new();
        let mut oldest = Duration::ZERO;
        for key in inner.doubts.values() {
            let Some(unresolved) = inner.all.get(key).and_then(Entry::unresolved) else { continue };
            let (Unresolved { since, kept, .. }, _) = unresolved;
            let backend = kept.resource.split('/').nth(1).unwrap_or_default();
            match by_backend.get_mut(backend) {
                Some(count) => *count += 1,
                None => drop(by_backend.insert(backend.into(), 1)),
            }
            oldest = oldest.max(self.clock.since(since.0));
        }
        self.metrics.doubts(by_backend, oldest);
    }

    pub(super) fn take_dropped(&self) -> Vec<Doubt> {
        let mut inner = self.lock();
        self.expire(&mut inner);
        mem::take(&mut inner.dropped)
    }
}

/// Whether a call is at it, or the gateway itself completes what it has made.
fn is_held(state: &State) -> bool {
    matches!(state, State::Running(running) if running.gives_way.is_none() || running.goes_on)
}

/// What is kept of a doubt that ends. The gateway itself, if it is at it, gives way; the calls that
/// wait for it ask again.
fn kept_of(state: State) -> KeptRequest {
    match state {
        State::Unknown(unresolved) => unresolved.kept,
        State::Running(running) => {
            running.gives_way.iter().for_each(CancellationToken::cancel);
            running.earlier.map(|earlier| earlier.kept).unwrap_or_default()
        }
        State::Done(..) | State::Closed(_) => KeptRequest::default(),
    }
}
