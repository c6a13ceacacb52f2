//! Wakes what waits for the end of a write of whichever replica.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::shared::protocol::{Entry, EntryKind};

/// Those who wait, by what they wait for.
#[derive(Debug, Default)]
pub(super) struct Wakes(Mutex<HashMap<Arc<str>, Weak<watch::Sender<u64>>>>);

/// Waits for the end of a write. An end that comes before [`Self::wait`] counts, too.
#[derive(Debug)]
pub struct Woken {
    ends: watch::Receiver<u64>,
    /// As long as someone has it, it is told of ends.
    _sender: Arc<watch::Sender<u64>>,
}

impl Woken {
    /// Returns once a write has ended since this was made, or since it returned before.
    pub async fn wait(&mut self) {
        // The sender lives as long as this.
        let _ = self.ends.changed().await;
    }
}

impl Wakes {
    /// Waits for the end of a write with this target or of this request id.
    pub(super) fn when_closed(&self, what: &str) -> Woken {
        let mut waiting = self.0.lock();
        let known = waiting.get(what).and_then(Weak::upgrade);
        let sender = known.unwrap_or_else(|| {
            // Drops those that no one waits for any more.
            waiting.retain(|_, sender| sender.strong_count() > 0);
            let sender = Arc::new(watch::Sender::new(0));
            waiting.insert(what.into(), Arc::downgrade(&sender));
            sender
        });
        Woken { ends: sender.subscribe(), _sender: sender }
    }

    /// Entries of the log were applied.
    pub(super) fn applied(&self, entries: &[Entry]) {
        let waiting = self.0.lock();
        if waiting.is_empty() {
            return;
        }
        let wake = |what: &str| {
            let sender = waiting.get(what).and_then(Weak::upgrade);
            sender.into_iter().for_each(|sender| sender.send_modify(|ends| *ends += 1));
        };
        for entry in entries {
            match &entry.kind {
                EntryKind::Closed { target, request, .. } => {
                    wake(target);
                    // Those who wait for any write to the account.
                    wake(account(target));
                    request.iter().for_each(|request| wake(request));
                }
                EntryKind::Looked { history } => wake(history),
                EntryKind::Opened { .. } | EntryKind::Purged { .. } => {}
            }
        }
    }

    /// Some ends may not be told: all ask again.
    pub(super) fn all(&self) {
        let waiting = self.0.lock();
        for sender in waiting.values().filter_map(Weak::upgrade) {
            sender.send_modify(|ends| *ends += 1);
        }
    }
}

/// The account of a target, which is how its text begins.
fn account(target: &str) -> &str {
    target.split('/').next().unwrap_or(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::protocol::WriteId;

    fn closed(target: &str, request: Option<&str>) -> Entry {
        let (write, is_unsettled) = (WriteId(1), false);
        let (target, request) = (target.into(), request.map(Into::into));
        let made = None;
        let kind = EntryKind::Closed { write, target, is_unsettled, request, made };
        Entry { number: 1, epoch: "e".into(), kind }
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_wakes_those_who_wait_for_it_and_no_others() {
        let wakes = Wakes::default();
        let mut first = wakes.when_closed("p");
        let mut second = wakes.when_closed("p");
        let mut request = wakes.when_closed("r");
        let mut other = wakes.when_closed("q");
        wakes.applied(&[closed("p", Some("r")), closed("x", None)]);
        first.wait().await;
        second.wait().await;
        request.wait().await;
        let is_quiet = |woken: &Woken| !woken.ends.has_changed().unwrap();
        assert!(is_quiet(&other) && is_quiet(&first), "each end wakes once");
        wakes.all();
        other.wait().await;
        request.wait().await;
        let mut account = wakes.when_closed("a");
        let mut looked = wakes.when_closed("a/history/b");
        wakes.applied(&[closed("a/p/1", None), closed("b/p/1", None)]);
        account.wait().await;
        assert!(is_quiet(&looked));
        let history = "a/history/b".into();
        let kind = EntryKind::Looked { history };
        wakes.applied(&[Entry { number: 2, epoch: "e".into(), kind }]);
        looked.wait().await;
        assert!(is_quiet(&account));
        drop((account, looked));
        drop((first, second, request, other));
        let _last = wakes.when_closed("z");
        assert_eq!(wakes.0.lock().len(), 1, "no one waits for the others");
    }
}
