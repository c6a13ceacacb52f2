//! The lists that polls take.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::history::Profiles;
use crate::{
    cache::{Control, List, Unreadable},
    call::Call,
    gateway::backend::Backend,
    model::name::ProfileName,
    query::sort,
};

/// How long a poll may take: that of the longest list, at the default limit of the slowest vendor.
const LONGEST_POLL: Duration = Duration::from_secs(24 * 60 * 60);

/// A list as the history keeps it.
pub(super) fn placed(backend: &Backend, list: &List) -> Profiles {
    list.iter().map(|(id, profile)| (sort_key(backend, id), profile.clone())).collect()
}

/// What cannot be read now, as it was.
pub(super) fn kept(backend: &Backend, unreadable: &Unreadable, before: &Profiles) -> Profiles {
    let keys = unreadable.iter().map(|(id, _)| sort_key(backend, id));
    keys.filter_map(|key| before.get(&key).cloned().map(|profile| (key, profile))).collect()
}

fn sort_key(backend: &Backend, id: &str) -> String {
    sort::sort_key(&ProfileName::of(backend.name(), id).to_string())
}

/// A call of the gateway's own.
pub(super) fn own_call() -> Call {
    Call {
        deadline: Instant::now() + LONGEST_POLL,
        // A cached list can be older than a write that another client finished long ago.
        cache_control: Control { no_cache: true, alone: true, ..Control::default() },
        record: Arc::default(),
        leave: None,
    }
}
