//! Allows one write at a time on each profile.
//!
//! No upstream has conditional writes, and most replace a whole list or object. So a profile must
//! not change between reading it and sending the write, at least not through this process.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::{Instant, timeout_at},
};

use crate::{
    error::{Error, Reason, Result},
    model::name::ProfileName,
};

/// The profiles that are being written, by name.
#[derive(Default)]
pub(crate) struct ProfileLocks(Mutex<HashMap<String, Weak<AsyncMutex<()>>>>);

impl ProfileLocks {
    /// Waits until no other write on the profile is running. The next write may begin when the
    /// guard is dropped.
    pub(crate) async fn lock(
        &self,
        name: &ProfileName,
        deadline: Instant,
    ) -> Result<OwnedMutexGuard<()>> {
        let lock = {
            let mut locks = self.0.lock();
            // Drops the locks that no running write holds.
            locks.retain(|_, lock| lock.strong_count() > 0);
            let name = name.to_string();
            locks.get(&name).and_then(Weak::upgrade).unwrap_or_else(|| {
                let lock = Arc::new(AsyncMutex::new(()));
                locks.insert(name, Arc::downgrade(&lock));
                lock
            })
        };
        timeout_at(deadline, lock.lock_owned()).await.map_err(|_| {
            Error::new(
                Reason::DeadlineExceeded,
                "the deadline passed while another write to this profile was running; nothing \
                 was sent",
            )
        })
    }
}
