//! Writes whose process ends, and the process after it.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    closing::{NO_EFFECT, TOOK_EFFECT, close},
    *,
};
use crate::store::{Change, Entry, Kept, Outlives, Store, Table, Unavailable};

pub(super) const THREE: &str = "33333333-3333-4333-8333-333333333333";

type Entries = BTreeMap<(Table, Bytes), Bytes>;

/// A store whose entries the next process finds, as they are when this one dies.
#[derive(Default)]
pub(super) struct Remembering {
    pub(super) entries: Mutex<Entries>,
    /// The same after each change.
    history: Mutex<Vec<Entries>>,
    full: Mutex<bool>,
    /// What could not be made while it was full, and is to be made later.
    left: Mutex<Vec<Change>>,
}

impl Remembering {
    /// What the next process finds.
    pub(super) fn next(&self) -> Arc<Self> {
        let entries = Mutex::new(self.entries.lock().clone());
        Arc::new(Self { entries, ..Self::default() })
    }

    pub(super) fn is_full(&self, full: bool) {
        *self.full.lock() = full;
    }

    fn made(&self, changes: Vec<Change>) -> Kept {
        if self.trouble().is_some() {
            self.left.lock().extend(changes);
            return Kept::known(Err(full()));
        }
        let mut entries = self.entries.lock();
        for Change { table, key, value } in changes {
            match value {
                Some(value) => entries.insert((table, key), value),
                None => entries.remove(&(table, key)),
            };
        }
        self.history.lock().push(entries.clone());
        Kept::known(Ok(()))
    }
}

impl Store for Remembering {
    fn outlives(&self) -> Outlives {
        Outlives::Restarts
    }

    fn load(&self, table: Table) -> Vec<Entry> {
        let entries = self.entries.lock();
        let own = entries.iter().filter(|((of, _), _)| *of == table);
        own.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }

    fn put(&self, changes: Vec<Change>) -> Kept {
        self.trouble().map_or_else(|| self.made(changes), |cause| Kept::known(Err(cause)))
    }

    fn trouble(&self) -> Option<Unavailable> {
        self.full.lock().then(full)
    }

    fn end(&self, changes: Vec<Change>) -> Kept {
        self.made(changes)
    }

    fn note(&self, changes: Vec<Change>) {
        let _ = self.made(changes);
    }

    fn close(&self) {}
}

fn full() -> Unavailable {
    Unavailable::new("its disk is full", "it is full")
}

pub(super) fn remembering() -> (Bench, Arc<Remembering>) {
    let (fake, store) = (Fake::default(), Arc::new(Remembering::default()));
    (process(&fake, &store), store)
}

/// A process over an upstream.
pub(super) fn process(fake: &Fake, store: &Arc<Remembering>) -> Bench {
    let store = Arc::clone(store) as Arc<dyn Store>;
    keeping(fake.clone(), Processors::default(), any_number(), store)
}

/// The next one, after this one died.
pub(super) fn next(bench: &Bench, store: &Remembering) -> (Bench, Arc<Remembering>) {
    let store = store.next();
    (process(&bench.fake, &store), store)
}

pub(super) fn with_doubt(bench: &Bench) -> Bench {
    Bench { fake: bench.fake.clone(), gateway: Arc::clone(&bench.gateway) }
}

pub(super) const SLOW: Ends = Ends::After(Duration::from_secs(5));

