//! Writes that are not sent: the dialect's own code runs over a port that reads from the upstream,
//! but only collects the writes.
//!
//! A preview shows exactly what the write would send, because the same code produces both. Nothing
//! is written, so nothing is journaled and no cache entry is invalidated.

use std::collections::HashMap;

use async_trait::async_trait;
use http::HeaderValue;
use parking_lot::Mutex;

use crate::{
    call::Call,
    dialect::Item,
    error::{Error, Reason, Result},
    gateway::{
        backend::Backend,
        door::{Door, Previews},
        write::{
            check,
            prepare::{self, ExistingProfile},
            request::{WriteAction, WriteRequest},
        },
    },
    model::{
        capability::Support,
        changes::changed_settable,
        fields::{Fields, output_only_content},
        json,
        note::Notes,
    },
    pb::{
        PreviewWriteRequest, PreviewWriteResponse, Profile, UpstreamCall,
        preview_write_request::Write,
    },
    upstream::{Port, PortLayer, Reply, Request, Safety, Session},
};

/// Replaces, in paths, the id that the upstream has not assigned yet.
const NEW: &str = "{new}";
/// Replaces credentials.
const REDACTED: &str = "[redacted]";

/// Checks the write to preview. Adds a note for each field of a creation that is ignored.
pub(crate) fn check(
    call: &Call,
    request: PreviewWriteRequest,
    door: &Door,
) -> Result<(WriteRequest<Previews>, Notes)> {
    let mut notes = Notes::default();
    let request = match request.write {
        Some(Write::Create(request)) => {
            if let Some(profile) = &request.profile {
                note_ignored(profile, &mut notes)?;
            }
            check::create(call, request, door)
        }
        Some(Write::Update(request)) => check::update(call, request, door),
        Some(Write::Delete(request)) => check::delete(call, request, door),
        None => Err(Error::invalid_field("write", "is required: create, update or delete")),
    };
    Ok((request?, notes))
}

/// Shows what a checked write would send and return. Fails where the write would fail.
pub(crate) async fn write(
    request: &WriteRequest<Previews>,
    mut notes: Notes,
) -> Result<PreviewWriteResponse> {
    let rehearsed = rehearse(request, &mut notes).await;
    let (upstream_calls, profile) = rehearsed.map_err(|error| request.fail(error))?;
    Ok(PreviewWriteResponse { upstream_calls, profile, notes: notes.into_vec() })
}

async fn rehearse(
    WriteRequest { backend, call, action, .. }: &WriteRequest<Previews>,
    notes: &mut Notes,
) -> Result<(Vec<UpstreamCall>, Option<Profile>)> {
    match action {
        WriteAction::Create(profile) => {
            let prepared = prepare::creation(backend, call, (**profile).clone()).await?;
            prepared.check_name(backend)?;
            let (calls, profile) = creation(backend, call, prepared.profile, notes).await?;
            Ok((calls, Some(profile)))
        }
        WriteAction::Change(name, change) => {
            let existing = ExistingProfile { backend, call, name };
            let change = existing.prepare(change).await?;
            existing.check_name(&change).await?;
            note_cleared(&change.current, &change.desired, notes)?;
            backend.dialect().caution(Some(&change.current), &change.desired, notes);
            let port = Rehearsal::new(backend, call);
            backend.dialect().update(&port, existing.as_update(&change)).await?;
            Ok((port.calls(None)?, Some(existing.presented(change.desired))))
        }
        WriteAction::Delete { name, etag, allow_missing } => {
            let existing = ExistingProfile { backend, call, name };
            let found = match backend.check_id(name) {
                Ok(()) => existing.read_matching(etag).await.map(drop),
                Err(error) => Err(error),
            };
            match found {
                Err(e) if *allow_missing && e.reason() == Reason::ProfileNotFound => {
                    return Ok((Vec::new(), None));
                }
                found => found?,
            }
            let port = Rehearsal::new(backend, call);
            backend.dialect().delete(&port, name.id()).await?;
            Ok((port.calls(None)?, None))
        }
    }
}

