//! One write at a time on each profile.
//!
//! No upstream has conditional writes, and most take a whole list or object. So what is read before a
//! write must still be so when it is sent, at least as far as this process writes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{
    sync::{Mutex as Turn, OwnedMutexGuard},
    time::{Instant, timeout_at},
};

use crate::error::{Error, Reason, Result};

/// The profiles of one backend that are being written.
#[derive(Default)]
pub(crate) struct ProfileLocks(Mutex<HashMap<String, Weak<Turn<()>>>>);

impl ProfileLocks {
    /// Waits until nobody else writes the profile; the next may when the guard is dropped.
    pub(crate) async fn take(&self, id: &str, deadline: Instant) -> Result<OwnedMutexGuard<()>> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // As many are left as writes run at once.
            turns.retain(|_, turn| turn.strong_count() > 0);
            turns.get(id).and_then(Weak::upgrade).unwrap_or_else(|| {
                let turn = Arc::new(Turn::new(()));
                turns.insert(id.to_owned(), Arc::downgrade(&turn));
                turn
            })
        };
        timeout_at(deadline, turn.lock_owned()).await.map_err(|_| {
            Error::new(
                Reason::DeadlineExceeded,
                "the deadline passed while another write on this profile was under way; nothing \
                 was sent",
            )
        })
    }
}
