//! A cache beside the writes of other replicas.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, advance};

use super::bench::{Answer, Bench, SECOND, by, ok, one, settings};
use crate::{
    cache::{
        AccountName, Acknowledged, CacheSettings, Control, Followers, Outcome, Resource, Target,
        Value, made,
    },
    error::{Effect, Reason},
    pb::{Encoded, Profile},
    shared::{
        membership::Lease,
        protocol::{Memory as _, Process, WriteId},
    },
};

const SETTLE_TIME: Duration = Duration::from_secs(5);

/// A cache of the account `a`, under a lease that does not end.
struct Follower {
    bench: Bench,
    log: Followers,
    lease: Arc<Lease>,
    process: Process,
    account: AccountName,
    other: WriteId,
}

impl Follower {
    fn new() -> Self {
        Self::with(settings())
    }

    fn with(settings: CacheSettings) -> Self {
        let (bench, process) = (Bench::new(settings), Process::new());
        let (log, lease) = (Followers::new(process), Arc::new(Lease::lasting(600 * SECOND)));
        let (account, other) = (AccountName::from("a"), Process::new().new_write());
        log.follow(&account, &bench.cache, SETTLE_TIME, &lease);
        Self { bench, log, lease, process, account, other }
    }

    fn shared(&self, target: &Target) -> crate::shared::protocol::Target {
        target.shared(&self.account)
    }

    fn opened(&mut self, target: &Target) {
        let target = self.shared(target);
        self.log.opened(self.other, &target);
    }

    fn closed(&mut self, target: &Target, is_unsettled: bool) {
        let target = self.shared(target);
        self.log.closed(self.other, &target, is_unsettled);
    }

    /// The end of a write that has made this of a profile.
    fn closed_with(&mut self, target: &Target, id: &str, etag: Option<&str>) {
        let target = self.shared(target);
        self.log.closed_with(self.other, &target, &made(id, etag));
    }

    /// This process makes this of SP_1.
    fn writes(&self, etag: &'static str) {
        let mut own = self.bench.cache.write(one());
        let is_other = move |found: &Encoded<Profile>| found.message().unwrap().etag != etag;
        own.acknowledged("SP_1", Acknowledged::Written(Arc::new(is_other)), SETTLE_TIME);
        own.end(false);
    }

    /// Reads SP_1 from an upstream that shows it with this etag.
    async fn shown(&self, etag: &str) -> Outcome {
        let profile = Profile { etag: etag.to_owned(), ..Profile::default() };
        let load = |_, _| async move { Ok(Value::Profile(Encoded::of(&profile))) };
        let resource = Resource::Profile("SP_1".into());
        let deadline = Instant::now() + 60 * SECOND;
        let read = self.bench.cache.read(&resource, Control::default(), by(deadline), load);
        read.await.1.outcome
    }

    /// Reads twice, and gives how the second read was served.
    async fn second(&self) -> Outcome {
        let _ = self.bench.get().await;
        self.bench.get().await.1
    }
}

#[tokio::test(start_paused = true)]
async fn while_another_replica_writes_nothing_is_kept_and_what_was_kept_is_outdated() {
    for target in [one(), Target::Every] {
        for (is_unsettled, wait) in [(false, SETTLE_TIME), (true, Effect::SETTLES_WITHIN)] {
            let mut follower = Follower::new();
            assert_eq!(follower.second().await, Outcome::Hit);
            follower.opened(&target);
            assert_eq!(follower.second().await, Outcome::Miss);
            follower.closed(&target, is_unsettled);
            // The upstream's reads may lag behind.
            advance(wait - SECOND).await;
            assert_eq!(follower.second().await, Outcome::Miss);
            advance(SECOND).await;
            assert_eq!(follower.second().await, Outcome::Hit);
        }
    }
}

const OLD: &str = "\"old\"";
const NEW: &str = "\"new\"";

