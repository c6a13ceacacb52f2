//! Keeps for the next process what an upstream has to be spared: pauses, and what is used of its
//! limits.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use parking_lot::Mutex;
use prost::Message;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::kept::{KeptPause, KeptUpstream, read};
use crate::store::{Change, Clock, Kept, Outlives, Store, StoreKey, Table, forget_unreadable};

/// The most upstreams that are remembered after they are gone.
const MAX_REMEMBERED: usize = 1024;

/// What earlier processes have left of all upstreams, and what a reload of the configuration has.
pub struct EarlierUpstreams {
    store: Arc<dyn Store>,
    key: Arc<StoreKey>,
    clock: Clock,
    left: Mutex<Left>,
}

#[derive(Default)]
struct Left {
    pauses: BTreeMap<String, KeptPause>,
    upstreams: BTreeMap<String, KeptUpstream>,
}

/// What tells accounts apart, as the configuration has it.
#[derive(Debug, Clone)]
pub struct Account {
    /// Which upstream it is of: where that is, and what it speaks.
    pub upstream: Vec<String>,
    /// What else is known of it and is no secret, such as its user.
    pub names: Vec<String>,
    /// Its secrets.
    pub secrets: Vec<SecretString>,
    /// The backend that is configured for it.
    pub backend: String,
}

/// Keeps the state of one upstream.
pub(super) struct Keeper {
    store: Arc<dyn Store>,
    clock: Clock,
    backend: String,
    account: u32,
    credentials: AtomicU32,
    key: Arc<StoreKey>,
}

/// What an earlier process has left of one upstream.
pub(super) struct Earlier {
    pub(super) clock: Clock,
    pub(super) pause: Option<KeptPause>,
    pub(super) upstream: Option<KeptUpstream>,
}

impl EarlierUpstreams {
    /// What the store has. What this release cannot read is forgotten.
    #[must_use]
    pub fn load(store: Arc<dyn Store>, key: Arc<StoreKey>) -> Self {
        let (pauses, upstreams) = (found(&*store, Table::Logins), found(&*store, Table::Upstreams));
        Self { store, key, clock: Clock::default(), left: Mutex::new(Left { pauses, upstreams }) }
    }

    /// What keeps the state of a backend's upstream, if anything outlives the process, and what it
    /// begins with. What is of another account, or of other credentials, is left out.
    pub(super) fn of(&self, backend: &str, account: &Account) -> (Option<Keeper>, Earlier) {
        let credentials = account.digest_of_secrets(&self.key, "credentials");
        let keeper = Keeper {
            store: Arc::clone(&self.store),
            clock: self.clock,
            backend: backend.to_owned(),
            account: account.digest(&self.key),
            credentials: AtomicU32::new(credentials),
            key: Arc::clone(&self.key),
        };
        let mut left = self.left.lock();
        let kept = left.pauses.remove(backend);
        let pause = kept.filter(|pause| pause.credentials == credentials);
        if kept.is_some() && pause.is_none() {
            drop(keeper.pause(None));
        }
        let upstream = left.upstreams.remove(backend);
        let upstream = upstream.filter(|upstream| upstream.account == keeper.account);
        let clock = self.clock;
        let outlives = self.store.outlives() != Outlives::Nothing;
        (Some(keeper).filter(|_| outlives), Earlier { clock, pause, upstream })
    }

    /// Remembers the state of an upstream that another one replaces, or that is not configured any
    /// more, for the next one of this name.
    pub(super) fn leave(
        &self,
        backend: &str,
        account: &Account,
        (pause, upstream): (Option<KeptPause>, KeptUpstream),
    ) {
        let mut left = self.left.lock();
        if left.upstreams.len() >= MAX_REMEMBERED {
            return;
        }
        let at = self.clock.to_kept(self.clock.now());
        let upstream = KeptUpstream { account: account.digest(&self.key), at, ..upstream };
        left.upstreams.insert(backend.to_owned(), upstream);
        if let Some(pause) = pause {
            let credentials = account.digest_of_secrets(&self.key, "credentials");
            left.pauses.insert(backend.to_owned(), KeptPause { credentials, ..pause });
        }
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }
}

