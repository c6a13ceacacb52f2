//! What the next process finds of a history.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::{
    caller::Resource,
    gateway::watch::history::{Limits, differences},
    pb::{Encoded, Profile},
    resources::Share,
    store::{File, Memory, StoreMetrics},
};

const ACCOUNT: u32 = 7;

fn open(directory: &Path) -> Arc<dyn Store> {
    Arc::new(File::open(directory, StoreMetrics::default()).unwrap())
}

/// What a process begins with.
fn process(directory: &Path, account: u32) -> (History, Keeper) {
    let mut earlier = EarlierHistories::load(open(directory));
    let (keeper, earlier) = earlier.of("b", account).unwrap();
    let limits = Limits { changes: 2, bytes: 1 << 20 };
    let mut history = History::new(limits, Share::boundless(Resource::HistoryBytes));
    let keeper = keeper.begin(&mut history, earlier);
    (history, keeper)
}

fn profiles(list: &[(&str, &str)]) -> Profiles {
    let profile = |name: &str, display_name: &str| {
        let (name, display_name) = (name.into(), display_name.into());
        Encoded::of(&Profile { name, display_name, ..Profile::default() })
    };
    list.iter().map(|(id, name)| ((*id).to_owned(), profile(id, name))).collect()
}

async fn poll(history: &mut History, keeper: &Keeper, list: &[(&str, &str)]) {
    let before = history.has_begun().then(|| Arc::clone(history.profiles()));
    let (bounds, seen) = (history.bounds(), profiles(list));
    match &before {
        None => history.begin(seen),
        Some(before) => {
            let changes = differences(before, &seen).await.unwrap();
            history.advance(seen, changes);
        }
    }
    keeper.finish(keeper.follow(history, bounds, before.as_deref())).await;
}

/// The list of a history, and its changes.
fn shown(history: &History) -> (Profiles, Vec<(u64, ProfileEvent)>) {
    let changes = history.all().map(|(n, change)| (n, (**change).clone())).collect();
    ((**history.profiles()).clone(), changes)
}

#[tokio::test]
async fn the_next_process_has_the_same_list_and_changes() {
    let directory = TempDir::new().unwrap();
    let mut was = None;
    let lists: [&[(&str, &str)]; 6] = [
        &[("a", "1"), ("b", "1")],
        &[("a", "2"), ("b", "1"), ("c", "1")],
        &[("a", "2"), ("b", "1"), ("c", "1")],
        &[("c", "2")],
        &[],
        &[("a", "3"), ("b", "3"), ("c", "3"), ("d", "3"), ("e", "3")],
    ];
    for list in lists {
        let (mut history, keeper) = process(directory.path(), ACCOUNT);
        assert_eq!(history.has_begun(), was.is_some());
        if let Some((run, before)) = was {
            assert_eq!(shown(&history), before);
            assert!(history.knows(run, history.last()) && history.run() != run);
        }
        poll(&mut history, &keeper, list).await;
        was = Some((history.run(), shown(&history)));
    }
    let (history, _) = process(directory.path(), ACCOUNT);
    assert_eq!((history.last(), history.bounds().first), (11, 5));
}

#[tokio::test]
async fn what_is_of_another_account_or_not_whole_is_forgotten() {
    let directory = TempDir::new().unwrap();
    let fill = async || {
        let (mut history, keeper) = process(directory.path(), ACCOUNT);
        poll(&mut history, &keeper, &[("a", "1"), ("b", "1")]).await;
        poll(&mut history, &keeper, &[("a", "2"), ("b", "1")]).await;
    };
    let forgets = |account| !process(directory.path(), account).0.has_begun();
    fill().await;
    assert!(!forgets(ACCOUNT));
    assert!(forgets(ACCOUNT + 1) && forgets(ACCOUNT));
    for lost in [
        kept::no_head("b"),
        kept::no_change("b", 1),
        kept::profile("b", "b", None),
        kept::profile("b", "c", profiles(&[("c", "1")]).get("c")),
    ] {
        fill().await;
        open(directory.path()).end(vec![lost.clone()]).wait().await.unwrap();
        assert!(forgets(ACCOUNT), "{lost:?}");
        assert_eq!(open(directory.path()).load(Table::History), [], "nothing is left");
    }
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    assert!(EarlierHistories::load(store).of("b", ACCOUNT).is_none());
}

