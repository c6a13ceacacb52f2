//! Streams of changes over replicas: one replica looks for all of them, and a token is good at
//! each.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use profile_gateway::pb::{
    ChangeKind::{Changed, Removed},
    Profile,
};
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::Code;

use crate::{
    kit::{
        gateway::fresh,
        model,
        redis::Redis,
        replicas::{Plan, Replica, replicas, unlimited},
        sandbox::{Sandbox, sandbox},
        status::{fails, failure},
        until,
    },
    watching::stream::{NEVER, Watch, open_over},
};

/// For a broken program, not for a slow one.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many replicas over all simulated upstreams, with this time between two looks.
fn plan(sandbox: &Sandbox, count: usize, interval: &str) -> Plan {
    let lines = format!("watch_interval = \"{interval}\"\nmax_attempts = 1\ndialect =");
    replicas(count).sections(&unlimited(&sandbox.config()).replace("dialect =", &lines))
}

async fn open(replica: &Replica, token: &str) -> Watch {
    open_over(replica.profiles(), model::BACKEND, token).await.unwrap()
}

async fn begun(replica: &Replica) -> Watch {
    let mut watch = open(replica, "").await;
    watch.begin().await;
    watch
}

/// Goes on at this replica, with what the stream before has told.
async fn resumed(replica: &Replica, before: &Watch) -> Watch {
    let mut watch = open(replica, &before.token).await;
    watch.profiles.clone_from(&before.profiles);
    watch
}

/// What another client does: a profile gets a name.
async fn rename(sandbox: &Sandbox, id: &str, to: &str) {
    let all = sandbox.raw("sft").await;
    let mut profile = all.into_iter().find(|profile| profile["id"] == id).unwrap();
    profile.as_object_mut().unwrap().remove("id");
    profile["name"] = to.into();
    sandbox.put(id, profile).await;
}

/// The stream tells this change and no other.
async fn tells(watch: &mut Watch, id: &str) {
    watch.expect(&[(Changed, &model::name(id), &["display_name"])]).await;
}

/// What a list at this replica has, by name.
async fn listed(replica: &Replica) -> BTreeMap<String, Profile> {
    let list = replica.profiles().list_profiles(fresh(model::list(model::BACKEND))).await;
    let list = list.unwrap().into_inner().profiles.into_iter();
    list.map(|profile| (profile.name.clone(), profile)).collect()
}

/// The stream has told all that a list at this replica has.
async fn is_the_list(watch: &Watch, replica: &Replica) {
    assert_eq!(watch.profiles, listed(replica).await);
}

/// Looks of each replica.
async fn looks(replicas: &[Replica]) -> Vec<f64> {
    let mut looks = Vec::new();
    for replica in replicas {
        looks.push(replica.metric("watch_polls_total", "backend=\"sft\"").await);
    }
    looks
}

#[tokio::test]
async fn one_replica_looks_and_all_tell_what_it_sees() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let three = plan(&sandbox, 3, "1s").over(&redis).await;
    let mut streams = Vec::new();
    for replica in &three {
        streams.push(begun(replica).await);
    }
    for name in ["one", "two", "three"] {
        rename(&sandbox, "SP_367", name).await;
        for stream in &mut streams {
            tells(stream, "SP_367").await;
        }
    }
    let looks = looks(&three).await;
    assert!(looks[0] >= 4.0, "the first list, and each change: {looks:?}");
    assert_eq!(looks[1..], [0.0, 0.0], "the first one looks for all");
    for (stream, replica) in streams.iter().zip(&three) {
        is_the_list(stream, replica).await;
    }
}

#[tokio::test]
async fn a_stream_goes_on_at_another_replica_where_it_ended() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = plan(&sandbox, 2, NEVER).over(&redis).await;
    let before = begun(&both[0]).await;
    let (token, all) = (before.token.clone(), before.profiles.clone());
    drop(before);
    let other = open(&both[1], &token).await;
    assert_eq!(both[0].end().await.code(), Some(0));
    both[0].start_again().await;
    let third = open(&both[0], &token).await;
    let late = begun(&both[0]).await;
    assert_eq!(late.profiles, all);
    assert_eq!(looks(&both).await, [0.0, 0.0], "the last look is not old yet");
    drop((other, third));
}

