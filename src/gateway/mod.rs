//! The use cases: what each call does, whatever the dialect.
//!
//! This file is the face: one short function for each RPC, which parses the name, finds the backend
//! and delegates. Below it, `read`, `write`, `plan` and `watch` know backends and not the gateway.
//! Nothing here knows gRPC (`rpc` translates) or a wire format (`dialect` does).

mod agreement;
mod backend;
mod backends;
mod door;
mod doubt;
mod earlier;
pub mod idempotency;
mod plan;
mod purge;
mod read;
mod remarks;
#[cfg(test)]
mod tests;
pub mod watch;
mod write;

use std::sync::Arc;

pub use agreement::{Agreement, Rules, SharedWrite};
pub use backend::Backend;
pub use backends::ByName;
use door::{Allowed, Door, Operates, Previews, Reads};
use doubt::{Asked, Doubts};
pub use doubt::{describe as describe_doubt, to_json as doubt_to_json};
pub use earlier::{EarlierWrites, check_creations, describe};
use plan::{preview, translate};
use read::{batch, cached, diff, get, list};
use remarks::Remarks;
use watch::{ChangeStream, Watches};
pub use write::settings::WriteSettings;
use write::{check, run::Writer};

use crate::{
    auth::Right,
    cache::BackgroundTasks,
    call::{Call, Writes},
    error::{Reason, Result},
    model::{
        method::Method,
        name::{BackendName, Parent, ProfileName},
    },
    pb::{
        self, AttachServiceRequest, AttachTrafficLimitRequest, BatchGetProfilesRequest,
        BatchGetProfilesResponse, CloseDoubtfulWriteRequest, CreateProfileRequest,
        DeleteProfileRequest, DetachServiceRequest, DetachTrafficLimitRequest, DiffProfilesRequest,
        DiffProfilesResponse, DoubtfulWrite, Encoded, GetProfileRequest, ListDoubtfulWritesRequest,
        ListDoubtfulWritesResponse, ListProfilesRequest, ListProfilesResponse, ListServicesRequest,
        PreviewWriteRequest, PreviewWriteResponse, Profile, PurgeCacheRequest,
        TranslateProfileRequest, TranslateProfileResponse, UpdateProfileRequest,
        WatchProfilesRequest,
    },
    query::page::PageTokens,
    resources::Processors,
    shared::Conditions,
    telemetry::AuditLog,
};

/// What every call needs to be answered. Lives as long as the process.
pub struct Gateway {
    door: Door,
    writer: Writer,
    doubts: Arc<Doubts>,
    page_tokens: PageTokens,
    watches: Watches,
    processors: Processors,
    remarks: Remarks,
}

impl Gateway {
    /// A gateway over these backends. `writes` has the writes under way, which outlive their
    /// callers once they are sent; `earlier` recognizes repeats of them, and `audit` has each.
    /// Long lists take turns on the `processors`.
    #[must_use]
    pub fn new(
        backends: impl IntoIterator<Item = Backend>,
        writes: Writes,
        earlier: EarlierWrites,
        audit: AuditLog,
        page_tokens: PageTokens,
        watches: Watches,
        processors: Processors,
    ) -> Self {
        let door = Door::to(backends);
        door.of_the_process().now().values().for_each(|backend| watches.bind(backend));
        let writer = Writer::new(writes.clone(), earlier, audit);
        let doubts = Arc::new(Doubts::new(writer.doubts(), writes));
        let remarks = Remarks::default();
        Self { door, writer, doubts, page_tokens, watches, processors, remarks }
    }

    /// Has `GetBackend` tell when the store that replicas share is away.
    pub fn tell_of(&self, conditions: Conditions) {
        self.remarks.tell_of(conditions);
    }

    /// Sets whether a caller without the right `fresh` is refused if it asks for what is fresh; it
    /// is answered from the cache otherwise.
    pub fn deny_fresh(&self, denies: bool) {
        self.door.deny_fresh(denies);
    }

    /// The backends that are configured now.
    #[must_use]
    pub fn backends(&self) -> Arc<ByName> {
        self.door.of_the_process().snapshot()
    }

    /// Serves these backends from now on. Calls that have one of those before keep it to their end.
    pub fn replace_backends(&self, backends: ByName) {
        self.door.of_the_process().replace(backends);
    }

    /// The streams of changes.
    #[must_use]
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    /// Where writes are told of.
    #[must_use]
    pub fn audit_log(&self) -> &AuditLog {
        self.writer.log()
    }

    /// The configured backends that the caller may read, ordered by name.
    #[must_use]
    pub fn list_backends(&self, call: &Call) -> Vec<pb::Backend> {
        let backends = self.door.every::<Reads>(call, Method::ListBackends);
        backends.all().iter().map(|backend| self.describe(call, backend)).collect()
    }

