//! The keys of one issuer: where they come from, and whether they may be used.
//!
//! A key set counts as it is, also an empty one; that of a file also without a key that can be
//! used. Anything else changes nothing: the keys before stay. Those of a file stay for as long as
//! the process; those of a URL only for `max_stale`, because a key that was taken away would be
//! believed for as long as the issuer cannot be reached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use parking_lot::{Mutex, RwLock};
use rand::random;
use secrecy::zeroize::Zeroizing;
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    fetch::Fetcher,
    jwks::Keys,
    settings::{Algorithms, IssuerSettings},
};

/// What is wrong with keys that are there and cannot be used.
pub(super) const NO_USABLE: &str = "has no key with a `kid` that an allowed algorithm can use";
/// The pause after the first fetch that failed, before any has succeeded; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The keys of one issuer.
pub(super) struct Keyring {
    algorithms: Algorithms,
    source: Source,
    held: RwLock<Held>,
    /// Raised when a key may not be among them any more.
    generation: AtomicU64,
}

/// Where keys come from.
enum Source {
    File(String),
    Url(Box<Remote>),
}

/// The keys, if there are any yet.
#[derive(Default)]
struct Held {
    keys: Option<Arc<Keys>>,
    /// What they were read of.
    bytes: Zeroizing<Vec<u8>>,
    /// When that was.
    since: Option<Instant>,
}

/// Keys that are fetched.
struct Remote {
    fetcher: Fetcher,
    refresh: Duration,
    min_refresh: Duration,
    max_stale: Duration,
    /// Someone has shown a token of a key that is not known.
    wanted: Notify,
    turn: Mutex<Turn>,
}

/// Whether a fetch is under way.
enum Turn {
    Fetching,
    /// The next one may begin then.
    From(Instant),
}

/// What a read of keys has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// They are the first.
    First,
    /// They are others.
    Others,
    /// Nothing.
    Nothing,
}

/// Whether a key may be found later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The keys are being fetched.
    ForNow,
    /// The issuer does not have it, as far as is known.
    Unknown,
}

impl Keyring {
    /// The keys of a file, or of a URL, which are fetched later.
    ///
    /// # Errors
    ///
    /// Why they cannot be used, as the rest of a sentence that begins with the key of the setting.
    pub(super) fn open(settings: &IssuerSettings) -> Result<Self, String> {
        let algorithms = settings.algorithms.clone();
        if let Some(url) = &settings.jwks_url {
            let remote = Remote {
                fetcher: Fetcher::new(url, settings.ca_file.as_ref())?,
                refresh: settings.jwks_refresh,
                min_refresh: settings.jwks_min_refresh,
                max_stale: settings.jwks_max_stale,
                wanted: Notify::new(),
                turn: Mutex::new(Turn::Fetching),
            };
            return Ok(Self::of(algorithms, Source::Url(Box::new(remote))));
        }
        let source = Source::File(settings.jwks_file.clone().unwrap_or_default());
        let keyring = Self::of(algorithms, source);
        keyring.read_file()?;
        Ok(keyring)
    }

    fn of(algorithms: Algorithms, source: Source) -> Self {
        Self { algorithms, source, held: RwLock::default(), generation: AtomicU64::default() }
    }

    /// What was verified in another generation counts no more. To be asked before the keys are.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn begin_generation(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether they come from a file.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.source, Source::File(_))
    }

    /// Reads the file again, if they come from one. It waits for the disk.
    ///
    /// # Errors
    ///
    /// Why they cannot be used, as the rest of a sentence.
    pub(super) fn read_file(&self) -> Result<Change, String> {
        let Source::File(path) = &self.source else { return Ok(Change::Nothing) };
        let (bytes, keys) = Keys::read(path, &self.algorithms)?;
        Ok(self.hold(bytes, keys))
    }

    fn hold(&self, bytes: Zeroizing<Vec<u8>>, keys: Keys) -> Change {
        let mut held = self.held.write();
        held.since = Some(Instant::now());
        if held.keys.is_some() && held.bytes == bytes {
            return Change::Nothing;
        }
        let change = if held.keys.is_some() { Change::Others } else { Change::First };
        (held.bytes, held.keys) = (bytes, Some(Arc::new(keys)));
        // With the keys still locked, so that no one verifies with those of before in this one.
        self.begin_generation();
        change
    }

    /// The keys that may be used now.
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        let held = self.held.read();
        let since = held.since?;
        match &self.source {
            Source::Url(remote) if since.elapsed() > remote.max_stale => None,
            _ => held.keys.clone(),
        }
    }

    /// A token has shown a key that is not among them: they are fetched once for all who ask.
    pub(super) fn misses(&self) -> Missing {
        let Source::Url(remote) = &self.source else { return Missing::Unknown };
        match *remote.turn.lock() {
            Turn::Fetching => Missing::ForNow,
            Turn::From(earliest) => {
                remote.wanted.notify_one();
                match earliest <= Instant::now() {
                    true => Missing::ForNow,
                    // Not soon enough to be waited for.
                    false => Missing::Unknown,
                }
            }
        }
    }

    /// Fetches the keys again and again, and tells how each fetch ended; returns at once if they do
    /// not come from a URL.
    pub(super) async fn keep(&self, told: impl Fn(Result<Change, String>)) {
        let Source::Url(remote) = &self.source else { return };
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let fetched = self.fetch(remote).await;
            failures = if fetched.is_ok() { 0 } else { failures + 1 };
            if self.keys().is_none() {
                // Those that there are have become too old.
                self.begin_generation();
            }
            told(fetched);
            let has_keys = self.held.read().keys.is_some();
            let pause = remote.pause(failures, has_keys);
            // One who asks gets it earlier, but not at once.
            let asked = async {
                remote.wanted.notified().await;
                sleep_until(begun + remote.min_refresh).await;
            };
            let _ = timeout_at(begun + pause, asked).await;
        }
    }

    async fn fetch(&self, remote: &Remote) -> Result<Change, String> {
        let begun = Instant::now();
        *remote.turn.lock() = Turn::Fetching;
        // Who has asked until now gets this one.
        let _ = remote.wanted.notified().now_or_never();
        let fetched = remote.fetcher.fetch().await;
        let read = match fetched {
            Ok(bytes) => self.parse(bytes).await,
            Err(why) => Err(why),
        };
        let change = read.map(|(bytes, keys)| self.hold(bytes.into(), keys));
        *remote.turn.lock() = Turn::From(begun + remote.min_refresh);
        change
    }

    /// Reads keys, apart from the threads that serve calls.
    async fn parse(&self, bytes: Vec<u8>) -> Result<(Vec<u8>, Keys), String> {
        let algorithms = self.algorithms.clone();
        let parsed = spawn_blocking(move || {
            let keys = Keys::parse(&bytes, &algorithms)?;
            if keys.usable() == 0 && keys.listed() > 0 {
                return Err(NO_USABLE.to_owned());
            }
            Ok((bytes, keys))
        });
        parsed.await.unwrap_or_else(|_| Err("could not be read: internal error".to_owned()))
    }
}

impl Remote {
    /// From the beginning of a fetch to that of the next one, if no one asks for it.
    fn pause(&self, failures: u32, has_keys: bool) -> Duration {
        match (failures, has_keys) {
            (0, _) => self.refresh.mul_f64(0.9 + 0.2 * random::<f64>()),
            (_, true) => self.min_refresh,
            // Nothing can be verified until then.
            (failures, false) => {
                FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(self.min_refresh)
            }
        }
    }
}
