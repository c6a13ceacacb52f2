//! What is true while the store is in trouble: the table of the guide, row by row. For each, what
//! reads get, what writes get, and what is told of it.

use std::time::Duration;

use futures_util::future::join_all;
use profile_gateway::pb::GetBackendRequest;
use serde_json::Value;
use tokio::time::sleep;
use tonic::{Code, Request, Status};

use crate::kit::{
    SECRET,
    model::{BACKEND, get, rename},
    redis::Redis,
    replicas::{Replica, replicas, unlimited},
    sandbox::{Sandbox, sandbox},
    status::fails,
    until,
    wire::{Flow, To},
};

/// Why writes are refused at a replica without a connection.
const DISCONNECTED: &str = "this replica is not connected to it";
const PROFILE: &str = "SP_361";
/// How long a slow server takes.
const PAUSE: Duration = Duration::from_millis(800);
/// For a call under way when the store fails.
const DEADLINE: Duration = Duration::from_secs(10);

/// Replicas over one store, whose user may do no more than the example allows.
pub(super) struct Bench {
    pub(super) redis: Redis,
    sandbox: Sandbox,
    pub(super) replicas: Vec<Replica>,
}

/// The options of a server that knows the user of the example.
fn permitted(options: &[&str]) -> Vec<String> {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/replicas/redis.conf");
    let example = std::fs::read_to_string(example).unwrap();
    let user = example.lines().find(|line| line.starts_with("user gateway ")).unwrap();
    let user = user.replace("change-this-password", SECRET);
    let user = user.split(' ').skip(1).map(str::to_owned);
    let options = options.iter().map(|option| (*option).to_owned());
    ["--user".to_owned()].into_iter().chain(user).chain(options).collect()
}

pub(super) async fn server(options: &[&str]) -> Redis {
    let options = permitted(options);
    Redis::with(&options.iter().map(String::as_str).collect::<Vec<_>>()).await
}

impl Bench {
    async fn start() -> Self {
        Self::over(server(&["--appendonly", "yes"]).await).await
    }

    pub(super) async fn over(redis: Redis) -> Self {
        let sandbox = sandbox().await;
        let user = format!("user = \"gateway\"\npassword = \"{SECRET}\"\nnamespace = \"trial\"");
        let plan = replicas(2).store(&user).sections(&unlimited(&sandbox.config()));
        let replicas = plan.over(&redis).await;
        let bench = Self { redis, sandbox, replicas };
        bench.all_serve().await;
        join_all(bench.replicas.iter().map(Replica::logs_in)).await;
        bench
    }

    async fn all_serve(&self) {
        for at in 0..self.replicas.len() {
            self.serves(at).await;
        }
    }

    /// Waits until a replica is one of all, and knows it.
    pub(super) async fn serves(&self, at: usize) {
        until("it serves from its memory", async || {
            let told = self.told(at).await;
            let promises = !self.promise(at).await.contains("at the moment");
            promises && told["serves_from_memory"] == true && told.get("fault").is_none()
        })
        .await;
    }

    /// What `/readyz` says of the store. A replica stays ready whatever that is.
    pub(super) async fn told(&self, at: usize) -> Value {
        let (status, text) = self.replicas[at].admin("/readyz").await;
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &body["ready"]), (200, &Value::Bool(true)), "{text}");
        assert!(!text.contains(SECRET), "{text}");
        body["shared_store"].clone()
    }

    /// What `GetBackend` says of request ids.
    pub(super) async fn promise(&self, at: usize) -> String {
        let request = GetBackendRequest { name: BACKEND.to_owned() };
        let backend = self.replicas[at].backends().get_backend(request).await.unwrap();
        backend.into_inner().capabilities.unwrap().request_id_guarantee
    }

    /// What a read shows, and where from.
    pub(super) async fn read(&self, at: usize) -> (String, String) {
        let answer = self.replicas[at].profiles().get_profile(get(PROFILE)).await.unwrap();
        let from = answer.metadata().get("x-profile-cache").unwrap().to_str().unwrap().to_owned();
        (answer.into_inner().display_name, from)
    }

    /// Waits until a second read in a row comes from the memory.
    async fn is_kept(&self, at: usize) {
        until("it is kept", async || self.read(at).await.1 == "hit").await;
    }

    async fn write(&self, at: usize, name: &str) -> Result<(), Status> {
        self.write_as(at, name, "").await
    }

    async fn write_as(&self, at: usize, name: &str, id: &str) -> Result<(), Status> {
        let mut request = rename(PROFILE, name);
        request.request_id = id.to_owned();
        let mut request = Request::new(request);
        request.set_timeout(DEADLINE);
        self.replicas[at].profiles().update_profile(request).await.map(drop)
    }

    /// A write is done, once the first moments of an epoch are over.
    async fn writes(&self, at: usize, name: &str) {
        self.write(at, name).await.unwrap();
        for at in 0..self.replicas.len() {
            if self.replicas[at].is_running() {
                assert_eq!(self.read(at).await.0, name, "at {at}");
            }
        }
    }

    async fn effects(&self) -> usize {
        self.sandbox.effects().await.len()
    }

    /// A write is refused, and nothing of it is sent.
    pub(super) async fn refuses(&self, at: usize, why: &str) {
        let before = self.effects().await;
        let failure =
            fails(self.write(at, "refused").await, Code::Unavailable, "STORE_UNAVAILABLE");
        assert!(failure.message.contains(why), "{}", failure.message);
        assert!(failure.retry.is_some(), "{failure:?}");
        assert_eq!(self.effects().await, before, "nothing was sent");
        assert_ne!(self.read(at).await.0, "refused");
    }

    /// A replica has no connection, for this fault: it reads from the upstream, and says so.
    pub(super) async fn is_away(&self, at: usize, fault: &str) {
        until("it is away", async || self.told(at).await["connected"] == false).await;
        until(fault, async || self.told(at).await["fault"] == fault).await;
        until("its lease is over", async || !self.serves_from_memory(at).await).await;
        let told = self.told(at).await;
        assert_eq!((&told["connected"], &told["writes"]), (&false.into(), &"refused".into()));
        assert!(self.replicas[at].metric("shared_store_lease_valid", "").await < 0.5);
        assert!(self.replicas[at].metric("shared_store_connected", "").await < 0.5);
        let promise = self.promise(at).await;
        assert!(promise.contains("is away") && promise.contains("STORE_UNAVAILABLE"), "{promise}");
        assert!(promise.contains("reads go to the upstream"), "{promise}");
        for _ in 0..2 {
            assert_ne!(self.read(at).await.1, "hit");
        }
    }

    async fn serves_from_memory(&self, at: usize) -> bool {
        self.told(at).await["serves_from_memory"] == true
    }

    /// Nothing was refused to the user of the example.
    async fn was_permitted(&self) {
        let refused: Vec<redis::Value> = self.redis.ask(&["ACL", "LOG"]).await;
        assert!(refused.is_empty(), "{refused:?}");
    }
}

