//! Allows one write at a time on each profile, and one creation at a time of each display name.
//!
//! No upstream has conditional writes, and most replace a whole list or object. So a profile must
//! not change between reading it and sending the write, at least not through this process. A new
//! profile is recognized by its name where the answer does not identify it, so two creations of one
//! name at once could each take the other's profile for their own.
//!
//! Where replicas share a store, one that has the lock of this process then takes the turn of all
//! of them (`agreement`).
//!
//! The callers of those that wait take turns. The gateway itself, when it looks after a write in
//! doubt, waits for no one, and gives way to all.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::Target,
    call::Call,
    caller::{Turn, Turns},
    error::{Error, Reason, Result},
    gateway::{
        agreement::{Agreement, NoTurn, Permission},
        backend::Backend,
        write::session::end_of_cleanup,
    },
    model::{name::ProfileName, spelling},
    shared::protocol,
};

/// For how long after its start, and for how many profiles, the process remembers which it has
/// written.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
const MAX_WRITTEN: usize = 16_384;

/// The profiles that are being written, by name, and the display names that are being given to new
/// ones.
#[derive(Default)]
pub(crate) struct ProfileLocks {
    lines: Mutex<HashMap<String, Weak<Line>>>,
    written: Written,
    /// With other replicas, if they share a store.
    agreement: Option<Arc<Agreement>>,
}

/// The profiles that this process has written to soon after its start, when it may still complete
/// what the one before has left.
struct Written {
    since: Instant,
    names: Mutex<HashSet<String>>,
}

impl Default for Written {
    fn default() -> Self {
        Self { since: Instant::now(), names: Mutex::default() }
    }
}

impl Written {
    fn is_remembered(&self) -> bool {
        self.since.elapsed() < REMEMBERED
    }
}

#[derive(Default)]
struct Line {
    turns: Turns,
    /// Tells the gateway itself that another one wants to write.
    gives_way: Mutex<Option<CancellationToken>>,
}

/// What the one write holds. The next one may begin when this is dropped.
pub(crate) struct Locked {
    /// Given up first: then the next write of this process waits for it.
    permission: Permission,
    _turn: Turn,
    /// As long as someone has it, others find it.
    _line: Arc<Line>,
}

impl Locked {
    fn here(turn: Turn, line: Arc<Line>) -> Self {
        Self { permission: Permission::here(), _turn: turn, _line: line }
    }

    /// What lets the write be sent, which may change this.
    pub(crate) fn about(&self, backend: &Backend, target: &Target) -> &Permission {
        self.permission.about(|| target.shared(backend.account()))
    }
}

impl ProfileLocks {
    /// Those of a process that agrees with others so.
    pub(crate) fn among(agreement: Option<Arc<Agreement>>) -> Self {
        Self { agreement, ..Self::default() }
    }

    /// With other replicas, if they share a store.
    pub(crate) fn agreement(&self) -> Option<&Arc<Agreement>> {
        self.agreement.as_ref()
    }

    /// Waits until no other write on the profile is running, in this process or another replica.
    pub(crate) async fn lock(
        &self,
        backend: &Backend,
        name: &ProfileName,
        call: &Call,
    ) -> Result<Locked> {
        let locked = self.lock_here(name, call).await?;
        let target = || Target::Profile(name.id().into()).shared(backend.account());
        self.share(locked, target, call).await
    }

    /// The same in this process alone, for what writes nothing.
    pub(crate) async fn lock_here(&self, name: &ProfileName, call: &Call) -> Result<Locked> {
        self.lock_key(name.to_string(), call).await
    }

    /// The same for a creation. Names that differ only in spelling are one name.
    pub(crate) async fn lock_creation(
        &self,
        backend: &Backend,
        display_name: &str,
        call: &Call,
    ) -> Result<Locked> {
        let spelled = spelling::key(display_name);
        // The resource name of a profile has no blank.
        let locked = self.lock_key(format!("{} {spelled}", backend.name()), call).await?;
        let name = || format!("{}/name/{spelled}", backend.account()).into();
        self.share(locked, name, call).await
    }

