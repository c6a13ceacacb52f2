//! Repeated writes and earlier writes of unknown outcome, on a paused clock and over a dialect that
//! does what the test scripts.

mod closing;
mod completing;
mod disabled;
mod fake;
mod overtaken;
mod parts;
mod restart;
mod settling;
mod watching;
mod work;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, advance, sleep};

use super::{
    Gateway,
    idempotency::{IdempotencyStore, Ledger, Limits, RequestIdSettings},
};
use crate::{
    cache::Control,
    call::{Call, CallRecord, Proof, Writes},
    error::{Kind, Reason, Result},
    pb::{
        CreateProfileRequest, DeleteProfileRequest, GetProfileRequest, Profile,
        UpdateProfileRequest,
    },
    resources::Processors,
    store::{Memory, Store},
    telemetry::AuditLog,
};
use fake::{Ends, Fake, PANICS};
use parts::Parts;

const ONE: &str = "11111111-1111-4111-8111-11111111aaaa";
const TWO: &str = "22222222-2222-4222-8222-222222222222";
const LOST: Ends = Ends::Lost { done: false };
const MINUTE: Duration = Duration::from_secs(60);

struct Bench {
    fake: Fake,
    gateway: Arc<Gateway>,
}

fn bench() -> Bench {
    holding(any_number())
}

fn any_number() -> Limits {
    Limits::new(&RequestIdSettings::default(), 100)
}

fn small(entries: usize, bytes: usize) -> Limits {
    Limits { entries, bytes, ..Limits::new(&RequestIdSettings::default(), 100) }
}

fn holding(limits: Limits) -> Bench {
    over(Fake::default(), Processors::default(), limits)
}

fn over(fake: Fake, processors: Processors, limits: Limits) -> Bench {
    keeping(fake, processors, limits, Arc::new(Memory::default()))
}

fn keeping(fake: Fake, processors: Processors, limits: Limits, store: Arc<dyn Store>) -> Bench {
    Parts { processors, limits, ..Parts::default() }.over(fake, store)
}

fn within(time: Duration) -> Call {
    let record = Arc::<CallRecord>::default();
    record.set_proof(Proof::NotDemanded);
    Call { deadline: Instant::now() + time, cache_control: Control::default(), record, leave: None }
}

fn call() -> Call {
    within(Duration::from_secs(10))
}

impl Bench {
    async fn create(&self, request_id: &str, name: &str) -> Result<Profile> {
        self.gateway.create_profile(&call(), creation(request_id, name)).await
    }

    async fn update(&self, request_id: &str, name: &str) -> Result<Profile> {
        self.gateway.update_profile(&call(), change(request_id, name)).await
    }

    async fn delete(&self, request_id: &str) -> Result<()> {
        let request = DeleteProfileRequest {
            name: "backends/fake/profiles/1".into(),
            request_id: request_id.into(),
            ..DeleteProfileRequest::default()
        };
        self.gateway.delete_profile(&call(), request).await
    }

