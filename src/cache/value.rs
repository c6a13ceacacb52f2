//! What can be read, and the result.

use std::sync::Arc;

use compact_str::CompactString;

use crate::{
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

/// Profiles with their ids.
pub type List = Vec<(Id, Encoded<Profile>)>;

/// The ids of profiles that could not be read, each with the reason.
pub type Unreadable = Vec<(Id, Error)>;

/// An upstream id, stored inline because ids are short.
pub type Id = CompactString;

impl Value {
    /// Its size in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Profile(profile) => profile.bytes().len(),
            Self::Absent(error) => 512 + error.message().len(),
            // Includes the id and the allocation's overhead.
            Self::Profiles(list) | Self::Fields(list, _) | Self::Partial(list, _) => {
                list.iter().map(|(_, profile)| profile.bytes().len() + 64).sum()
            }
            Self::Services(services) => {
                services.iter().map(|service| 256 + prost::Message::encoded_len(service)).sum()
            }
        }
    }
}
