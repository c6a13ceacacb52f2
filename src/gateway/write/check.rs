//! Checks write requests before anything is sent. All methods are checked in the same order:
//!
//! 1. the request by itself: its `request_id`, its name, required members;
//! 2. the backend: whether it is configured and has the method;
//! 3. the fields, by the capability table and the rules of the backend's dialect;
//! 4. whether the profile's id is valid in the dialect.
//!
//! Everything wrong with the request (1 and 3) is reported together. If the name does not parse,
//! the backend is not known, so only step 1 is reported.

use prost::Message;

use crate::{
    call::Call,
    dialect::Edit,
    error::{Error, Result, violation::Violations},
    gateway::{
        backend::Backend,
        door::{Allowed, Door, Usage},
        idempotency::RequestIdentity,
        write::request::{RequestedChange, WriteAction, WriteRequest},
    },
    model::{
        check,
        etag::normalize,
        fields::Fields,
        mask::Update,
        method::Method,
        name::{BackendName, ProfileName},
    },
    pb::{
        AttachServiceRequest, AttachTrafficLimitRequest, CreateProfileRequest,
        DeleteProfileRequest, DetachServiceRequest, DetachTrafficLimitRequest, Profile,
        UpdateProfileRequest,
    },
};

/// Checks a creation.
pub(crate) fn create<U: Usage>(
    call: &Call,
    mut request: CreateProfileRequest,
    door: &Door,
) -> Result<WriteRequest<U>> {
    let mut checked = Checked::new(call, Method::CreateProfile, &mut request);
    let parent = checked.violations.collect(BackendName::parse("parent", &request.parent));
    match &request.profile {
        Some(profile) if parent.is_err() => check::values(profile, &mut checked.violations)?,
        Some(_) => {}
        None => checked.violations.add("profile", "is required"),
    }
    let backend = door.backend(call, &checked.all_of(parent)?, checked.method)?;
    backend.require(checked.method)?;
    let profile = match request.profile {
        Some(profile) => {
            let profile = new_profile(&backend, profile, &mut checked.violations);
            profile.map_err(|error| backend.decorate(checked.method, error))?
        }
        None => Profile::default(),
    };
    checked.finish(call, backend, WriteAction::Create(Box::new(profile)))
}

/// Checks an update.
pub(crate) fn update<U: Usage>(
    call: &Call,
    mut request: UpdateProfileRequest,
    door: &Door,
) -> Result<WriteRequest<U>> {
    let mut checked = Checked::new(call, Method::UpdateProfile, &mut request);
    let required = || Error::invalid_field("profile", "is required, with its name");
    let profile = checked.violations.collect(request.profile.ok_or_else(required));
    let profile = checked.all_of(profile)?;
    let name = checked.violations.collect(ProfileName::parse("profile.name", &profile.name));
    if name.is_err() {
        check::values(&profile, &mut checked.violations)?;
    }
    let name = checked.all_of(name)?;
    let backend = door.backend(call, name.backend(), checked.method)?;
    backend.require(checked.method)?;
    let mask = request.update_mask.as_ref();
    let update = update_fields(&backend, &profile, mask, &mut checked.violations);
    let update = update.map_err(|error| backend.decorate_profile(checked.method, &name, error))?;
    let action = WriteAction::Change(name, RequestedChange::Update(update, Box::new(profile)));
    checked.finish(call, backend, action)
}

/// Checks a deletion.
pub(crate) fn delete<U: Usage>(
    call: &Call,
    mut request: DeleteProfileRequest,
    door: &Door,
) -> Result<WriteRequest<U>> {
    let mut checked = Checked::new(call, Method::DeleteProfile, &mut request);
    let name = checked.violations.collect(ProfileName::parse("name", &request.name));
    let name = checked.all_of(name)?;
    let backend = door.backend(call, name.backend(), checked.method)?;
    backend.require(checked.method)?;
    let DeleteProfileRequest { etag, allow_missing, .. } = request;
    let action = WriteAction::Delete { name, etag, allow_missing };
    checked.finish(call, backend, action)
}

/// Checks the attachment of a service.
pub(crate) fn attach_service(
    call: &Call,
    mut request: AttachServiceRequest,
    door: &Door,
) -> Result<WriteRequest> {
    let checked = Checked::new(call, Method::AttachService, &mut request);
    let edit = Edit::AttachService(request.service.unwrap_or_default());
    checked.edit(call, &request.name, edit, door)
}

/// Checks the detachment of a service.
pub(crate) fn detach_service(
    call: &Call,
    mut request: DetachServiceRequest,
    door: &Door,
) -> Result<WriteRequest> {
    let checked = Checked::new(call, Method::DetachService, &mut request);
    let edit = Edit::DetachService(request.service.unwrap_or_default());
    checked.edit(call, &request.name, edit, door)
}

/// Checks the attachment of a traffic limit.
pub(crate) fn attach_traffic_limit(
    call: &Call,
    mut request: AttachTrafficLimitRequest,
    door: &Door,
) -> Result<WriteRequest> {
    let checked = Checked::new(call, Method::AttachTrafficLimit, &mut request);
    let service = request.service.unwrap_or_default();
    let edit = Edit::AttachTrafficLimit(service, request.traffic_limit.unwrap_or_default());
    checked.edit(call, &request.name, edit, door)
}

/// Checks the detachment of a traffic limit.
pub(crate) fn detach_traffic_limit(
    call: &Call,
    mut request: DetachTrafficLimitRequest,
    door: &Door,
) -> Result<WriteRequest> {
    let checked = Checked::new(call, Method::DetachTrafficLimit, &mut request);
    let service = request.service.unwrap_or_default();
    let edit = Edit::DetachTrafficLimit(service, request.traffic_limit.unwrap_or_default());
    checked.edit(call, &request.name, edit, door)
}