fn found<M: Message + Default>(store: &dyn Store, table: Table) -> BTreeMap<String, M> {
    let (mut found, mut unreadable) = (BTreeMap::new(), Vec::new());
    for entry in store.load(table) {
        match read(&entry) {
            Ok((backend, kept)) => drop(found.insert(backend, kept)),
            Err(_) => unreadable.push(entry.0),
        }
    }
    forget_unreadable(store, table, unreadable);
    found
}

impl Account {
    /// Tells it from other accounts of the same backend.
    #[must_use]
    pub fn digest(&self, key: &StoreKey) -> u32 {
        // Where nothing else tells accounts apart, the secrets do.
        if self.names.is_empty() {
            return self.digest_of_secrets(key, "account");
        }
        let [a, b, c, d, ..] = key.derive("account", &self.known().collect::<Vec<_>>());
        u32::from_be_bytes([a, b, c, d])
    }

    /// Names it among all replicas. No secret is in it: they are replaced on one replica after the
    /// other, and meanwhile all of them have to mean the same account.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        // Where nothing else tells accounts apart, their backends do.
        let apart = self.names.is_empty().then_some(self.backend.as_bytes());
        let mut digest = Sha256::new();
        for part in self.known().chain(apart) {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(digest.finalize());
        format!("{:016x}", u64::from_be_bytes([a, b, c, d, e, f, g, h])).into()
    }

    /// Whether it is the same account as this one. Its secrets may be others.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let known = (&self.upstream, &self.names) == (&other.upstream, &other.names);
        known && (!self.names.is_empty() || self.has_same_secrets(other))
    }

    /// Whether it is the same account with the same secrets.
    #[must_use]
    pub fn has_same_secrets(&self, other: &Self) -> bool {
        let (own, theirs) = (self.secrets.iter(), other.secrets.iter());
        (&self.upstream, &self.names) == (&other.upstream, &other.names)
            && own.map(ExposeSecret::expose_secret).eq(theirs.map(ExposeSecret::expose_secret))
    }

    /// Too few bits to find a secret by trying: many have the same. Of two that a configuration has
    /// one after the other, hardly ever.
    fn digest_of_secrets(&self, key: &StoreKey, purpose: &str) -> u32 {
        let all: Vec<&[u8]> = self.known().chain(self.secret_bytes()).collect();
        let [a, b, ..] = key.derive(purpose, &all);
        u16::from_be_bytes([a, b]).into()
    }

    /// Tells its secrets from others among all replicas that have this key, and nothing of them.
    pub(super) fn name_of_secrets(&self, key: &StoreKey) -> String {
        let all: Vec<&[u8]> = self.known().chain(self.secret_bytes()).collect();
        let [a, b, c, d, e, f, g, h, ..] = key.derive("credentials over replicas", &all);
        format!("{:016x}", u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    fn secret_bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.secrets.iter().map(|secret| secret.expose_secret().as_bytes())
    }

    fn known(&self) -> impl Iterator<Item = &[u8]> {
        self.upstream.iter().chain(&self.names).map(String::as_bytes)
    }
}

impl Keeper {
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// Pauses are those of these credentials from now on.
    pub(super) fn change_credentials(&self, account: &Account) {
        let credentials = account.digest_of_secrets(&self.key, "credentials");
        self.credentials.store(credentials, Ordering::Relaxed);
    }

    /// Keeps the pause of logins, or forgets it.
    pub(super) fn pause(&self, pause: Option<KeptPause>) -> Kept {
        let key = self.backend.clone();
        let change = match pause {
            Some(pause) => {
                let credentials = self.credentials.load(Ordering::Relaxed);
                let pause = KeptPause { credentials, ..pause };
                Change::put(Table::Logins, key, pause.encode_to_vec())
            }
            None => Change::remove(Table::Logins, key),
        };
        self.store.end(vec![change])
    }

    /// Keeps the rest a moment later.
    pub(super) fn note(&self, upstream: KeptUpstream) {
        self.store.note(vec![self.change(upstream)]);
    }