#[tokio::test]
async fn a_write_through_one_replica_shows_at_once_at_all() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let three = plan(&sandbox, 3, NEVER).over(&redis).await;
    let mut streams = [begun(&three[0]).await, begun(&three[1]).await];
    for (writer, name) in [(2, "one"), (1, "two"), (0, "three")] {
        let rename = fresh(model::rename("SP_367", name));
        three[writer].profiles().update_profile(rename).await.unwrap();
        // It was acknowledged: one that begins has it from the start, wherever.
        for replica in &three {
            let late = begun(replica).await;
            assert_eq!(late.profiles[&model::name("SP_367")].display_name, name);
        }
        for stream in &mut streams {
            tells(stream, "SP_367").await;
        }
    }
    let looks = looks(&three).await;
    assert_eq!(looks, [4.0, 0.0, 0.0], "one at the beginning, and one for each write");
}

#[tokio::test]
async fn what_changed_meanwhile_is_told_once_at_whichever_replica() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = plan(&sandbox, 2, "1s").over(&redis).await;
    let (mut here, mut there) = (begun(&both[0]).await, begun(&both[1]).await);
    for (round, name) in ["one", "two", "three"].into_iter().enumerate() {
        let before = here;
        rename(&sandbox, "SP_367", name).await;
        tells(&mut there, "SP_367").await;
        here = resumed(&both[1 - round % 2], &before).await;
        drop(before);
        tells(&mut here, "SP_367").await;
    }
    sandbox.remove_raw("sft", "SP_361").await;
    let gone = model::name("SP_361");
    for stream in [&mut here, &mut there] {
        stream.expect(&[(Removed, &gone, &[])]).await;
    }
    let late = begun(&both[0]).await;
    assert_eq!(late.profiles, here.profiles);
    is_the_list(&late, &both[1]).await;
}

#[tokio::test]
async fn another_replica_looks_when_the_one_that_did_is_killed() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = plan(&sandbox, 2, "1s").over(&redis).await;
    let first = begun(&both[0]).await;
    let mut second = begun(&both[1]).await;
    assert_eq!(looks(&both[1..]).await, [0.0]);
    both[0].kill().await;
    rename(&sandbox, "SP_367", "one").await;
    timeout(PATIENCE, tells(&mut second, "SP_367")).await.expect("it is told");
    let mut resumed = resumed(&both[1], &first).await;
    tells(&mut resumed, "SP_367").await;
}

#[tokio::test]
async fn a_replica_that_ends_gives_the_turn_back() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = plan(&sandbox, 2, "1s").over(&redis).await;
    let first = begun(&both[0]).await;
    let mut second = begun(&both[1]).await;
    let histories: Vec<String> = redis.ask(&["KEYS", "*:history:*/sft-*"]).await;
    let holder = async || redis.ask::<Option<String>>(&["HGET", &histories[0], "leader"]).await;
    let before = holder().await.expect("one has the turn");
    assert_eq!(both[0].end().await.code(), Some(0));
    assert_ne!(holder().await, Some(before), "it would have lasted for seconds");
    rename(&sandbox, "SP_367", "one").await;
    tells(&mut second, "SP_367").await;
    drop(first);
}

#[tokio::test]
async fn a_flushed_store_loses_nothing_that_a_replica_knows() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = plan(&sandbox, 2, "1s").over(&redis).await;
    let mut first = begun(&both[0]).await;
    let mut second = begun(&both[1]).await;
    let old = second.token.clone();
    rename(&sandbox, "SP_367", "one").await;
    for stream in [&mut first, &mut second] {
        tells(stream, "SP_367").await;
    }
    redis.command(&["FLUSHALL"]).await;
    rename(&sandbox, "SP_367", "two").await;
    for stream in [&mut first, &mut second] {
        timeout(PATIENCE, tells(stream, "SP_367")).await.expect("it goes on");
    }
    let mut resumed = resumed(&both[1], &first).await;
    rename(&sandbox, "SP_367", "three").await;
    for stream in [&mut first, &mut second, &mut resumed] {
        tells(stream, "SP_367").await;
    }
    drop(open(&both[0], &old).await);
    is_the_list(&resumed, &both[0]).await;
}

#[tokio::test]
async fn a_token_of_what_no_one_knows_any_more_is_refused() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = plan(&sandbox, 2, "1s").over(&redis).await;
    let stream = begun(&both[0]).await;
    for replica in &both {
        replica.kill().await;
    }
    redis.command(&["FLUSHALL"]).await;
    both[1].start_again().await;
    let opened = open_over(both[1].profiles(), model::BACKEND, &stream.token).await;
    fails(opened.map(drop), Code::Aborted, "RESUME_TOKEN_EXPIRED");
    is_the_list(&begun(&both[1]).await, &both[1]).await;
}

