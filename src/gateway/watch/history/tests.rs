//! What is kept, and how it changes.

use super::*;
use crate::caller::Resource;

const LIMITS: Limits = Limits { changes: 3, bytes: 1 << 20 };

fn boundless() -> Share {
    Share::boundless(Resource::HistoryBytes)
}

fn profiles(list: &[(&str, &str)]) -> Profiles {
    let profile = |name: &str, display_name: &str| {
        Encoded::of(&Profile {
            name: name.into(),
            display_name: display_name.into(),
            ..Profile::default()
        })
    };
    list.iter().map(|(id, name)| ((*id).to_owned(), profile(id, name))).collect()
}

async fn poll(history: &mut History, list: &[(&str, &str)]) {
    let seen = profiles(list);
    let changes = differences(history.profiles(), &seen).await.unwrap();
    history.advance(seen, changes);
}

/// The numbers, kinds and positions of the changes after this one.
fn since(history: &History, seq: u64) -> Option<String> {
    let changes = history.since(seq)?.map(|(seq, change)| {
        format!("{seq}{:?}{}", change.kind, change.position).replace("Changed", "~")
    });
    Some(changes.collect::<Vec<_>>().join(" ").replace("Added", "+").replace("Removed", "-"))
}

#[tokio::test]
async fn tells_what_changed() {
    let mut history = History::new(LIMITS, boundless());
    history.begin(profiles(&[("a", "1"), ("b", "1"), ("c", "1")]));
    assert_eq!((history.last(), since(&history, 0).as_deref()), (0, Some("")));
    poll(&mut history, &[("0", "1"), ("a", "1"), ("c", "2")]).await;
    assert_eq!(since(&history, 0).as_deref(), Some("1+0 2-b 3~c"));
    let (_, gone) = history.since(1).unwrap().next().unwrap();
    let bare = Profile { name: "b".into(), ..Profile::default() };
    assert_eq!(gone.profile.message().unwrap(), bare);
    let (_, changed) = history.since(2).unwrap().next().unwrap();
    assert_eq!(changed.fields, ["display_name"]);
    poll(&mut history, &[("0", "1"), ("a", "1"), ("c", "2")]).await;
    assert_eq!((history.last(), since(&history, 3).as_deref()), (3, Some("")));
    assert_eq!(since(&history, 4), None, "a number that was not reached yet");
}

#[tokio::test]
async fn keeps_changes_up_to_the_limit_and_always_those_of_the_latest_poll() {
    let mut history = History::new(LIMITS, boundless());
    for n in 0..10 {
        poll(&mut history, &[("a", &n.to_string())]).await;
    }
    // Three, and one more because the list has one profile.
    assert_eq!(history.last(), 10);
    assert_eq!(since(&history, 5), None);
    assert_eq!(since(&history, 6).as_deref(), Some("7~a 8~a 9~a 10~a"));
    let many: Vec<String> = (100..150).map(|n| n.to_string()).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|id| (id.as_str(), "1")).collect();
    poll(&mut history, &many).await;
    poll(&mut history, &[]).await;
    assert_eq!(history.since(61).unwrap().count(), 50);
    assert!(history.since(60).is_none());
    poll(&mut history, &[("a", "1")]).await;
    assert_eq!(history.since(108).unwrap().count(), 4);
    assert!(history.since(107).is_none());
}

#[tokio::test]
async fn keeps_no_more_bytes_than_allowed() {
    let mut history = History::new(Limits { changes: 1000, bytes: 10_000 }, boundless());
    let long = "x".repeat(3000);
    for n in 0..10 {
        poll(&mut history, &[("a", &format!("{n}{long}"))]).await;
    }
    // Three of 3 kB fit in 10 kB, and one more for the list.
    assert_eq!(history.since(6).unwrap().count(), 4);
    assert!(history.since(5).is_none());
    poll(&mut history, &[]).await;
    assert!(history.bytes <= 10_000, "{}", history.bytes);
    let counted: usize = history.kept.iter().map(|change| size(change)).sum();
    assert_eq!(history.bytes, counted);
}

