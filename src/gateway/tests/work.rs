//! How much is done between two polls, counted: whatever a caller asks for, other tasks run in
//! between.

use std::{future::Future, pin::pin, task::Poll};

use futures_util::poll;
use prost_types::FieldMask;

use super::{Bench, MINUTE, bench, within};
use crate::{
    gateway::read::view::work,
    model::fields::{OUTPUT_ONLY, SETTABLE},
    pb::{ListProfilesRequest, ListProfilesResponse},
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
    let bench = bench();
    for id in 0..PROFILES {
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
