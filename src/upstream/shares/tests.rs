//! What one caller gets of a backend, alone and beside others.

use std::net::IpAddr;

use super::*;
use crate::caller::{CallerMetrics, CallerSettings, Callers};

fn caller(callers: &Callers, n: u8) -> Arc<Caller> {
    callers.at(IpAddr::from([192, 0, 2, n]))
}

fn shares(requests: u32) -> Shares {
    let length = Duration::from_secs(300);
    let limits = Limits { requests: Some(WindowLimit { requests, length }), ..Limits::NONE };
    Shares::new(8, 8, limits)
}

fn all(shares: &Shares, caller: &Caller) -> Vec<Part> {
    std::iter::from_fn(|| shares.hold(caller, Class::Call, What::Slot)).collect()
}

#[test]
fn a_caller_leaves_room_for_a_newcomer_and_beside_others_has_its_share_and_what_they_leave() {
    let (callers, shares) = (Callers::default(), shares(100));
    let (greedy, other) = (caller(&callers, 1), caller(&callers, 2));
    let mut held = all(&shares, &greedy);
    assert_eq!(held.len(), 6);
    for (of_others, most) in [(1, 5), (2, 4), (3, 4), (4, 4)] {
        let of_other: Vec<_> = all(&shares, &other).into_iter().take(of_others).collect();
        held.truncate(3);
        held.extend(all(&shares, &greedy));
        assert_eq!((of_other.len(), held.len()), (of_others, most));
    }
    held.extend(all(&shares, &greedy));
    assert_eq!(held.len(), 6, "alone again");
}

#[test]
fn a_caller_alone_has_no_less_than_beside_others() {
    for (share_percent, expected) in [(50, 6), (75, 6), (80, 6), (90, 7), (100, 9)] {
        let settings = CallerSettings { share_percent, ..CallerSettings::default() };
        let callers = Callers::new(settings, CallerMetrics::default());
        for what in [What::Slot, What::QueuePlace] {
            let shares = shares(100);
            let greedy = caller(&callers, 1);
            let held: Vec<_> =
                (0..9).map_while(|_| shares.hold(&greedy, Class::Call, what)).collect();
            assert_eq!(held.len(), expected, "{share_percent} % of {what:?}");
        }
    }
}

