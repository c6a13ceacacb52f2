//! Repeated writes and doubts about earlier ones, on a clock that stands still and over a dialect that
//! does what the test says.

mod fake;
mod watching;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, advance, sleep};
use tokio_util::task::TaskTracker;

use super::{
    Gateway,
    idempotency::{Limits, Memory},
};
use crate::{
    cache::Control,
    call::Call,
    error::{Kind, Reason, Result},
    pb::{
        CreateProfileRequest, DeleteProfileRequest, GetProfileRequest, Profile,
        UpdateProfileRequest,
    },
    query::page::PageTokens,
};
use fake::{Ends, Fake};

const ONE: &str = "11111111-1111-4111-8111-11111111aaaa";
const TWO: &str = "22222222-2222-4222-8222-222222222222";
const LOST: Ends = Ends::Lost { done: false };
const MINUTE: Duration = Duration::from_secs(60);

struct Bench {
    fake: Fake,
    gateway: Arc<Gateway>,
}

fn bench() -> Bench {
    holding(Limits::default())
}

fn holding(limits: Limits) -> Bench {
    let fake = Fake::default();
    let store = Arc::new(Memory::new(limits));
    let tokens = PageTokens::new([0; 32]);
    let gateway =
        Gateway::new([fake.backend()], TaskTracker::new(), store, tokens, Fake::watches());
    Bench { fake, gateway: Arc::new(gateway) }
}

fn within(time: Duration) -> Call {
    Call {
        deadline: Instant::now() + time,
        cache_control: Control::default(),
        record: Arc::default(),
    }
}

fn call() -> Call {
    within(Duration::from_secs(10))
}

impl Bench {
    async fn create(&self, request_id: &str, name: &str) -> Result<Profile> {
        self.gateway.create_profile(&call(), creation(request_id, name)).await
    }

    async fn update(&self, request_id: &str, name: &str) -> Result<Profile> {
        let profile = Profile {
            name: "backends/fake/profiles/1".into(),
            display_name: name.into(),
            ..Profile::default()
        };
        let request = UpdateProfileRequest {
            profile: Some(profile),
            request_id: request_id.into(),
            ..UpdateProfileRequest::default()
        };
        self.gateway.update_profile(&call(), request).await
    }

    async fn delete(&self, request_id: &str) -> Result<()> {
        let request = DeleteProfileRequest {
            name: "backends/fake/profiles/1".into(),
            request_id: request_id.into(),
            ..DeleteProfileRequest::default()
        };
        self.gateway.delete_profile(&call(), request).await
    }

    /// The display name, as the cache or the upstream has it.
    async fn get(&self) -> Result<String> {
        let name = "backends/fake/profiles/1".to_owned();
        let request = GetProfileRequest { name, read_mask: None };
        let profile = self.gateway.get_profile(&call(), &request).await?;
        Ok(profile.message().unwrap().display_name)
    }
}

fn creation(request_id: &str, name: &str) -> CreateProfileRequest {
    CreateProfileRequest {
        parent: "backends/fake".into(),
        profile: Some(Profile { display_name: name.into(), ..Profile::default() }),
        request_id: request_id.into(),
        ..CreateProfileRequest::default()
    }
}