#[tokio::test(start_paused = true)]
async fn a_creation_is_found_whenever_the_process_died_after_it_was_sent() {
    let (bench, store) = remembering();
    let created = bench.create(ONE, "a").await.unwrap();
    let is_sent = |entries: &Entries| entries.keys().any(|(table, _)| *table == Table::Requests);
    let history = store.history.lock().clone();
    let died: Vec<Entries> = history.into_iter().skip_while(|then| !is_sent(then)).collect();
    assert!(died.len() > 3, "{}", died.len());
    for entries in died {
        let store = Arc::new(Remembering { entries: Mutex::new(entries), ..Default::default() });
        let repeated = process(&bench.fake, &store).create(ONE, "a").await;
        assert_eq!(repeated.unwrap().name, created.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_done_is_done_for_the_next_process() {
    let (bench, store) = remembering();
    bench.fake.put(1, Some("old"));
    let created = bench.create(ONE, "a").await.unwrap();
    let updated = bench.update(TWO, "b").await.unwrap();
    let (bench, store) = next(&bench, &store);
    assert_eq!(bench.create(ONE, "a").await.unwrap(), created);
    assert_eq!(bench.update(TWO, "b").await.unwrap(), updated);
    bench.delete(THREE).await.unwrap();
    let (bench, _) = next(&bench, &store);
    bench.delete(THREE).await.unwrap();
    assert_eq!(bench.fake.writes(), 3);
    let reused = bench.create(TWO, "b").await.unwrap_err();
    assert_eq!(reused.reason(), Reason::RequestIdReused);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_when_the_process_died_is_found_and_not_sent_again() {
    let (bench, store) = remembering();
    bench.fake.put(1, Some("old"));
    bench.fake.next(SLOW);
    let dying = with_doubt(&bench);
    let call = tokio::spawn(async move { dying.create(ONE, "a").await });
    sleep(Duration::from_millis(1)).await;
    let (bench, store) = next(&bench, &store);
    let found = bench.create(ONE, "a").await.unwrap();
    assert_eq!((found.display_name.as_str(), bench.fake.writes()), ("a", 1));
    call.await.unwrap().unwrap();

    bench.fake.next(SLOW);
    let dying = with_doubt(&bench);
    let call = tokio::spawn(async move { dying.update(TWO, "b").await });
    sleep(Duration::from_millis(1)).await;
    let (bench, store) = next(&bench, &store);
    assert_eq!(bench.update(TWO, "b").await.unwrap().display_name, "b");
    call.await.unwrap().unwrap();

    bench.fake.next(SLOW);
    let dying = with_doubt(&bench);
    let call = tokio::spawn(async move { dying.delete(THREE).await });
    sleep(Duration::from_millis(1)).await;
    let (bench, _) = next(&bench, &store);
    bench.delete(THREE).await.unwrap();
    call.await.unwrap().unwrap();
    assert_eq!((bench.fake.writes(), bench.fake.names()), (3, vec!["a".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_show_is_sent_again_when_it_can_no_longer_take_effect() {
    let (bench, store) = remembering();
    bench.fake.next(LOST);
    unknown(bench.create(ONE, "a").await);
    let (bench, store) = next(&bench, &store);
    unknown(bench.create(ONE, "a").await);
    assert_eq!(bench.fake.writes(), 1);
    advance(MINUTE).await;
    bench.create(ONE, "a").await.unwrap();
    let (bench, _) = next(&bench, &store);
    bench.create(ONE, "a").await.unwrap();
    assert_eq!((bench.fake.writes(), bench.fake.names()), (2, vec!["a".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_creation_in_doubt_does_not_take_the_profile_of_another_one() {
    for other in [TWO, ""] {
        let (bench, store) = remembering();
        bench.fake.next(LOST);
        unknown(bench.create(ONE, "a").await);
        let others = bench.create(other, "a").await.unwrap();
        let (bench, _) = next(&bench, &store);
        unknown(bench.create(ONE, "a").await);
        advance(MINUTE).await;
        let own = bench.create(ONE, "a").await.unwrap();
        assert_ne!(own.name, others.name);
        assert_eq!((bench.fake.writes(), bench.fake.names().len()), (3, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn what_wrote_nothing_is_not_kept() {
    let (bench, store) = remembering();
    for request_id in [ONE, ""] {
        bench.fake.next(Ends::Refused);
        bench.create(request_id, "a").await.unwrap_err();
        assert_eq!(*store.entries.lock(), BTreeMap::new());
    }
    bench.create("", "a").await.unwrap();
    assert_eq!(*store.entries.lock(), BTreeMap::new(), "nothing asks for it");
}

#[tokio::test(start_paused = true)]
async fn a_write_without_an_id_is_in_doubt_for_the_next_process_until_an_operator_ends_that() {
    let (bench, store) = remembering();
    bench.fake.put(1, Some("old"));
    bench.fake.next(LOST);
    unknown(bench.create("", "a").await);
    bench.fake.next(SLOW);
    let dying = with_doubt(&bench);
    let call = tokio::spawn(async move { dying.delete("").await });
    sleep(Duration::from_millis(1)).await;
    let (bench, store) = next(&bench, &store);
    let doubts = bench.gateway.doubts.store().doubts(0, 9).await.unwrap();
    let of = |method: &str| doubts.iter().find(|doubt| doubt.method == method).unwrap();
    assert_eq!(doubts.len(), 2);
    assert_eq!((of("CreateProfile").interrupted, of("DeleteProfile").interrupted), (false, true));
    assert_eq!(of("DeleteProfile").resource, "backends/fake/profiles/1");
    advance(MINUTE).await;
    for (doubt, outcome) in doubts.iter().zip([NO_EFFECT, TOOK_EFFECT]) {
        let closed = close(&bench, doubt, outcome).await.unwrap();
        assert_eq!(closed.method, doubt.method);
        let again = close(&bench, doubt, outcome).await.unwrap_err();
        assert_eq!(again.reason(), Reason::DoubtfulWriteNotFound);
    }
    assert_eq!(*store.entries.lock(), BTreeMap::new());
    call.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_not_sent() {
    let (bench, store) = remembering();
    bench.fake.put(1, Some("old"));
    store.is_full(true);
    let refused = [
        bench.create(ONE, "a").await.map(drop),
        bench.create("", "a").await.map(drop),
        bench.update(TWO, "b").await.map(drop),
        bench.delete(THREE).await,
        bench.update("", "b").await.map(drop),
        bench.delete("").await,
    ];
    for refused in refused {
        let error = refused.unwrap_err();
        assert_eq!((error.reason(), error.kind()), (Reason::StoreUnavailable, Kind::Unavailable));
    }
    assert_eq!(bench.fake.writes(), 0);
    assert_eq!(*store.left.lock(), [], "refused writes leave nothing to be made later");
    assert_eq!(bench.get().await.unwrap(), "old");
    store.is_full(false);
    bench.create(ONE, "a").await.unwrap();
    bench.delete(THREE).await.unwrap();
    assert_eq!(bench.fake.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_success_that_cannot_be_recorded_is_told_and_found_by_the_next_process() {
    let (bench, store) = remembering();
    bench.fake.next(SLOW);
    let running = with_doubt(&bench);
    let call = tokio::spawn(async move { running.create(ONE, "a").await });
    sleep(Duration::from_millis(1)).await;
    store.is_full(true);
    let told = call.await.unwrap().unwrap();
    assert_eq!(bench.create(ONE, "a").await.unwrap(), told);
    let (bench, _) = next(&bench, &store);
    assert_eq!(bench.create(ONE, "a").await.unwrap(), told);
    assert_eq!(bench.fake.writes(), 1);
}
