//! Creation: look for profiles that already have the name, send, reconcile, complete, read back.

use tokio::time::Instant;

use crate::{
    cache::Target,
    call::Call,
    dialect::{Item, ProfileUpdate, REMOVAL},
    error::{Error, Reason, Result, violation::Violations},
    gateway::{
        backend::Backend,
        write::{
            audit::Journal,
            intent::{Creation, IntentKind, WriteIntent},
            outcome::{may_be_removed, may_yet_happen, unread, unresolved},
            prepare,
            reconcile::{reconcile, search},
            session,
        },
    },
    model::mask::Update,
    pb::Profile,
};

/// Creates a checked profile: looks for profiles that already have its name, journals the creation,
/// sends it, and returns the profile as read back from the upstream.
pub(crate) async fn create(
    backend: &Backend,
    call: &Call,
    profile: Profile,
    validate_only: bool,
    journal: &mut Journal,
) -> Result<Profile> {
    let prepared = prepare::creation(backend, call, profile).await?;
    if validate_only {
        prepared.check_name(backend)?;
        return Ok(Profile { name: String::new(), ..backend.presented("", prepared.profile) });
    }
    let creation = Creation::new(prepared.profile, prepared.namesakes);
    let intent = IntentKind::Create(Box::new(creation.clone()));
    journal.intend(&WriteIntent::new(intent)).await?;
    let write = backend.cache().write(affected(backend, &creation));
    let result = send(backend, call, &creation).await;
    write.end(may_yet_happen(&result));
    if result.as_ref().is_err_and(removal_pending) {
        let creation = Creation { removal_pending: true, ..creation };
        journal.amend(&WriteIntent::new(IntentKind::Create(Box::new(creation)))).await;
    }
    result
}

/// Whether the gateway's own removal of a partly created profile may still take effect.
fn removal_pending(error: &Error) -> bool {
    error.metadata().iter().any(|(key, _)| *key == REMOVAL)
}

/// Finds out the outcome of a creation that an earlier call sent, and completes the profile if it
/// exists. `None` means that it does not exist, and that the earlier call can no longer create it.
pub(crate) async fn resolve(
    backend: &Backend,
    call: &Call,
    creation: &Creation,
    over: Instant,
) -> Result<Option<Profile>> {
    let write = backend.cache().write(affected(backend, creation));
    let look = || async {
        match look(backend, call, creation).await? {
            Some(_) if creation.removal_pending && Instant::now() < over => Err(may_be_removed()),
            found => Ok(found),
        }
    };
    let doubt = if creation.removal_pending { may_be_removed() } else { unresolved() };
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

/// What a creation may affect.
fn affected(backend: &Backend, creation: &Creation) -> Target {
    match backend.dialect().affects_other_profiles(None, &creation.profile) {
        true => Target::Every,
        false => Target::New,
    }
}

/// Sends a checked creation, and returns the profile as read back from the upstream.
async fn send(backend: &Backend, call: &Call, creation: &Creation) -> Result<Profile> {
    let (dialect, session) = (backend.dialect(), backend.session(call));
    let (port, cleanup) = (session::for_write(backend, call), session::for_cleanup(backend, call));
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

/// Looks for the profile that a creation made.
async fn look(backend: &Backend, call: &Call, creation: &Creation) -> Result<Option<Item>> {
    let (dialect, session) = (backend.dialect(), session::for_reading_back(backend, call));
    // Fails at once if no conclusion is possible.
    creation.was_there("")?;
    let found = dialect.find_by_name(&session, &creation.profile.display_name).await;
    let found = found.map_err(|error| match error.reason() {
        // Another profile was removed during the read, which says nothing about this one.
        Reason::ProfileNotFound => {
            Error::new(Reason::UpstreamUnavailable, "another profile was removed during the read")
        }
        _ => error,
    });
    for item in found? {
        if !creation.was_there(&item.id)? && dialect.is_created(&creation.profile, &item.profile) {
            return Ok(Some(item));
        }
    }
    Ok(None)
}

/// Completes a creation whose first step got no answer. Fields that the caller left unset keep the
/// values that the upstream has set.
async fn complete(backend: &Backend, call: &Call, found: Item, asked: &Profile) -> Result<Item> {
    let dialect = backend.dialect();
    let (capabilities, mut ignored) = (dialect.capabilities(), Violations::default());
    let update = Update::parse(None, asked, capabilities, dialect.name(), &mut ignored)?;
    let desired = update.apply(&found.profile, asked, capabilities, &mut ignored)?;
    let change = ProfileUpdate { id: &found.id, current: &found.profile, desired: &desired };
    if dialect.is_applied(change, &found.profile) {
        return Ok(found);
    }
    let session = session::for_completion(backend, call);
    // The creation's cache target does not cover the new id, and a step without an answer may still
    // change that profile.
    let write = backend.cache().write(Target::Profile(found.id.as_str().into()));
    let updated = dialect.update(&session, change).await;
    write.end(updated.is_err());
    if let Err(failure) = updated {
        return Err(left_behind(&found.id, &failure));
    }
    // The write is done, even if it cannot be read back.
    let written = Item { id: found.id, profile: desired };
    Ok(dialect.get(&session, &written.id).await.unwrap_or(written))
}

/// The error for a profile that was created, but may lack some of what was requested.
fn left_behind(id: &str, failure: &Error) -> Error {
    let message = format!(
        "the profile was created with id {id}, but may be incomplete; update or delete it: {}",
        failure.message()
    );
    let error = Error::new(Reason::PartiallyApplied, message).with_metadata("profile_id", id);
    match failure.upstream() {
        Some(facts) => error.with_upstream(facts.clone()),
        None => error,
    }
}
