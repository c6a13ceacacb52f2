//! How much is done between two polls, counted: whatever a caller asks for, other tasks run in
//! between.

use std::{future::Future, pin::pin, sync::Arc, task::Poll};

use futures_util::poll;
use prost::Message as _;
use prost_types::FieldMask;

use super::{Bench, MINUTE, any_number, bench, call, fake::Fake, over, within};
use crate::{
    call::CallId,
    caller::{CallerId, Callers},
    error::Reason,
    gateway::{
        idempotency::{Attempt, Attempter, Begin, End, RequestIdentity},
        read::view::work,
        write::intent::{Creation, IntentKind, WriteIntent},
    },
    model::fields::{OUTPUT_ONLY, SETTABLE},
    pb::{ListDoubtfulWritesRequest, ListProfilesRequest, ListProfilesResponse, Profile},
    resources::Processors,
};

/// Ten times what a page holds.
const PROFILES: u32 = 10_000;

/// Runs something to its end, and tells how many profiles were decoded in each poll of it.
async fn decoded_per_poll<F: Future>(running: F) -> (F::Output, Vec<usize>) {
    let mut running = pin!(running);
    let mut each = Vec::new();
    loop {
        let before = work::decoded();
        let polled = poll!(running.as_mut());
        each.push(work::decoded() - before);
        match polled {
            Poll::Ready(output) => return (output, each),
            Poll::Pending => tokio::task::yield_now().await,
        }
    }
}

/// A backend of profiles with long names, whose list is cached.
async fn long_names() -> Bench {
    with_long_names(bench(), PROFILES).await
}

async fn with_long_names(bench: Bench, profiles: u32) -> Bench {
    for id in 0..profiles {
        bench.fake.put(id, Some(&format!("{} {id}", "N".repeat(1000))));
    }
    list(&bench, ListProfilesRequest::default()).await;
    bench
}

async fn list(bench: &Bench, asked: ListProfilesRequest) -> (ListProfilesResponse, Vec<usize>) {
    let request = ListProfilesRequest { parent: "backends/fake".into(), ..asked };
    // Slow machines have the time that they need.
    let call = within(10 * MINUTE);
    let (listed, each) = decoded_per_poll(bench.gateway.list_profiles(&call, &request)).await;
    (listed.unwrap().message().unwrap(), each)
}

#[tokio::test]
async fn a_filter_of_many_words_over_many_profiles_lets_others_run() {
    let bench = long_names().await;
    let words = (0..128).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" OR ");
    let asked = ListProfilesRequest { filter: words, ..Default::default() };
    let (found, each) = list(&bench, asked).await;
    assert_eq!((found.total_size, each.iter().sum::<usize>()), (0, PROFILES as usize));
    assert!(each.iter().all(|decoded| *decoded <= 10), "{:?}", each.iter().max());
}

#[tokio::test]
async fn an_order_of_many_profiles_lets_others_run() {
    let bench = long_names().await;
    let order_by = "display_name desc,description,state,category,retail,payment_type".to_owned();
    let asked = ListProfilesRequest { order_by, page_size: 1, ..Default::default() };
    let (found, each) = list(&bench, asked).await;
    assert_eq!(found.total_size, i32::try_from(PROFILES).unwrap());
    assert!(each.iter().all(|decoded| *decoded <= 150), "{:?}", each.iter().max());
}

#[tokio::test]
async fn a_mask_of_many_paths_over_a_large_page_lets_others_run() {
    let bench = long_names().await;
    // A hundred times the same field, each field, and members that are not there.
    let repeated = std::iter::repeat_n("display_name".to_owned(), 100);
    let fields = SETTABLE.iter().chain(OUTPUT_ONLY).map(|path| (*path).to_owned());
    let members = (0..110).map(|n| format!("unmapped.k{n}"));
    let paths: Vec<String> = repeated.chain(fields).chain(members).take(256).collect();
    assert!(paths.len() > 200);
    let read_mask = Some(FieldMask { paths });
    let asked = ListProfilesRequest { page_size: 1000, read_mask, ..Default::default() };
    let (found, each) = list(&bench, asked).await;
    assert!(found.profiles.len() > 900, "{}", found.profiles.len());
    assert_eq!(found.profiles[7].display_name, format!("{} 7", "N".repeat(1000)));
    assert!(each.iter().all(|decoded| *decoded <= 20), "{:?}", each.iter().max());
}