/// Notes the fields of a creation that only the gateway or the upstream sets.
fn note_ignored(profile: &Profile, notes: &mut Notes) -> Result<()> {
    let fields = Fields::of(profile)?;
    // The others identify the profile that was read; no caller expects them to carry over.
    for path in output_only_content().filter(|path| fields.get(path).is_some()) {
        notes.lost(path, "is output only, so it is ignored for a new profile");
    }
    Ok(())
}

/// The calls that would create a checked and resolved profile, and the resulting profile.
pub(crate) async fn creation(
    backend: &Backend,
    call: &Call,
    profile: Profile,
    notes: &mut Notes,
) -> Result<(Vec<UpstreamCall>, Profile)> {
    note_defaults(backend, &profile, notes)?;
    backend.dialect().caution(None, &profile, notes);
    let port = Rehearsal::new(backend, call);
    let id = backend.dialect().create(&port, &profile).await?;
    if let Some(id) = id.clone() {
        let new = Item { id, profile: Profile::default() };
        backend.dialect().finish(&port, None, &new, &profile).await?;
    }
    Ok((port.calls(id.as_deref())?, unnamed(backend, profile)))
}

/// A profile to create, as callers see it. It has no etag, because the upstream may add fields.
pub(crate) fn unnamed(backend: &Backend, profile: Profile) -> Profile {
    Profile { etag: String::new(), name: String::new(), ..backend.presented("", profile) }
}

fn note_defaults(backend: &Backend, profile: &Profile, notes: &mut Notes) -> Result<()> {
    let fields = Fields::of(profile)?;
    for field in backend.dialect().capabilities().fields {
        let Some(default) = field.default.filter(|_| fields.get(field.path).is_none()) else {
            continue;
        };
        notes
            .defaulted(field.path, format!("is not set; the upstream default applies ({default})"));
    }
    Ok(())
}

fn note_cleared(current: &Profile, desired: &Profile, notes: &mut Notes) -> Result<()> {
    let (before, after) = (Fields::of(current)?, Fields::of(desired)?);
    let cleared = changed_settable(&before, &after).filter(|path| after.get(path).is_none());
    cleared.for_each(|path| notes.lost(path, "the current value is removed"));
    Ok(())
}

/// Whether the backend's dialect can set this field of a new profile.
pub(crate) fn can_create(backend: &Backend, path: &str) -> bool {
    let support = backend.dialect().capabilities().support(path);
    matches!(support, Support::CreateOnly | Support::ReadWrite)
}

/// A port that reads from the upstream and collects writes, each answered as if it had succeeded.
struct Rehearsal<'a> {
    backend: &'a Backend,
    session: Session,
    writes: Mutex<Vec<Request>>,
}

impl<'a> Rehearsal<'a> {
    fn new(backend: &'a Backend, call: &Call) -> Self {
        Self { backend, session: backend.session(call), writes: Mutex::default() }
    }

    /// The collected writes. `new` is the placeholder id that a creation got.
    fn calls(self, new: Option<&str>) -> Result<Vec<UpstreamCall>> {
        let credentials = self.backend.credential_headers()?;
        let writes = self.writes.into_inner();
        let shown = |request: Request| {
            let headers = request.headers.iter().chain(&credentials);
            let headers: HashMap<String, String> =
                headers.map(|(name, value)| (name.as_str().to_owned(), show(value))).collect();
            let of_new =
                |segment: &str| if Some(segment) == new { NEW } else { segment }.to_owned();
            let path: Vec<String> = request.path.split('/').map(of_new).collect();
            UpstreamCall {
                method: request.method.to_string(),
                path: path.join("/"),
                headers,
                body: request.body.map(|body| json::of_text(&String::from_utf8_lossy(&body))),
            }
        };
        Ok(writes.into_iter().map(shown).collect())
    }
}

fn show(value: &HeaderValue) -> String {
    match value.to_str() {
        Ok(text) if !value.is_sensitive() => text.to_owned(),
        _ => REDACTED.to_owned(),
    }
}

#[async_trait]
impl PortLayer for Rehearsal<'_> {
    fn inner(&self) -> &dyn Port {
        &self.session
    }

    async fn pass(&self, request: Request) -> Result<Reply> {
        if request.safety == Safety::Read {
            return self.session.send(request).await;
        }
        let reply = self.backend.dialect().simulate(&request);
        self.writes.lock().push(request);
        Ok(reply)
    }
}