#[tokio::test]
async fn streams_wait_while_the_store_is_away_and_go_on_without_loss() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = plan(&sandbox, 2, "1s").over(&redis).await;
    let mut first = begun(&both[0]).await;
    let mut second = begun(&both[1]).await;
    redis.kill().await;
    let opened = open_over(both[1].profiles(), model::BACKEND, "").await;
    fails(opened.map(drop), Code::Unavailable, "STORE_UNAVAILABLE");
    let opened = open_over(both[0].profiles(), model::BACKEND, &second.token).await;
    fails(opened.map(drop), Code::Unavailable, "STORE_UNAVAILABLE");
    let before = looks(&both).await;
    rename(&sandbox, "SP_367", "one").await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(looks(&both).await, before, "no replica looks by itself");
    // It has lost all.
    redis.start_again().await;
    for stream in [&mut first, &mut second] {
        timeout(PATIENCE, tells(stream, "SP_367")).await.expect("it goes on");
    }
    until("streams can be opened", async || {
        open_over(both[1].profiles(), model::BACKEND, &first.token).await.is_ok()
    })
    .await;
    is_the_list(&begun(&both[0]).await, &both[1]).await;
}

#[tokio::test]
async fn all_tell_why_the_backend_cannot_be_read() {
    let (redis, sandbox) = (Redis::start().await, sandbox().await);
    let both = plan(&sandbox, 2, "1s").over(&redis).await;
    let mut first = begun(&both[0]).await;
    let down = json!({"kind": "reset", "commit": "none"});
    sandbox.arm_spec(json!({"upstream": "sft", "operation": "*", "times": 0, "fault": down})).await;
    until("a look fails", async || {
        both[0].metric("watch_polls_total", "outcome=\"failed\"").await > 0.0
    })
    .await;
    until("all say so", async || {
        let mut refused = 0;
        for replica in &both {
            let opened = open_over(replica.profiles(), model::BACKEND, "").await;
            let Err(status) = opened else { return false };
            refused += u32::from(failure(Err::<(), _>(status)).reason == "UPSTREAM_UNAVAILABLE");
        }
        refused == 2
    })
    .await;
    let mut second = resumed(&both[1], &first).await;
    sandbox.calm().await;
    rename(&sandbox, "SP_367", "one").await;
    for stream in [&mut first, &mut second] {
        tells(stream, "SP_367").await;
    }
}

/// Watches at one replica after another until it sees this name, and says how often it went on.
async fn follows(
    replicas: Arc<Vec<Replica>>,
    mut at: usize,
    begun: watch::Sender<usize>,
) -> (BTreeMap<String, Profile>, usize) {
    let mut stream = self::begun(&replicas[at]).await;
    begun.send_modify(|begun| *begun += 1);
    let mut resumed = 0;
    while !stream.profiles.values().any(|profile| profile.display_name == "the last") {
        if stream.next().await.is_ok() {
            continue;
        }
        let mut next = None;
        for _ in 0..200 {
            at += 1;
            let client = replicas[at % replicas.len()].profiles();
            match open_over(client, model::BACKEND, &stream.token).await {
                Ok(opened) => {
                    next = Some(opened);
                    break;
                }
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
        let mut next = next.expect("a replica that goes on");
        next.profiles = std::mem::take(&mut stream.profiles);
        (stream, resumed) = (next, resumed + 1);
    }
    // A connection has room for 100 streams: lists need some of it.
    (stream.profiles, resumed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_streams_go_on_over_a_rolling_restart() {
    let watchers = std::env::var("SOAK_WATCHERS").ok();
    let watchers: usize = watchers.map_or(20, |count| count.parse().unwrap());
    let (redis, sandbox) = (Redis::start().await, Arc::new(sandbox().await));
    let three = Arc::new(plan(&sandbox, 3, "1s").over(&redis).await);
    let (begun, mut have_begun) = watch::channel(0);
    let mut all = JoinSet::new();
    for watcher in 0..watchers {
        all.spawn(follows(Arc::clone(&three), watcher % 3, begun.clone()));
    }
    have_begun.wait_for(|begun| *begun == watchers).await.unwrap();
    let writes = tokio::spawn({
        let sandbox = Arc::clone(&sandbox);
        async move {
            for round in 0.. {
                rename(&sandbox, "SP_367", &format!("round {round}")).await;
                sleep(Duration::from_millis(50)).await;
            }
        }
    });
    for replica in three.iter() {
        assert_eq!(replica.end().await.code(), Some(0));
        replica.start_again().await;
    }
    writes.abort();
    let _ = writes.await;
    rename(&sandbox, "SP_367", "the last").await;
    let followed = timeout(2 * PATIENCE, all.join_all()).await.expect("all see the last change");
    let resumed: usize = followed.iter().map(|(_, resumed)| resumed).sum();
    assert!(resumed >= watchers, "each replica has ended once: {resumed}");
    for (profiles, _) in &followed {
        assert_eq!(*profiles, listed(&three[0]).await);
    }
}