#[track_caller]
fn unknown<T>(result: Result<T>) {
    let error = result.err().expect("the outcome is not known");
    assert_eq!(error.reason(), Reason::WriteOutcomeUnknown, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_create_in_doubt_is_sent_again_only_when_it_can_come_no_more() {
    let bench = bench();
    let fake = &bench.fake;
    fake.next(LOST);
    let ended = Instant::now() + Duration::from_secs(10);
    unknown(bench.create(ONE, "a").await);
    for _ in 0..3 {
        unknown(bench.create(ONE, "a").await);
        assert_eq!(fake.writes(), 1);
    }
    assert!(ended.elapsed() < MINUTE);
    advance(MINUTE).await;
    assert_eq!(bench.create(ONE, "a").await.unwrap().display_name, "a");
    assert_eq!((fake.writes(), fake.names()), (2, vec!["a".to_owned()]));
    bench.create(ONE, "a").await.unwrap();
    assert_eq!(fake.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_that_ends_in_time_is_written_within_the_same_call() {
    let bench = bench();
    bench.fake.next(LOST);
    unknown(bench.create(ONE, "a").await);
    let long = within(2 * MINUTE);
    bench.gateway.create_profile(&long, creation(ONE, "a")).await.unwrap();
    assert_eq!(bench.fake.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_comes_late_is_found_and_not_written_again() {
    let bench = bench();
    bench.fake.put(7, Some("a"));
    bench.fake.next(LOST);
    unknown(bench.create(ONE, "a").await);
    bench.fake.put(8, Some("a"));
    let found = bench.create(ONE, "a").await.unwrap();
    assert_eq!((found.name.as_str(), bench.fake.writes()), ("backends/fake/profiles/8", 1));
}

#[tokio::test(start_paused = true)]
async fn a_create_that_cannot_be_looked_for_is_never_sent_again() {
    let bench = bench();
    bench.fake.cannot_list();
    bench.fake.next(LOST);
    unknown(bench.create(ONE, "a").await);
    for _ in 0..3 {
        advance(60 * MINUTE).await;
        unknown(bench.create(ONE, "a").await);
    }
    assert_eq!(bench.fake.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_update_in_doubt_is_resolved_before_it_is_written() {
    let bench = bench();
    bench.fake.put(1, Some("old"));
    bench.fake.next(LOST);
    unknown(bench.update(ONE, "new").await);
    unknown(bench.update(ONE, "new").await);
    assert_eq!(bench.fake.writes(), 1);
    advance(MINUTE).await;
    assert_eq!(bench.update(ONE, "new").await.unwrap().display_name, "new");
    assert_eq!(bench.fake.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_written_since_is_not_written_over() {
    let bench = bench();
    bench.fake.put(1, Some("old"));
    bench.fake.next(LOST);
    unknown(bench.update(ONE, "new").await);
    bench.fake.put(1, Some("theirs"));
    advance(5 * MINUTE).await;
    let before = Instant::now();
    let error = bench.update(ONE, "new").await.unwrap_err();
    assert_eq!(Instant::now(), before, "waiting makes it no clearer by then");
    assert_eq!(error.reason(), Reason::WriteOutcomeUnknown);
    assert!(error.message().contains("use a new request_id"), "{error}");
    assert_eq!((bench.fake.writes(), bench.fake.names()), (1, vec!["theirs".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_somebody_else_s_write_is_found_while_it_may_come() {
    let bench = bench();
    bench.fake.put(1, Some("old"));
    bench.fake.next(LOST);
    unknown(bench.update(ONE, "new").await);
    bench.fake.put(1, Some("between"));
    let fake = bench.fake.clone();
    let late = tokio::spawn(async move {
        sleep(Duration::from_secs(3)).await;
        fake.put(1, Some("new"));
    });
    assert_eq!(bench.update(ONE, "new").await.unwrap().display_name, "new");
    late.await.unwrap();
    assert_eq!(bench.fake.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_shares_a_failure_has_not_made_its_request() {
    let bench = bench();
    bench.fake.next(Ends::RefusedAs("transaction 7"));
    let (first, second) = (call(), call());
    let create = |call| bench.gateway.create_profile(call, creation(ONE, "new"));
    let (one, two) = tokio::join!(create(&first), create(&second));
    for refused in [one, two] {
        assert_eq!(refused.unwrap_err().reason(), Reason::UpstreamThrottled);
    }
    assert_eq!(first.record.upstream_requests(), ["transaction 7"]);
    assert_eq!(second.record.upstream_requests(), [""; 0]);
    assert_eq!(bench.fake.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_outlives_a_resolution_that_came_to_nothing() {
    let bench = bench();
    bench.fake.put(1, Some("old"));
    bench.fake.next(LOST);
    unknown(bench.update(ONE, "new").await);
    // Another write on the profile holds its turn beyond the deadline of the repeat.
    bench.fake.next(Ends::After(15 * Duration::from_secs(1)));
    let other = Bench { fake: bench.fake.clone(), gateway: Arc::clone(&bench.gateway) };
    let slow = tokio::spawn(async move {
        let request = UpdateProfileRequest {
            profile: Some(Profile {
                name: "backends/fake/profiles/1".into(),
                display_name: "old too".into(),
                ..Profile::default()
            }),
            ..UpdateProfileRequest::default()
        };
        other.gateway.update_profile(&within(MINUTE), request).await
    });
    sleep(Duration::from_millis(1)).await;
    unknown(bench.update(ONE, "new").await);
    slow.await.unwrap().unwrap();
    unknown(bench.update(ONE, "new").await);
    assert_eq!((bench.fake.writes(), bench.fake.names()), (2, vec!["old too".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_delete_in_doubt_is_done_when_the_profile_is_gone() {
    let bench = bench();
    bench.fake.put(1, Some("a"));
    bench.fake.next(LOST);
    unknown(bench.delete(ONE).await);
    unknown(bench.delete(ONE).await);
    advance(2 * MINUTE).await;
    // Nothing holds the cache back any more, and it has the profile.
    bench.get().await.unwrap();
    bench.fake.put(1, None);
    bench.get().await.unwrap();
    bench.delete(ONE).await.unwrap();
    assert_eq!(bench.fake.writes(), 1);
    let gone = bench.get().await.unwrap_err();
    assert_eq!(gone.reason(), Reason::ProfileNotFound, "a resolution outdates the cache");
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_a_resolution_finds_outdates_the_cache() {
    let bench = bench();
    bench.fake.next(LOST);
    unknown(bench.create(ONE, "a").await);
    advance(2 * MINUTE).await;
    assert_eq!(bench.get().await.unwrap_err().reason(), Reason::ProfileNotFound);
    bench.fake.put(1, Some("a"));
    assert!(bench.get().await.is_err(), "the cache knows that there is none");
    bench.create(ONE, "a").await.unwrap();
    assert_eq!(bench.get().await.unwrap(), "a");

    bench.fake.next(LOST);
    unknown(bench.update(TWO, "b").await);
    advance(2 * MINUTE).await;
    assert_eq!(bench.get().await.unwrap(), "a");
    bench.fake.put(1, Some("b"));
    assert_eq!(bench.get().await.unwrap(), "a", "the cache has the old one");
    bench.update(TWO, "b").await.unwrap();
    assert_eq!(bench.get().await.unwrap(), "b");
    assert_eq!(bench.fake.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_doubt() {
    let bench = bench();
    bench.fake.next(Ends::Panics);
    unknown(bench.create(ONE, "a").await);
    assert_eq!(bench.create(ONE, "a").await.unwrap().display_name, "a");
    assert_eq!((bench.fake.writes(), bench.fake.names().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_is_tried_again_and_shared_by_those_who_wait() {
    let bench = bench();
    bench.fake.next(Ends::Refused);
    let refused = bench.create(ONE, "a").await.unwrap_err();
    assert_eq!(refused.reason(), Reason::UpstreamThrottled);
    bench.create(ONE, "a").await.unwrap();
    assert_eq!(bench.fake.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_is_told_that_a_write_is_under_way() {
    let bench = bench();
    bench.fake.next(Ends::After(5 * Duration::from_secs(1)));
    let gateway = Arc::clone(&bench.gateway);
    let first =
        tokio::spawn(async move { gateway.create_profile(&call(), creation(ONE, "a")).await });
    sleep(Duration::from_millis(1)).await;
    let short = within(Duration::from_secs(1));
    let error = bench.gateway.create_profile(&short, creation(ONE, "a")).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.kind()),
        (Reason::WriteOutcomeUnknown, Kind::DeadlineExceeded)
    );
    let second = bench.create(ONE, "a").await.unwrap();
    assert_eq!(first.await.unwrap().unwrap(), second);
    assert_eq!(bench.fake.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_store_turns_away_before_anything_is_sent() {
    let bench = holding(Limits { entries: 1, bytes: 1 << 20 });
    bench.fake.next(LOST);
    unknown(bench.create(ONE, "a").await);
    let full = bench.create(TWO, "b").await.unwrap_err();
    assert_eq!((full.reason(), full.kind()), (Reason::Overloaded, Kind::Unavailable));
    assert_eq!(bench.fake.writes(), 1);
    // Without an id nothing is kept.
    bench.create("", "b").await.unwrap();
    unknown(bench.create(ONE, "a").await);

    let bench = holding(Limits { entries: 100, bytes: 600 });
    let full = bench.create(ONE, &"a".repeat(200)).await.unwrap_err();
    assert_eq!((full.reason(), bench.fake.writes()), (Reason::Overloaded, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_only_validated_is_not_known() {
    let bench = bench();
    let validated = CreateProfileRequest { validate_only: true, ..creation(ONE, "a") };
    bench.gateway.create_profile(&call(), validated.clone()).await.unwrap();
    bench.create(ONE, "b").await.unwrap();
    bench.gateway.create_profile(&call(), validated).await.unwrap();
    assert_eq!(bench.fake.names(), ["b"]);
}