#[tokio::test]
async fn all_is_well() {
    let bench = Bench::start().await;
    until("each knows of both", async || {
        bench.told(0).await["members"] == 2 && bench.told(1).await["members"] == 2
    })
    .await;
    let (here, there) = (bench.told(0).await, bench.told(1).await);
    assert_eq!(here["epoch"], there["epoch"]);
    assert_eq!(here["connected"], true);
    for at in 0..2 {
        bench.is_kept(at).await;
        let replica = &bench.replicas[at];
        assert!(replica.metric("shared_store_lease_valid", "").await > 0.5);
        assert!(replica.metric("shared_store_members", "").await > 1.5);
    }
    bench.writes(0, "one").await;
    bench.writes(1, "other").await;
    let lag = bench.replicas[1].metric("shared_store_log_lag_seconds", "").await;
    assert!((0.0..30.0).contains(&lag), "{lag}");
    bench.was_permitted().await;
}

#[tokio::test]
async fn the_server_is_slow() {
    let bench = Bench::start().await;
    bench.is_kept(0).await;
    let hangs = async {
        bench.redis.hang();
        sleep(PAUSE).await;
        bench.redis.go_on();
    };
    let (written, ()) = tokio::join!(bench.write(1, "slowly"), hangs);
    written.unwrap();
    assert_eq!(bench.read(0).await.0, "slowly");
    bench.all_serve().await;
}

#[tokio::test]
async fn the_server_is_down() {
    let bench = Bench::start().await;
    bench.is_kept(0).await;
    bench.redis.kill().await;
    bench.is_away(0, "connection_lost").await;
    bench.refuses(0, DISCONNECTED).await;
    bench.redis.start_again().await;
    bench.all_serve().await;
    bench.writes(0, "again").await;
}

#[tokio::test]
async fn the_server_is_down_at_the_start() {
    let bench = Bench::start().await;
    bench.redis.kill().await;
    assert_eq!(bench.replicas[1].end().await.code(), Some(0), "it ends without the server");
    bench.replicas[1].start_again().await;
    bench.replicas[1].logs_in().await;
    bench.is_away(1, "connection_lost").await;
    bench.refuses(1, DISCONNECTED).await;
    bench.redis.start_again().await;
    bench.serves(1).await;
    bench.writes(1, "after all").await;
}

const FIRST: &str = "7a4b2f4e-6a3a-4c53-8d7b-0f3f3b0c1a01";
const SECOND: &str = "7a4b2f4e-6a3a-4c53-8d7b-0f3f3b0c1a02";

/// Writes again through one replica; then the server knows only the first write, or nothing.
/// Repeats through the other have no effect.
async fn forgets(bench: &Bench, forget: impl AsyncFnOnce()) {
    let epoch = bench.told(1).await["epoch"].clone();
    bench.write_as(0, "second", SECOND).await.unwrap();
    bench.is_kept(1).await;
    let effects = bench.effects().await;
    forget().await;
    until("there is another epoch", async || {
        let told = [bench.told(0).await, bench.told(1).await];
        told.iter().all(|told| told["epoch"] != epoch && told["connected"] == true)
    })
    .await;
    for (name, id) in [("second", SECOND), ("first", FIRST)] {
        bench.write_as(1, name, id).await.unwrap();
        assert_eq!(bench.effects().await, effects, "{name} is done once");
    }
    assert_eq!(bench.read(1).await.0, "second");
    for replica in &bench.replicas {
        assert!(replica.metric("shared_store_resyncs_total", "why=\"epoch\"").await > 0.5);
    }
    bench.all_serve().await;
    bench.writes(1, "third").await;
}

