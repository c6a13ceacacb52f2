//! What it costs to share a store, as ratios of one run: `make figures-replicas`. Prints what means
//! something only on a quiet machine, in a release build; a short round shows that it can.

mod hits;

use std::time::Duration;

use futures_util::future::join_all;
use profile_gateway::pb::profile_service_client::ProfileServiceClient;
use serde_json::json;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::kit::{
    history::display_name,
    model,
    redis::Redis,
    replicas::{Replica, replicas, unlimited},
    sandbox::{Sandbox, sandbox},
    show,
};

const ID: &str = "SP_352";

/// How many hits are made at a time.
fn hits_at_once() -> u64 {
    std::env::var("FIGURES_HITS").map_or(100, |hits| hits.parse().expect("a number"))
}

/// How many writes.
fn writes_at_once() -> u64 {
    (hits_at_once() / 25).max(1)
}

/// So many replicas that know each other, or one that knows no other.
async fn start(
    count: usize,
    store: Option<&str>,
    sandbox: &Sandbox,
    redis: &Redis,
) -> Vec<Replica> {
    let plan = replicas(count).sections(&unlimited(&sandbox.config()));
    match store {
        Some(lines) => plan.store(lines).over(redis).await,
        None => plan.apart().over(redis).await,
    }
}

async fn get(client: &mut ProfileServiceClient<Channel>) -> String {
    let answer = client.get_profile(model::get(ID)).await.unwrap();
    answer.into_inner().display_name
}

/// Renames the profile so often, and gives how long that took each time.
async fn renames(replica: &Replica, from: u64) -> Vec<Duration> {
    let mut client = replica.profiles();
    let mut times = Vec::new();
    for version in from..from + writes_at_once() {
        let begin = Instant::now();
        client.update_profile(model::rename(ID, &display_name(1, version))).await.unwrap();
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    times
}

/// The one that a half are faster than, and the one that 99 of 100 are.
fn quantiles(sorted: &[Duration]) -> [Duration; 2] {
    [sorted[sorted.len() / 2], sorted[sorted.len() * 99 / 100]]
}

async fn writes(sandbox: &Sandbox, redis: &Redis) {
    for ms in [0, 20] {
        sandbox.calm().await;
        if ms > 0 {
            for operation in ["GetServiceProfile", "ModifyServiceProfile"] {
                let fault = json!({"kind": "delay", "ms": ms});
                let spec = json!({"upstream": "sft", "operation": operation, "times": 0,
                                  "fault": fault});
                sandbox.arm_spec(spec).await;
            }
        }
        let without = start(1, None, sandbox, redis).await;
        let alone = quantiles(&renames(&without[0], 1_000 + ms * 10).await);
        let with = start(3, Some(""), sandbox, redis).await;
        let shared = quantiles(&renames(&with[0], 5_000 + ms * 10).await);
        show(&format!(
            "a write with an upstream of {ms} ms: p50 {:?} and {:?}, p99 {:?} and {:?}, without \
             and with two other replicas",
            alone[0], shared[0], alone[1], shared[1]
        ));
    }
    sandbox.calm().await;
}

async fn travel(sandbox: &Sandbox, redis: &Redis) {
    let all = start(2, Some("acknowledge = \"here\""), sandbox, redis).await;
    let (mut writer, mut reader) = (all[0].profiles(), all[1].profiles());
    let mut times = Vec::new();
    for version in 10_000..10_000 + writes_at_once() {
        get(&mut reader).await;
        let name = display_name(1, version);
        writer.update_profile(model::rename(ID, &name)).await.unwrap();
        let begin = Instant::now();
        while get(&mut reader).await != name {}
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let [half, most] = quantiles(&times);
    show(&format!("the other replica shows a write {half:?} after its answer, p99 {most:?}"));
}

async fn killed(sandbox: &Sandbox, redis: &Redis) {
    let all = start(3, Some(""), sandbox, redis).await;
    let mut worst = Duration::ZERO;
    for round in 0..5 {
        all[2].kill().await;
        worst =
            worst.max(*renames(&all[0], 20_000 + round * writes_at_once()).await.last().unwrap());
        all[2].start_again().await;
    }
    show(&format!("the slowest write after a replica was killed took {worst:?}"));
}

async fn requests(redis: &Redis) {
    const IDS: [&str; 4] = [ID, "SP_353", "SP_361", "SP_367"];
    let mut counts = Vec::new();
    for count in [1, 3] {
        redis.command(&["FLUSHALL"]).await;
        let sandbox = sandbox().await;
        let all = start(count, Some(""), &sandbox, redis).await;
        for number in 0..usize::try_from(hits_at_once()).unwrap() {
            let mut client = all[number % count].profiles();
            client.get_profile(model::get(IDS[number % IDS.len()])).await.unwrap();
            if number % 50 == 0 {
                let name = display_name(2, number as u64);
                client.update_profile(model::rename(ID, &name)).await.unwrap();
            }
        }
        let sum = async |name: &str| {
            let of = all.iter().map(|replica| replica.metric(name, ""));
            join_all(of).await.iter().sum::<f64>()
        };
        counts.push([sum("upstream_logins_total").await, sum("upstream_requests_total").await]);
    }
    let [one, three] = [&counts[0], &counts[1]];
    show(&format!("logins and upstream requests: {one:?} of one replica, {three:?} of three"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sharing_costs() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    hits::figures(&sandbox, &redis).await;
    writes(&sandbox, &redis).await;
    travel(&sandbox, &redis).await;
    killed(&sandbox, &redis).await;
    requests(&redis).await;
}
