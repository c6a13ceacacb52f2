//! What operators see and do of a store that replicas share: `check --connect`, the user at the
//! server, and other credentials without a restart.

use rustix::process::Signal;
use serde_json::Value;

use super::table::{Bench, server};
use crate::kit::{
    SECRET,
    child::{self, Ended},
    redis::Redis,
    sandbox::sandbox,
    until,
};

/// What `check --connect` says of a server, with these lines in its section.
async fn checked(redis: &Redis, lines: &str) -> Ended {
    let sandbox = sandbox().await;
    let config = format!(
        "page_token_key = \"a page token key {SECRET}\"\n[store]\nkind = \"shared\"\n\
         url = \"redis://{}\"\nuser = \"gateway\"\nnamespace = \"trial\"\n{lines}\n{}",
        redis.address(),
        sandbox.config(),
    );
    let file = child::exactly(&config);
    let check = child::command(&["check", "--config", &file.path, "--connect"], &[]);
    let ended = child::Program::spawn(check).ended().await;
    assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
    ended
}

/// The line about the server.
fn told(ended: &Ended) -> &str {
    let mut lines = ended.stderr.lines();
    lines.find(|line| line.starts_with("the shared store at")).unwrap_or(&ended.stderr)
}

fn password() -> String {
    format!("password = \"{SECRET}\"")
}

#[tokio::test]
async fn a_check_tries_the_server_and_leaves_nothing_there() {
    let redis = server(&["--appendonly", "yes"]).await;
    let well = checked(&redis, &password()).await;
    assert_eq!(well.code(), Some(0), "{}", well.stderr);
    let line = told(&well);
    assert!(line.contains("it is a primary with 0 replicas"), "{line}");
    assert!(line.ends_with("ms)"), "{line}");
    assert_eq!(redis.ask::<u64>(&["DBSIZE"]).await, 0);
    let durable = checked(&redis, &(password() + "\ndurable_replicas = 1")).await;
    assert!(told(&durable).ends_with("until it has 1 replicas (`durable_replicas`)"));
    redis.command(&["CONFIG", "SET", "appendonly", "no"]).await;
    let forgetful = checked(&redis, &password()).await;
    assert!(told(&forgetful).contains("does not write each change to its disk"));
    assert_eq!(forgetful.code(), Some(0));
}

#[tokio::test]
async fn a_check_says_what_keeps_the_gateway_from_the_server() {
    let redis = server(&[]).await;
    let wrong = checked(&redis, "password = \"another\"").await;
    assert!(told(&wrong).contains("does not accept the gateway's user or password"));
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let evicts = checked(&redis, &password()).await;
    assert!(told(&evicts).contains("set `maxmemory-policy noeviction`"), "{}", told(&evicts));
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    redis.command(&["ACL", "SETUSER", "gateway", "-xadd"]).await;
    let limited = checked(&redis, &password()).await;
    assert!(told(&limited).contains("does not allow the gateway's user"), "{}", told(&limited));
    redis.command(&["ACL", "SETUSER", "gateway", "+xadd", "resetkeys", "~{pg1:other}:*"]).await;
    let elsewhere = checked(&redis, &password()).await;
    assert!(told(&elsewhere).contains("does not allow the gateway's user"));
    redis.kill().await;
    let gone = checked(&redis, &password()).await;
    assert!(told(&gone).contains("it takes no connection"), "{}", told(&gone));
    for ended in [wrong, evicts, limited, elsewhere, gone] {
        assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_user_that_may_not_do_all_is_not_relied_on() {
    let bench = Bench::over(server(&[]).await).await;
    for command in ["hdel", "xread", "wait"] {
        let forbidden = format!("-{command}");
        bench.redis.command(&["ACL", "SETUSER", "gateway", &forbidden]).await;
        bench.replicas[1].wire.cut();
        bench.is_away(1, "not_permitted").await;
        let allowed = format!("+{command}");
        bench.redis.command(&["ACL", "SETUSER", "gateway", &allowed]).await;
        bench.serves(1).await;
    }
}

/// The latest reload.
async fn reloaded(bench: &Bench, at: usize) -> Value {
    let (_, text) = bench.replicas[at].admin("/reload").await;
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn other_credentials_are_used_for_the_next_connections() {
    const NEW: &str = "new-of-the-kit";
    let bench = Bench::over(server(&[]).await).await;
    let (more, less) = (format!(">{NEW}"), format!("<{SECRET}"));
    bench.redis.command(&["ACL", "SETUSER", "gateway", &more, &less]).await;
    let old = password();
    bench.replicas[0].change(|config| config.replace(&old, &format!("password = \"{NEW}\"")));
    bench.replicas[0].signal(Signal::HUP);
    until("it is taken over", async || {
        reloaded(&bench, 0).await["latest"]["changed"] == serde_json::json!(["store.password"])
    })
    .await;
    assert_eq!(reloaded(&bench, 0).await["needs_restart"], serde_json::json!([]));
    assert_eq!(bench.told(0).await["connected"], true, "what is connected goes on");
    bench.replicas.iter().for_each(|replica| replica.wire.cut());
    bench.is_away(1, "credentials_refused").await;
    bench.serves(0).await;
}

#[tokio::test]
async fn credentials_are_not_shown_to_another_server() {
    let bench = Bench::over(server(&[]).await).await;
    let old = password();
    bench.replicas[0].change(|config| {
        let config = config.replace(&old, "password = \"of another server\"");
        config.replace("namespace = \"trial\"", "namespace = \"moved\"")
    });
    bench.replicas[0].signal(Signal::HUP);
    until("it needs a restart", async || {
        reloaded(&bench, 0).await["needs_restart"]
            == serde_json::json!(["store.namespace", "store.password"])
    })
    .await;
    let wire = &bench.replicas[0].wire;
    let opened = wire.opened();
    wire.cut();
    until("it connects again", async || wire.opened() >= opened + 3).await;
    bench.serves(0).await;
}