    /// The display name, from the cache or the upstream.
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

fn change(request_id: &str, name: &str) -> UpdateProfileRequest {
    UpdateProfileRequest {
        profile: Some(Profile {
            name: "backends/fake/profiles/1".into(),
            display_name: name.into(),
            ..Profile::default()
        }),
        request_id: request_id.into(),
        ..UpdateProfileRequest::default()
    }
}

#[track_caller]
fn unknown<T>(result: Result<T>) {
    let error = result.err().expect("the outcome should be unknown");
    assert_eq!(error.reason(), Reason::WriteOutcomeUnknown, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_create_of_unknown_outcome_is_resent_only_when_it_can_no_longer_take_effect() {
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
async fn an_outcome_that_is_resolved_in_time_allows_the_write_in_the_same_call() {
    let bench = bench();
    bench.fake.next(LOST);
    unknown(bench.create(ONE, "a").await);
    let long = within(2 * MINUTE);
    bench.gateway.create_profile(&long, creation(ONE, "a")).await.unwrap();
    assert_eq!(bench.fake.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_late_effect_is_found_and_not_written_again() {
    let bench = bench();
    bench.fake.put(7, Some("a"));
    bench.fake.next(LOST);
    unknown(bench.create(ONE, "a").await);
    bench.fake.put(8, Some("a"));
    let found = bench.create(ONE, "a").await.unwrap();
    assert_eq!((found.name.as_str(), bench.fake.writes()), ("backends/fake/profiles/8", 1));
}

#[tokio::test(start_paused = true)]
async fn a_create_that_cannot_be_verified_is_never_resent() {
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
async fn an_update_of_unknown_outcome_is_resolved_before_it_is_resent() {
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
async fn a_later_write_by_another_client_is_not_overwritten() {
    let bench = bench();
    bench.fake.put(1, Some("old"));
    bench.fake.next(LOST);
    unknown(bench.update(ONE, "new").await);
    bench.fake.put(1, Some("theirs"));
    advance(5 * MINUTE).await;
    let before = Instant::now();
    let error = bench.update(ONE, "new").await.unwrap_err();
    assert_eq!(Instant::now(), before, "waiting longer would not help");
    assert_eq!(error.reason(), Reason::WriteOutcomeUnknown);
    assert!(error.message().contains("use a new request_id"), "{error}");
    assert_eq!((bench.fake.writes(), bench.fake.names()), (1, vec!["theirs".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_late_effect_after_a_write_by_another_client_is_found() {
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
async fn a_call_that_shares_a_failure_does_not_record_its_upstream_request() {
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
async fn an_outcome_stays_unknown_when_it_could_not_be_resolved() {
    let bench = bench();
    bench.fake.put(1, Some("old"));
    bench.fake.next(LOST);
    unknown(bench.update(ONE, "new").await);
    // Another write holds the profile's lock beyond the deadline of the repeat.
    bench.fake.next(Ends::After(15 * Duration::from_secs(1)));
    let other = Bench { fake: bench.fake.clone(), gateway: Arc::clone(&bench.gateway) };
    let slow = tokio::spawn(async move {
        other.gateway.update_profile(&within(MINUTE), change("", "old too")).await
    });
    sleep(Duration::from_millis(1)).await;
    unknown(bench.update(ONE, "new").await);
    slow.await.unwrap().unwrap();
    unknown(bench.update(ONE, "new").await);
    assert_eq!((bench.fake.writes(), bench.fake.names()), (2, vec!["old too".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_delete_of_unknown_outcome_is_done_when_the_profile_is_gone() {
    let bench = bench();
    bench.fake.put(1, Some("a"));
    bench.fake.next(LOST);
    unknown(bench.delete(ONE).await);
    unknown(bench.delete(ONE).await);
    advance(2 * MINUTE).await;
    // The cache may keep the profile again, and it does.
    bench.get().await.unwrap();
    bench.fake.put(1, None);
    bench.get().await.unwrap();
    bench.delete(ONE).await.unwrap();
    assert_eq!(bench.fake.writes(), 1);
    let gone = bench.get().await.unwrap_err();
    assert_eq!(gone.reason(), Reason::ProfileNotFound, "the cache is invalidated");
}

#[tokio::test(start_paused = true)]
async fn a_late_effect_that_is_found_invalidates_the_cache() {
    let bench = bench();
    bench.fake.next(LOST);
    unknown(bench.create(ONE, "a").await);
    advance(2 * MINUTE).await;
    assert_eq!(bench.get().await.unwrap_err().reason(), Reason::ProfileNotFound);
    bench.fake.put(1, Some("a"));
    assert!(bench.get().await.is_err(), "the cache knows that the profile does not exist");
    bench.create(ONE, "a").await.unwrap();
    assert_eq!(bench.get().await.unwrap(), "a");

    bench.fake.next(LOST);
    unknown(bench.update(TWO, "b").await);
    advance(2 * MINUTE).await;
    assert_eq!(bench.get().await.unwrap(), "a");
    bench.fake.put(1, Some("b"));
    assert_eq!(bench.get().await.unwrap(), "a", "the cache has the old name");
    bench.update(TWO, "b").await.unwrap();
    assert_eq!(bench.get().await.unwrap(), "b");
    assert_eq!(bench.fake.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_leaves_the_outcome_unknown() {
    let bench = bench();
    bench.fake.next(Ends::Panics);
    unknown(bench.create(ONE, "a").await);
    assert_eq!(bench.create(ONE, "a").await.unwrap().display_name, "a");
    assert_eq!((bench.fake.writes(), bench.fake.names().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_is_the_gateways_fault_also_in_the_audit_log() {
    let log = AuditLog::in_memory(usize::MAX);
    let parts = Parts { log: log.clone(), ..Parts::default() };
    let bench = parts.over(Fake::default(), Arc::new(Memory::default()));
    bench.fake.put(1, Some("a"));
    let check = UpdateProfileRequest { validate_only: true, ..change("", PANICS) };
    let error = bench.gateway.update_profile(&call(), check).await.unwrap_err();
    assert_eq!(error.reason(), Reason::GatewayInternal);
    let [line] = <[String; 1]>::try_from(log.lines()).unwrap();
    assert!(line.contains(r#""outcome":"GATEWAY_INTERNAL""#), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_sent_again_by_a_repeat() {
    let bench = bench();
    bench.fake.next(Ends::Refused);
    let refused = bench.create(ONE, "a").await.unwrap_err();
    assert_eq!(refused.reason(), Reason::UpstreamThrottled);
    bench.create(ONE, "a").await.unwrap();
    assert_eq!(bench.fake.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_too_long_learns_that_the_write_is_still_running() {
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
async fn a_full_store_refuses_writes_before_anything_is_sent() {
    let bench = holding(small(1, 1 << 20));
    bench.fake.next(LOST);
    unknown(bench.create(ONE, "a").await);
    let full = bench.create(TWO, "b").await.unwrap_err();
    assert_eq!((full.reason(), full.kind()), (Reason::Overloaded, Kind::Unavailable));
    assert_eq!(bench.fake.writes(), 1);
    let full = bench.create("", "b").await.unwrap_err();
    assert_eq!((full.reason(), bench.fake.writes()), (Reason::Overloaded, 1));
    unknown(bench.create(ONE, "a").await);

    let bench = holding(small(100, 600));
    let full = bench.create(ONE, &"a".repeat(200)).await.unwrap_err();
    assert_eq!((full.reason(), bench.fake.writes()), (Reason::Overloaded, 0));
}

#[tokio::test(start_paused = true)]
async fn validate_only_does_not_use_up_the_request_id() {
    let bench = bench();
    let validated = CreateProfileRequest { validate_only: true, ..creation(ONE, "a") };
    bench.gateway.create_profile(&call(), validated.clone()).await.unwrap();
    bench.create(ONE, "b").await.unwrap();
    bench.gateway.create_profile(&call(), validated).await.unwrap();
    assert_eq!(bench.fake.names(), ["b"]);
}
