//! Reads of one backend, through its cache.
//!
//! One load may serve many callers. It records its failure once; each caller then only adds which
//! operation failed.

use std::sync::Arc;

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::{
    cache::{Control, List, Load, MAX_LOAD, Outcome, Readers, Resource, Unreadable, Value, Wait},
    call::Call,
    dialect::{Brief, Item, ListPart, Listing, SoFar},
    error::{Error, Reason, Result},
    gateway::{
        backend::Backend,
        door::{Allowed, Looks, Operates, Reads},
    },
    model::{
        etag::id_order,
        name::{BackendName, ProfileName},
    },
    pb::{Encoded, Profile, Service},
    resources::{is_long_list, off_thread_if},
    upstream::{Class, Delay, Session, Waiters},
};

/// One profile.
pub(crate) async fn profile(
    backend: &Allowed<Reads>,
    call: &Call,
    id: &str,
) -> Result<Encoded<Profile>> {
    let load = |session: Session| {
        let (backend, id) = (Arc::clone(&**backend), id.to_owned());
        async move {
            let item = backend.dialect().get(&session, &id).await;
            let item = item.map_err(|error| load_failure(&backend, error))?;
            Ok(Value::Profile(Encoded::of(&backend.present(item))))
        }
    };
    match read(
        (backend, backend.cache_control()),
        call,
        &Resource::Profile(id.into()),
        Class::Call,
        load,
    )
    .await?
    {
        Value::Profile(profile) => Ok(profile),
        other => Err(wrong_kind(&other)),
    }
}

/// The profiles of a backend, ordered by id.
pub(crate) struct Profiles {
    /// Those that could be read.
    pub(crate) list: Arc<List>,
    /// Those that are there but could not be read.
    pub(crate) unreadable: Arc<Unreadable>,
}

/// All profiles, ordered by id. Fails if any of them cannot be read.
pub(crate) async fn profiles(backend: &Allowed<Reads>, call: &Call) -> Result<Arc<List>> {
    readable(backend, listed(backend, call, Class::List).await?)
}

/// The profiles of a list from which none may be missing.
pub(crate) fn readable(backend: &Backend, profiles: Profiles) -> Result<Arc<List>> {
    match profiles.unreadable.first() {
        None => Ok(profiles.list),
        Some((id, error)) => {
            Err(error.clone().about(&ProfileName::of(backend.name(), id).to_string()))
        }
    }
}

/// All profiles that can be read. The class decides what the vendor's limits leave for it.
pub(crate) async fn listed(
    backend: &Allowed<Reads>,
    call: &Call,
    class: Class,
) -> Result<Profiles> {
    let load = |session: Session| {
        let backend = Arc::clone(&**backend);
        async move {
            let listing = backend.dialect().list(&session).await;
            let listing = listing.map_err(|error| load_failure(&backend, error))?;
            Ok(presented(&backend, listing))
        }
    };
    as_profiles(
        read((backend, backend.cache_control()), call, &Resource::Profiles, class, load).await?,
    )
}

/// All profiles that can be read, where only these fields matter, which the upstream's own list may
/// show: then one request is enough.
pub(crate) async fn listed_briefly(
    backend: &Allowed<Reads>,
    call: &Call,
    class: Class,
    fields: Vec<&'static str>,
) -> Result<Profiles> {
    // Whole profiles that are at hand say all of it too.
    if !backend.cache().has(&Resource::Profiles, backend.cache_control()) {
        let wanted = fields.clone();
        let load = |session: Session| {
            let backend = Arc::clone(&**backend);
            async move {
                let listed = backend.dialect().list_briefly(&session, &wanted).await;
                Ok(match listed.map_err(|error| load_failure(&backend, error))? {
                    Brief::Fields(items, shown) => {
                        Value::Fields(in_order(&backend, items), Arc::new(shown))
                    }
                    Brief::Whole(listing) => presented(&backend, listing),
                })
            }
        };
        match read((backend, backend.cache_control()), call, &Resource::Brief, class, load).await? {
            Value::Fields(list, shown) if fields.iter().all(|field| shown.contains(field)) => {
                return Ok(Profiles { list, unreadable: Arc::default() });
            }
            // It was read for other fields.
            Value::Fields(..) => {}
            whole => return as_profiles(whole),
        }
    }
    listed(backend, call, class).await
}

/// All profiles that can be read, past the cache, for as long as the vendor's limits make it take.
/// `waits` is told each time that the rest has to wait; false ends it.
pub(crate) async fn watched(
    backend: &Arc<Backend>,
    call: &Call,
    waits: impl Fn() -> bool + Send + Sync + 'static,
) -> Result<Profiles> {
    let load = |session: Session| {
        let backend = Arc::clone(backend);
        async move {
            let (mut so_far, mut in_parts) = (SoFar::new(), false);
            loop {
                // Each part has the time of a load. It waits outside of the upstream's queue, which
                // others need meanwhile.
                let part = session.until(Instant::now() + MAX_LOAD);
                let progress = backend.dialect().list_in_parts(&part, &mut so_far).await;
                match progress.map_err(|error| load_failure(&backend, error))? {
                    ListPart::Complete(listing) => {
                        let value = presented(&backend, listing);
                        return Ok(if in_parts { unkept(value) } else { value });
                    }
                    ListPart::Rest(after) => {
                        in_parts = true;
                        if waits() {
                            sleep(after).await;
                        }
                        if !waits() {
                            return Err(unwanted());
                        }
                    }
                }
            }
        }
    };
    as_profiles(
        read((backend, call.cache_control), call, &Resource::Profiles, Class::Watch, load).await?,
    )
}

