//! What is refused when a file is opened, and with which words.

use std::{fs, path::PathBuf};

use super::*;

/// A directory with a store of some entries.
async fn filled() -> (TempDir, PathBuf, Vec<Entry>) {
    let directory = TempDir::new().unwrap();
    let store = file(directory.path());
    for n in 0_u32..40 {
        let value = vec![u8::try_from(n).unwrap(); 300];
        let key = n.to_be_bytes().to_vec();
        store.put(vec![Change::put(Table::Requests, key, value)]).wait().await.unwrap();
    }
    store.close();
    let path = directory.path().join("store.redb");
    let entries = examine(directory.path()).unwrap().tables[&Table::Requests].clone();
    assert_eq!(entries.len(), 40);
    (directory, path, entries)
}

/// It holds what it held, or is refused with what to do.
fn holds_all_or_nothing(directory: &TempDir, entries: &[Entry], how: &str) -> bool {
    match File::open(directory.path(), StoreMetrics::default()) {
        Ok(store) => {
            assert!(store.load(Table::Requests) == entries, "{how}: a wrong answer");
            true
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("is damaged"), "{how}: {error}");
            assert!(error.contains("put back a copy"), "{how}: {error}");
            false
        }
    }
}

#[tokio::test]
async fn a_file_that_was_cut_is_whole_or_refused() {
    let (directory, path, entries) = filled().await;
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut lengths) = (0, 0);
    // Each page has a beginning, an end, and something in the middle.
    for length in (1..whole.len()).filter(|length| matches!(length % 4096, 0 | 1 | 97 | 4095)) {
        fs::write(&path, &whole[..length]).unwrap();
        lengths += 1;
        refused += u32::from(!holds_all_or_nothing(&directory, &entries, &format!("{length}")));
    }
    assert!(refused > lengths / 2, "{refused} of {lengths}");
}

#[tokio::test]
async fn a_file_with_flipped_bits_is_whole_or_refused() {
    let (directory, path, entries) = filled().await;
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    let in_header = 0..320;
    let elsewhere = (320..whole.len()).step_by(1009);
    for at in in_header.chain(elsewhere) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        refused += u32::from(!holds_all_or_nothing(&directory, &entries, &format!("{at}")));
    }
    assert!(refused > 10, "{refused}");
}

#[tokio::test]
async fn other_files_are_refused() {
    let directory = TempDir::new().unwrap();
    for text in ["", "not a database", &"x".repeat(100_000)] {
        fs::write(directory.path().join("store.redb"), text).unwrap();
        let error = File::open(directory.path(), StoreMetrics::default()).err().unwrap();
        assert!(error.to_string().contains("is damaged"), "{error}");
        assert_eq!(fs::read_to_string(directory.path().join("store.redb")).unwrap(), text);
    }
}

#[tokio::test]
async fn one_process_at_a_time_has_a_store_and_the_others_learn_who() {
    let directory = TempDir::new().unwrap();
    let store = file(directory.path());
    let error = File::open(directory.path(), StoreMetrics::default()).err().unwrap().to_string();
    let owner = format!("is in use by process {} on ", std::process::id());
    assert!(error.contains(&owner), "{error}");
    assert!(examine(directory.path()).unwrap_err().to_string().contains(&owner));
    store.close();
    File::open(directory.path(), StoreMetrics::default()).unwrap();
}

#[test]
fn what_cannot_be_a_directory_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("taken");
    fs::write(&path, "x").unwrap();
    for path in [path.join("store"), path, "/proc/profile-gateway".into()] {
        let error = File::open(&path, StoreMetrics::default()).err().unwrap().to_string();
        assert!(error.contains("`store.path` has to be a directory"), "{error}");
    }
}

#[tokio::test]
async fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("a/b");
    drop(file(&directory));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for entry in fs::read_dir(&directory).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[tokio::test]
async fn a_creation_that_was_cut_short_begins_again() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("store.redb.new"), "half").unwrap();
    assert_eq!(file(directory.path()).load(Table::Requests), []);
    assert!(!directory.path().join("store.redb.new").exists());
}

#[tokio::test]
async fn what_was_removed_gives_its_room_back() {
    let directory = TempDir::new().unwrap();
    let store = file(directory.path());
    let keys: Vec<Bytes> = (0..200_u32).map(|n| n.to_be_bytes().to_vec().into()).collect();
    let value = Bytes::from(vec![7; 20_000]);
    let put = keys.iter().map(|key| Change::put(Table::Claims, key.clone(), value.clone()));
    store.put(put.collect()).wait().await.unwrap();
    let full = fs::metadata(directory.path().join("store.redb")).unwrap().len();
    let removed = keys.iter().map(|key| Change::remove(Table::Claims, key.clone()));
    store.put(removed.collect()).wait().await.unwrap();
    store.close();
    let (_, after) = compact(directory.path()).unwrap();
    assert!(full > 4_000_000 && after < 500_000, "{full} to {after}");
    assert_eq!(examine(directory.path()).unwrap().stored, 0);
}