    /// Keeps the rest now.
    pub(super) fn end(&self, upstream: KeptUpstream) -> Kept {
        self.store.end(vec![self.change(upstream)])
    }

    fn change(&self, upstream: KeptUpstream) -> Change {
        let at = self.clock.to_kept(self.clock.now());
        let upstream = KeptUpstream { account: self.account, at, ..upstream };
        Change::put(Table::Upstreams, self.backend.clone(), upstream.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::{File, Memory, StoreMetrics};

    fn account(upstream: &str, name: &str, secret: &str) -> Account {
        let names = Some(name).filter(|name| !name.is_empty()).map(str::to_owned);
        Account {
            upstream: vec![upstream.to_owned()],
            names: names.into_iter().collect(),
            secrets: vec![secret.into()],
            backend: "b".to_owned(),
        }
    }

    #[test]
    fn replicas_call_an_account_the_same_whatever_its_secrets() {
        let name = account("a", "n", "s").name();
        assert_eq!((name.len(), &account("a", "n", "t").name()), (16, &name));
        assert_eq!(Account { backend: "c".into(), ..account("a", "n", "s") }.name(), name);
        assert_ne!(account("z", "n", "s").name(), name);
        assert_ne!(account("a", "m", "s").name(), name);
        // One that only secrets tell from others is that of its backend.
        let unnamed = account("a", "", "s");
        assert_eq!(account("a", "", "t").name(), unnamed.name());
        assert_ne!(Account { backend: "c".into(), ..unnamed.clone() }.name(), unnamed.name());
    }

    #[tokio::test]
    async fn another_account_inherits_nothing_and_other_credentials_no_pause() {
        let directory = TempDir::new().unwrap();
        let open = || -> Arc<dyn Store> {
            Arc::new(File::open(directory.path(), StoreMetrics::default()).unwrap())
        };
        // Always the same, because one in many digests of others is the same.
        let key = Change::put(Table::Keys, "store", vec![7; 32]);
        open().end(vec![key]).wait().await.unwrap();
        let load = || {
            let store = open();
            let key = Arc::new(StoreKey::load(&*store).unwrap());
            EarlierUpstreams::load(store, key)
        };
        for own in [account("a", "n", "s"), account("a", "", "s")] {
            let keeper = load().of("b", &own).0.unwrap();
            keeper.note(KeptUpstream { strikes: 3, ..Default::default() });
            keeper.pause(Some(KeptPause { left: 1, ..Default::default() })).wait().await.unwrap();
            drop(keeper);
            let has = |backend: &str, account: &Account| {
                let (_, earlier) = load().of(backend, account);
                (earlier.upstream.is_some(), earlier.pause.is_some())
            };
            assert_eq!(has("c", &own), (false, false));
            let named = own.names.concat();
            assert_eq!(has("b", &own), (true, true));
            let others = [("z", &*named, "s", false), ("a", "m", "s", false)];
            for (upstream, name, secret, inherits) in others {
                let (_, earlier) = load().of("b", &account(upstream, name, secret));
                assert_eq!(earlier.upstream.is_some(), inherits, "{upstream} {name} {secret}");
                assert!(earlier.pause.is_none());
                // That has forgotten it.
                let keeper = load().of("b", &own).0.unwrap();
                let pause = KeptPause { left: 1, ..Default::default() };
                keeper.pause(Some(pause)).wait().await.unwrap();
            }
            assert_eq!(has("b", &account("a", &named, "t")), (!named.is_empty(), false));
        }
        let strange = Change::put(Table::Upstreams, "b", "strange");
        open().end(vec![strange]).wait().await.unwrap();
        assert!(load().of("b", &account("a", "n", "s")).1.upstream.is_none());
        assert_eq!(open().load(Table::Upstreams), []);
        let key = Arc::new(StoreKey::load(&Memory::default()).unwrap());
        let earlier = EarlierUpstreams::load(Arc::new(Memory::default()), key);
        assert!(earlier.of("b", &account("a", "n", "s")).0.is_none());
    }
}
