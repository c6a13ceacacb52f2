//! What a store does while its disk fails.

use std::{fs, path::Path};

use bytes::Bytes;
use tempfile::TempDir;

use super::super::{
    super::{Change, Store as _, StoreMetrics, Table},
    File,
    database::Database,
    found::Found,
    place::within,
    smaller,
};

const NAME: &str = "store.redb";

fn put(key: u32) -> Vec<Change> {
    vec![Change::put(Table::Requests, key.to_be_bytes().to_vec(), "value")]
}

/// A store whose last commit failed, as the next one does until the file has its name again.
fn failing(directory: &Path) -> File {
    let (database, _) = Database::open(directory).unwrap();
    database.close().unwrap();
    fs::rename(within(directory, NAME), within(directory, "away")).unwrap();
    let failed = Database::failed(directory);
    File::over((), failed, Found::default(), StoreMetrics::default()).unwrap()
}

#[tokio::test]
async fn what_can_be_refused_is_refused_at_once_until_a_commit_succeeds() {
    let directory = TempDir::new().unwrap();
    let store = failing(directory.path());
    assert!(store.end(put(0)).wait().await.is_err());
    for key in 1..100 {
        assert!(store.trouble().is_some());
        assert!(store.put(put(key)).is_refused(), "{key}");
    }
    fs::rename(within(directory.path(), "away"), within(directory.path(), NAME)).unwrap();
    while store.trouble().is_some() {
        tokio::task::yield_now().await;
    }
    store.put(put(100)).wait().await.unwrap();
    drop(store);
    let (_, found) = Database::open(directory.path()).unwrap();
    let keys: Vec<Bytes> = found.tables[&Table::Requests].iter().map(|(k, _)| k.clone()).collect();
    assert_eq!(keys, [0_u32, 100].map(|key| key.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn one_that_could_not_be_written_at_the_start_is_tried_again_by_itself() {
    let directory = TempDir::new().unwrap();
    let store = failing(directory.path());
    while store.trouble().is_none() {
        tokio::task::yield_now().await;
    }
    fs::rename(within(directory.path(), "away"), within(directory.path(), NAME)).unwrap();
    while store.trouble().is_some() {
        tokio::task::yield_now().await;
    }
    store.put(put(1)).wait().await.unwrap();
}

#[test]
fn a_file_that_cannot_be_made_smaller_is_used_as_it_is() {
    let directory = TempDir::new().unwrap();
    let (mut database, _) = Database::open(directory.path()).unwrap();
    database.commit(&[&put(1)[0]]).unwrap();
    let database = database.with_savepoint();
    let mut database = smaller(directory.path(), database).unwrap();
    assert!(database.trouble().is_none());
    database.commit(&[&put(2)[0]]).unwrap();
    database.close().unwrap();
    let (_, found) = Database::open(directory.path()).unwrap();
    assert_eq!(found.tables[&Table::Requests].len(), 2);
}