#[tokio::test]
async fn where_the_memory_of_all_ends_old_changes_go_and_the_latest_stay() {
    let memory = Share::limited(Resource::HistoryBytes, 10_000);
    let mut history = History::new(Limits { changes: 1000, bytes: 1 << 20 }, memory.clone());
    let long = "x".repeat(1000);
    for n in 0..20 {
        poll(&mut history, &[("a", &format!("{n}{long}"))]).await;
        assert!(memory.used() <= 10_000, "{}", memory.used());
    }
    assert_eq!(memory.used(), history.bytes + size_of(history.profiles()));
    // Seven of them and the list fit, or eight.
    assert!(history.since(13).is_some() && history.since(11).is_none());
    let other = memory.take(memory.limit() - memory.used()).unwrap();
    poll(&mut history, &[("a", &long), ("b", &long)]).await;
    assert_eq!(history.since(20).unwrap().count(), 2, "those of the latest poll stay");
    drop((history, other));
    assert_eq!(memory.used(), 0);
}

#[tokio::test]
async fn lists_are_compared_in_turns() {
    use futures_util::poll;
    let list = |name: &str| -> Profiles {
        let profile = Encoded::of(&Profile { display_name: name.into(), ..<_>::default() });
        (0..10_000).map(|n| (format!("{n:05}"), profile.clone())).collect()
    };
    for (after, least) in [(list("a"), 5), (Profiles::new(), 5), (list("b"), 300)] {
        let before = list("a");
        let mut compared = std::pin::pin!(differences(&before, &after));
        let mut polls = 0;
        while poll!(compared.as_mut()).is_pending() {
            polls += 1;
        }
        assert!(polls >= least, "{polls}");
    }
}

/// What the next process makes of it.
fn next(history: &History) -> History {
    let mut next = History::new(LIMITS, boundless());
    next.number_for_others();
    next.go_on(Earlier {
        profiles: (**history.profiles()).clone(),
        changes: history.all().map(|(_, change)| Arc::clone(change)).collect(),
        last: history.last(),
        runs: history.runs(),
    });
    next
}

#[tokio::test]
async fn a_number_that_was_lost_is_not_taken_for_that_of_another_change() {
    let mut first = History::new(LIMITS, boundless());
    first.number_for_others();
    first.begin(profiles(&[("a", "1")]));
    poll(&mut first, &[("a", "2")]).await;
    let mut second = next(&first);
    // The first one goes on, and none of it is kept.
    poll(&mut first, &[("a", "3")]).await;
    poll(&mut second, &[("a", "4")]).await;
    assert_eq!((first.last(), second.last()), (2, 2));
    let mut third = next(&second);
    for history in [&second, &third] {
        assert!(history.knows(first.run(), 1) && !history.knows(first.run(), 2));
        assert!(history.knows(second.run(), 2) && !history.knows(1, 0));
        assert_eq!(since(history, 0).as_deref(), Some("1~a 2~a"));
    }
    for n in 0..20 {
        poll(&mut third, &[("a", &n.to_string())]).await;
    }
    assert_eq!(third.runs(), [Run { run: third.run(), end: 22 }], "the others are too old");
    let mut last = next(&third);
    for _ in 0..MOST_RUNS {
        last = next(&last);
    }
    assert_eq!(last.runs().len(), MOST_RUNS);
    assert!(!next(&last).knows(third.run(), 22) && next(&last).knows(last.run(), 22));
}

#[tokio::test]
async fn follows_a_shared_history_under_its_names() {
    let (mut here, mut there) =
        (History::new(LIMITS, boundless()), History::new(LIMITS, boundless()));
    here.begin(profiles(&[("a", "1"), ("b", "1")]));
    let earlier = Earlier {
        profiles: profiles(&[("a", "1"), ("b", "1")]),
        changes: Vec::new(),
        last: 0,
        runs: Vec::new(),
    };
    there.follow(7, earlier);
    poll(&mut here, &[("a", "2"), ("c", "1")]).await;
    let changes = here.since(0).unwrap().map(|(_, change)| ProfileEvent::clone(change)).collect();
    there.apply(changes);
    assert_eq!(there.profiles(), here.profiles());
    assert_eq!(since(&there, 0).as_deref(), Some("1~a 2-b 3+c"));
    assert!(there.knows(7, 3) && !there.knows(8, 0));
    there.rename(8, vec![Run { run: 7, end: 3 }]);
    poll(&mut there, &[("a", "2")]).await;
    assert!(there.knows(8, 4) && there.knows(7, 3));
    assert!(!there.knows(7, 4), "that number was another change's in the history before");
}
