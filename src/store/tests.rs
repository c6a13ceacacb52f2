//! The suite of every store.

mod damage;

use std::{path::Path, sync::Arc};

use tempfile::TempDir;

use super::*;

/// A store over a directory: what each process would make of it.
type Maker = fn(&Path) -> Arc<dyn Store>;

fn memory(_: &Path) -> Arc<dyn Store> {
    Arc::new(Memory::default())
}

fn file(directory: &Path) -> Arc<dyn Store> {
    Arc::new(File::open(directory, StoreMetrics::default()).unwrap())
}

const MAKERS: [Maker; 2] = [memory, file];

fn put(key: &'static str, value: impl Into<Bytes>) -> Change {
    Change::put(Table::Requests, key, value)
}

fn remove(key: &'static str) -> Change {
    Change::remove(Table::Requests, key)
}

/// What the next process finds, if the store outlives this one.
fn found(maker: Maker, directory: &TempDir) -> Vec<(String, String)> {
    let store = maker(directory.path());
    let texts = |(key, value): &Entry| {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        (text(key), text(value))
    };
    store.load(Table::Requests).iter().map(texts).collect()
}

fn check(maker: Maker, directory: &TempDir, kept: &[(&str, &str)]) {
    let found = found(maker, directory);
    match maker(TempDir::new().unwrap().path()).outlives() {
        Outlives::Restarts => {
            let kept: Vec<(String, String)> =
                kept.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            assert_eq!(found, kept);
        }
        Outlives::Nothing => assert_eq!(found, []),
    }
}

#[tokio::test]
async fn what_is_kept_is_there_for_the_next_process() {
    for maker in MAKERS {
        let directory = TempDir::new().unwrap();
        let store = maker(directory.path());
        assert_eq!(store.load(Table::Requests), []);
        store.put(vec![put("a", "1"), put("b", "2")]).wait().await.unwrap();
        store.end(vec![put("c", "3"), remove("a")]).wait().await.unwrap();
        store.close();
        drop(store);
        check(maker, &directory, &[("b", "2"), ("c", "3")]);
        // And for the one after it.
        check(maker, &directory, &[("b", "2"), ("c", "3")]);
    }
}

#[tokio::test]
async fn changes_are_made_in_the_order_in_which_they_come() {
    for maker in MAKERS {
        let directory = TempDir::new().unwrap();
        let store = maker(directory.path());
        store.note(vec![put("a", "noted"), put("b", "noted")]);
        let first = store.put(vec![put("a", "put")]);
        let second = store.end(vec![put("a", "ended")]);
        store.note(vec![remove("b"), put("c", "noted")]);
        second.wait().await.unwrap();
        first.wait().await.unwrap();
        store.close();
        drop(store);
        check(maker, &directory, &[("a", "ended"), ("c", "noted")]);
    }
}

#[tokio::test]
async fn what_was_noted_before_is_kept_with_what_is_waited_for() {
    for maker in MAKERS {
        let (directory, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let store = maker(directory.path());
        store.note(vec![put("noted", "1")]);
        store.put(Vec::new()).wait().await.unwrap();
        died(&directory, &copy);
        check(maker, &copy, &[("noted", "1")]);
    }
}

#[tokio::test]
async fn what_no_write_waits_for_is_kept_a_moment_later() {
    for maker in MAKERS {
        let directory = TempDir::new().unwrap();
        let store = maker(directory.path());
        store.note(vec![put("noted", "1")]);
        loop {
            let copy = TempDir::new().unwrap();
            died(&directory, &copy);
            if store.outlives() == Outlives::Nothing || !found(maker, &copy).is_empty() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_process_may_die_at_any_time() {
    for maker in MAKERS {
        let directory = TempDir::new().unwrap();
        let store = maker(directory.path());
        let values = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        for value in values {
            store.put(vec![put("count", value)]).wait().await.unwrap();
            let copy = TempDir::new().unwrap();
            died(&directory, &copy);
            check(maker, &copy, &[("count", value)]);
        }
    }
}

#[tokio::test]
async fn changes_that_come_at_once_share_the_disk() {
    let (directory, metrics) = (TempDir::new().unwrap(), StoreMetrics::default());
    let store = File::open(directory.path(), metrics.clone()).unwrap();
    let value = Bytes::from(vec![7; 1000]);
    let keys: Vec<Bytes> = (0..500_u32).map(|n| n.to_be_bytes().to_vec().into()).collect();
    let change = |key: &Bytes| Change::put(Table::Claims, key.clone(), value.clone());
    let all: Vec<Kept> = keys.iter().map(|key| store.put(vec![change(key)])).collect();
    for kept in all {
        kept.wait().await.unwrap();
    }
    let failures = metrics.failures.get();
    assert_eq!((metrics.changes.get(), failures), (500, 0));
    let mut commits = String::new();
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register("commits", "", metrics.commits.clone());
    prometheus_client::encoding::text::encode(&mut commits, &registry).unwrap();
    let count = commits.lines().find_map(|line| line.strip_prefix("commits_count ")).unwrap();
    assert!(count.parse::<u32>().unwrap() < 500, "{count}");
}

#[tokio::test]
async fn a_closed_store_refuses_everything() {
    let directory = TempDir::new().unwrap();
    let store = file(directory.path());
    store.close();
    assert!(store.put(vec![put("a", "1")]).wait().await.is_err());
    assert!(store.end(vec![put("b", "1")]).wait().await.is_err());
    store.note(vec![put("c", "1")]);
    drop(store);
    check(file, &directory, &[]);
}

/// Copies the files as they are while their process runs, as if it was killed now.
fn died(directory: &TempDir, copy: &TempDir) {
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
}
