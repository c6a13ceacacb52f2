//! The gateway completes by itself what the process before it has made half, if no one can have
//! changed it since.

use prost::Message as _;
use tokio::task::JoinHandle;

use super::{
    closing::{NO_EFFECT, close},
    restart::{Remembering, process, remembering, with_doubt},
    *,
};
use crate::{error::metadata::PROFILE_ID, gateway::idempotency::KeptRequest, store::Table};

const SECOND: Duration = Duration::from_secs(1);
/// From then on, nothing of the process that died can be under way.
const OVER: Duration = Duration::from_secs(62);

/// What a process leaves that dies when it has made a profile half; what is missing takes so long.
pub(super) async fn half_made(finish_takes: Duration) -> (Fake, Arc<Remembering>) {
    let (bench, store) = half_made_under("", finish_takes).await;
    (bench.fake, store.next())
}

/// The same before it dies, of a creation under an id or without one.
pub(super) async fn half_made_under(
    id: &'static str,
    finish_takes: Duration,
) -> (Bench, Arc<Remembering>) {
    let (bench, store) = remembering();
    bench.fake.makes_halves(finish_takes);
    bench.fake.next(Ends::Hangs);
    let dying = with_doubt(&bench);
    tokio::spawn(async move { dying.create(id, "a").await });
    sleep(Duration::from_millis(1)).await;
    assert_eq!(bench.fake.names(), ["a"]);
    (bench, store)
}

const HALF: &str = "backends/fake/profiles/101";

async fn rename(bench: &Bench, display_name: &str) -> Result<Profile> {
    let profile = Some(Profile {
        name: HALF.into(),
        display_name: display_name.into(),
        ..Profile::default()
    });
    let request = UpdateProfileRequest { profile, ..UpdateProfileRequest::default() };
    bench.gateway.update_profile(&within(MINUTE), request).await
}

/// The same in a task; it ends like this.
fn renaming(bench: &Bench, ends: Ends) -> JoinHandle<Result<Profile>> {
    bench.fake.next(ends);
    let bench = with_doubt(bench);
    tokio::spawn(async move { rename(&bench, "b").await })
}

/// It is left as it is, and listed.
async fn is_left(bench: &Bench) {
    sleep(5 * MINUTE).await;
    let looks = bench.only_doubt().await.looks;
    assert_eq!((bench.fake.finished(), looks.reason.as_str()), (0, "PARTIALLY_APPLIED"));
    assert_eq!(looks.candidates, [HALF]);
}

#[tokio::test(start_paused = true)]
async fn what_is_half_made_is_named_and_completed_when_nothing_else_can_be_under_way() {
    let (fake, store) = half_made(Duration::ZERO).await;
    let bench = process(&fake, &store);
    let _tasks = bench.settles();
    sleep(OVER / 2).await;
    let looks = bench.only_doubt().await.looks;
    assert_eq!((fake.finished(), looks.reason.as_str()), (0, "WRITE_OUTCOME_UNKNOWN"));
    assert_eq!(looks.candidates, [HALF]);
    sleep(OVER).await;
    assert_eq!((fake.finished(), bench.doubts().await.len()), (1, 0));
    assert!(store.entries.lock().keys().all(|(table, _)| *table != Table::Requests));
}

