//! Creation: look who has the name, send, settle, complete, read back.

use std::{collections::HashSet, sync::Arc};

use crate::{
    cache::Target,
    dialect::{Change, Item},
    error::{Error, Reason, Result},
    gateway::{
        Backend, Call, Gateway,
        settle::settle,
        write::{may_yet_happen, refuse_taken_name, unread},
    },
    model::{capability::Method, check, mask::Update, name::BackendName, violation::Violations},
    pb::{CreateProfileRequest, Profile},
};

impl Gateway {
    /// Creates a profile.
    pub async fn create_profile(
        &self,
        call: &Call,
        request: CreateProfileRequest,
    ) -> Result<Profile> {
        const OPERATION: &str = Method::CreateProfile.name();
        let parent = BackendName::parse("parent", &request.parent)?;
        let backend = Arc::clone(self.backend(call, &parent, OPERATION)?);
        backend.require(Method::CreateProfile)?;
        let mut violations = Violations::default();
        check::request_id(&request.request_id, &mut violations);
        let profile = match request.profile {
            Some(profile) => check_new(&backend, profile, &mut violations)?,
            None => {
                violations.add("profile", "is required");
                Profile::default()
            }
        };
        violations.into_result().map_err(|error| backend.explain(OPERATION, error))?;

        let (call, validate_only) = (call.clone(), request.validate_only);
        let what = (OPERATION, parent.to_string(), request.request_id);
        self.detached(what, Arc::clone(&call.record), async move {
            let create = create(&backend, &call, profile, validate_only).await;
            create.map_err(|error| backend.explain(OPERATION, error))
        })
        .await
    }
}

/// Checks a profile to create, and gives it without what only the gateway sets.
fn check_new(backend: &Backend, profile: Profile, violations: &mut Violations) -> Result<Profile> {
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

async fn create(
    backend: &Backend,
    call: &Call,
    profile: Profile,
    validate_only: bool,
) -> Result<Profile> {
    let (dialect, session) = (backend.dialect(), backend.session(call));
    let profile = dialect.resolve(&session, profile, None).await?;
    // Whose name it was before: should the answer get lost, those are surely not ours.
    let before = dialect.named(&session, &profile.display_name).await;
    if validate_only {
        refuse_taken_name(dialect, &before?, None)?;
        let preview = backend.present(Item { id: String::new(), profile });
        return Ok(Profile { name: String::new(), ..preview });
    }
    let before: Option<HashSet<String>> = match before {
        Ok(items) => Some(items.into_iter().map(|item| item.id).collect()),
        Err(error) if is_out_of_reach(&error) => return Err(error),
        // The account may create without being able to list: then a lost answer stays unknown.
        Err(_) => None,
    };

    let target = match dialect.touches_others(None, &profile) {
        true => Target::Every,
        false => Target::New,
    };
    let write = backend.cache().write(target);
    let result = send_create(backend, call, profile, before).await;
    write.end(may_yet_happen(&result));
    result
}

/// Sends a checked creation, and gives the profile as the upstream has it then.
async fn send_create(
    backend: &Backend,
    call: &Call,
    profile: Profile,
    before: Option<HashSet<String>>,
) -> Result<Profile> {
    let (dialect, session) = (backend.dialect(), backend.session(call));
    let (port, cleanup) = (backend.write_session(call), backend.cleanup_session(call));
    let item = match dialect.create(&port, &cleanup, &profile).await {
        Ok(id) => match dialect.get(&session, &id).await {
            Ok(item) => item,
            Err(error) => {
                let error = backend.without_secrets(error);
                return Ok(unread(backend.present(Item { id, profile }), &error));
            }
        },
        Err(failure) => {
            let look = || async {
                let before = before.as_ref().ok_or_else(|| {
                    Error::new(Reason::UpstreamUnavailable, "not known what was there before")
                })?;
                let settling = backend.settling(call);
                let found = dialect.named(&settling, &profile.display_name).await;
                let found = found.map_err(|e| backend.without_secrets(e))?;
                Ok(found.into_iter().find(|item| {
                    !before.contains(&item.id) && dialect.is_created(&profile, &item.profile)
                }))
            };
            let found = settle(backend.without_secrets(failure), call.deadline, look).await?;
            complete(backend, call, found, &profile).await?
        }
    };
    Ok(backend.present(item))
}

/// Does what remains of a creation whose first step got no answer. What the caller left unsaid stays
/// as the upstream has set it: that is no difference.
async fn complete(backend: &Backend, call: &Call, found: Item, asked: &Profile) -> Result<Item> {
    let dialect = backend.dialect();
    let (capabilities, mut ignored) = (dialect.capabilities(), Violations::default());
    let update = Update::parse(None, asked, capabilities, dialect.name(), &mut ignored)?;
    let desired = update.apply(&found.profile, asked, capabilities, &mut ignored)?;
    let change = Change { id: &found.id, current: &found.profile, desired: &desired };
    if dialect.is_applied(change, &found.profile) {
        return Ok(found);
    }
    let session = backend.session(call);
    if let Err(failure) = dialect.update(&session, change).await {
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