/// A listing as callers see it.
fn presented(backend: &Backend, listing: Listing) -> Value {
    let Listing { items, unreadable } = listing;
    let list = in_order(backend, items);
    let Some((_, error)) = unreadable.first() else { return Value::Profiles(list) };
    backend.record_failure(error);
    let unreadable = unreadable.into_iter().map(|(id, error)| (id.into(), error));
    Value::Partial(list, Arc::new(unreadable.collect()))
}

/// Profiles as callers see them, ordered by id.
fn in_order(backend: &Backend, mut items: Vec<Item>) -> Arc<List> {
    let is_long = is_long_list(items.len());
    let encode = || -> List {
        items.sort_by(|a, b| id_order(&a.id).cmp(&id_order(&b.id)));
        let each = items.into_iter().map(|item| {
            let id = item.id.as_str().into();
            (id, Encoded::of(&backend.present(item)))
        });
        each.collect()
    };
    Arc::new(off_thread_if(is_long, encode))
}

/// A list that was read in parts is not kept: the first of them may be from before a write, and the
/// last from after it.
fn unkept(value: Value) -> Value {
    match value {
        Value::Profiles(list) => Value::Partial(list, Arc::default()),
        other => other,
    }
}

fn as_profiles(value: Value) -> Result<Profiles> {
    match value {
        Value::Profiles(list) => Ok(Profiles { list, unreadable: Arc::default() }),
        Value::Partial(list, unreadable) => Ok(Profiles { list, unreadable }),
        other => Err(wrong_kind(&other)),
    }
}

fn unwanted() -> Error {
    Error::new(Reason::UpstreamThrottled, "no stream waits for the rest of the list any more")
}

/// The services that a profile can hold.
pub(crate) async fn services(
    backend: &Allowed<impl Looks>,
    call: &Call,
) -> Result<Arc<Vec<Service>>> {
    let load = |session: Session| {
        let backend = Arc::clone(&**backend);
        async move {
            let services = backend.dialect().services(&session).await;
            let mut services = services.map_err(|error| load_failure(&backend, error))?;
            services.iter_mut().for_each(|service| name_service(backend.name(), service));
            Ok(Value::Services(Arc::new(services)))
        }
    };
    match read((backend, backend.cache_control()), call, &Resource::Services, Class::Call, load)
        .await?
    {
        Value::Services(services) => Ok(services),
        other => Err(wrong_kind(&other)),
    }
}

/// Drops all cache entries of a backend. Returns how many were dropped.
pub(crate) async fn purge(backend: &Allowed<Operates>) -> Result<u64> {
    let cache = backend.cache().clone();
    // This visits every entry: a million of them must not block other calls.
    spawn_blocking(move || cache.purge()).await.map_err(|error| {
        Error::new(Reason::GatewayInternal, "internal error in the cache").with_internal(error)
    })
}

/// The readers of a load, as its session tells them how long it waits.
struct ReadersOfLoad(Readers);

impl Waiters for ReadersOfLoad {
    fn tell(&self, delay: Delay) -> bool {
        let Delay { until, guessed, has_read, refusal } = delay;
        self.0.tell(Wait { until, guessed, refusal }, has_read)
    }

    fn queues(&self, for_share: bool) {
        self.0.queues(for_share);
    }

    fn goes_on(&self) {
        self.0.goes_on();
    }
}

/// A load of a backend, for one call and those who share it.
struct LoadOf<'a, L> {
    backend: &'a Backend,
    call: &'a Call,
    class: Class,
    load: L,
}

impl<F, L: FnOnce(Session) -> F> Load<F> for LoadOf<'_, L> {
    fn admits(&self) -> Result<()> {
        let room = self.backend.has_room(self.call, self.class);
        room.map_err(|error| load_failure(self.backend, error))
    }

    fn begin(self, deadline: Instant, readers: Option<Readers>) -> F {
        let session = self.backend.session_until(self.call, deadline).of(self.class);
        (self.load)(match readers {
            None => session,
            Some(readers) => session.telling(ReadersOfLoad(readers)),
        })
    }
}

async fn read<F>(
    (backend, control): (&Backend, Control),
    call: &Call,
    resource: &Resource,
    class: Class,
    load: impl FnOnce(Session) -> F,
) -> Result<Value>
where
    F: Future<Output = Result<Value>> + Send + 'static,
{
    let by = (call.record.caller().id(), call.deadline);
    let load = LoadOf { backend, call, class, load };
    let began = Instant::now();
    let (value, served) = backend.cache().read(resource, control, by, load).await;
    if served.outcome == Outcome::Coalesced {
        call.record.spending().took(began.elapsed());
    }
    call.record.set_cache(served);
    tracing::debug!(
        target: "gateway", call_id = %call.record.id(), backend = backend.name().id(), ?resource,
        cache = served.outcome.name(), "a read was answered"
    );
    value
}

/// Records the failure of a load, and returns it for the callers that share the load.
fn load_failure(backend: &Backend, error: Error) -> Error {
    backend.record_failure(&error);
    error
}

fn name_service(backend: &BackendName, service: &mut Service) {
    service.name = format!("{backend}/services/{}", service.id);
    for limit in &mut service.traffic_limits {
        limit.name = format!("{}/trafficLimits/{}", service.name, limit.id);
    }
}

/// The error for a key that holds a value of another kind, which is a bug.
fn wrong_kind(value: &Value) -> Error {
    Error::new(Reason::GatewayInternal, "internal error in the cache")
        .with_internal(format!("{value:?}"))
}
