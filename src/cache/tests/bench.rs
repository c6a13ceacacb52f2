//! A cache in front of a fake upstream that a test controls.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    cache::{
        BackendCacheMetrics, BackgroundTasks, Cache, CacheMetrics, CacheSettings, Control, Outcome,
        Readers, Resource, Served, Target, Value,
    },
    caller::{self, CallerId},
    error::{Error, Reason},
    pb::Encoded,
    resources::Share,
    telemetry::Registry,
};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const TTL: Duration = Duration::from_secs(30);

/// A reader that waits until then.
pub(super) fn by(deadline: Instant) -> (CallerId, Instant) {
    (CallerId::Others, deadline)
}

pub(super) fn settings() -> CacheSettings {
    CacheSettings {
        enabled: true,
        ttl: TTL,
        services_ttl: TTL,
        negative_ttl: 5 * SECOND,
        stale_while_revalidate: 30 * SECOND,
        stale_if_error: 600 * SECOND,
        max_bytes: 1 << 20,
    }
}

/// What the upstream answers, and how long it takes.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Version(u8),
    Fails(Reason),
}

/// A cache in front of a fake upstream.
pub(super) struct Bench {
    pub(super) cache: Cache,
    pub(super) metrics: BackendCacheMetrics,
    pub(super) background: BackgroundTasks,
    upstream: Arc<Mutex<(Answer, Duration)>>,
    asked: Arc<AtomicU32>,
}

/// How a read ended: the version or the reason, how it was served, and its age in seconds.
pub(super) type Read = (Result<u8, Reason>, Outcome, Option<u64>);

impl Bench {
    pub(super) fn new(settings: CacheSettings) -> Self {
        Self::with(settings, true)
    }

    pub(super) fn with(settings: CacheSettings, lists_are_complete: bool) -> Self {
        let metrics = CacheMetrics::register(&mut Registry::new("test")).backend(&"test".into());
        let background = BackgroundTasks::default();
        Self {
            cache: Cache::new(
                settings,
                lists_are_complete,
                metrics.clone(),
                background.clone(),
                Share::boundless(caller::Resource::LoadBytes),
            ),
            metrics,
            background,
            upstream: Arc::new(Mutex::new((Answer::Version(1), Duration::ZERO))),
            asked: Arc::default(),
        }
    }

    pub(super) fn answers(&self, answer: Answer, after: Duration) {
        *self.upstream.lock().unwrap() = (answer, after);
    }

    pub(super) fn asked(&self) -> u32 {
        self.asked.load(SeqCst)
    }

    pub(super) async fn read(&self, control: Control, patience: Duration) -> Read {
        self.read_of("SP_1", control, patience).await
    }

    pub(super) async fn read_of(&self, id: &str, control: Control, patience: Duration) -> Read {
        let (upstream, asked) = (Arc::clone(&self.upstream), Arc::clone(&self.asked));
        let load = |_, readers: Option<Readers>| async move {
            asked.fetch_add(1, SeqCst);
            if let Some(readers) = readers {
                readers.goes_on();
            }
            // It answers with the state from when it was asked.
            let (answer, after) = *upstream.lock().unwrap();
            sleep(after).await;
            match answer {
                Answer::Version(version) => Ok(profile(version)),
                Answer::Fails(reason) => Err(Error::new(reason, "no")),
            }
        };
        let resource = Resource::Profile(id.into());
        let deadline = Instant::now() + patience;
        let (result, Served { outcome, age }) =
            self.cache.read(&resource, control, by(deadline), load).await;
        let result = match result {
            Ok(Value::Profile(profile)) => Ok(profile.bytes()[0]),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.reason()),
        };
        (result, outcome, age.map(|age| age.as_secs()))
    }

    pub(super) async fn get(&self) -> Read {
        self.read(Control::default(), 60 * SECOND).await
    }

    /// Runs all tasks that are ready, without advancing the clock.
    pub(super) async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}

pub(super) fn profile(version: u8) -> Value {
    Value::Profile(Encoded::from_bytes([version]))
}

pub(super) fn ok(version: u8, outcome: Outcome, age: u64) -> Read {
    (Ok(version), outcome, Some(age))
}

pub(super) fn one() -> Target {
    Target::Profile("SP_1".into())
}
