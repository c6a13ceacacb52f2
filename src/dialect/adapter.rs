//! The traits that a dialect implements, and their types.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;

use crate::{
    error::{Error, Reason, Result, violation::Violations},
    model::{capability::Capabilities, method::Method, note::Notes, spelling::Sent},
    pb::{self, Profile, Service, TrafficLimit},
    upstream::{Port, Reply, Request},
};

/// What one kind of upstream can express. Nothing here sends requests.
pub trait Dialect: Send + Sync + 'static {
    /// Its name in the configuration and in messages.
    fn name(&self) -> &'static str;

    /// Its value in the model.
    fn kind(&self) -> pb::Dialect;

    /// What it can do. Validation and `GetBackend` use this same table.
    fn capabilities(&self) -> &'static Capabilities;

    /// Whether display names are unique within an account.
    fn has_unique_names(&self) -> bool;

    /// Whether a list shows everything about a profile.
    fn lists_are_complete(&self) -> bool;

    /// The paths of the fields that the upstream's own list shows, where it shows less than a read
    /// of one profile. A caller who wants no others is answered with one request.
    fn listed_fields(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Whether the upstream may apply a write to other profiles of the account too. `current` is
    /// the profile before an update.
    fn affects_other_profiles(&self, _current: Option<&Profile>, _desired: &Profile) -> bool {
        false
    }

    /// Whether this can be the id of a profile.
    fn accepts_id(&self, id: &str) -> bool;

    /// What such an id looks like, for messages.
    fn example_id(&self) -> &'static str;

    /// Checks the touched fields of a request on their own, before the profile is read. Paths of
    /// violations begin with `profile.`.
    fn check_fields(
        &self,
        request: &Profile,
        touched: &(dyn Fn(&str) -> bool + Sync),
        violations: &mut Violations,
    );

    /// Checks the whole profile that a write would result in. `current` is the profile before an
    /// update. Returns an error of its own if the change would lose data that the model cannot
    /// express.
    fn check_whole(
        &self,
        desired: &Profile,
        current: Option<&Profile>,
        violations: &mut Violations,
    ) -> Result<()>;

    /// Adapts a profile of another backend to what this dialect supports, and notes the changes.
    /// The draft has only fields that the dialect can set, and services of its own catalog.
    fn coerce(&self, _draft: &mut Profile, _notes: &mut Notes) {}

    /// The fields of its profiles that reads do not look at, each with the reason.
    fn not_read(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Notes what a caller should know of a write that the upstream accepts. `current` is the
    /// profile before an update.
    fn caution(&self, _current: Option<&Profile>, _desired: &Profile, _notes: &mut Notes) {}

    /// The upstream's id of the exchange with this reply, if successful replies have one. Errors
    /// have it in their facts.
    fn request_id(&self, _reply: &Reply) -> Option<String> {
        None
    }

    /// A fake successful reply to a write that is not sent. A simulated creation gets an id that
    /// the dialect accepts but the upstream never assigns.
    fn simulate(&self, request: &Request) -> Reply;

    /// Whether a profile that was read after a change has what the change asked for.
    fn is_applied(&self, change: ProfileUpdate<'_>, found: &Profile) -> bool;

    /// Whether a profile that was read after an acknowledged change agrees with it. Unlike
    /// [`Dialect::is_applied`], this proves nothing: a member that always has a value agrees if the
    /// upstream does not say it, and so does a cleared field with its default. A creation is a
    /// change of an empty profile.
    fn agrees(&self, change: ProfileUpdate<'_>, found: &Profile) -> bool {
        self.is_applied(change, found)
    }

    /// Whether a profile that appeared with the right name is the one whose creation got no answer:
    /// everything set by the creating request agrees. An update completes what later steps would
    /// have set.
    fn is_created(&self, desired: &Profile, found: &Profile) -> bool;

    /// Whether a new profile has what [`Operations::finish`] adds to it.
    fn is_finished(&self, _desired: &Profile, _found: &Profile) -> bool {
        true
    }
}

/// The operations of a dialect, over a [`Port`]. Code outside of this room calls them through a
/// [`DialectClient`](super::client::DialectClient).
#[async_trait]
pub trait Operations: Dialect {
    /// Completes a profile to be written with data from the upstream: services and limits that are
    /// described get their ids. Writes nothing, so it is also part of `validate_only`. `current` is
    /// the profile before an update.
    async fn resolve(
        &self,
        _port: &dyn Port,
        desired: Profile,
        _current: Option<&Profile>,
    ) -> Result<Profile> {
        Ok(desired)
    }

    /// Reads one profile. Fails with `PROFILE_NOT_FOUND` if it does not exist.
    async fn get(&self, port: &dyn Port, id: &str) -> Result<Item>;

    /// Reads all profiles.
    async fn list(&self, port: &dyn Port) -> Result<Listing>;

    /// Reads all profiles, or as many as the vendor's limits leave room for now. `so_far` is what
    /// earlier calls have read, and has what this one reads.
    async fn list_in_parts(&self, port: &dyn Port, _so_far: &mut SoFar) -> Result<ListPart> {
        self.list(port).await.map(ListPart::Complete)
    }

    /// Reads these of the [`Dialect::listed_fields`] of all profiles with one request; whole
    /// profiles if the upstream's list lacks any of them.
    async fn list_briefly(&self, port: &dyn Port, _fields: &[&'static str]) -> Result<Brief> {
        self.list(port).await.map(Brief::Whole)
    }

    /// Reads the profiles with this display name, in whatever spelling. It needs fewer requests
    /// than a list whose entries are incomplete.
    async fn find_by_name(&self, port: &dyn Port, display_name: &str) -> Result<Named> {
        let items = self.list(port).await?.items;
        let all = items.iter().map(|item| item.id.clone()).collect();
        Ok(Named { all, ..Named::among(items, &Sent::new(display_name)) })
    }

    /// Sends the request that creates a checked and resolved profile. Returns the id in the answer;
    /// `None` if the answer has none, although it reports success. Whether the profile of that id
    /// is the new one is for the caller to find out.
    async fn create(&self, port: &dyn Port, profile: &Profile) -> Result<Option<String>>;

    /// Adds to a new profile, as it was found, what the creating request could not carry. If that
    /// fails, the profile is removed through `cleanup`, which still has time when `port` has none
    /// left; without one, the profile is left as it is.
    async fn finish(
        &self,
        _port: &dyn Port,
        _cleanup: Option<&dyn Port>,
        _found: &Item,
        _desired: &Profile,
    ) -> Result<()> {
        Ok(())
    }

    /// Makes a checked and resolved change: sends only the differences, if any.
    async fn update(&self, port: &dyn Port, change: ProfileUpdate<'_>) -> Result<()>;

    /// Deletes a profile. Fails with `PROFILE_NOT_FOUND` if it does not exist.
    async fn delete(&self, port: &dyn Port, id: &str) -> Result<()>;

    /// The services that a profile can hold.
    async fn services(&self, port: &dyn Port) -> Result<Vec<Service>>;

    /// Returns the profile with one service or limit added or removed, resolved. An update then
    /// sends the difference.
    async fn edit(&self, port: &dyn Port, current: &Profile, edit: &Edit) -> Result<Profile>;
}

/// A profile with its upstream id. Its `name`, `dialect` and `etag` are not set yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The upstream's own id.
    pub id: String,
    /// The profile as the dialect read it.
    pub profile: Profile,
}

/// What a list shows of a display name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Named {
    /// The ids of all profiles that are there, whatever their names.
    pub all: Vec<String>,
    /// The profiles whose names differ from the requested one in no more than spelling.
    pub items: Vec<Item>,
    /// The ids of others whose names may be all that is left of the requested one.
    pub remains: Vec<String>,
}

impl Named {
    /// Those of the profiles whose names are the requested one or may be left of it.
    #[must_use]
    pub fn among(items: Vec<Item>, sent: &Sent<'_>) -> Self {
        let mut named = Self::default();
        for item in items {
            let name = &item.profile.display_name;
            if sent.likeness(name).is_some() {
                named.items.push(item);
            } else if sent.may_leave(name) {
                named.remains.push(item.id);
            }
        }
        named
    }
}

/// All profiles of an account.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The profiles that could be read.
    pub items: Vec<Item>,
    /// The ids of those that are there but could not be read, each with the reason.
    pub unreadable: Vec<(String, Error)>,
}

/// All profiles, with no more than what the upstream's own list shows of them if that is enough.
#[derive(Debug)]
pub enum Brief {
    /// The profiles, and the paths of the fields that the list shows of every one.
    Fields(Vec<Item>, Vec<&'static str>),
    /// The profiles with everything.
    Whole(Listing),
}

/// The profiles that a list has read so far, by id, or why they cannot be read.
pub type SoFar = HashMap<String, Result<Item>>;

/// How far the parts of a list have come.
#[derive(Debug)]
pub enum ListPart {
    /// To its end.
    Complete(Listing),
    /// The vendor's limits may have room for more after this time.
    Rest(Duration),
}

impl From<Vec<Item>> for Listing {
    fn from(items: Vec<Item>) -> Self {
        Self { items, unreadable: Vec::new() }
    }
}

/// A change of a profile.
#[derive(Debug, Clone, Copy)]
pub struct ProfileUpdate<'a> {
    /// The upstream's own id.
    pub id: &'a str,
    /// The profile as it was read just before.
    pub current: &'a Profile,
    /// The profile after the change.
    pub desired: &'a Profile,
}

/// One service or traffic limit to add or remove.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Add a service.
    AttachService(Service),
    /// Remove a service.
    DetachService(Service),
    /// Add a limit to a service.
    AttachTrafficLimit(Service, TrafficLimit),
    /// Remove a limit from a service.
    DetachTrafficLimit(Service, TrafficLimit),
}

impl Edit {
    /// The method that makes this edit.
    #[must_use]
    pub fn method(&self) -> Method {
        match self {
            Self::AttachService(_) => Method::AttachService,
            Self::DetachService(_) => Method::DetachService,
            Self::AttachTrafficLimit(..) => Method::AttachTrafficLimit,
            Self::DetachTrafficLimit(..) => Method::DetachTrafficLimit,
        }
    }
}

/// The error for a service that the profile already has.
#[must_use]
pub fn already_attached(service: &str) -> Error {
    Error::new(Reason::ServiceAlreadyAttached, format!("the profile already has service {service}"))
}

/// The error for a service that the profile does not have.
#[must_use]
pub fn not_attached(service: &str) -> Error {
    Error::new(Reason::ServiceNotAttached, format!("the profile does not have service {service}"))
}
