//! Creation: look who has the name, send, reconcile, complete, read back.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    cache::Target,
    call::Call,
    dialect::{Item, ProfileUpdate, REMOVAL},
    error::{Error, Reason, Result, violation::Violations},
    gateway::{
        Backend, Gateway,
        write::{
            audit::Journal,
            change::{may_yet_happen, refuse_taken_name, unread},
            intent::{Creation, IntentKind, WriteIntent, in_doubt, may_be_removed},
            reconcile::{reconcile, search},
            run::{WriteAction, WriteRequest, identify},
        },
    },
    model::{check, mask::Update, method::Method, name::BackendName},
    pb::{CreateProfileRequest, Profile},
};

impl Gateway {
    /// Creates a profile.
    pub async fn create_profile(
        &self,
        call: &Call,
        request: CreateProfileRequest,
    ) -> Result<Profile> {
        let order = self.order_creation(call, request)?;
        self.carry_out(order).await.map(Option::unwrap_or_default)
    }

    /// A creation that passes every check that needs no upstream.
    pub(crate) fn order_creation(
        &self,
        call: &Call,
        mut request: CreateProfileRequest,
    ) -> Result<WriteRequest> {
        const OPERATION: &str = Method::CreateProfile.name();
        let parent = BackendName::parse("parent", &request.parent)?;
        let backend = Arc::clone(self.backend(call, &parent, OPERATION)?);
        backend.require(Method::CreateProfile)?;
        let mut violations = Violations::default();
        check::request_id(&request.request_id, &mut violations);
        let (request_id, identity) = identify(OPERATION, &mut request, |r| &mut r.request_id);
        let profile = match request.profile {
            Some(profile) => check_new(&backend, profile, &mut violations)?,
            None => {
                violations.add("profile", "is required");
                Profile::default()
            }
        };
        violations.into_result().map_err(|error| backend.fail(OPERATION, error))?;
        Ok(WriteRequest {
            backend,
            call: call.clone(),
            method: OPERATION,
            name: None,
            action: WriteAction::Create(profile),
            validate_only: request.validate_only,
            request_id,
            identity: identity.filter(|_| !request.validate_only),
        })
    }
}

/// Checks a profile to create, and gives it without what only the gateway sets.
pub(crate) fn check_new(
    backend: &Backend,
    profile: Profile,
    violations: &mut Violations,
) -> Result<Profile> {
    let dialect = backend.dialect();
    let profile = Profile {
        name: String::new(),
        dialect: 0,
        endpoint_count: None,
        etag: String::new(),
        unmapped: None,
        ..profile
    };
    check::create(&profile, dialect.capabilities(), dialect.name(), violations)?;
    dialect.check_fields(&profile, &|_| true, violations);
    dialect.check_whole(&profile, None, violations)?;
    Ok(profile)
}

/// A creation as it can be sent.
pub(crate) struct Prepared {
    /// Checked and resolved.
    pub(crate) profile: Profile,
    /// The profiles that had its name before; `None` where the account cannot list.
    pub(crate) before: Option<Vec<Item>>,
}

/// Resolves a checked profile, and finds out whose name it has.
pub(crate) async fn prepare(backend: &Backend, call: &Call, profile: Profile) -> Result<Prepared> {
    let (dialect, session) = (backend.dialect(), backend.session(call));
    let profile = dialect.resolve(&session, profile, None).await?;
    // Should the answer get lost, those are surely not ours.
    let before = match dialect.find_by_name(&session, &profile.display_name).await {
        Ok(items) => Some(items),
        Err(error) if is_out_of_reach(&error) => return Err(error),
        // The account may create without being able to list: then a lost answer stays unknown.
        Err(_) => None,
    };
    Ok(Prepared { profile, before })
}

/// Creates a checked profile.
pub(crate) async fn create(
    order: &WriteRequest,
    journal: &mut Journal,
    profile: Profile,
) -> Result<Profile> {
    let (backend, call) = (&order.backend, &order.call);
    let Prepared { profile, before } = prepare(backend, call, profile).await?;
    if order.validate_only {
        if let Some(before) = &before {
            refuse_taken_name(backend.dialect(), before, None)?;
        }
        return Ok(Profile { name: String::new(), ..backend.presented("", profile) });
    }
    let before = before.map(|items| items.into_iter().map(|item| item.id).collect());
    let creation = Creation::new(profile, before);
    let intent = WriteIntent { what: Some(IntentKind::Create(Box::new(creation.clone()))) };
    journal.intend(&intent).await?;
    let write = backend.cache().write(target(backend, &creation));
    let result = send(backend, call, &creation).await;
    write.end(may_yet_happen(&result));
    if result.as_ref().is_err_and(removal_pending) {
        let creation = Creation { removal_pending: true, ..creation };
        journal.amend(&WriteIntent { what: Some(IntentKind::Create(Box::new(creation))) }).await;
    }
    result
}

/// Whether what a creation has left behind may yet be removed by the gateway itself.
fn removal_pending(error: &Error) -> bool {
    error.metadata().iter().any(|(key, _)| *key == REMOVAL)
}