#[tokio::test(start_paused = true)]
async fn what_a_call_has_changed_since_is_not_completed() {
    let (fake, store) = half_made(Duration::ZERO).await;
    let bench = process(&fake, &store);
    let _tasks = bench.settles();
    sleep(5 * SECOND).await;
    for name in ["b", "a"] {
        rename(&bench, name).await.unwrap();
    }
    is_left(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_long_before_the_start_is_not_completed() {
    let (fake, store) = half_made(Duration::ZERO).await;
    for ((table, _), value) in &mut *store.entries.lock() {
        if *table == Table::Requests {
            let mut request = KeptRequest::decode(value.clone()).unwrap();
            request.sent_at -= 3_600_000;
            *value = request.encode_to_vec().into();
        }
    }
    let bench = process(&fake, &store);
    let _tasks = bench.settles();
    is_left(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_process_before_may_have_changed_is_not_completed() {
    let (fake, store) = half_made(Duration::ZERO).await;
    rename(&process(&fake, &store), "a").await.unwrap();
    let bench = process(&fake, &store.next());
    let _tasks = bench.settles();
    is_left(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn no_one_closes_what_is_being_completed() {
    let (fake, store) = half_made(20 * SECOND).await;
    let bench = process(&fake, &store);
    let _tasks = bench.settles();
    sleep(OVER).await;
    let refused = close(&bench, &bench.only_doubt().await, NO_EFFECT).await.unwrap_err();
    assert_eq!((refused.reason(), fake.finished()), (Reason::WriteInProgress, 0));
    sleep(OVER).await;
    assert_eq!((fake.finished(), bench.doubts().await.len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_change_waits_for_the_end_of_what_is_being_completed() {
    let (fake, store) = half_made(20 * SECOND).await;
    let bench = process(&fake, &store);
    let _tasks = bench.settles();
    sleep(OVER).await;
    assert!(bench.only_doubt().await.is_attended);
    rename(&bench, "b").await.unwrap();
    assert_eq!((fake.finished(), fake.names()), (1, vec!["b".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_what_is_being_completed() {
    let (fake, store) = half_made(20 * SECOND).await;
    let writes = Writes::default();
    let parts = Parts { writes: writes.clone(), ..Parts::default() };
    let bench = parts.over(fake.clone(), store);
    let _tasks = bench.settles();
    sleep(OVER).await;
    writes.drain();
    writes.over().await;
    assert_eq!((fake.finished(), bench.doubts().await.len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_someone_else_changes_while_it_is_read_again_is_not_completed() {
    for (then, reason) in [(Some("b"), "PARTIALLY_APPLIED"), (None, "WRITE_OUTCOME_UNKNOWN")] {
        let (fake, store) = half_made(Duration::ZERO).await;
        let bench = process(&fake, &store);
        let _tasks = bench.settles();
        fake.read_takes(5 * SECOND);
        sleep(OVER).await;
        assert!(bench.only_doubt().await.is_attended, "it is being read again");
        fake.put(101, then);
        sleep(5 * SECOND).await;
        let looks = bench.only_doubt().await.looks;
        assert_eq!((fake.finished(), looks.reason.as_str()), (0, reason));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_call_may_have_deleted_is_not_completed() {
    let (fake, store) = half_made(Duration::ZERO).await;
    let bench = process(&fake, &store);
    let _tasks = bench.settles();
    sleep(5 * SECOND).await;
    fake.next(LOST);
    let request = DeleteProfileRequest { name: HALF.into(), ..DeleteProfileRequest::default() };
    unknown(bench.gateway.delete_profile(&call(), request).await);
    is_left(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_call_of_the_process_before_has_changed_is_not_completed() {
    let (dying, store) = half_made_under("", Duration::ZERO).await;
    rename(&dying, "b").await.unwrap();
    dying.fake.next(Ends::Hangs);
    let changing = with_doubt(&dying);
    tokio::spawn(async move { rename(&changing, "a").await });
    sleep(Duration::from_millis(1)).await;
    assert_eq!(dying.fake.names(), ["a"]);
    let bench = process(&dying.fake, &store.next());
    assert_eq!(bench.doubts().await.len(), 2);
    let _tasks = bench.settles();
    is_left(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_was_told_of_by_a_repeat_is_not_completed() {
    let (dying, store) = half_made_under(ONE, Duration::ZERO).await;
    let bench = process(&dying.fake, &store.next());
    bench.fake.cannot_list();
    unknown(bench.create(ONE, "a").await);
    bench.fake.can_list();
    let _tasks = bench.settles();
    is_left(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_was_told_of_by_its_own_call_is_not_completed() {
    let bench = bench();
    bench.fake.makes_halves(Duration::ZERO);
    bench.fake.next(Ends::Lost { done: true });
    bench.fake.list_takes(SECOND);
    let creating = with_doubt(&bench);
    let created = tokio::spawn(async move { creating.create("", "a").await });
    sleep(SECOND / 2).await;
    // The list before the creation is under way, and what it has made is not found.
    bench.fake.cannot_list();
    unknown(created.await.unwrap());
    bench.fake.can_list();
    let _tasks = bench.settles();
    is_left(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_completed_that_cannot_be_journaled() {
    let (fake, store) = half_made(Duration::ZERO).await;
    let parts = Parts { log: AuditLog::in_memory(0), ..Parts::default() };
    let bench = parts.over(fake.clone(), store);
    let _tasks = bench.settles();
    sleep(2 * OVER).await;
    let looks = bench.only_doubt().await.looks;
    assert_eq!((fake.finished(), looks.reason.as_str()), (0, "AUDIT_UNAVAILABLE"));
}

#[tokio::test(start_paused = true)]
async fn a_creation_keeps_others_from_its_profile_until_it_is_whole() {
    let bench = bench();
    bench.fake.makes_halves(5 * SECOND);
    let creating = with_doubt(&bench);
    let created = tokio::spawn(async move { creating.create("", "a").await });
    sleep(SECOND).await;
    assert_eq!((bench.fake.finished(), bench.fake.names()), (0, vec!["a".to_owned()]));
    let changed = with_doubt(&bench);
    let changed = tokio::spawn(async move { rename(&changed, "b").await });
    sleep(SECOND).await;
    assert_eq!(bench.fake.names(), ["a"], "the change waits");
    created.await.unwrap().unwrap();
    changed.await.unwrap().unwrap();
    assert_eq!((bench.fake.finished(), bench.fake.names()), (1, vec!["b".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_waits_for_other_writes_and_completes_what_is_missing_then() {
    for is_whole in [false, true] {
        let (dying, store) = half_made_under(ONE, Duration::ZERO).await;
        let bench = process(&dying.fake, &store.next());
        let change = renaming(&bench, Ends::RefusedAs("after a second"));
        sleep(SECOND / 4).await;
        let repeating = with_doubt(&bench);
        let repeat = tokio::spawn(async move { repeating.create(ONE, "a").await });
        sleep(SECOND / 4).await;
        assert_eq!(bench.fake.finished(), 0, "another write is running");
        if is_whole {
            bench.fake.adds_rest(101);
        }
        change.await.unwrap().unwrap_err();
        assert_eq!(repeat.await.unwrap().unwrap().name, HALF);
        assert_eq!(bench.fake.finished(), usize::from(!is_whole));
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_that_waits_too_long_names_what_is_half_made() {
    let (dying, store) = half_made_under(ONE, Duration::ZERO).await;
    let bench = process(&dying.fake, &store.next());
    let change = renaming(&bench, Ends::After(MINUTE / 2));
    sleep(SECOND).await;
    let error = bench.create(ONE, "a").await.unwrap_err();
    assert_eq!(error.reason(), Reason::PartiallyApplied, "{error}");
    assert_eq!(error.metadatum(PROFILE_ID), Some("101"));
    change.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_gateway_itself_does_not_wait_for_a_change_and_says_nothing_of_it() {
    let (fake, store) = half_made(Duration::ZERO).await;
    let bench = process(&fake, &store);
    let _tasks = bench.settles();
    sleep(OVER - 5 * SECOND).await;
    let change = renaming(&bench, Ends::After(10 * SECOND));
    sleep(5 * SECOND).await;
    let doubt = bench.only_doubt().await;
    assert_eq!((fake.finished(), doubt.is_attended), (0, false));
    assert_eq!(doubt.looks.reason, "WRITE_OUTCOME_UNKNOWN", "what the look before has found");
    change.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_completed_has_a_line_before_it_is_sent_and_one_when_it_is_over() {
    let (fake, store) = half_made(20 * SECOND).await;
    let log = AuditLog::in_memory(usize::MAX);
    let bench = Parts { log: log.clone(), ..Parts::default() }.over(fake.clone(), store);
    let _tasks = bench.settles();
    sleep(OVER).await;
    assert_eq!(fake.finished(), 0);
    let [journaled] = <[String; 1]>::try_from(log.lines()).unwrap();
    assert!(journaled.contains("about to complete a profile"), "{journaled}");
    sleep(OVER).await;
    let [_, ended] = <[String; 2]>::try_from(log.lines()).unwrap();
    assert!(ended.contains(r#""outcome":"completed""#), "{ended}");
}