    /// Describes one backend.
    pub fn get_backend(&self, call: &Call, name: &str) -> Result<pb::Backend> {
        let name = BackendName::parse("name", name)?;
        let backend = self.door.backend::<Reads>(call, &name, Method::GetBackend)?;
        Ok(self.describe(call, &backend))
    }

    fn describe(&self, call: &Call, backend: &Allowed<Reads>) -> pb::Backend {
        let tells_error = call.record.may(Right::Admin, backend.name().id());
        let guarantee = self.remarks.added_to(self.writer.request_id_guarantee());
        backend.describe(&guarantee, tells_error)
    }

    /// Reads the services that a profile of a backend can hold.
    pub async fn list_services(
        &self,
        call: &Call,
        request: &ListServicesRequest,
    ) -> Result<Vec<pb::Service>> {
        const METHOD: Method = Method::ListServices;
        let name = BackendName::parse("parent", &request.parent)?;
        let backend = self.door.backend::<Reads>(call, &name, METHOD)?;
        backend.require(Method::ListServices)?;
        let services = cached::services(&backend, call).await;
        let services = services.map_err(|error| backend.decorate(METHOD, error))?;
        Ok(services.to_vec())
    }

    /// Drops the cache entries of a backend or a profile. Returns how many were dropped.
    pub async fn purge_cache(&self, call: &Call, request: &PurgeCacheRequest) -> Result<i64> {
        let purged = purge::run(&self.door, &self.writer, call, &request.name).await?;
        Ok(i64::try_from(purged).unwrap_or(i64::MAX))
    }

    /// Ends the pause that a backend's upstream has asked for, for an operator. Returns whether
    /// there was one, if there is such a backend.
    pub async fn end_pause(&self, backend: &str) -> Option<bool> {
        Some(self.door.of_the_process().get(backend)?.end_pause().await)
    }

    /// The names of the configured backends.
    #[must_use]
    pub fn backend_names(&self) -> Vec<String> {
        self.door.of_the_process().now().keys().cloned().collect()
    }

    /// Looks after the writes whose outcome is unknown, those of earlier processes among them,
    /// until the process drains.
    pub fn settle_doubts(&self, tasks: &BackgroundTasks) {
        tasks.spawn(self.writer.settler(Arc::clone(self.door.of_the_process())).run());
    }

    /// Lists writes in doubt.
    pub async fn list_doubtful_writes(
        &self,
        call: &Call,
        request: &ListDoubtfulWritesRequest,
    ) -> Result<ListDoubtfulWritesResponse> {
        let method = Method::ListDoubtfulWrites;
        let backends = self.door.of_parent::<Operates>(call, &request.parent, method)?;
        // Also those of backends that are not configured any more.
        let may_see = |backend: &str| call.record.may(Right::Admin, backend);
        self.doubts
            .list((&backends, &may_see), call, request, &self.page_tokens, &self.processors)
            .await
    }

    /// Ends a write in doubt as someone says who has found out how it ended. Returns it as it was.
    pub async fn close_doubtful_write(
        &self,
        call: &Call,
        request: &CloseDoubtfulWriteRequest,
    ) -> Result<DoubtfulWrite> {
        let asked = Asked::check(request)?;
        let (name, method) = (asked.name.backend(), Method::CloseDoubtfulWrite);
        match self.door.backend::<Operates>(call, name, method) {
            // Its backend may not be configured any more.
            Err(error) if error.reason() != Reason::BackendNotFound => Err(error),
            backend => self.doubts.close(call, backend, asked).await,
        }
    }

    /// Reads one profile.
    pub async fn get_profile(
        &self,
        call: &Call,
        request: &GetProfileRequest,
    ) -> Result<Encoded<Profile>> {
        let name = ProfileName::parse("name", &request.name)?;
        let backend = self.door.backend::<Reads>(call, name.backend(), Method::GetProfile)?;
        get::profile(&backend, call, &name, request.read_mask.as_ref()).await
    }

    /// Lists profiles: those that pass the filter, in the requested order.
    pub async fn list_profiles(
        &self,
        call: &Call,
        request: &ListProfilesRequest,
    ) -> Result<Encoded<ListProfilesResponse>> {
        let backends = self.door.of_parent::<Reads>(call, &request.parent, Method::ListProfiles)?;
        list::profiles(&backends, call, request, &self.page_tokens, &self.processors).await
    }

    /// Reads several profiles in the order of the request, all or none.
    pub async fn batch_get_profiles(
        &self,
        call: &Call,
        request: &BatchGetProfilesRequest,
    ) -> Result<Encoded<BatchGetProfilesResponse>> {
        let (parent, names) = batch::check(request)?;
        if parent == Parent::All {
            call.record.set_backend("-");
        }
        let method = Method::BatchGetProfiles;
        let names = names
            .into_iter()
            .map(|name| Ok((self.door.backend::<Reads>(call, name.backend(), method)?, name)));
        let names = names.collect::<Result<Vec<_>>>()?;
        batch::profiles(call, &names, self.page_tokens.max_bytes()).await
    }