#[tokio::test]
async fn a_history_that_is_too_large_is_not_kept_until_it_fits_again() {
    let directory = TempDir::new().unwrap();
    let large = "x".repeat(MOST_BYTES);
    let (mut history, keeper) = process(directory.path(), ACCOUNT);
    poll(&mut history, &keeper, &[("a", "1"), ("b", "1")]).await;
    poll(&mut history, &keeper, &[("a", &large)]).await;
    drop((history, keeper));
    assert_eq!(open(directory.path()).load(Table::History), []);
    let (mut history, keeper) = process(directory.path(), ACCOUNT);
    poll(&mut history, &keeper, &[("a", &large)]).await;
    for name in ["2", "3", "4", "5"] {
        poll(&mut history, &keeper, &[("a", name), ("b", "1")]).await;
    }
    let was = shown(&history);
    drop((history, keeper));
    assert_eq!(shown(&process(directory.path(), ACCOUNT).0), was);
}

#[tokio::test]
async fn what_cannot_be_read_is_forgotten_and_so_is_what_is_of_no_backend_any_more() {
    let directory = TempDir::new().unwrap();
    let put = async |key: &'static [u8]| {
        let changes = vec![Change::put(Table::History, key, &b"\xff"[..])];
        open(directory.path()).end(changes).wait().await.unwrap();
    };
    // No key, and the head of a history.
    for key in [&b"b"[..], b"b\0\x01"] {
        put(key).await;
        assert!(!process(directory.path(), ACCOUNT).0.has_begun());
        assert_eq!(open(directory.path()).load(Table::History), []);
    }
    put(b"gone\0\x01").await;
    EarlierHistories::load(open(directory.path())).forget();
    assert_eq!(open(directory.path()).load(Table::History), []);
}

#[tokio::test]
async fn what_a_poll_changes_is_kept_in_parts_if_it_is_much_and_nothing_stale_is_left() {
    let directory = TempDir::new().unwrap();
    let large = "x".repeat(AT_ONCE / 2);
    let (mut history, keeper) = process(directory.path(), ACCOUNT);
    poll(&mut history, &keeper, &[("a", "1"), ("b", "1"), ("c", "1")]).await;
    let before = Arc::clone(history.profiles());
    let (bounds, seen) = (history.bounds(), profiles(&[("a", &large), ("b", &large)]));
    history.advance(seen.clone(), differences(&before, &seen).await.unwrap());
    let follows = keeper.follow(&history, bounds, Some(&before));
    assert!(matches!(follows, Follows::All(_)));
    keeper.finish(follows).await;
    let was = shown(&history);
    drop((history, keeper));
    assert_eq!(shown(&process(directory.path(), ACCOUNT).0), was);
}

#[tokio::test]
async fn what_was_put_of_a_history_that_failed_half_way_is_removed_by_the_next() {
    let directory = TempDir::new().unwrap();
    let large = "x".repeat(AT_ONCE);
    let (mut history, keeper) = process(directory.path(), ACCOUNT);
    poll(&mut history, &keeper, &[]).await;
    keeper.is_kept.store(false, Ordering::Relaxed);
    // Its first part is kept, and the others are not.
    let before = keeper.before(&Whole {
        profiles: Arc::new(profiles(&[("gone", &large), ("z", "1")])),
        changes: Vec::new(),
        head: kept::no_head("b"),
    });
    let gone = kept::profile("b", "gone", profiles(&[("gone", &large)]).get("gone"));
    keeper.store.put(before).wait().await.unwrap();
    keeper.store.put(vec![gone]).wait().await.unwrap();
    poll(&mut history, &keeper, &[("a", "1")]).await;
    let was = shown(&history);
    drop((history, keeper));
    assert_eq!(shown(&process(directory.path(), ACCOUNT).0), was);
}
