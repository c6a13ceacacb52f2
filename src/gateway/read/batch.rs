//! Several profiles by name, all or none.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use prost::Message;

use crate::{
    cache::Resource,
    call::Call,
    caller::Held,
    error::{
        Error, Reason, Result, metadata,
        violation::{Violation, Violations},
    },
    gateway::{
        door::{Allowed, Reads},
        read::cached,
    },
    model::{
        method::Method,
        name::{Parent, ProfileName},
    },
    pb::{BatchGetProfilesRequest, BatchGetProfilesResponse, Encoded, Profile, encoded},
    query::page::FRAME_BYTES,
    text,
};

const METHOD: Method = Method::BatchGetProfiles;
/// Up to this many uncached profiles are read one by one. More are read with one list, if the
/// dialect's lists are complete.
const FEW: usize = 4;
/// Concurrent reads of one call; the backend's own limits apply as well.
const PARALLEL: usize = 8;

/// The profiles of one backend by requested id, `None` where there is no such profile; and the
/// memory of those that were read for this.
#[derive(Default)]
struct FoundProfiles {
    profiles: BTreeMap<String, Option<Encoded<Profile>>>,
    taken: Option<Held>,
}

/// Reads several profiles in the order of the request; fails as a whole if any is missing. Each
/// name comes with its backend.
pub(crate) async fn profiles(
    call: &Call,
    names: &[(Allowed<Reads>, ProfileName)],
    max_bytes: usize,
) -> Result<Encoded<BatchGetProfilesResponse>> {
    let mut wanted: BTreeMap<&str, (&Allowed<Reads>, FoundProfiles)> = BTreeMap::new();
    for (backend, name) in names {
        let (_, ids) = wanted
            .entry(name.backend().id())
            .or_insert_with(|| (backend, FoundProfiles::default()));
        ids.profiles.insert(name.id().to_owned(), None);
    }
    let reads = wanted.into_iter().map(|(id, (backend, wanted))| async move {
        let found = read(backend, call, wanted).await;
        found.map(|found| (id, found)).map_err(|error| backend.decorate(METHOD, error))
    });
    let found: BTreeMap<&str, FoundProfiles> = try_join_all(reads).await?.into_iter().collect();
    let profile = |name: &ProfileName| {
        found.get(name.backend().id())?.profiles.get(name.id()).cloned().flatten()
    };
    let profiles: Vec<Option<Encoded<Profile>>> =
        names.iter().map(|(_, name)| profile(name)).collect();
    let missing = profiles.iter().zip(names).enumerate();
    let missing: Vec<(usize, &ProfileName)> = missing
        .filter_map(|(n, (profile, (_, name)))| profile.is_none().then_some((n, name)))
        .collect();
    if let Some((n, first)) = missing.first() {
        let error = not_found(&missing, first, names.len());
        // The error can name a backend only if all missing profiles belong to it.
        let one = missing.iter().all(|(_, name)| name.backend() == first.backend());
        return match names.get(*n).filter(|_| one) {
            Some((backend, _)) => Err(backend.decorate(METHOD, error)),
            None => Err(error),
        };
    }
    let profiles: Vec<Encoded<Profile>> = profiles.into_iter().flatten().collect();
    check_size(&profiles, max_bytes)?;
    let response = encoded::BatchGetProfilesResponse { profiles };
    Ok(Encoded::from_bytes(response.encode_to_vec()))
}

/// Refuses what default clients could not receive. One profile alone is never refused here: its
/// caller cannot ask for less.
fn check_size(profiles: &[Encoded<Profile>], limit: usize) -> Result<()> {
    let (mut size, mut fitting) = (0, 0);
    for profile in profiles {
        size += profile.bytes().len() + FRAME_BYTES;
        fitting += usize::from(size <= limit);
    }
    if size <= limit || profiles.len() == 1 {
        return Ok(());
    }
    let message = format!(
        "the {} profiles have {size} bytes together, which is larger than the limit of {limit} \
         bytes; ask for at most the first {} of these names at a time",
        profiles.len(),
        fitting.max(1)
    );
    Err(Error::new(Reason::MessageTooLarge, message))
}