/// Finds out what became of a creation that an earlier call has sent: completes it when it is there.
/// `None`: it surely is not, and will not be.
pub(crate) async fn resolve(
    backend: &Backend,
    call: &Call,
    creation: &Creation,
    over: Instant,
) -> Result<Option<Profile>> {
    let write = backend.cache().write(target(backend, creation));
    let look = || async {
        match look(backend, call, creation).await? {
            Some(_) if creation.removal_pending && Instant::now() < over => Err(may_be_removed()),
            found => Ok(found),
        }
    };
    let doubt = if creation.removal_pending { may_be_removed() } else { in_doubt() };
    let result = async {
        match search(&doubt, Some(over), call.deadline, look).await? {
            Some(found) => complete(backend, call, found, &creation.profile).await.map(Some),
            None => Ok(None),
        }
    };
    let result = result.await;
    write.end(may_yet_happen(&result));
    Ok(result?.map(|item| backend.present(item)))
}

/// What a creation may change.
fn target(backend: &Backend, creation: &Creation) -> Target {
    match backend.dialect().affects_other_profiles(None, &creation.profile) {
        true => Target::Every,
        false => Target::New,
    }
}

/// Sends a checked creation, and gives the profile as the upstream has it then.
async fn send(backend: &Backend, call: &Call, creation: &Creation) -> Result<Profile> {
    let (dialect, session) = (backend.dialect(), backend.session(call));
    let (port, cleanup) = (backend.write_session(call), backend.cleanup_session(call));
    let profile = &creation.profile;
    let item = match dialect.create(&port, &cleanup, profile).await {
        Ok(id) => match dialect.get(&session, &id).await {
            Ok(item) => item,
            Err(error) => {
                let asked = Item { id, profile: profile.clone() };
                return Ok(unread(backend.present(asked), &error));
            }
        },
        Err(failure) => {
            let look = || look(backend, call, creation);
            let found = reconcile(failure, call.deadline, look).await?;
            complete(backend, call, found, profile).await?
        }
    };
    Ok(backend.present(item))
}

/// Looks for what a creation has made.
async fn look(backend: &Backend, call: &Call, creation: &Creation) -> Result<Option<Item>> {
    let (dialect, session) = (backend.dialect(), backend.settling(call));
    // Fails at once where nothing could be concluded.
    creation.was_there("")?;
    let found = dialect.find_by_name(&session, &creation.profile.display_name).await;
    let found = found.map_err(|error| match error.reason() {
        // Of a profile that was removed while they were read: that says nothing of this one.
        Reason::ProfileNotFound => Error::new(Reason::UpstreamUnavailable, "a profile went away"),
        _ => error,
    });
    for item in found? {
        if !creation.was_there(&item.id)? && dialect.is_created(&creation.profile, &item.profile) {
            return Ok(Some(item));
        }
    }
    Ok(None)
}

/// Does what remains of a creation whose first step got no answer. What the caller left unsaid stays
/// as the upstream has set it: that is no difference.
async fn complete(backend: &Backend, call: &Call, found: Item, asked: &Profile) -> Result<Item> {
    let dialect = backend.dialect();
    let (capabilities, mut ignored) = (dialect.capabilities(), Violations::default());
    let update = Update::parse(None, asked, capabilities, dialect.name(), &mut ignored)?;
    let desired = update.apply(&found.profile, asked, capabilities, &mut ignored)?;
    let change = ProfileUpdate { id: &found.id, current: &found.profile, desired: &desired };
    if dialect.is_applied(change, &found.profile) {
        return Ok(found);
    }
    let session = backend.completing(call);
    // The creation's own says nothing of the new id: a step without an answer may yet happen to it.
    let write = backend.cache().write(Target::Profile(found.id.as_str().into()));
    let updated = dialect.update(&session, change).await;
    write.end(updated.is_err());
    if let Err(failure) = updated {
        return Err(left_behind(&found.id, &failure));
    }
    // The write is done, whatever reading it says.
    let written = Item { id: found.id, profile: desired };
    Ok(dialect.get(&session, &written.id).await.unwrap_or(written))
}

/// The error for a profile that is there, but not, or not surely, all of what was asked for.
fn left_behind(id: &str, failure: &Error) -> Error {
    let message = format!(
        "the profile was created with id {id}, but not surely completed; update or delete it: {}",
        failure.message()
    );
    let error = Error::new(Reason::PartiallyApplied, message).with_metadata("profile_id", id);
    match failure.upstream() {
        Some(facts) => error.with_upstream(facts.clone()),
        None => error,
    }
}

/// Whether a read failed in a way in which a write would fail too, or would find no time.
fn is_out_of_reach(error: &Error) -> bool {
    matches!(
        error.reason(),
        Reason::DeadlineExceeded
            | Reason::Overloaded
            | Reason::UpstreamAccountLocked
            | Reason::UpstreamAuthFailed
            | Reason::UpstreamThrottled
            | Reason::UpstreamUnavailable
    )
}
