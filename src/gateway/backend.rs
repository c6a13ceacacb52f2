//! One configured upstream account.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderName, HeaderValue};
use tokio::{sync::watch, time::Instant};

use crate::{
    cache::{AccountName, Cache},
    call::Call,
    dialect::{DialectClient, Item},
    error::{Error, Reason, Result, metadata},
    gateway::write::settings::WriteSettings,
    levers::{BackendLevers, InForce, Lever},
    model::{
        etag::{etag, normalize},
        method::Method,
        name::{BackendName, ProfileName},
    },
    pb::{self, CircuitState, LeverKind, Profile, Reachability},
    upstream::{Circuit, Class, Reach, Session, Upstream},
};

/// A configured upstream account: how to reach it, and which dialect it speaks.
pub struct Backend {
    name: BackendName,
    display_name: String,
    dialect: DialectClient,
    upstream: Arc<Upstream>,
    writes: WriteSettings,
    cache: Cache,
    levers: Arc<BackendLevers>,
    /// What all replicas call its account.
    account: AccountName,
    /// Counts the writes that changed, or may have changed, something.
    changes: watch::Sender<u64>,
    /// Seconds between polls for changes, if the vendor's limits make them rarer than configured.
    slow_watch: AtomicU64,
}

impl Backend {
    /// A backend by its configured name.
    #[must_use]
    pub fn new(
        id: &str,
        display_name: Option<String>,
        dialect: DialectClient,
        upstream: Arc<Upstream>,
        writes: WriteSettings,
        cache: Cache,
    ) -> Self {
        Self {
            name: BackendName::of(id),
            display_name: display_name.unwrap_or_else(|| id.to_owned()),
            dialect,
            upstream,
            writes,
            cache,
            levers: BackendLevers::none(id),
            account: id.into(),
            changes: watch::Sender::new(0),
            slow_watch: AtomicU64::new(0),
        }
    }

    /// The same, where operators can set these.
    #[must_use]
    pub fn under(self, levers: Arc<BackendLevers>) -> Self {
        self.upstream.obey(&levers);
        Self { levers, ..self }
    }

    /// The same, whose account all replicas call so.
    #[must_use]
    pub fn known_as(self, account: AccountName) -> Self {
        Self { account, ..self }
    }

    /// What all replicas call its account.
    pub(super) fn account(&self) -> &AccountName {
        &self.account
    }

    /// Its resource name.
    #[must_use]
    pub fn name(&self) -> &BackendName {
        &self.name
    }

    /// The same backend as another configuration has it: who waits for writes to the one before is
    /// told of those to this one too.
    #[must_use]
    pub fn succeeding(self, before: &Self) -> Self {
        Self { changes: before.changes.clone(), ..self }
    }

    /// Its upstream.
    #[must_use]
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    pub(super) fn dialect(&self) -> &DialectClient {
        &self.dialect
    }

    /// What is kept of its reads.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What operators have set for it.
    pub(super) fn levers(&self) -> &Arc<BackendLevers> {
        &self.levers
    }

    /// How long its reads may lag behind a write that it acknowledged.
    pub(super) fn settle_time(&self) -> Duration {
        self.writes.settle_time
    }

    /// Whether a deletion that the upstream acknowledged has to show.
    pub(super) fn confirms_deletions(&self) -> bool {
        self.writes.confirm_deletions
    }

    /// Announces that a write changed, or may have changed, something.
    pub(super) fn announce_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// The number of such writes, as a channel that reports each new one.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The requests per second that polls for changes can go on with, if the vendor limits them.
    pub(super) fn sustainable_watch(&self) -> Option<f64> {
        self.upstream.sustainable(Class::Watch)
    }

    /// How long it takes until the vendor's limits have room for a poll of so many requests.
    pub(super) fn watch_room(&self, requests: u32) -> Duration {
        self.upstream.room_in(Class::Watch, requests)
    }

    /// Sets how often polls for changes come, if that is less often than configured.
    pub(super) fn set_slow_watch(&self, interval: Option<Duration>) {
        let seconds = interval.map_or(0, |interval| interval.as_secs().max(1));
        self.slow_watch.store(seconds, Ordering::Relaxed);
    }

    /// A session with its upstream that lasts until the call's deadline.
    pub(super) fn session(&self, call: &Call) -> Session {
        self.session_until(call, call.deadline)
    }

    /// A session with its upstream for work that may outlive the call.
    pub(super) fn session_until(&self, call: &Call, deadline: Instant) -> Session {
        let spending = Arc::clone(call.record.spending());
        Session::new(&self.upstream, deadline, spending, call.record.caller())
    }

    /// Refuses work for a call whose first request would find no place.
    pub(super) fn has_room(&self, call: &Call, class: Class) -> Result<()> {
        self.upstream.has_room(class, call.record.caller())
    }

    /// Refuses a method that the dialect does not have.
    pub(super) fn require(&self, method: Method) -> Result<()> {
        if self.dialect.capabilities().has(method) {
            return Ok(());
        }
        let message = format!("dialect {} does not support {}", self.dialect.name(), method.name());
        let error = Error::new(Reason::OperationNotSupported, message);
        Err(self.decorate(method, error))
    }