/// The parent of a request and its names, which must all belong to that parent.
pub(crate) fn check(request: &BatchGetProfilesRequest) -> Result<(Parent, Vec<ProfileName>)> {
    let mut violations = Violations::default();
    let parsed = Parent::parse("parent", &request.parent);
    let parent = violations.collect(parsed);
    let mut names = Vec::with_capacity(request.names.len());
    let mut foreign = Vec::new();
    for (n, name) in request.names.iter().enumerate() {
        match ProfileName::parse(&format!("names[{n}]"), name) {
            Ok(name) => {
                let other =
                    |parent: &Parent| matches!(parent, Parent::One(b) if b != name.backend());
                if parent.as_ref().is_ok_and(other) {
                    foreign.push(n);
                }
                names.push(name);
            }
            Err(error) => violations.add_all(&error),
        }
    }
    for n in foreign {
        let parent = text::quoted(&request.parent);
        violations.add(format!("names[{n}]"), format!("is not in parent {parent}"));
    }
    if request.names.is_empty() {
        violations.add("names", "is required");
    }
    violations.into_result()?;
    Ok((parent?, names))
}

/// Reads the wanted profiles of one backend with as few requests as possible.
async fn read(
    backend: &Allowed<Reads>,
    call: &Call,
    mut wanted: FoundProfiles,
) -> Result<FoundProfiles> {
    // An id that is not valid in the dialect needs no request: no profile can have it.
    let ids = wanted.profiles.keys().filter(|id| backend.dialect().accepts_id(id));
    let ids: Vec<String> = ids.cloned().collect();
    if backend.dialect().lists_are_complete() && cold(backend, &ids) > FEW {
        for (id, profile) in cached::profiles(backend, call).await?.iter() {
            if let Some(wanted) = wanted.profiles.get_mut(id.as_str()) {
                *wanted = Some(profile.clone());
            }
        }
        return Ok(wanted);
    }
    let read = |id: String| async move {
        match cached::profile(backend, call, &id).await {
            Ok(profile) => Ok((id, Some(profile))),
            Err(error) if error.reason() == Reason::ProfileNotFound => Ok((id, None)),
            Err(error) => Err(error),
        }
    };
    // What is read past the cache is in memory for this call alone.
    let taken = backend.cache().loads().take_for(call.record.caller(), 0)?;
    let mut reads = stream::iter(ids.into_iter().map(read)).buffer_unordered(PARALLEL);
    while let Some((id, profile)) = reads.try_next().await? {
        let bytes = profile.as_ref().map_or(0, |profile| profile.bytes().len());
        taken.resize(taken.weight() + bytes)?;
        wanted.profiles.insert(id, profile);
    }
    wanted.taken = Some(taken);
    Ok(wanted)
}

/// How many of these profiles would have to be read from the upstream.
fn cold(backend: &Allowed<Reads>, ids: &[String]) -> usize {
    let has =
        |id: &str| backend.cache().has(&Resource::Profile(id.into()), backend.cache_control());
    ids.iter().filter(|id| !has(id)).count()
}

/// The error that names all missing profiles, by their positions in the request.
fn not_found(missing: &[(usize, &ProfileName)], first: &ProfileName, asked: usize) -> Error {
    let names: Vec<String> = missing.iter().map(|(_, name)| name.to_string()).collect();
    let all = names.join(", ");
    let message = format!("{} of {asked} profiles do not exist: {all}", missing.len());
    let error = Error::new(Reason::ProfileNotFound, message)
        .with_resource(first.to_string())
        .with_metadata(metadata::MISSING, all)
        .with_metadata(metadata::MISSING_COUNT, missing.len().to_string());
    missing.iter().fold(error, |error, (n, name)| {
        error.with_violation(Violation {
            field: format!("names[{n}]"),
            description: format!("{name} does not exist"),
            reason: Reason::ProfileNotFound,
        })
    })
}
