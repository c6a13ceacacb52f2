//! A cache hit with a shared store and without, in pairs of short batches that take turns: what the
//! machine does meanwhile concerns both of a pair.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{get, hits_at_once, start};
use crate::kit::{redis::Redis, replicas::Replica, sandbox::Sandbox, show};

/// Calls at once.
const CALLERS: usize = 16;
/// Before anything is measured, because a process gets faster.
const WARM_UP: usize = 4;
/// How many replicas of each kind there are. What differs between two processes of one program,
/// such as where their memory is, does not decide.
const EACH: usize = 2;

/// What a batch took: time, and time of processors in the gateway.
type Took = [Duration; 2];

/// How many pairs of batches are measured.
fn pairs() -> usize {
    std::env::var("FIGURES_PAIRS").map_or(2, |pairs| pairs.parse().expect("a number"))
}

pub(super) async fn figures(sandbox: &Sandbox, redis: &Redis) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..EACH {
        with.extend(start(1, Some(""), sandbox, redis).await);
        without.extend(start(1, None, sandbox, redis).await);
    }
    for replica in with.iter().chain(&without) {
        for _ in 0..WARM_UP {
            batch(replica).await;
        }
    }
    let (mut across, mut within) = (Ratios::default(), Ratios::default());
    for number in 0..pairs() {
        let [a, b] = [number % EACH, number / EACH % EACH];
        let is_first = (number / EACH / EACH).is_multiple_of(2);
        across.add(pair(&with[a], &without[b], is_first).await);
        // Of two that do the same: this is what the measure itself gets wrong.
        within.add(pair(&without[b], &without[(b + 1) % EACH], is_first).await);
    }
    across.show("a hit with a shared store, of one without");
    within.show("a hit without one, of the same in another process");
}

/// One batch of each. Says what the one took of what the other did.
async fn pair(one: &Replica, other: &Replica, is_first: bool) -> [f64; 2] {
    let [one, other] = if is_first {
        let one = batch(one).await;
        [one, batch(other).await]
    } else {
        let other = batch(other).await;
        [batch(one).await, other]
    };
    [0, 1].map(|kind| one[kind].as_secs_f64() / other[kind].as_secs_f64())
}

async fn batch(replica: &Replica) -> Took {
    let client = replica.profiles();
    // Whatever was written before.
    get(&mut client.clone()).await;
    let (begin, cpu) = (Instant::now(), replica.cpu());
    let callers = (0..CALLERS).map(|_| {
        let mut client = client.clone();
        async move {
            for _ in 0..hits_at_once().div_ceil(CALLERS as u64) {
                get(&mut client).await;
            }
        }
    });
    join_all(callers).await;
    [begin.elapsed(), replica.cpu() - cpu]
}

/// The ratios of all pairs, of time and of time of processors.
#[derive(Default)]
struct Ratios([Vec<f64>; 2]);

impl Ratios {
    fn add(&mut self, ratios: [f64; 2]) {
        for (all, ratio) in self.0.iter_mut().zip(ratios) {
            all.push(ratio);
        }
    }

    fn show(&mut self, what: &str) {
        for (all, of) in self.0.iter_mut().zip(["time", "time of processors"]) {
            let [low, median, high] = interval(all);
            let pairs = all.len();
            show(&format!("{what}: {of} {median:.3} [{low:.3}, {high:.3}], {pairs} pairs"));
        }
    }
}

/// The median with its confidence interval of 95 %, by the ranks of a binomial distribution, which
/// supposes nothing of how the values are distributed.
fn interval(values: &mut [f64]) -> [f64; 3] {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len();
    let half = (0.98 * (count as f64).sqrt()).ceil() as usize;
    let low = (count / 2).saturating_sub(half);
    let high = (count / 2 + half).min(count - 1);
    [values[low], values[count / 2], values[high]]
}

#[test]
fn the_interval_of_a_median_gets_narrower_with_more_values() {
    let mut many: Vec<f64> = (0..101).map(f64::from).collect();
    assert_eq!(interval(&mut many), [40.0, 50.0, 60.0]);
    assert_eq!(interval(&mut [3.0, 1.0, 2.0]), [1.0, 2.0, 3.0]);
}
