//! Writes that are in flight when the gateway is killed, and that no caller repeats: the gateway
//! that comes after it settles them by itself.

use std::time::Duration;

use profile_gateway::pb::{
    CreateProfileRequest, DeleteProfileRequest, ListProfilesRequest, Profile, UpdateProfileRequest,
    profile_service_client::ProfileServiceClient,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};

use super::{
    calls::{metric, profiles},
    child::{Gateway, serve, until},
};
use crate::{
    conformance::samples::{self, Sample, registered},
    kit::{
        gateway::fresh,
        model,
        sandbox::{Sandbox, sandbox},
    },
};

const IN_DOUBT: &str = "profile_gateway_doubtful_writes";
const SETTLED: &str = "profile_gateway_doubtful_writes_settled_total";

/// A gateway that keeps its store in a directory.
async fn start(sandbox: &Sandbox, store: &TempDir) -> Gateway {
    let fast = "requests_per_second = 100000\nrequest_limit = \"off\"\nlogin_limit = \"off\"\n\
                settle_time = \"1s\"\ncircuit_breaker = \"off\"\ndialect =";
    let config = sandbox.config().replace("dialect =", fast);
    serve(&format!("{config}\n[store]\npath = {:?}", store.path()), &[]).await
}

/// The writes of all backends that are in doubt.
async fn in_doubt(gateway: &Gateway) -> u64 {
    let mut sum = 0;
    for sample in registered() {
        sum += metric(gateway, &format!("{IN_DOUBT}{{backend=\"{}\"}}", sample.upstream)).await;
    }
    sum
}

async fn kill(gateway: Gateway) {
    gateway.program.signal(Signal::KILL);
    drop(gateway.program.ended().await);
}

async fn stop(gateway: Gateway) {
    gateway.program.signal(Signal::TERM);
    assert_eq!(gateway.program.ended().await.code(), Some(0));
}

fn request_id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

async fn create(
    client: &mut ProfileServiceClient<Channel>,
    sample: Sample,
    display_name: &str,
    request_id: String,
) -> Result<Profile, Status> {
    let profile =
        Profile { display_name: display_name.to_owned(), ..samples::profile((sample.full)()) };
    let parent = format!("backends/{}", sample.upstream);
    let request =
        CreateProfileRequest { parent, profile: Some(profile), request_id, validate_only: false };
    client.create_profile(request).await.map(tonic::Response::into_inner)
}

/// A write of each kind, under an id or without.
#[derive(Clone)]
struct Writes {
    sample: Sample,
    ids: [String; 3],
    changed: String,
    deleted: String,
}

impl Writes {
    async fn prepared(gateway: &Gateway, sample: Sample, ids: [String; 3]) -> Self {
        let mut client = profiles(gateway).await;
        let (kind, mut made) = (if ids[0].is_empty() { "without" } else { "under" }, Vec::new());
        for purpose in ["changed", "deleted"] {
            let name = format!("To be {purpose} {kind} an id");
            made.push(create(&mut client, sample, &name, String::new()).await.unwrap().name);
        }
        let [changed, deleted] = <[String; 2]>::try_from(made).unwrap();
        Self { sample, ids, changed, deleted }
    }

    fn name(&self, what: &str) -> String {
        format!("{what} {} an id", if self.ids[0].is_empty() { "without" } else { "under" })
    }

    async fn create(&self, client: &mut ProfileServiceClient<Channel>) -> Result<Profile, Status> {
        create(client, self.sample, &self.name("Created"), self.ids[0].clone()).await
    }

    async fn update(&self, client: &mut ProfileServiceClient<Channel>) -> Result<Profile, Status> {
        let profile = Profile {
            name: self.changed.clone(),
            display_name: self.name("Changed"),
            ..Profile::default()
        };
        let request = UpdateProfileRequest {
            profile: Some(profile),
            update_mask: Some(model::mask(&["display_name"])),
            request_id: self.ids[1].clone(),
            ..UpdateProfileRequest::default()
        };
        client.update_profile(request).await.map(tonic::Response::into_inner)
    }