    /// Compares two profiles, which may be of different backends.
    pub async fn diff_profiles(
        &self,
        call: &Call,
        request: &DiffProfilesRequest,
    ) -> Result<DiffProfilesResponse> {
        const METHOD: Method = Method::DiffProfiles;
        let (left, left_name) = self.profile(call, METHOD, "left", &request.left)?;
        let (right, right_name) = self.profile(call, METHOD, "right", &request.right)?;
        diff::profiles(call, METHOD, (&left, &left_name), (&right, &right_name)).await
    }

    /// Creates a profile.
    pub async fn create_profile(
        &self,
        call: &Call,
        request: CreateProfileRequest,
    ) -> Result<Profile> {
        let written = match request.validate_only {
            true => self.writer.check(check::create(call, request, &self.door)?).await,
            false => self.writer.run(check::create(call, request, &self.door)?).await,
        };
        written.map(Option::unwrap_or_default)
    }

    /// Changes the fields of a profile that the mask names.
    pub async fn update_profile(
        &self,
        call: &Call,
        request: UpdateProfileRequest,
    ) -> Result<Profile> {
        let written = match request.validate_only {
            true => self.writer.check(check::update(call, request, &self.door)?).await,
            false => self.writer.run(check::update(call, request, &self.door)?).await,
        };
        written.map(Option::unwrap_or_default)
    }

    /// Deletes a profile.
    pub async fn delete_profile(&self, call: &Call, request: DeleteProfileRequest) -> Result<()> {
        let written = match request.validate_only {
            true => self.writer.check(check::delete(call, request, &self.door)?).await,
            false => self.writer.run(check::delete(call, request, &self.door)?).await,
        };
        written.map(drop)
    }

    /// Attaches a service to a profile.
    pub async fn attach_service(
        &self,
        call: &Call,
        request: AttachServiceRequest,
    ) -> Result<Profile> {
        let request = check::attach_service(call, request, &self.door)?;
        self.writer.run(request).await.map(Option::unwrap_or_default)
    }

    /// Detaches a service from a profile.
    pub async fn detach_service(
        &self,
        call: &Call,
        request: DetachServiceRequest,
    ) -> Result<Profile> {
        let request = check::detach_service(call, request, &self.door)?;
        self.writer.run(request).await.map(Option::unwrap_or_default)
    }

    /// Attaches a traffic limit to a service of a profile.
    pub async fn attach_traffic_limit(
        &self,
        call: &Call,
        request: AttachTrafficLimitRequest,
    ) -> Result<Profile> {
        let request = check::attach_traffic_limit(call, request, &self.door)?;
        self.writer.run(request).await.map(Option::unwrap_or_default)
    }

    /// Detaches a traffic limit from a service of a profile.
    pub async fn detach_traffic_limit(
        &self,
        call: &Call,
        request: DetachTrafficLimitRequest,
    ) -> Result<Profile> {
        let request = check::detach_traffic_limit(call, request, &self.door)?;
        self.writer.run(request).await.map(Option::unwrap_or_default)
    }

    /// Shows what a write would send and return. Fails where the write would fail.
    pub async fn preview_write(
        &self,
        call: &Call,
        request: PreviewWriteRequest,
    ) -> Result<PreviewWriteResponse> {
        let (request, notes) = preview::check(call, request, &self.door)?;
        preview::write(&request, notes).await
    }

    /// Shows what a profile would be in another backend, and what creating it there would send.
    pub async fn translate_profile(
        &self,
        call: &Call,
        request: &TranslateProfileRequest,
    ) -> Result<TranslateProfileResponse> {
        const METHOD: Method = Method::TranslateProfile;
        let (source, name) = self.profile(call, METHOD, "name", &request.name)?;
        let target = BackendName::parse("target_backend", &request.target_backend)?;
        let target = self.door.backend::<Previews>(call, &target, METHOD)?;
        translate::profile((&source, &name), &target, call).await
    }

    /// Opens a stream of profile changes.
    pub async fn watch_profiles(
        &self,
        call: &Call,
        request: &WatchProfilesRequest,
    ) -> Result<ChangeStream> {
        let backends =
            self.door.of_parent::<Reads>(call, &request.parent, Method::WatchProfiles)?;
        self.watches.open(&backends, call, request).await
    }

    /// The backend and the parsed name of a profile that a request names. The profile need not
    /// exist.
    fn profile(
        &self,
        call: &Call,
        method: Method,
        field: &str,
        name: &str,
    ) -> Result<(Allowed<Reads>, ProfileName)> {
        let name = ProfileName::parse(field, name)?;
        let backend = self.door.backend::<Reads>(call, name.backend(), method)?;
        backend.require_id(method, &name)?;
        Ok((backend, name))
    }
}