/// Checks the fields of a profile to create. Returns it without the fields that no caller
/// sets.
pub(crate) fn new_profile(
    backend: &Backend,
    profile: Profile,
    violations: &mut Violations,
) -> Result<Profile> {
    let dialect = backend.dialect();
    let mut fields = Fields::of(&profile)?;
    fields.clear_output_only();
    let profile = fields.into_profile()?;
    check::create(&profile, dialect.capabilities(), dialect.name(), violations)?;
    dialect.check_fields(&profile, &|_| true, violations);
    dialect.check_whole(&profile, None, violations)?;
    Ok(profile)
}

/// Checks the fields of an update that its mask touches.
fn update_fields(
    backend: &Backend,
    profile: &Profile,
    mask: Option<&prost_types::FieldMask>,
    violations: &mut Violations,
) -> Result<Update> {
    let dialect = backend.dialect();
    let update = Update::parse(mask, profile, dialect.capabilities(), dialect.name(), violations)?;
    check::values(profile, violations)?;
    if update.touches("display_name") {
        check::display_name(profile, violations);
    }
    dialect.check_fields(profile, &|field| update.touches(field), violations);
    Ok(update)
}

/// A request for a write, as repeats of it are recognized.
trait Request: Message + Clone {
    fn request_id(&mut self) -> &mut String;

    /// Puts what has no order into one order, so that it does not tell requests apart.
    fn sort_sets(&mut self) {}
}

macro_rules! requests {
    ($($request:ident { $($sort:expr)? })*) => {
        $(impl Request for $request {
            fn request_id(&mut self) -> &mut String {
                &mut self.request_id
            }

            $(fn sort_sets(&mut self) {
                let sort: fn(&mut Self) = $sort;
                sort(self);
            })?
        })*
    };
}

requests! {
    CreateProfileRequest { |request| request.profile.iter_mut().for_each(sort_profile) }
    UpdateProfileRequest {
        |request| {
            request.profile.iter_mut().for_each(sort_profile);
            if let Some(mask) = &mut request.update_mask {
                mask.paths.sort_unstable();
                mask.paths.dedup();
            }
        }
    }
    DeleteProfileRequest {}
    AttachServiceRequest {}
    DetachServiceRequest {}
    AttachTrafficLimitRequest {}
    DetachTrafficLimitRequest {}
}

/// Services and limits of a request may have no ids yet.
fn sort_profile(profile: &mut Profile) {
    normalize(profile);
    for service in &mut profile.services {
        service.traffic_limits.sort_by_cached_key(Message::encode_to_vec);
    }
    profile.services.sort_by_cached_key(Message::encode_to_vec);
}

/// A write request that is being checked.
struct Checked {
    method: Method,
    request_id: String,
    identity: Option<RequestIdentity>,
    violations: Violations,
}

impl Checked {
    /// Takes the `request_id` out of a request and checks it.
    fn new<R: Request>(call: &Call, method: Method, request: &mut R) -> Self {
        let mut violations = Violations::default();
        let written = std::mem::take(request.request_id());
        check::request_id(&written, &mut violations);
        let mut sorted = request.clone();
        sorted.sort_sets();
        let identity =
            RequestIdentity::of(call.record.caller().id(), method.name(), &written, &sorted);
        let request_id = identity.map_or(written, |identity| identity.key.id.to_string());
        Self { method, request_id, identity, violations }
    }

    /// Unwraps a part that later checks depend on. If it is invalid, reports all violations found
    /// so far.
    fn all_of<T>(&mut self, part: Result<T>) -> Result<T> {
        if part.is_err() {
            std::mem::take(&mut self.violations).into_result()?;
        }
        part
    }

    fn edit(mut self, call: &Call, name: &str, edit: Edit, door: &Door) -> Result<WriteRequest> {
        let name = self.violations.collect(ProfileName::parse("name", name));
        match &edit {
            Edit::AttachService(service) | Edit::DetachService(service) => {
                check::service("service", service, &mut self.violations);
            }
            Edit::AttachTrafficLimit(service, limit) | Edit::DetachTrafficLimit(service, limit) => {
                check::service("service", service, &mut self.violations);
                check::traffic_limit("traffic_limit", limit, &mut self.violations);
            }
        }
        let name = self.all_of(name)?;
        let backend = door.backend(call, name.backend(), self.method)?;
        backend.require(self.method)?;
        let action = WriteAction::Change(name, RequestedChange::Edit(Box::new(edit)));
        self.finish(call, backend, action)
    }

    /// Reports all violations, then refuses an id that is not valid in the dialect.
    fn finish<U: Usage>(
        self,
        call: &Call,
        backend: Allowed<U>,
        action: WriteAction,
    ) -> Result<WriteRequest<U>> {
        let Self { method, request_id, identity, violations } = self;
        let unnamed = || RequestIdentity::unnamed(call.record.caller().id(), method.name());
        violations.into_result().map_err(|error| backend.decorate(method, error))?;
        match &action {
            WriteAction::Create(_) | WriteAction::Delete { allow_missing: true, .. } => {}
            WriteAction::Change(name, _) | WriteAction::Delete { name, .. } => {
                backend.require_id(method, name)?;
            }
        }
        Ok(WriteRequest {
            backend,
            call: call.clone(),
            method,
            action,
            request_id,
            identity: U::WRITES.then(|| identity.unwrap_or_else(unnamed)),
        })
    }
}