#[tokio::test]
async fn the_server_is_flushed() {
    let bench = Bench::start().await;
    bench.write_as(0, "first", FIRST).await.unwrap();
    forgets(&bench, async || bench.redis.command(&["FLUSHALL"]).await).await;
}

#[tokio::test]
async fn the_server_restarts_empty() {
    let bench = Bench::start().await;
    bench.write_as(0, "first", FIRST).await.unwrap();
    forgets(&bench, async || {
        bench.redis.kill().await;
        bench.redis.forget();
        bench.redis.start_again().await;
    })
    .await;
}

#[tokio::test]
async fn the_server_restarts_with_what_it_had() {
    let bench =
        Bench::over(server(&["--appendonly", "yes", "--appendfsync", "always"]).await).await;
    bench.write_as(0, "first", FIRST).await.unwrap();
    forgets(&bench, async || {
        bench.redis.kill().await;
        bench.redis.start_again().await;
    })
    .await;
}

#[tokio::test]
async fn the_server_restarts_from_an_old_file() {
    let bench = Bench::over(server(&[]).await).await;
    bench.write_as(0, "first", FIRST).await.unwrap();
    bench.redis.command(&["SAVE"]).await;
    forgets(&bench, async || {
        bench.redis.kill().await;
        bench.redis.start_again().await;
    })
    .await;
}

#[tokio::test]
async fn another_server_takes_over_without_the_last_writes() {
    let bench = Bench::start().await;
    let other = server(&[]).await;
    bench.write_as(0, "first", FIRST).await.unwrap();
    other.follow(&bench.redis).await;
    // It hears of nothing more.
    other.promote().await;
    forgets(&bench, async || {
        bench.redis.kill().await;
        bench.replicas.iter().for_each(|replica| replica.wire.lead_to(other.address()));
    })
    .await;
}

#[tokio::test]
async fn the_server_would_evict() {
    let bench = Bench::start().await;
    bench.redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    bench.is_away(0, "evicts").await;
    bench.refuses(0, DISCONNECTED).await;
    bench.redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    bench.all_serve().await;
    bench.writes(0, "again").await;
}

/// The server answers, and takes no writes.
async fn takes_no_writes(bench: &Bench, fault: &str, why: &str, repair: impl AsyncFnOnce()) {
    bench.is_kept(0).await;
    bench.refuses(0, why).await;
    until("it tells why", async || bench.told(0).await["fault"] == fault).await;
    assert_eq!(bench.told(0).await["writes"], "refused");
    until("it tells callers why", async || {
        let promise = bench.promise(0).await;
        promise.contains(why) && promise.contains("STORE_UNAVAILABLE")
    })
    .await;
    let failures = format!("fault=\"{fault}\"");
    let failed = bench.replicas[0].metric("shared_store_command_failures_total", &failures).await;
    assert!(failed > 0.5, "{failed}");
    repair().await;
    bench.all_serve().await;
    bench.writes(0, "again").await;
}

#[tokio::test]
async fn the_server_is_full() {
    let bench = Bench::start().await;
    bench.redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    takes_no_writes(&bench, "out_of_memory", "its memory is full", async || {
        bench.is_kept(0).await;
        bench.redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    })
    .await;
}

#[tokio::test]
async fn the_server_has_lost_its_replicas() {
    let bench = Bench::start().await;
    bench.redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    let why = "it has fewer replicas than it needs";
    takes_no_writes(&bench, "too_few_replicas", why, async || {
        // Another primary may have them.
        until("its lease is over", async || !bench.serves_from_memory(0).await).await;
        assert_ne!(bench.read(0).await.1, "hit");
        bench.redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    })
    .await;
}

#[tokio::test]
async fn one_replica_is_cut_off() {
    let bench = Bench::start().await;
    bench.is_kept(1).await;
    let wire = &bench.replicas[1].wire;
    [To::Server, To::Client].into_iter().for_each(|to| wire.flow(to, Flow::Lose));
    // The write waits until the other cannot answer from its memory, and then no write does.
    bench.write(0, "here").await.unwrap();
    assert_eq!(bench.read(1).await.0, "here");
    until("it is not counted", async || bench.told(0).await["members"] == 1).await;
    bench.is_away(1, "connect_timeout").await;
    bench.refuses(1, DISCONNECTED).await;
    bench.writes(0, "still here").await;
    [To::Server, To::Client].into_iter().for_each(|to| wire.flow(to, Flow::Pass));
    bench.all_serve().await;
    bench.writes(1, "there").await;
}
