//! What a dialect has to do: the trait, and the types that it speaks of.

use async_trait::async_trait;

use crate::{
    error::{Error, Reason, Result, violation::Violations},
    model::{capability::Capabilities, method::Method, note::Notes},
    pb::{self, Profile, Service, TrafficLimit},
    upstream::{Port, Reply, Request},
};

/// The metadatum of a half done creation that the dialect tried to remove again, in vain as far as
/// it shows: what is there may yet go.
pub const REMOVAL: &str = "removal";

/// One kind of upstream: what it can say. Nothing here asks it.
pub trait Dialect: Send + Sync + 'static {
    /// Its name in the configuration and in messages.
    fn name(&self) -> &'static str;

    /// Its value in the model.
    fn kind(&self) -> pb::Dialect;

    /// What it can do. Validation and `GetBackend` use this same table.
    fn capabilities(&self) -> &'static Capabilities;

    /// Whether an account cannot have two profiles of one display name.
    fn has_unique_names(&self) -> bool;

    /// Whether what a list shows of a profile is all that reading it alone shows.
    fn lists_are_complete(&self) -> bool;

    /// Whether the upstream may carry a write on to other profiles of the account. `current` is
    /// what is there before an update.
    fn affects_other_profiles(&self, _current: Option<&Profile>, _desired: &Profile) -> bool {
        false
    }

    /// Whether such an id can exist in it.
    fn accepts_id(&self, id: &str) -> bool;

    /// Checks the touched fields of a request by themselves, before anything is known of the
    /// profile upstream. Paths of violations begin with `profile.`.
    fn check_fields(
        &self,
        request: &Profile,
        touched: &(dyn Fn(&str) -> bool + Sync),
        violations: &mut Violations,
    );

    /// Checks a whole profile as a write would leave it; `current` is what is there before an
    /// update. Fails by itself where a change would lose what the model cannot say.
    fn check_whole(
        &self,
        desired: &Profile,
        current: Option<&Profile>,
        violations: &mut Violations,
    ) -> Result<()>;

    /// Fits a profile of another backend into what this dialect can say, and notes what it changes.
    /// The draft has only fields that the dialect can set, and services of its own catalog.
    fn coerce(&self, _draft: &mut Profile, _notes: &mut Notes) {}

    /// What the upstream calls the exchange that ended with this answer, where it says so when all
    /// goes well. Errors have it in their facts.
    fn request_id(&self, _reply: &Reply) -> Option<String> {
        None
    }

    /// The upstream's answer to a write that succeeds, for one that is not sent. A creation gets an
    /// id that the dialect accepts and the upstream never gives.
    fn simulate(&self, request: &Request) -> Reply;

    /// Whether a profile read after a change has what the change asked for.
    fn is_applied(&self, change: ProfileUpdate<'_>, found: &Profile) -> bool;

    /// Whether a profile that appeared with the name of one whose creation got no answer is that
    /// one: what the creating request itself sets is as asked for. What further steps set is
    /// completed by an update.
    fn is_created(&self, desired: &Profile, found: &Profile) -> bool;
}

/// What it does upstream, over a [`Port`]. All that calls it from outside does so through a
/// [`DialectClient`](super::client::DialectClient).
#[async_trait]
pub trait Operations: Dialect {
    /// Completes a profile that a write asks for with what its upstream alone knows: services and
    /// limits that a request names by what they are get their ids. Writes nothing, so that it is
    /// part of `validate_only` too. `current` is what is there before an update.
    async fn resolve(
        &self,
        _port: &dyn Port,
        desired: Profile,
        _current: Option<&Profile>,
    ) -> Result<Profile> {
        Ok(desired)
    }

    /// Reads one profile. Fails with `PROFILE_NOT_FOUND` when there is none.
    async fn get(&self, port: &dyn Port, id: &str) -> Result<Item>;

    /// Reads all profiles.
    async fn list(&self, port: &dyn Port) -> Result<Vec<Item>>;

    /// Reads the profiles that have this display name. Fewer requests than a list where lists are
    /// short views.
    async fn find_by_name(&self, port: &dyn Port, display_name: &str) -> Result<Vec<Item>> {
        let items = self.list(port).await?;
        Ok(items.into_iter().filter(|item| item.profile.display_name == display_name).collect())
    }

    /// Creates a checked and resolved profile and gives its id. A creation of several steps that
    /// fails half way undoes itself through `cleanup`, which still has time when `port` has none
    /// left.
    async fn create(
        &self,
        port: &dyn Port,
        cleanup: &dyn Port,
        profile: &Profile,
    ) -> Result<String>;

    /// Makes a checked and resolved change: sends what differs between the two, and nothing when
    /// nothing does.
    async fn update(&self, port: &dyn Port, change: ProfileUpdate<'_>) -> Result<()>;

    /// Deletes a profile. Fails with `PROFILE_NOT_FOUND` when there is none.
    async fn delete(&self, port: &dyn Port, id: &str) -> Result<()>;

    /// The services that a profile can hold.
    async fn services(&self, port: &dyn Port) -> Result<Vec<Service>>;

    /// The profile with one service or limit more or less, resolved; an update then sends the
    /// difference.
    async fn edit(&self, port: &dyn Port, current: &Profile, edit: &Edit) -> Result<Profile>;
}

/// A profile with its upstream id; its `name`, `dialect` and `etag` are still empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The upstream's own id.
    pub id: String,
    /// What the dialect has read.
    pub profile: Profile,
}

/// A change of a profile.
#[derive(Debug, Clone, Copy)]
pub struct ProfileUpdate<'a> {
    /// The upstream's own id.
    pub id: &'a str,
    /// The profile as it was read just before.
    pub current: &'a Profile,
    /// The profile as it is to be.
    pub desired: &'a Profile,
}

/// One service or traffic limit to add or to take.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Add a service.
    AttachService(Service),
    /// Take a service.
    DetachService(Service),
    /// Add a limit to a service.
    AttachTrafficLimit(Service, TrafficLimit),
    /// Take a limit from a service.
    DetachTrafficLimit(Service, TrafficLimit),
}

impl Edit {
    /// The method that asks for it.
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

/// The error for a service that the profile has already.
#[must_use]
pub fn already_attached(service: &str) -> Error {
    Error::new(Reason::ServiceAlreadyAttached, format!("the profile already has service {service}"))
}

/// The error for a service that the profile does not have.
#[must_use]
pub fn not_attached(service: &str) -> Error {
    Error::new(Reason::ServiceNotAttached, format!("the profile does not have service {service}"))
}