    /// Refuses an id that cannot exist in the dialect, without asking the upstream.
    pub(super) fn check_id(&self, name: &ProfileName) -> Result<()> {
        if self.dialect.accepts_id(name.id()) {
            return Ok(());
        }
        let message = format!(
            "not a valid profile id for dialect {}, which has ids such as {}",
            self.dialect.name(),
            self.dialect.example_id()
        );
        Err(Error::new(Reason::ProfileNotFound, message))
    }

    /// The same, with the error as callers see it.
    pub(super) fn require_id(&self, method: Method, name: &ProfileName) -> Result<()> {
        self.check_id(name).map_err(|error| self.decorate_profile(method, name, error))
    }

    /// A profile that the dialect has read, as callers see it.
    pub(super) fn present(&self, item: Item) -> Profile {
        let mut profile = item.profile;
        profile.name = ProfileName::of(&self.name, &item.id).to_string();
        profile.dialect = self.dialect.kind().into();
        normalize(&mut profile);
        profile.etag = etag(&profile);
        profile
    }

    /// A profile of this id as callers would see it.
    pub(super) fn presented(&self, id: &str, profile: Profile) -> Profile {
        self.present(Item { id: id.to_owned(), profile })
    }

    /// The headers that carry the credentials; those that hold a secret are marked sensitive.
    pub(super) fn credential_headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>> {
        self.upstream.credential_headers()
    }

    /// Ends the pause that the upstream has asked for, and returns whether there was one.
    pub(super) async fn end_pause(&self) -> bool {
        self.upstream.end_pause().await
    }

    /// Records a failure as the last error in the backend's status.
    pub(super) fn record_failure(&self, error: &Error) {
        self.upstream.note_failure(error);
    }

    /// The error as callers see it: with the backend and the operation.
    pub(super) fn decorate(&self, method: Method, error: Error) -> Error {
        error
            .with_metadata(metadata::BACKEND, self.name.id())
            .with_metadata(metadata::DIALECT, self.dialect.name())
            .with_metadata(metadata::OPERATION, method.name())
    }

    /// The same for an operation on one profile, which the error names if it is about that profile.
    pub(super) fn decorate_profile(
        &self,
        method: Method,
        name: &ProfileName,
        error: Error,
    ) -> Error {
        let name = name.whole();
        let error = match error.facts().is_about_a_profile {
            true => error.about(&name),
            false => error,
        };
        self.decorate(method, error.with_subject(name))
    }

    /// Decorates and records a failure.
    pub(super) fn fail(&self, method: Method, error: Error) -> Error {
        let error = self.decorate(method, error);
        self.record_failure(&error);
        error
    }

    /// Decorates and records the failure of an operation on one profile.
    pub(super) fn fail_profile(&self, method: Method, name: &ProfileName, error: Error) -> Error {
        let error = self.decorate_profile(method, name, error);
        self.record_failure(&error);
        error
    }

    fn slow_watch_seconds(&self) -> Option<i64> {
        let seconds = self.slow_watch.load(Ordering::Relaxed);
        i64::try_from(seconds).ok().filter(|seconds| *seconds > 0)
    }

    /// The backend as `BackendService` shows it, with its last error for those who look after it.
    pub(super) fn describe(&self, request_id_guarantee: &str, tells_error: bool) -> pb::Backend {
        let health = self.upstream.health();
        let reachability = match health.reach {
            Reach::Untried => Reachability::Unspecified,
            Reach::Answers => Reachability::Reachable,
            Reach::Silent => Reachability::Unreachable,
        };
        let circuit_state = match health.circuit {
            Circuit::Closed => CircuitState::Closed,
            Circuit::HalfOpen => CircuitState::HalfOpen,
            Circuit::Open => CircuitState::Open,
        };
        let last_error =
            health.last_error.filter(|_| tells_error).map(|(error, age)| pb::BackendError {
                reason: error.reason().name().to_owned(),
                message: error.message().to_owned(),
                age_seconds: i64::try_from(age.as_secs()).unwrap_or(i64::MAX),
            });
        pb::Backend {
            name: self.name.to_string(),
            dialect: self.dialect.kind().into(),
            display_name: self.display_name.clone(),
            capabilities: Some(self.dialect.capabilities().describe(request_id_guarantee)),
            status: Some(pb::BackendStatus {
                reachability: reachability.into(),
                circuit_state: circuit_state.into(),
                last_error,
                slow_watch_interval_seconds: self.slow_watch_seconds(),
                levers: self.levers.in_force().iter().map(|lever| shown(lever)).collect(),
            }),
        }
    }
}

/// A lever as callers see it: who has set it is for operators.
fn shown(lever: &InForce) -> pb::Lever {
    let kind = match lever.lever {
        Lever::ReadOnly => LeverKind::ReadOnly,
        Lever::WritesFrozen => LeverKind::WritesFrozen,
        Lever::CircuitOpen => LeverKind::CircuitOpen,
        Lever::CircuitClosed => LeverKind::CircuitClosed,
        // It is of no backend.
        Lever::LogLevel => LeverKind::Unspecified,
    };
    pb::Lever {
        kind: kind.into(),
        set_time: Some(lever.since.into()),
        expire_time: Some(lever.until.into()),
        note: lever.note.clone(),
    }
}
