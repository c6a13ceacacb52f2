//! A dialect without an upstream: its profiles have only a display name, and its writes end as the
//! test scripts them.

use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::sleep;

use crate::{
    cache::{BackgroundTasks, Cache, CacheMetrics, CacheSettings},
    caller::{Callers, Resource},
    dialect::{
        Dialect, DialectClient, Edit, Item, Listing, Operations, ProfileUpdate, REGISTRY, Settings,
    },
    error::{Effect, Error, Reason, Result, UpstreamFacts, violation::Violations},
    gateway::{
        Backend, WriteSettings,
        watch::{WatchMetrics, WatchSettings, Watches},
    },
    model::{
        capability::{Capabilities, Field},
        method::Method,
    },
    pb::{self, Profile, Service},
    query::resume::ResumeTokens,
    resources::Share,
    telemetry::Registry,
    upstream::{
        BaseUrl, Limits, Port, Reply, Request, Upstream, UpstreamMetrics, UpstreamSettings,
    },
};

/// The display name that no profile can be given: the gateway's own code panics.
pub(super) const PANICS: &str = "panics";

/// How a scripted write ends. A write that is not in the script succeeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ends {
    /// The answer is lost; `done` tells whether the write took effect.
    Lost { done: bool },
    /// The upstream refuses it.
    Refused,
    /// The upstream refuses it after a second, and gives its own id of the request.
    RefusedAs(&'static str),
    /// The gateway's own code panics, after the write took effect.
    Panics,
    /// It succeeds after this long.
    After(Duration),
    /// It takes effect, and its answer never comes.
    Hangs,
}

#[derive(Default)]
struct State {
    profiles: BTreeMap<u32, Profile>,
    last: u32,
    script: VecDeque<Ends>,
    writes: usize,
    lists_fail: bool,
    lists: usize,
    list_takes: Duration,
    reads: usize,
    read_takes: Duration,
    is_full: bool,
    makes_halves: bool,
    finish_takes: Duration,
    finished: usize,
}

/// The upstream of one test.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<State>>);

static CAPABILITIES: Capabilities =
    Capabilities { methods: &Method::ALL, fields: &[Field::read_write("display_name")] };

impl Fake {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Adds how the next write ends to the script.
    pub(super) fn next(&self, ends: Ends) {
        self.lock().script.push_back(ends);
    }

    /// How many writes arrived.
    pub(super) fn writes(&self) -> usize {
        self.lock().writes
    }

    /// From now on, the account may not list profiles.
    pub(super) fn cannot_list(&self) {
        self.lock().lists_fail = true;
    }

    /// The account may list profiles again.
    pub(super) fn can_list(&self) {
        self.lock().lists_fail = false;
    }

    /// Backends from now on have no slot, and no place in their queue.
    pub(super) fn is_full(&self) {
        self.lock().is_full = true;
    }

    /// New profiles lack a part from now on, and adding it takes this long.
    pub(super) fn makes_halves(&self, finish_takes: Duration) {
        let mut state = self.lock();
        (state.makes_halves, state.finish_takes) = (true, finish_takes);
    }

    /// How many profiles were given what they lacked.
    pub(super) fn finished(&self) -> usize {
        self.lock().finished
    }

    /// How many profiles and lists were requested.
    pub(super) fn reads(&self) -> usize {
        self.lock().reads
    }

    /// How many lists were requested.
    pub(super) fn lists(&self) -> usize {
        self.lock().lists
    }

    /// How long a list takes. It shows the profiles as they were at its beginning.
    pub(super) fn list_takes(&self, time: Duration) {
        self.lock().list_takes = time;
    }

    /// How long a profile takes to be read from now on. It shows as it is at the end.
    pub(super) fn read_takes(&self, time: Duration) {
        self.lock().read_takes = time;
    }

    /// Another client adds what a profile lacks.
    pub(super) fn adds_rest(&self, id: u32) {
        self.lock().profiles.get_mut(&id).unwrap().services.push(Service::default());
    }

