//! What the suite runs over: the ledger with each store, and the ids that replicas share.

use std::{cell::RefCell, ops::Deref, sync::Arc};

use tempfile::TempDir;

use super::{
    over_replicas::{RULES, Replica},
    *,
};
use crate::{
    gateway::idempotency::entries::State,
    shared::redis_server::RedisServer,
    store::{File, Memory, Store, StoreMetrics},
};

/// What request ids are kept in.
#[derive(Debug, Clone, Copy)]
pub(super) enum On {
    /// The memory of one process.
    Memory,
    /// A file of one process.
    File,
    /// A store that two replicas share. Time passes as it does.
    Replicas,
}

/// Runs rows over each store: those `anywhere` over replicas too, the others on a paused clock.
macro_rules! over_each_store {
    (anywhere { $($row:ident,)* } on_a_paused_clock { $($paused:ident,)* }) => {
        mod over_memory {
            use crate::gateway::idempotency::tests::stores::On;

            $(#[tokio::test(start_paused = true)]
            async fn $row() {
                super::$row(On::Memory).await;
            })*

            $(#[tokio::test(start_paused = true)]
            async fn $paused() {
                super::$paused(On::Memory).await;
            })*
        }

        mod over_a_file {
            use crate::gateway::idempotency::tests::stores::On;

            $(#[tokio::test(start_paused = true)]
            async fn $row() {
                super::$row(On::File).await;
            })*

            $(#[tokio::test(start_paused = true)]
            async fn $paused() {
                super::$paused(On::File).await;
            })*
        }

        mod over_replicas_too {
            use crate::gateway::idempotency::tests::stores::On;

            $(#[tokio::test]
            async fn $row() {
                super::$row(On::Replicas).await;
            })*
        }
    };
}
pub(super) use over_each_store;

/// Request ids, as calls see them. Dropped in this order.
pub(super) struct Tested {
    ids: Arc<dyn IdempotencyStore>,
    ledger: Arc<Ledger>,
    replicas: Option<Replicas>,
}

/// Two replicas, of which the first is the tested one.
struct Replicas {
    first: Replica,
    _second: Replica,
    _server: RedisServer,
}

impl Tested {
    pub(super) async fn new(on: On, limits: Limits) -> Self {
        match on {
            On::Memory => Self::of(ledger(limits, memory())),
            On::File => Self::of(ledger(limits, file())),
            On::Replicas => {
                let server = RedisServer::start(&[]).await;
                let ledger = ledger(limits, memory());
                let first = Replica::over(&server, RULES, Arc::clone(&ledger)).await;
                let second = Replica::of(&server, RULES).await;
                let ids = first.store();
                let replicas = Replicas { first, _second: second, _server: server };
                Self { ids, ledger, replicas: Some(replicas) }
            }
        }
    }

    /// Those of one process.
    pub(super) fn of(ledger: Arc<Ledger>) -> Self {
        Self { ids: ledger.clone(), ledger, replicas: None }
    }

    pub(super) fn attempt(&self, key: RequestKey, number: u64) -> Attempt {
        Attempt::new(Arc::clone(&self.ids), key, number)
    }

    /// Begins as a call does: if another replica may be at it, it waits and asks again. Here, that
    /// is what this one has given up a moment ago.
    pub(super) async fn begin(&self, identity: &RequestIdentity, by: Attempter) -> Result<Begin> {
        loop {
            match self.ids.begin(identity, by.clone()).await? {
                Begin::Running(ending) if !self.runs_here(identity.key) => drop(ending.await),
                begin => return Ok(begin),
            }
        }
    }

    fn runs_here(&self, key: RequestKey) -> bool {
        let inner = self.ledger.lock();
        inner.all.get(&key).is_some_and(|entry| matches!(entry.state, State::Running(_)))
    }

    /// Stores the intent of an attempt, which has the turn of what it writes.
    pub(super) async fn intend(&self, key: RequestKey, number: u64, intent: Bytes) -> Result<()> {
        if let Some(replicas) = &self.replicas {
            let write = replicas.first.next_turn(&format!("a/p/{}", key.id)).await;
            self.ids.under(key, number, &write);
        }
        self.ids.intend(key, number, intent).await
    }

    /// How many ids are stored, and the sum of their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        self.ledger.size()
    }
}

impl Deref for Tested {
    type Target = dyn IdempotencyStore;

    fn deref(&self) -> &Self::Target {
        &*self.ids
    }
}

pub(super) fn ledger(limits: Limits, store: Arc<dyn Store>) -> Arc<Ledger> {
    Arc::new(Ledger::load(limits, RequestIdMetrics::default(), store).unwrap())
}

pub(super) fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::default())
}

/// One whose directory ends with the test, which has a thread of its own.
fn file() -> Arc<dyn Store> {
    thread_local! {
        static DIRECTORIES: RefCell<Vec<TempDir>> = const { RefCell::new(Vec::new()) };
    }
    let directory = TempDir::new().unwrap();
    let store = Arc::new(File::open(directory.path(), StoreMetrics::default()).unwrap());
    DIRECTORIES.with_borrow_mut(|all| all.push(directory));
    store
}
