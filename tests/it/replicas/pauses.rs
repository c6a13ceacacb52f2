//! Pauses of an account: who is told of them, and what does not shorten or forget them.

use std::time::Duration;

use tonic::Code;

use super::account::{
    LOGIN_LINES, NEW_PASSWORD, agrees, found, is_refused, knows_of_a_pause, replica, three,
    wants_new_password,
};
use crate::kit::{
    SECRET,
    child::{self, Ended},
    double::{Double, GET, LOGIN, come_back, double},
    gateway::{Gateway, PASSWORD},
    redis::Redis,
    status::failure,
    until,
};

/// How long the upstream asks to wait.
const LONG: u64 = 3000;

async fn is_paused(gateway: &Gateway) {
    let failed = failure(gateway.get("SP_1").await);
    assert!(failed.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"), "{failed:#?}");
    let wait = failed.retry.unwrap();
    assert!(wait <= Duration::from_secs(LONG + 1) && wait.as_secs() > LONG - 200, "{wait:?}");
}

#[tokio::test]
async fn a_429_pause_that_the_server_has_lost_is_told_again() {
    let (redis, upstream) = (Redis::start().await, double().await);
    let lines = "max_pause = \"1h\"\nmax_attempts = 1";
    let make = || replica(&redis).fixed("sft", &upstream.base_url, lines);
    let all = three(make).await;
    upstream.then(GET, come_back(429, LONG)).always(GET, found());
    is_paused(&all[0]).await;
    for gateway in &all {
        knows_of_a_pause(gateway).await;
        is_paused(gateway).await;
    }
    redis.command(&["FLUSHALL"]).await;
    until("it is told again", async || {
        let keys: Vec<String> = redis.ask(&["KEYS", "*:rate:*"]).await;
        let Some(key) = keys.first() else { return false };
        redis.ask::<Option<u64>>(&["HGET", key, "paused"]).await.is_some()
    })
    .await;
    let again = make().start().await;
    agrees(&again).await;
    knows_of_a_pause(&again).await;
    is_paused(&again).await;
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(again.post_admin("/backends/sft/end-pause").await, 200);
    for gateway in all.iter().chain([&again]) {
        until("it has ended", async || gateway.get("SP_1").await.is_ok()).await;
    }
}

#[tokio::test]
async fn an_operator_is_told_whether_any_replica_knew_of_a_pause() {
    let (redis, upstream) = (Redis::start().await, double().await);
    wants_new_password(&upstream);
    let all = three(|| replica(&redis).backend("sft", &upstream.base_url, LOGIN_LINES)).await;
    let ends = async |gateway: &Gateway| {
        let url = format!("http://{}/backends/sft/end-pause", gateway.admin);
        let answer = reqwest::Client::new().post(url).send().await.unwrap();
        answer.text().await.unwrap() == "ok\n"
    };
    assert!(!ends(&all[0]).await, "no login pauses yet");
    is_refused(&failure(all[0].get("SP_1").await));
    assert!(ends(&all[1]).await, "that of another one");
    assert!(!ends(&all[1]).await, "it has ended");
}

/// What `check --connect` says with this password.
async fn checked(redis: &Redis, upstream: &Double, password: &str) -> Ended {
    let config = format!(
        "page_token_key = \"a page token key of-the-kit\"\n\
         [store]\nkind = \"shared\"\nurl = \"redis://{}\"\n\
         [backends.sft]\ndialect = \"bics-sft\"\nbase_url = \"{}\"\n{}",
        redis.address(),
        upstream.base_url,
        LOGIN_LINES.replace(PASSWORD, password),
    );
    let file = child::exactly(&config);
    let check = child::command(&["check", "--config", &file.path, "--connect"], &[]);
    let ended = child::Program::spawn(check).ended().await;
    assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
    ended
}

#[tokio::test]
async fn a_check_does_not_use_up_a_login_that_replicas_pause() {
    let (redis, upstream) = (Redis::start().await, double().await);
    wants_new_password(&upstream);
    let gateway = replica(&redis).backend("sft", &upstream.base_url, LOGIN_LINES).start().await;
    agrees(&gateway).await;
    is_refused(&failure(gateway.get("SP_1").await));
    let paused = checked(&redis, &upstream, PASSWORD).await;
    assert_eq!(paused.code(), Some(1));
    assert!(paused.stderr.contains("not retried for 4m"), "{}", paused.stderr);
    assert_eq!(upstream.count(LOGIN), 1);
    let other = checked(&redis, &upstream, NEW_PASSWORD).await;
    assert!(!other.stderr.contains("not retried"), "{}", other.stderr);
    assert_eq!(upstream.count(LOGIN), 2, "other credentials do not pause");
    redis.kill().await;
    let unknown = checked(&redis, &upstream, PASSWORD).await;
    assert!(unknown.stderr.contains("sft: STORE_UNAVAILABLE"), "{}", unknown.stderr);
    assert_eq!(upstream.count(LOGIN), 2, "it may pause");
}