    /// Another client writes.
    pub(super) fn put(&self, id: u32, display_name: Option<&str>) {
        let profiles = &mut self.lock().profiles;
        match display_name {
            Some(name) => {
                let profile = Profile { display_name: name.into(), ..Profile::default() };
                profiles.insert(id, profile)
            }
            None => profiles.remove(&id),
        };
    }

    /// The display names of all profiles.
    pub(super) fn names(&self) -> Vec<String> {
        self.lock().profiles.values().map(|profile| profile.display_name.clone()).collect()
    }

    /// A backend over this upstream, with a cache that keeps everything for an hour.
    pub(super) fn backend(&self) -> Backend {
        let settings: Settings = [
            ("username".to_owned(), "user".to_owned().into()),
            ("password".to_owned(), "none".to_owned().into()),
        ]
        .into();
        let auth = (REGISTRY[0].build)(&settings).ok().unwrap().auth;
        let (name, mut registry) = (Arc::from("fake"), Registry::new("test"));
        let base_url = BaseUrl::parse("http://127.0.0.1:9").unwrap();
        let mut settings = UpstreamSettings { base_url, ..UpstreamSettings::default() };
        if self.lock().is_full {
            (settings.max_concurrent_calls, settings.max_queued_calls) = (0, 0);
        }
        let upstream = UpstreamMetrics::register(&mut registry).backend(&name);
        let decoding = Share::boundless(Resource::DecodingBytes);
        let upstream =
            Upstream::new("fake", &settings, Limits::NONE, auth, upstream, decoding, |_| ());
        let upstream = upstream.unwrap();
        let hour = Duration::from_secs(60 * 60);
        let cache = CacheSettings {
            enabled: true,
            ttl: hour,
            services_ttl: hour,
            negative_ttl: hour,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            max_bytes: 1 << 20,
        };
        let counted = CacheMetrics::register(&mut registry).backend(&name);
        let cache = {
            let loads = Share::boundless(Resource::LoadBytes);
            Cache::new(cache, true, counted, BackgroundTasks::default(), loads)
        };
        let dialect = DialectClient::new(self.clone());
        Backend::new("fake", None, dialect, upstream, WriteSettings::default(), cache)
    }

    /// Room for two streams over the backend, which is polled every half minute.
    pub(super) fn watches() -> Watches {
        let (name, tokens) = (Arc::<str>::from("fake"), ResumeTokens::new([0; 32], 1));
        let slots = Callers::default().pool(Resource::Streams, 2);
        let watches = Watches::new(slots, tokens, BackgroundTasks::default());
        let metrics = WatchMetrics::register(&mut Registry::new("test")).backend(&name);
        watches.add(&name, (0, &name), WatchSettings::default(), metrics);
        watches
    }

    /// Carries out a write as the script says.
    async fn write<T>(&self, write: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let ends = {
            let mut state = self.lock();
            state.writes += 1;
            state.script.pop_front()
        };
        let lost = |_| {
            let error = Error::new(Reason::UpstreamUnavailable, "no answer");
            Err(error.with_effect(Effect::Unknown))
        };
        match ends {
            None => write(&mut self.lock()),
            Some(Ends::After(wait)) => {
                sleep(wait).await;
                write(&mut self.lock())
            }
            Some(Ends::Lost { done: true }) => lost(write(&mut self.lock()).map(drop)),
            Some(Ends::Lost { done: false }) => lost(Ok(())),
            Some(Ends::Refused) => Err(Error::new(Reason::UpstreamThrottled, "not now")),
            Some(Ends::RefusedAs(id)) => {
                sleep(Duration::from_secs(1)).await;
                let facts = UpstreamFacts { request_id: Some(id.into()), ..Default::default() };
                Err(Error::new(Reason::UpstreamThrottled, "not now").with_upstream(facts))
            }
            Some(Ends::Hangs) => {
                let _ = write(&mut self.lock());
                pending().await
            }
            Some(Ends::Panics) => {
                let _ = write(&mut self.lock());
                panic!("on purpose");
            }
        }
    }
}

fn missing() -> Error {
    Error::new(Reason::ProfileNotFound, "no such profile")
}

