//! Two primaries at once: what replicas of either side do then is not promised to agree. That is
//! the limit of what a store with one primary can do. Once there is one again, all agree.

use super::{Figures, Plan, SHORT_WORKERS, round, troubles::What};
use crate::{kit::show, replicas::history::Lie};

/// One round in which the store is split once.
async fn split(is_in_pairs: bool, store: &str) -> Figures {
    let plan = Plan {
        operations: 600,
        workers: SHORT_WORKERS,
        troubles: 1,
        kinds: vec![What::Split],
        is_in_pairs,
        store: store.to_owned(),
        ..Plan::wanted()
    };
    show(&format!("SOAK_SEED={}", plan.seed << 8));
    let (seed, mut figures) = (plan.seed, Figures::default());
    round(plan, &mut figures).await;
    figures.assert_none(seed << 8);
    figures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_are_broken_only_while_the_store_has_two_primaries() {
    let figures = split(false, "").await;
    assert!(!figures.excused.is_empty(), "both sides have agreed: {:?}", figures.told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_without_followers_records_no_write_of_replicas_that_need_them() {
    let figures = split(true, "durable_replicas = 1").await;
    assert!(figures.told("Rename Refused STORE_UNAVAILABLE") > 0, "{:?}", figures.told);
    // Reads need no follower.
    let writes: Vec<_> = figures.excused.iter().filter(|lie| **lie != Lie::StaleRead).collect();
    assert!(writes.is_empty(), "{writes:?}: {:?}", figures.told);
}
