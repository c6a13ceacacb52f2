//! Confirms by reading that the upstream has done what it acknowledged of a creation: that the new
//! profile is as requested, or that a failed creation is undone.

use std::sync::Arc;

use crate::{
    cache::{Acknowledged, Write},
    call::Call,
    dialect::{DialectClient, Item},
    error::{
        Error, Reason, Result,
        metadata::{PROFILE_ID, REMOVAL},
    },
    gateway::{
        agreement::Permission,
        backend::Backend,
        write::{
            intent::Creation,
            outcome::{not_applied, not_shown, not_undone, unread},
            session,
            settle::{Look, Settled, settle},
        },
    },
    model::{
        fields::{Fields, SETTABLE},
        name::ProfileName,
    },
    pb::{Encoded, Profile},
};

/// The new profile, once reads agree with the creation. `found`: what a read has shown already.
pub(crate) async fn confirmed(
    backend: &Backend,
    call: &Call,
    id: &str,
    asked: &Profile,
    mut found: Option<Item>,
) -> Result<Profile> {
    let (dialect, session) = (backend.dialect(), session::for_reading_back(backend, call));
    let look = || {
        let (known, session) = (found.take(), &session);
        async move {
            let item = match known {
                Some(item) => Ok(item),
                None => dialect.get(session, id).await,
            };
            Ok(match item {
                Ok(item) if dialect.agrees_as_new(asked, &item.profile) => Look::Shows(Some(item)),
                Ok(item) => Look::ShowsNot(Some(item)),
                Err(error) if error.reason() == Reason::ProfileNotFound => Look::ShowsNot(None),
                Err(error) => return Err(error),
            })
        }
    };
    match settle(backend.settle_time(), call.deadline, look).await {
        Settled::Shown(Some(item)) => Ok(backend.present(item)),
        // The write is done, even if it cannot be read back.
        Settled::Unread(error) => {
            let asked = Item { id: id.to_owned(), profile: asked.clone() };
            Ok(unread(backend.present(asked), &error))
        }
        Settled::NotShown(item) | Settled::Shown(item) => {
            let (fields, what) = match item {
                Some(item) => (disagreeing(dialect, asked, &item.profile)?, "not as requested"),
                None => (Vec::new(), "does not show"),
            };
            let error = not_applied(&fields, backend.settle_time());
            let message = format!("the profile was created, but {what}: {}", error.message());
            Err(error.with_message(message).with_metadata(PROFILE_ID, id))
        }
        Settled::Open => Err(not_shown()),
    }
}

/// The fields of a creation that a later read shows with other values.
fn disagreeing(
    dialect: &DialectClient,
    asked: &Profile,
    found: &Profile,
) -> Result<Vec<&'static str>> {
    let (fields, shown) = (Fields::of(asked)?, Fields::of(found)?);
    let set: Vec<&'static str> =
        SETTABLE.iter().copied().filter(|path| fields.get(path).is_some()).collect();
    let agrees = |path: &&'static str| -> Result<bool> {
        let mut with = Fields::of(asked)?;
        with.copy(path, &shown);
        Ok(dialect.agrees_as_new(asked, &with.into_profile()?))
    };
    let others: Vec<&'static str> =
        set.iter().filter(|path| !agrees(path).unwrap_or_default()).copied().collect();
    Ok(if others.is_empty() { set } else { others })
}

/// The error for a creation that failed half way and was removed, once reads show that.
pub(crate) async fn removed(backend: &Backend, call: &Call, id: &str, failure: Error) -> Error {
    let (dialect, session) = (backend.dialect(), session::for_undoing(backend, call));
    let look = || async {
        match dialect.get(&session, id).await {
            Err(error) if error.reason() == Reason::ProfileNotFound => Ok(Look::Shows(())),
            // What cannot be read does not show it either.
            Ok(_) | Err(_) => Ok(Look::ShowsNot(())),
        }
    };
    match settle(backend.settle_time(), session::end_of_cleanup(call), look).await {
        Settled::Shown(()) => failure,
        Settled::NotShown(()) | Settled::Unread(_) | Settled::Open => {
            let left = not_undone(id, "incomplete after its creation", &failure);
            left.with_metadata(REMOVAL, "may yet happen")
        }
    }
}

/// Notes a new profile, which later reads may not show yet, here and for other replicas.
pub(crate) fn note(
    (write, permission): (&mut Write, &Permission),
    backend: &Backend,
    creation: &Creation,
    created: Option<&Profile>,
) {
    let Some(created) = created else { return };
    let Ok(name) = ProfileName::parse("name", &created.name) else { return };
    permission.made(name.id(), Some(&created.etag));
    let (dialect, asked) = (backend.dialect().clone(), creation.profile.clone());
    let contradicts = Arc::new(move |found: &Encoded<Profile>| {
        found.message().is_ok_and(|found| !dialect.agrees_as_new(&asked, &found))
    });
    let written = Acknowledged::Written(contradicts);
    write.acknowledged(name.id(), written, backend.settle_time());
}
