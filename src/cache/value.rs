//! What can be read, and what a read gives.

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
    /// The services that a profile can hold.
    Services,
}

/// What has been read. Clones share.
#[derive(Debug, Clone)]
pub enum Value {
    /// The profile.
    Profile(Encoded<Profile>),
    /// There is no such profile, in the upstream's words.
    Absent(Arc<Error>),
    /// All profiles, with their ids, in their order.
    Profiles(Arc<List>),
    /// The services.
    Services(Arc<Vec<Service>>),
}

/// Profiles with their ids.
pub type List = Vec<(Id, Encoded<Profile>)>;

/// An upstream id; ids are short, so that it needs no memory of its own.
pub type Id = CompactString;

impl Value {
    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Profile(profile) => profile.bytes().len(),
            Self::Absent(error) => 512 + error.message().len(),
            // With the id, and what the allocation brings with it.
            Self::Profiles(list) => {
                list.iter().map(|(_, profile)| profile.bytes().len() + 64).sum()
            }
            Self::Services(services) => {
                services.iter().map(|service| 256 + prost::Message::encoded_len(service)).sum()
            }
        }
    }
}
