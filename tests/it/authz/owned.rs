//! What was found or made for one caller, in the hands of another.

use profile_gateway::pb::{
    CreateProfileRequest, ListProfilesRequest, Profile, WatchProfilesRequest,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::kit::{
    gateway::{Gateway, gateway},
    model::{get, list, profile},
    sandbox::{Sandbox, sandbox},
    status::failure,
    tokens::{Issuer, by, caller, good, role},
    until,
};

/// What the upstream calls a read.
const GET: &str = "GetServiceProfile";

const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// Backend `sft`, two callers that may use it, and one that may not read it.
async fn started(audit: &str) -> (Gateway, Sandbox, Issuer) {
    let (issuer, upstream) = (Issuer::new(), sandbox().await);
    let rules = role("all", "read, write", "sft")
        + &role("elsewhere", "read", "pcc")
        + &caller("one", "all")
        + &caller("two", "all")
        + &caller("none", "elsewhere");
    let config = issuer.config("", &rules);
    let builder = gateway().audit(audit).section(&config).section(&upstream.config());
    (builder.start().await, upstream, issuer)
}

#[tokio::test]
async fn a_cached_value_is_only_for_those_who_may_read_it() {
    let (gateway, _upstream, _issuer) = started("/dev/null").await;
    let mut profiles = gateway.profiles.clone();
    let listed = profiles.list_profiles(by(&good("one"), list("backends/sft"))).await.unwrap();
    let name = listed.into_inner().profiles[0].name.clone();
    let id = name.rsplit('/').next().unwrap();
    let answer = profiles.get_profile(by(&good("two"), get(id))).await.unwrap();
    assert_eq!(answer.metadata().get("x-profile-cache").unwrap(), "hit");
    let reads = gateway.metric("cache_reads_total", "").await;
    for id in [id, "SP_999999", "not an id"] {
        let refused = failure(profiles.get_profile(by(&good("none"), get(id))).await);
        assert!(refused.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{refused:#?}");
    }
    assert_eq!(gateway.metric("cache_reads_total", "").await, reads);
}

#[tokio::test]
async fn neither_a_load_nor_an_absence_nor_an_old_value_is_for_those_who_may_not_read() {
    let (issuer, upstream) = (Issuer::new(), sandbox().await);
    let rules = role("all", "read", "sft")
        + &role("elsewhere", "read", "pcc")
        + &caller("one", "all")
        + &caller("none", "elsewhere");
    let cache = "[backends.sft.cache]\nttl = \"1ms\"\nnegative_ttl = \"1h\"\n\
                 stale_while_revalidate = \"1h\"\n";
    let config = issuer.config("", &rules) + &upstream.config() + "\n" + cache;
    let gateway = gateway().section(&config).start().await;
    let mut profiles = gateway.profiles.clone();
    let refused = async |id: &str| {
        let reads = gateway.metric("cache_reads_total", "").await;
        let arrived = upstream.arrived(GET).await;
        let refused =
            failure(gateway.profiles.clone().get_profile(by(&good("none"), get(id))).await);
        assert!(refused.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{id}: {refused:#?}");
        assert_eq!(gateway.metric("cache_reads_total", "").await, reads, "{id}");
        assert_eq!(upstream.arrived(GET).await, arrived, "{id}");
    };
    // Under way: the load waits at the upstream for as long as the others ask.
    upstream.arm(GET, json!({ "kind": "delay", "ms": 1500 })).await;
    let (mut client, request) = (gateway.profiles.clone(), by(&good("one"), get("SP_2")));
    let load = tokio::spawn(async move { client.get_profile(request).await });
    until("the load", async || upstream.arrived(GET).await == 1).await;
    refused("SP_2").await;
    assert!(!load.is_finished(), "it was over before");
    load.await.unwrap().unwrap();
    upstream.calm().await;
    // Out of time, and served as such.
    let old = profiles.get_profile(by(&good("one"), get("SP_2"))).await.unwrap();
    assert_eq!(old.metadata().get("x-profile-cache").unwrap(), "stale");
    until("the new load", async || upstream.arrived(GET).await == 2).await;
    refused("SP_2").await;
    // Known not to exist.
    for _ in 0..2 {
        let absent = failure(profiles.get_profile(by(&good("one"), get("SP_999999"))).await);
        assert_eq!(absent.reason, "PROFILE_NOT_FOUND");
    }
    assert!(gateway.metric("cache_reads_total", "negative").await > 0.0);
    refused("SP_999999").await;
}

#[tokio::test]
async fn tokens_of_pages_and_streams_are_their_callers_own() {
    let (gateway, _upstream, _issuer) = started("/dev/null").await;
    let mut profiles = gateway.profiles.clone();
    let page = |page_token: &str| ListProfilesRequest {
        page_size: 1,
        page_token: page_token.to_owned(),
        ..list("backends/sft")
    };
    let first = profiles.list_profiles(by(&good("one"), page(""))).await.unwrap().into_inner();
    let next = first.next_page_token;
    assert!(!next.is_empty());
    profiles.list_profiles(by(&good("one"), page(&next))).await.unwrap();
    let refused = failure(profiles.list_profiles(by(&good("two"), page(&next))).await);
    assert!(refused.is(Code::InvalidArgument, "VALIDATION_FAILED"), "{refused:#?}");
    assert_eq!(refused.fields, ["page_token"]);
    let watch = |resume_token: &str| WatchProfilesRequest {
        parent: "backends/sft".to_owned(),
        resume_token: resume_token.to_owned(),
    };
    let stream = profiles.watch_profiles(by(&good("one"), watch(""))).await.unwrap();
    let message = stream.into_inner().message().await.unwrap().unwrap();
    let position = message.changes[0].resume_token.clone();
    profiles.watch_profiles(by(&good("one"), watch(&position))).await.unwrap();
    let refused = failure(profiles.watch_profiles(by(&good("two"), watch(&position))).await);
    assert_eq!(refused.code, Code::InvalidArgument, "{refused:#?}");
}

fn creation(display_name: &str) -> CreateProfileRequest {
    CreateProfileRequest {
        parent: "backends/sft".to_owned(),
        profile: Some(profile(display_name)),
        request_id: ID.to_owned(),
        validate_only: false,
    }
}

#[tokio::test]
async fn a_request_id_is_its_callers_own_and_the_audit_names_the_caller() {
    let directory = tempfile::tempdir().unwrap();
    let audit = directory.path().join("audit.log").display().to_string();
    let (gateway, _upstream, _issuer) = started(&audit).await;
    let create = async |who: &str, name: &str| {
        let mut profiles = gateway.profiles.clone();
        let created = profiles.create_profile(by(&good(who), creation(name))).await;
        created.map(tonic::Response::into_inner)
    };
    let first: Profile = create("one", "of one caller").await.unwrap();
    assert_eq!(create("one", "of one caller").await.unwrap(), first, "its own repeat");
    let reused = failure(create("one", "something else").await);
    assert_eq!(reused.reason, "REQUEST_ID_REUSED");
    // The same request of another caller is no repeat, and another request no reuse.
    let taken = failure(create("two", "of one caller").await);
    assert_eq!(taken.reason, "PROFILE_ALREADY_EXISTS");
    let second = create("two", "of another caller").await.unwrap();
    assert_ne!(second.name, first.name);
    gateway.stop().await;
    let lines = std::fs::read_to_string(&audit).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |caller: &str, target: &str| {
        lines.iter().filter(|l| l["caller"] == caller && l["target"] == target).count()
    };
    assert!(of("one", "audit") >= 2 && of("two", "audit") >= 1, "{lines:#?}");
    assert!(of("one", "journal") == 1 && of("two", "journal") >= 1, "{lines:#?}");
    for line in &lines {
        assert_eq!(line["caller_via"], "jwt", "{line}");
        assert_eq!(line["subject"], line["caller"], "{line}");
        assert_eq!(line["token_id"], "id-of-the-token", "{line}");
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
}