    /// Waits for the turn of this among all replicas. The gateway itself waits for no one.
    async fn share(
        &self,
        locked: Locked,
        of: impl FnOnce() -> protocol::Target,
        call: &Call,
    ) -> Result<Locked> {
        let Some(agreement) = &self.agreement else { return Ok(locked) };
        let deadline = call.leave.is_none().then_some(call.deadline);
        match agreement.take_turn(of(), end_of_cleanup(call), deadline).await {
            Ok(write) => Ok(Locked { permission: Permission::shared(write), ..locked }),
            Err(NoTurn::Held) if call.leave.is_some() => Err(busy()),
            Err(NoTurn::Held) => Err(late()),
            Err(NoTurn::Refused(error)) => Err(error),
        }
    }

    /// Notes that a profile is about to be changed or deleted. Its lock is held.
    pub(crate) fn note_written(&self, name: &ProfileName) {
        let mut names = self.written.names.lock();
        if !self.written.is_remembered() {
            *names = HashSet::new();
        } else if names.len() < MAX_WRITTEN {
            names.insert(name.to_string());
        }
    }

    /// Whether a profile was certainly not changed since the process started. Its lock is held.
    pub(crate) fn is_unwritten(&self, name: &ProfileName) -> bool {
        // Another replica may have changed it.
        if self.agreement.is_some() {
            return false;
        }
        let names = self.written.names.lock();
        let knows_all = self.written.is_remembered() && names.len() < MAX_WRITTEN;
        knows_all && !names.contains(&name.to_string())
    }

    /// Claims a new profile for a creation among all replicas. False if another creation has it.
    ///
    /// # Errors
    ///
    /// `STORE_UNAVAILABLE` if that is not known.
    pub(crate) async fn claim(
        &self,
        backend: &Backend,
        id: &str,
        creation: u64,
        call: &Call,
    ) -> Result<bool> {
        let Some(agreement) = &self.agreement else { return Ok(true) };
        let claim = format!("{}/claim/{id}", backend.account()).into();
        agreement.claim(claim, creation, call.deadline).await
    }

    async fn lock_key(&self, name: String, call: &Call) -> Result<Locked> {
        let line = {
            let mut lines = self.lines.lock();
            // Drops the lines that no write is in.
            lines.retain(|_, line| line.strong_count() > 0);
            lines.get(&name).and_then(Weak::upgrade).unwrap_or_else(|| {
                let line = Arc::default();
                lines.insert(name, Arc::downgrade(&line));
                line
            })
        };
        if let Some(leave) = &call.leave {
            *line.gives_way.lock() = Some(leave.clone());
            let turn = line.turns.try_take().ok_or_else(busy)?;
            return Ok(Locked::here(turn, line));
        }
        let turn = line.turns.wait(call.record.caller().id());
        // Only now: the gateway itself may have taken the turn a moment ago.
        if let Some(settler) = &*line.gives_way.lock() {
            settler.cancel();
        }
        match timeout_at(call.deadline, turn).await {
            Ok(Ok(turn)) => Ok(Locked::here(turn, line)),
            Ok(Err(_)) | Err(_) => Err(late()),
        }
    }
}

fn late() -> Error {
    Error::new(
        Reason::DeadlineExceeded,
        "the deadline passed while another write to this profile, or another creation with this \
         display name, was running; nothing was sent",
    )
}

/// Why the gateway itself does not look now.
fn busy() -> Error {
    let message = "a call is writing to this profile, or creating one of this display name";
    Error::new(Reason::CallerCancelled, message)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::model::name::BackendName;

    fn name(id: usize) -> ProfileName {
        ProfileName::of(&BackendName::of("fake"), &id.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_remembered_any_more_counts_as_written() {
        let locks = ProfileLocks::default();
        locks.note_written(&name(1));
        assert_eq!([1, 2].map(|id| locks.is_unwritten(&name(id))), [false, true]);
        advance(REMEMBERED).await;
        assert!(!locks.is_unwritten(&name(2)), "it has been too long");
        locks.note_written(&name(3));
        assert_eq!(locks.written.names.lock().len(), 0, "nothing asks for them");

        let locks = ProfileLocks::default();
        (1..=MAX_WRITTEN).for_each(|id| locks.note_written(&name(id)));
        locks.note_written(&name(0));
        assert!(!locks.is_unwritten(&name(0)), "it was one too many");
        assert_eq!(locks.written.names.lock().len(), MAX_WRITTEN);
    }
}
