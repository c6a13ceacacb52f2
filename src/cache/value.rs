//! What can be read, and the result.

use std::{ops::Deref, sync::Arc};

use compact_str::CompactString;

use crate::{
    caller::Held,
    error::Error,
    pb::{Encoded, Profile, Service},
};

/// What can be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Resource {
    /// One profile, by its upstream id.
    Profile(Id),
    /// All profiles.
    Profiles,
    /// All profiles, of which only the fields count that the upstream's own list shows.
    Brief,
    /// The services that a profile can hold.
    Services,
}

/// What was read. Clones share.
#[derive(Debug, Clone)]
pub enum Value {
    /// The profile.
    Profile(Encoded<Profile>),
    /// There is no such profile, with the upstream's error.
    Absent(Arc<Error>),
    /// All profiles with their ids, in the upstream's order.
    Profiles(Arc<List>),
    /// All profiles, of which only fields at these paths count.
    Fields(Arc<List>, Arc<Vec<&'static str>>),
    /// All profiles without some that could not be read. It answers those who wait for it, and is
    /// not kept.
    Partial(Arc<List>, Arc<Unreadable>),
    /// The services.
    Services(Arc<Vec<Service>>),
}

/// Profiles with their ids, and the memory that they take until a cache counts it.
#[derive(Debug, Default)]
pub struct List {
    entries: Vec<(Id, Encoded<Profile>)>,
    taken: Option<Held>,
}

impl List {
    /// Keeps the memory for it.
    pub(super) fn hold(&mut self, taken: Held) {
        self.taken = Some(taken);
    }

    /// Gives the memory back, because a cache counts it from now on.
    pub(super) fn is_cached(&self) {
        self.taken.iter().for_each(Held::release);
    }

    /// Its size in bytes, with the ids and the overhead of allocations.
    #[must_use]
    pub fn size(&self) -> usize {
        self.entries.iter().map(|(_, profile)| profile.bytes().len() + 64).sum()
    }
}

impl Deref for List {
    type Target = [(Id, Encoded<Profile>)];

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

impl FromIterator<(Id, Encoded<Profile>)> for List {
    fn from_iter<I: IntoIterator<Item = (Id, Encoded<Profile>)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect(), taken: None }
    }
}

/// The ids of profiles that could not be read, each with the reason.
pub type Unreadable = Vec<(Id, Error)>;

/// An upstream id, stored inline because ids are short.
pub type Id = CompactString;

impl Resource {
    /// Whether it is a list of all profiles.
    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::Profiles | Self::Brief)
    }
}

impl Value {
    /// The list, if it is one that is not shared yet.
    pub(super) fn list_mut(&mut self) -> Option<&mut List> {
        match self {
            Self::Profiles(list) | Self::Fields(list, _) | Self::Partial(list, _) => {
                Arc::get_mut(list)
            }
            Self::Profile(_) | Self::Absent(_) | Self::Services(_) => None,
        }
    }

    /// How many profiles it has.
    pub(super) fn profiles(&self) -> usize {
        match self {
            Self::Profiles(list) | Self::Fields(list, _) | Self::Partial(list, _) => list.len(),
            Self::Profile(_) | Self::Absent(_) | Self::Services(_) => 1,
        }
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Profile(profile) => profile.bytes().len(),
            Self::Absent(error) => 512 + error.message().len(),
            Self::Profiles(list) | Self::Fields(list, _) | Self::Partial(list, _) => list.size(),
            Self::Services(services) => {
                services.iter().map(|service| 256 + prost::Message::encoded_len(service)).sum()
            }
        }
    }
}