#[test]
fn what_settles_a_write_and_what_the_gateway_reads_waits_for_no_share() {
    let (callers, shares) = (Callers::default(), shares(100));
    let (greedy, other) = (caller(&callers, 1), caller(&callers, 2));
    let _held = (all(&shares, &other), all(&shares, &greedy));
    assert!(shares.hold(&greedy, Class::Settling, What::Slot).is_some());
    assert!(shares.hold(Caller::gateway(), Class::Watch, What::Slot).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_its_own_slot_gets_the_next_one_that_it_releases() {
    let (callers, shares) = (Callers::default(), shares(100));
    let greedy = caller(&callers, 1);
    let mut held = all(&shares, &greedy);
    let waits = shares.wait_for_slot(&greedy, Class::Call);
    let released = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        held.pop();
    };
    let before = Instant::now();
    let (part, ()) = tokio::join!(waits, released);
    assert_eq!((before.elapsed().as_secs(), part.what), (1, What::Slot));
}

#[tokio::test]
async fn slots_are_given_in_the_order_in_which_they_were_asked_for() {
    let (callers, shares) = (Callers::default(), shares(100));
    let greedy = caller(&callers, 1);
    let mut held = all(&shares, &greedy);
    let wait = || shares.slot_or_turn(&greedy, Class::Call).err().unwrap();
    let (mut first, left, mut third) = (wait(), wait(), wait());
    assert!(first.try_recv().is_err());
    held.pop();
    let of_first = first.try_recv().unwrap();
    assert!(third.try_recv().is_err());
    drop(left);
    held.pop();
    let of_third = third.try_recv().unwrap();
    assert!(shares.hold(&greedy, Class::Call, What::Slot).is_none(), "all are held again");
    // One who leaves with the slot at hand passes it on, and a newcomer gets none meanwhile.
    let (with_slot, mut last) = (wait(), wait());
    drop(of_first);
    assert!(shares.hold(&greedy, Class::Call, What::Slot).is_none());
    drop(with_slot);
    let _of_last = last.try_recv().unwrap();
    drop((of_third, held));
    assert_eq!(shares.0.state.lock().waiting, 0);
}

#[tokio::test]
async fn who_waits_gets_more_as_soon_as_the_others_have_left() {
    let (callers, shares) = (Callers::default(), shares(100));
    let (greedy, other) = (caller(&callers, 1), caller(&callers, 2));
    let of_other = shares.hold(&other, Class::Call, What::Slot).unwrap();
    let held = all(&shares, &greedy);
    let mut waiting: Vec<_> =
        (0..3).map(|_| shares.slot_or_turn(&greedy, Class::Call).err().unwrap()).collect();
    assert_eq!(held.len(), 5);
    drop(of_other);
    let given: Vec<_> = waiting.iter_mut().filter_map(|turn| turn.try_recv().ok()).collect();
    assert_eq!(given.len(), 1, "alone it may hold six");
    drop((given, held));
}

#[tokio::test]
async fn of_those_who_wait_the_one_that_holds_least_gets_the_next_slot() {
    let settings = CallerSettings { share_percent: 10, ..CallerSettings::default() };
    let callers = Callers::new(settings, CallerMetrics::default());
    let shares = Shares::new(16, 16, Limits::NONE);
    let (greedy, other) = (caller(&callers, 1), caller(&callers, 2));
    let mut held = all(&shares, &greedy);
    let mut of_other = all(&shares, &other);
    assert_eq!((held.len(), of_other.len()), (12, 1), "its share is one");
    let wait = |caller| shares.slot_or_turn(caller, Class::Call).err().unwrap();
    let (mut of_greedy, mut waiting) = (wait(&greedy), vec![]);
    for _ in 0..10 {
        waiting.push(wait(&other));
    }
    while held.len() > of_other.len() {
        held.pop();
        of_other.extend(waiting.iter_mut().filter_map(|turn| turn.try_recv().ok()));
        assert!(of_greedy.try_recv().is_err(), "{} and {}", held.len(), of_other.len());
        assert!(held.len() + of_other.len() <= 12, "the rest is for newcomers");
    }
    assert_eq!((held.len(), of_other.len()), (6, 6));
}

#[tokio::test]
async fn who_leaves_takes_no_room() {
    let (callers, shares) = (Callers::default(), shares(100));
    let greedy = caller(&callers, 1);
    let held = all(&shares, &greedy);
    for _ in 0..10_000 {
        drop(shares.slot_or_turn(&greedy, Class::Call).err().unwrap());
    }
    let waiting = shares.0.state.lock().waiting;
    assert!(waiting < 10, "{waiting}");
    drop(held);
    assert_eq!(shares.0.state.lock().waiting, 0);
    assert_eq!(all(&shares, &greedy).len(), 6);
}

/// Whether so many requests of the vendor's that are left are kept for others, and for how long.
fn kept(shares: &Shares, caller: &Caller, left: u32) -> Option<Duration> {
    shares.is_used_up(caller, Class::Call, Instant::now(), || [Some(left), None])
}

#[tokio::test(start_paused = true)]
async fn the_windows_are_shared_as_soon_as_others_use_them() {
    let (callers, shares) = (Callers::default(), shares(100));
    let (greedy, other) = (caller(&callers, 1), caller(&callers, 2));
    for _ in 0..60 {
        shares.count(&greedy, Instant::now());
    }
    assert_eq!(kept(&shares, &greedy, 20), None, "no one else needs them");
    shares.count(&other, Instant::now());
    assert!(kept(&shares, &greedy, 19).is_some() && kept(&shares, &other, 19).is_none());
    // Of its share, the other one has used one of forty.
    assert!(kept(&shares, &greedy, 39).is_some() && kept(&shares, &greedy, 40).is_none());
    let settling = shares.is_used_up(&greedy, Class::Settling, Instant::now(), || [Some(0); 2]);
    assert_eq!(settling, None);
    tokio::time::advance(Duration::from_secs(310)).await;
    assert_eq!(kept(&shares, &greedy, 0), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_for_one_who_has_left_is_given_to_the_others() {
    let month = WindowLimit { requests: 100, length: Duration::from_secs(31 * 24 * 60 * 60) };
    let limits = Limits { monthly_requests: Some(month), ..Limits::NONE };
    let (callers, shares) = (Callers::default(), Shares::new(8, 8, limits));
    let (stranger, greedy) = (caller(&callers, 1), caller(&callers, 2));
    let kept =
        |left: u32| shares.is_used_up(&greedy, Class::Call, Instant::now(), || [None, Some(left)]);
    shares.count(&stranger, Instant::now());
    tokio::time::advance(Duration::from_secs(100)).await;
    for _ in 0..40 {
        assert_eq!(kept(0), None, "its own share");
        shares.count(&greedy, Instant::now());
    }
    assert_eq!(kept(39), Some(Duration::from_secs(200)), "until the stranger no longer counts");
    tokio::time::advance(Duration::from_secs(200)).await;
    assert_eq!(kept(39), None);
}

#[tokio::test(start_paused = true)]
async fn those_who_have_left_take_no_account_of_a_newcomer() {
    let month = WindowLimit { requests: 100_000, length: Duration::from_secs(31 * 24 * 60 * 60) };
    let limits = Limits { monthly_requests: Some(month), ..Limits::NONE };
    let (callers, shares) = (Callers::default(), Shares::new(8, 8, limits));
    let address = |n: u16| IpAddr::from([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
    for n in 0..1024 {
        shares.count(&callers.at(address(n)), Instant::now());
    }
    let has_account = |n: u16| {
        let next = callers.at(address(n));
        shares.count(&next, Instant::now());
        shares.0.state.lock().users.contains_key(&next.id())
    };
    assert!(!has_account(5000), "all others have sent something lately");
    tokio::time::advance(Duration::from_secs(301)).await;
    assert!(has_account(5001));
}

#[test]
fn accounts_are_bounded() {
    let (callers, shares) = (Callers::default(), shares(100));
    let address = |n: u16| IpAddr::from([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
    let many: Vec<_> = (0..1024).map(|n| callers.at(address(n))).collect();
    let mut held: Vec<_> =
        many.iter().map(|each| shares.hold(each, Class::Call, What::QueuePlace).unwrap()).collect();
    let next = callers.at(address(5000));
    held.push(shares.hold(&next, Class::Call, What::QueuePlace).unwrap());
    assert!(shares.0.state.lock().users.contains_key(&CallerId::Others));
    drop(held);
    assert_eq!(shares.0.state.lock().active, 0);
    assert!(shares.0.state.lock().users.len() <= 1025);
}
