//! Allows one write at a time on each profile, and one creation at a time of each display name.
//!
//! No upstream has conditional writes, and most replace a whole list or object. So a profile must
//! not change between reading it and sending the write, at least not through this process. A new
//! profile is recognized by its name where the answer does not identify it, so two creations of one
//! name at once could each take the other's profile for their own.

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
    model::{
        name::{BackendName, ProfileName},
        spelling,
    },
};

/// The profiles that are being written, by name, and the display names that are being given to new
/// ones.
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
        self.lock_key(name.to_string(), deadline).await
    }

    /// The same for a creation. Names that differ only in spelling are one name.
    pub(crate) async fn lock_creation(
        &self,
        backend: &BackendName,
        display_name: &str,
        deadline: Instant,
    ) -> Result<OwnedMutexGuard<()>> {
        // The resource name of a profile has no blank.
        let key = format!("{backend} {}", spelling::key(display_name));
        self.lock_key(key, deadline).await
    }

    async fn lock_key(&self, name: String, deadline: Instant) -> Result<OwnedMutexGuard<()>> {
        let lock = {
            let mut locks = self.0.lock();
            // Drops the locks that no running write holds.
            locks.retain(|_, lock| lock.strong_count() > 0);
            locks.get(&name).and_then(Weak::upgrade).unwrap_or_else(|| {
                let lock = Arc::new(AsyncMutex::new(()));
                locks.insert(name, Arc::downgrade(&lock));
                lock
            })
        };
        timeout_at(deadline, lock.lock_owned()).await.map_err(|_| {
            Error::new(
                Reason::DeadlineExceeded,
                "the deadline passed while another write to this profile, or another creation with \
                 this display name, was running; nothing was sent",
            )
        })
    }
}