    async fn delete(&self, client: &mut ProfileServiceClient<Channel>) -> Result<(), Status> {
        let (name, request_id) = (self.deleted.clone(), self.ids[2].clone());
        let request = DeleteProfileRequest { name, request_id, ..Default::default() };
        client.delete_profile(request).await.map(drop)
    }

    /// Makes all of them at once.
    async fn send(&self, gateway: &Gateway) {
        for kind in 0..3 {
            let (writes, mut client) = (self.clone(), profiles(gateway).await);
            tokio::spawn(async move {
                match kind {
                    0 => writes.create(&mut client).await.map(drop),
                    1 => writes.update(&mut client).await.map(drop),
                    _ => writes.delete(&mut client).await,
                }
            });
        }
    }
}

/// Lets requests of an operation take effect, and answers them never.
async fn silence(sandbox: &Sandbox, upstream: &str, operation: &str, times: usize) {
    let fault = json!({"kind": "hang", "commit": "before"});
    let spec =
        json!({"upstream": upstream, "operation": operation, "times": times, "fault": fault});
    sandbox.arm_spec(spec).await;
}

async fn all_arrived(sandbox: &Sandbox) {
    until("the requests have arrived", async || sandbox.armed().await == 0).await;
}

/// The writes of all dialects, under ids and without, which took effect and are never answered.
async fn unanswered(gateway: &Gateway, sandbox: &Sandbox) -> Vec<Writes> {
    let mut all = Vec::new();
    for (number, sample) in registered().into_iter().enumerate() {
        let ids = [0, 1, 2].map(|kind| request_id(10 * number + kind));
        for ids in [ids, Default::default()] {
            all.push(Writes::prepared(gateway, sample, ids).await);
        }
    }
    for sample in registered() {
        let operations = sample.operations;
        for operation in [operations.create, operations.update, operations.delete] {
            silence(sandbox, sample.upstream, operation, 2).await;
        }
    }
    for writes in &all {
        writes.send(gateway).await;
    }
    all_arrived(sandbox).await;
    all
}

/// How many of what arrived changed something.
fn effects(journal: &[Value]) -> usize {
    journal.iter().filter(|entry| !entry["effect"].is_null()).count()
}

/// The services of the one profile of this name.
async fn services(gateway: &Gateway, sample: Sample, display_name: &str) -> usize {
    let request = ListProfilesRequest {
        parent: format!("backends/{}", sample.upstream),
        page_size: 1_000,
        ..ListProfilesRequest::default()
    };
    let request = fresh(request);
    let all = profiles(gateway).await.list_profiles(request).await.unwrap().into_inner();
    let own = all.profiles.iter().filter(|profile| profile.display_name == display_name);
    let [own] = <[&Profile; 1]>::try_from(own.collect::<Vec<_>>()).unwrap();
    own.services.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_took_effect_is_done_without_a_repeat_and_what_is_half_made_is_completed() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    sandbox.set("endpoint", &json!({ "rate_limit": false })).await;
    let gateway = start(&sandbox, &store).await;
    let all = unanswered(&gateway, &sandbox).await;
    let writes = 3 * all.len() as u64;
    kill(gateway).await;
    let before = sandbox.journal().await.len();

    let gateway = start(&sandbox, &store).await;
    // Its creations take several requests, of which the first was sent.
    let endpoint: Vec<&Writes> = all.iter().filter(|w| w.sample.upstream == "endpoint").collect();
    let halves = endpoint.len() as u64;
    until("the others are settled", async || in_doubt(&gateway).await == halves).await;
    let settled = format!("{SETTLED}{{outcome=\"took_effect\"}}");
    assert_eq!(metric(&gateway, &settled).await, writes - halves);
    gateway.program.logged("a write of unknown outcome is settled").await;
    let mut client = profiles(&gateway).await;
    for writes in all.iter().filter(|writes| !writes.ids[0].is_empty()) {
        let dialect = writes.sample.dialect;
        let changed = writes.update(&mut client).await.unwrap();
        assert_eq!(changed.display_name, writes.name("Changed"), "{dialect}");
        writes.delete(&mut client).await.unwrap();
        if writes.sample.upstream != "endpoint" {
            let created = writes.create(&mut client).await.unwrap();
            assert_eq!(created.display_name, writes.name("Created"), "{dialect}");
        }
    }
    assert_eq!(effects(&sandbox.journal().await[before..]), 0, "a repeat gets what was found");

    // Not before nothing of the killed process can be under way any more.
    let incomplete = async |writes: &&Writes| {
        services(&gateway, writes.sample, &writes.name("Created")).await < whole(writes.sample)
    };
    for writes in &endpoint {
        assert!(incomplete(writes).await);
    }
    tokio::time::sleep(Duration::from_secs(50)).await;
    until("all is settled", async || in_doubt(&gateway).await == 0).await;
    assert_eq!(metric(&gateway, &settled).await, writes);
    gateway.program.logged("about to complete a profile").await;
    gateway.program.logged("\"outcome\":\"completed\"").await;
    for writes in &endpoint {
        assert!(!incomplete(writes).await);
    }
    let creations = sandbox.journal().await[before..]
        .iter()
        .filter(|entry| !entry["effect"]["created"].is_null())
        .count();
    assert_eq!(creations, 0);
    stop(gateway).await;
}