impl Dialect for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn kind(&self) -> pb::Dialect {
        pb::Dialect::Pcc
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn has_unique_names(&self) -> bool {
        false
    }

    fn lists_are_complete(&self) -> bool {
        true
    }

    fn accepts_id(&self, id: &str) -> bool {
        id.parse::<u32>().is_ok()
    }

    fn example_id(&self) -> &'static str {
        "1"
    }

    fn check_fields(&self, _: &Profile, _: &(dyn Fn(&str) -> bool + Sync), _: &mut Violations) {}

    fn check_whole(
        &self,
        profile: &Profile,
        before: Option<&Profile>,
        _: &mut Violations,
    ) -> Result<()> {
        assert!(before.is_none() || profile.display_name != PANICS, "on purpose");
        Ok(())
    }

    fn simulate(&self, _: &Request) -> Reply {
        Reply::new(StatusCode::OK, HeaderMap::new(), Bytes::new())
    }

    fn is_applied(&self, change: ProfileUpdate<'_>, found: &Profile) -> bool {
        change.current.display_name == change.desired.display_name
            || found.display_name == change.desired.display_name
    }

    fn is_created(&self, desired: &Profile, found: &Profile) -> bool {
        desired.display_name == found.display_name
    }

    fn is_finished(&self, _: &Profile, found: &Profile) -> bool {
        !self.lock().makes_halves || !found.services.is_empty()
    }
}

#[async_trait]
impl Operations for Fake {
    async fn get(&self, _: &dyn Port, id: &str) -> Result<Item> {
        let takes = {
            let mut state = self.lock();
            state.reads += 1;
            state.read_takes
        };
        sleep(takes).await;
        let profile = {
            let state = self.lock();
            state.profiles.get(&id.parse().unwrap()).cloned().ok_or_else(missing)?
        };
        Ok(Item { id: id.to_owned(), profile })
    }

    async fn list(&self, _: &dyn Port) -> Result<Listing> {
        let (items, takes): (Vec<Item>, _) = {
            let mut state = self.lock();
            state.reads += 1;
            state.lists += 1;
            if state.lists_fail {
                return Err(Error::new(Reason::UpstreamPermissionDenied, "no lists"));
            }
            let item = |(id, profile): (&u32, &Profile)| Item {
                id: id.to_string(),
                profile: profile.clone(),
            };
            (state.profiles.iter().map(item).collect(), state.list_takes)
        };
        sleep(takes).await;
        Ok(items.into())
    }

    async fn create(&self, _: &dyn Port, profile: &Profile) -> Result<Option<String>> {
        self.write(|state| {
            state.last += 1;
            state.profiles.insert(100 + state.last, profile.clone());
            Ok(Some((100 + state.last).to_string()))
        })
        .await
    }

    async fn finish(
        &self,
        _: &dyn Port,
        _: Option<&dyn Port>,
        found: &Item,
        _: &Profile,
    ) -> Result<()> {
        let takes = self.lock().finish_takes;
        sleep(takes).await;
        let mut state = self.lock();
        state.finished += 1;
        let profile = state.profiles.get_mut(&found.id.parse().unwrap()).ok_or_else(missing)?;
        profile.services.push(Service::default());
        Ok(())
    }

    async fn update(&self, _: &dyn Port, change: ProfileUpdate<'_>) -> Result<()> {
        if change.current.display_name == change.desired.display_name {
            return Ok(());
        }
        let id: u32 = change.id.parse().unwrap();
        self.write(|state| {
            state.profiles.get_mut(&id).ok_or_else(missing)?.display_name =
                change.desired.display_name.clone();
            Ok(())
        })
        .await
    }

    async fn delete(&self, _: &dyn Port, id: &str) -> Result<()> {
        let id: u32 = id.parse().unwrap();
        self.write(|state| state.profiles.remove(&id).map(drop).ok_or_else(missing)).await
    }

    async fn services(&self, _: &dyn Port) -> Result<Vec<Service>> {
        Ok(Vec::new())
    }

    async fn edit(&self, _: &dyn Port, current: &Profile, _: &Edit) -> Result<Profile> {
        Ok(current.clone())
    }
}