#[tokio::test]
async fn a_long_list_begins_when_those_before_it_are_done() {
    let one = Processors::of(1, &Callers::default());
    let bench = with_long_names(over(Fake::default(), one, any_number()), 1000).await;
    let masked = FieldMask { paths: vec!["display_name".to_owned()] };
    for asked in [
        ListProfilesRequest { filter: "nowhere".to_owned(), ..Default::default() },
        ListProfilesRequest { order_by: "display_name desc".to_owned(), ..Default::default() },
        ListProfilesRequest { read_mask: Some(masked), page_size: 900, ..Default::default() },
    ] {
        let mut first = pin!(list(&bench, asked.clone()));
        let mut second = pin!(list(&bench, asked));
        let mut polls = 0;
        while poll!(first.as_mut()).is_pending() {
            polls += 1;
            let before = work::decoded();
            assert!(poll!(second.as_mut()).is_pending());
            assert_eq!(work::decoded(), before, "the second has begun");
            tokio::task::yield_now().await;
        }
        assert!(polls > 1, "{polls}");
        let (_, each) = second.await;
        assert!(each.iter().sum::<usize>() >= 900);
    }
}

#[tokio::test]
async fn a_short_list_waits_for_no_long_one() {
    let one = Processors::of(1, &Callers::default());
    let bench = with_long_names(over(Fake::default(), one, any_number()), 1000).await;
    let asked = ListProfilesRequest { filter: "nowhere".to_owned(), ..Default::default() };
    let mut long = pin!(list(&bench, asked));
    assert!(poll!(long.as_mut()).is_pending());
    let (page, _) = list(&bench, ListProfilesRequest::default()).await;
    assert_eq!(page.profiles.len(), 50);
    long.await;
}

#[tokio::test]
async fn a_read_is_refused_before_it_begins_if_the_queue_has_no_place_for_it() {
    let fake = Fake::default();
    fake.put(1, Some("one"));
    fake.is_full();
    let bench = over(fake, Processors::default(), any_number());
    assert_eq!(bench.get().await.unwrap_err().reason(), Reason::Overloaded);
    let request = ListProfilesRequest { parent: "backends/fake".into(), ..Default::default() };
    let listed = bench.gateway.list_profiles(&within(MINUTE), &request).await;
    assert_eq!(listed.unwrap_err().reason(), Reason::Overloaded);
    assert_eq!(bench.fake.reads(), 0);
}

/// A creation in doubt of a profile with a long name.
async fn doubt(bench: &Bench, number: u64) {
    let store = bench.gateway.doubts.store();
    let identity = RequestIdentity::unnamed(CallerId::Others, "CreateProfile");
    let resource = "backends/fake".to_owned();
    let deadline = call().deadline;
    let by = Attempter { call: CallId::default(), resource, deadline, until: deadline };
    let Begin::Fresh(attempt) = store.begin(&identity, by).await.unwrap() else { panic!() };
    let attempt = Attempt::new(Arc::clone(store), identity.key, attempt);
    let profile = Profile { display_name: "N".repeat(1000), ..Profile::default() };
    let creation = Creation::new(number, profile, None);
    let intent = WriteIntent::new(IntentKind::Create(Box::new(creation)));
    attempt.intend(intent.encode_to_vec().into()).await.unwrap();
    attempt.finish(End::Unknown).await;
}

#[tokio::test]
async fn a_page_of_writes_in_doubt_lets_others_run() {
    let bench = bench();
    for number in 0..900 {
        doubt(&bench, number).await;
    }
    let (parent, page_size) = ("backends/-".to_owned(), 1000);
    let request = ListDoubtfulWritesRequest { parent, page_size, ..Default::default() };
    let call = within(10 * MINUTE);
    let (listed, each) =
        decoded_per_poll(bench.gateway.list_doubtful_writes(&call, &request)).await;
    assert_eq!(listed.unwrap().doubtful_writes.len(), 900);
    assert!(each.len() > 10, "{} polls", each.len());
}