/// How many services the profile of a sample has.
fn whole(sample: Sample) -> usize {
    samples::profile((sample.full)()).services.len()
}

fn sft() -> Sample {
    registered().into_iter().find(|sample| sample.upstream == "sft").unwrap()
}

/// A creation under an id that took effect when its gateway was killed.
async fn created(sandbox: &Sandbox, store: &TempDir) -> Writes {
    let gateway = start(sandbox, store).await;
    let ids = [0, 1, 2].map(request_id);
    let writes = Writes::prepared(&gateway, sft(), ids).await;
    silence(sandbox, "sft", sft().operations.create, 1).await;
    let (own, mut client) = (writes.clone(), profiles(&gateway).await);
    let call = tokio::spawn(async move { own.create(&mut client).await });
    all_arrived(sandbox).await;
    kill(gateway).await;
    call.await.unwrap().unwrap_err();
    writes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_at_the_start_is_asked_again_when_it_is_back() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let writes = created(&sandbox, &store).await;
    let down = json!({"kind": "reset", "commit": "none"});
    sandbox.arm_spec(json!({"upstream": "sft", "operation": "*", "times": 0, "fault": down})).await;
    let gateway = start(&sandbox, &store).await;
    let log = gateway.program.logged("a write of unknown outcome cannot be settled yet").await;
    assert!(log.contains("UPSTREAM_UNAVAILABLE"), "{log}");
    assert_eq!(in_doubt(&gateway).await, 1);
    sandbox.calm().await;
    until("it is settled", async || in_doubt(&gateway).await == 0).await;
    let made = writes.create(&mut profiles(&gateway).await).await.unwrap();
    assert_eq!(made.display_name, writes.name("Created"));
    assert_eq!(sandbox.count_named(&made.display_name).await, 1);
    stop(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_takes_over_from_a_look_that_is_under_way() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let writes = created(&sandbox, &store).await;
    silence(&sandbox, "sft", sft().operations.list, 1).await;
    let gateway = start(&sandbox, &store).await;
    all_arrived(&sandbox).await;
    // The look waits for an answer. The repeat does not wait for the look.
    let made = writes.create(&mut profiles(&gateway).await).await.unwrap();
    assert_eq!(made.display_name, writes.name("Created"));
    assert_eq!(in_doubt(&gateway).await, 0);
    assert_eq!(sandbox.count_named(&made.display_name).await, 1);
    let settled = format!("{SETTLED}{{outcome=\"took_effect\"}}");
    assert_eq!(metric(&gateway, &settled).await, 0, "its caller did");
    stop(gateway).await;
}