#[tokio::test(start_paused = true)]
async fn what_agrees_with_the_write_of_another_replica_is_kept_at_once_and_nothing_else() {
    for target in [one(), Target::New] {
        let mut follower = Follower::new();
        follower.opened(&target);
        assert_eq!(follower.shown(NEW).await, Outcome::Miss);
        follower.closed_with(&target, "SP_1", Some(NEW));
        // Reads may lag behind: this is older than the write.
        for _ in 0..2 {
            assert_eq!(follower.shown(OLD).await, Outcome::Miss, "{target:?}");
        }
        assert_eq!(follower.shown(NEW).await, Outcome::Miss);
        assert_eq!(follower.shown(OLD).await, Outcome::Hit);
    }
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_another_replica_has_deleted_is_not_served() {
    let mut follower = Follower::new();
    follower.opened(&one());
    follower.closed_with(&one(), "SP_1", None);
    assert_eq!(follower.bench.get().await.0, Err(Reason::ProfileNotFound));
    advance(SETTLE_TIME).await;
    assert_eq!(follower.second().await, Outcome::Hit);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_of_a_write_keeps_all_out_until_reads_have_to_show_it() {
    let all = [
        (Target::Every, made("SP_1", Some(NEW))),
        (one(), made("SP_2", Some(NEW))),
        (one(), "of a later release".into()),
        (one(), "".into()),
    ];
    for (target, said) in all {
        let mut follower = Follower::new();
        follower.opened(&target);
        let shared = follower.shared(&target);
        follower.log.closed_with(follower.other, &shared, &said);
        for outcome in [Outcome::Miss, Outcome::Miss] {
            assert_eq!(follower.shown(NEW).await, outcome, "{said}");
        }
        advance(SETTLE_TIME).await;
        let _ = follower.shown(NEW).await;
        assert_eq!(follower.shown(NEW).await, Outcome::Hit);
    }
}

/// The log may lag: an own write can be later than one of which this replica hears after it.
#[tokio::test(start_paused = true)]
async fn an_own_write_is_not_taken_for_older_than_one_that_is_heard_of_later() {
    for (target, is_own) in [(one(), true), (Target::New, true), (Target::New, false)] {
        let mut follower = Follower::new();
        if is_own {
            follower.writes(NEW);
        } else {
            follower.opened(&one());
            follower.closed_with(&one(), "SP_1", Some(NEW));
        }
        follower.opened(&target);
        follower.closed_with(&target, "SP_1", Some(OLD));
        for _ in 0..2 {
            let outcome = follower.shown(OLD).await;
            assert_eq!(outcome, Outcome::Miss, "{target:?} {is_own}");
        }
        advance(SETTLE_TIME).await;
        let _ = follower.shown(NEW).await;
        assert_eq!(follower.shown(NEW).await, Outcome::Hit);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_heard_of_after_the_end_of_an_own_one_is_later() {
    let mut follower = Follower::new();
    let (own, target) = (follower.process.new_write(), follower.shared(&one()));
    follower.writes(OLD);
    follower.writes(OLD);
    for is_last in [false, true] {
        follower.log.closed_with(own, &target, &made("SP_1", Some(OLD)));
        follower.opened(&one());
        follower.closed_with(&one(), "SP_1", Some(NEW));
        let _ = follower.shown(NEW).await;
        let outcome = if is_last { Outcome::Hit } else { Outcome::Miss };
        assert_eq!(follower.shown(NEW).await, outcome);
        advance(SETTLE_TIME).await;
    }
    // What is read from a later place of the log has not that end.
    follower.writes(OLD);
    follower.log.outdate(None);
    follower.opened(&one());
    follower.closed_with(&one(), "SP_1", Some(NEW));
    let _ = follower.shown(NEW).await;
    assert_eq!(follower.shown(NEW).await, Outcome::Hit);
}

#[tokio::test(start_paused = true)]
async fn only_what_a_write_may_change_is_outdated() {
    let mut follower = Follower::new();
    let _ = follower.bench.get().await;
    let others = [
        "b/p/SP_1".into(),
        "b/every".into(),
        follower.shared(&Target::New),
        follower.shared(&Target::Profile("SP_2".into())),
    ];
    for target in others {
        follower.log.opened(follower.other, &target);
        follower.log.closed(follower.other, &target, false);
        follower.log.outdate(Some(&target));
    }
    assert_eq!(follower.bench.get().await.1, Outcome::Hit);
    for target in [Some(&*follower.shared(&one())), Some("a/a later release"), Some("a"), None] {
        let _ = follower.bench.get().await;
        follower.log.outdate(target.map(Into::into).as_ref());
        assert_eq!(follower.bench.get().await.1, Outcome::Miss, "{target:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_own_writes_of_a_process_outdate_their_cache_by_themselves() {
    let mut follower = Follower::new();
    let own = follower.process.new_write();
    let target = follower.shared(&one());
    let other = Bench::new(settings());
    for (caches, outcome) in [(1, Outcome::Hit), (2, Outcome::Miss)] {
        if caches == 2 {
            // Another backend of the same account.
            follower.log.follow(&follower.account, &other.cache, SETTLE_TIME, &follower.lease);
        }
        let _ = (follower.bench.get().await, other.get().await);
        follower.log.opened(own, &target);
        follower.log.closed(own, &target, true);
        assert_eq!(follower.bench.get().await.1, outcome);
    }
    assert_eq!(other.get().await.1, Outcome::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_comes_later_knows_the_writes_under_way() {
    let mut follower = Follower::new();
    follower.opened(&one());
    let later = Bench::new(settings());
    let Follower { log, account, lease, .. } = &follower;
    for _ in 0..2 {
        log.follow(account, &later.cache, SETTLE_TIME, lease);
    }
    log.follow(&"b".into(), &Bench::new(settings()).cache, SETTLE_TIME, lease);
    let _ = later.get().await;
    assert_eq!(later.get().await.1, Outcome::Miss);
    follower.closed(&one(), false);
    advance(SETTLE_TIME).await;
    for bench in [&later, &follower.bench] {
        let _ = bench.get().await;
        assert_eq!(bench.get().await.1, Outcome::Hit, "each beginning has ended once");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_nothing_is_answered_from_memory() {
    let follower = Follower::new();
    let bench = &follower.bench;
    assert_eq!(bench.get().await, ok(1, Outcome::Miss, 0));
    bench.answers(Answer::Fails(Reason::UpstreamUnavailable), Duration::ZERO);
    follower.lease.set_lasting(Duration::ZERO);
    let failed = Err(Reason::UpstreamUnavailable);
    for seconds in [0, 40, 20] {
        advance(seconds * SECOND).await;
        assert_eq!(bench.get().await.0, failed, "not fresh, to be read again, or in its place");
    }
    let only = Control { only_if_cached: true, ..Control::default() };
    assert_eq!(bench.read(only, SECOND).await.0, Err(Reason::CacheMiss));
    bench.answers(Answer::Version(2), Duration::ZERO);
    assert_eq!(bench.get().await, ok(2, Outcome::Miss, 0));
    bench.answers(Answer::Version(3), Duration::ZERO);
    assert_eq!(bench.get().await, ok(3, Outcome::Miss, 0));
    follower.lease.set_lasting(600 * SECOND);
    assert_eq!(bench.get().await, ok(3, Outcome::Hit, 0), "what was read meanwhile is of use");
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_readers_share_the_next_load_and_none_that_began_before_they_came() {
    let follower = Follower::new();
    let bench = &follower.bench;
    follower.lease.set_lasting(Duration::ZERO);
    bench.answers(Answer::Version(1), 2 * SECOND);
    let later = async {
        tokio::time::sleep(SECOND).await;
        bench.answers(Answer::Version(2), SECOND);
        tokio::join!(bench.get(), bench.get(), bench.get())
    };
    let (first, (second, third, fourth)) = tokio::join!(bench.get(), later);
    assert_eq!(first.0, Ok(1));
    assert_eq!([second, third, fourth].map(|read| read.0), [Ok(2); 3]);
    assert_eq!(bench.asked(), 2, "one for the three that came later");
}
