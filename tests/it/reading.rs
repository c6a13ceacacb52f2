//! Reads: odd answers, masks, pages, and several backends.

use std::collections::HashSet;

use profile_gateway::pb::{
    GetBackendRequest, GetProfileRequest, ListProfilesRequest, Profile, Reachability,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::kit::{
    bodies::{self, fixture, profile},
    double::{self, ClosedPort, Double, GET, LIST, double},
    gateway::{self, Gateway, fresh, gateway},
    model::{self, mask},
    status::{fails, failure},
};

async fn start() -> (Double, Gateway) {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    (upstream, gateway)
}

#[tokio::test]
async fn numbers_in_the_envelope_read_like_texts() {
    let (upstream, gateway) = start().await;
    let mut body = bodies::profiles(&[profile("SP_1", "one")]);
    body["Response"]["resultCode"] = json!(0);
    body["Response"]["resultParam"]["resultCode"] = json!(1331);
    body["Response"]["responseParam"]["totalCount"] = json!(null);
    body["Response"]["responseId"] = json!(10147764526003929674_u64);
    upstream.then(GET, double::json(body));
    assert_eq!(gateway.get("SP_1").await.unwrap().display_name, "one");
    let mut failed = bodies::result("1328");
    failed["Response"]["resultParam"]["resultCode"] = json!(1328);
    failed["Response"]["responseId"] = json!(10147764526003929674_u64);
    upstream.then(GET, double::json(failed));
    let failed = fails(gateway.get("SP_1").await, Code::Unknown, "UPSTREAM_FAILURE");
    assert_eq!(failed.meta("upstream_request_id"), "10147764526003929674");
    assert_eq!(failed.meta("upstream_code"), "1328");
}

#[tokio::test]
async fn no_data_is_an_empty_list_and_a_missing_profile() {
    let (upstream, gateway) = start().await;
    let no_data = double::json(fixture("get-failure-no-data-available"));
    upstream.always(LIST, no_data.clone()).always(GET, no_data);
    let answer = gateway.profiles.clone().list_profiles(model::list("backends/sft")).await.unwrap();
    let answer = answer.into_inner();
    assert_eq!((answer.profiles.len(), answer.total_size), (0, 0));
    assert_eq!(answer.next_page_token, "");
    let missing = fails(gateway.get("SP_9").await, Code::NotFound, "PROFILE_NOT_FOUND");
    assert_eq!(missing.resource.as_deref(), Some("backends/sft/profiles/SP_9"));
    assert_eq!(missing.meta("operation"), "GetProfile");

    for empty in [json!([]), Value::Null] {
        let mut body = bodies::profiles(&[]);
        body["Response"]["responseParam"]["serviceProfileList"] = empty;
        upstream.then(LIST, double::json(body));
        assert_eq!(gateway.list().await.unwrap(), []);
    }
}

#[tokio::test]
async fn repeated_or_missing_ids_do_not_fail_a_list() {
    let (upstream, gateway) = start().await;
    let mut nameless = profile("", "without an id");
    nameless["profileId"] = Value::Null;
    let items =
        [profile("SP_1", "one"), nameless, profile("SP_1", "one again"), profile("SP_2", "two")];
    upstream.always(LIST, double::json(bodies::profiles(&items)));
    let listed = gateway.list().await.unwrap();
    let names: HashSet<&str> = listed.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, HashSet::from([model::name("SP_1").as_str(), model::name("SP_2").as_str()]));
    let paged = pages(&gateway, "backends/sft", 1).await.unwrap();
    assert_eq!(names, paged.iter().map(|p| p.name.as_str()).collect());
}

#[tokio::test]
async fn a_get_takes_only_the_profile_that_it_asked_for() {
    let (upstream, gateway) = start().await;
    let two = [profile("SP_1", "one"), profile("SP_2", "two")];
    upstream.then(GET, double::json(bodies::profiles(&two)));
    assert_eq!(gateway.get("SP_2").await.unwrap().display_name, "two");
    upstream.then(GET, double::json(bodies::profiles(&two)));
    fails(gateway.get("SP_3").await, Code::Internal, "UPSTREAM_CONTRACT_VIOLATION");
    upstream.then(GET, double::json(bodies::profiles(&[])));
    fails(gateway.get("SP_3").await, Code::NotFound, "PROFILE_NOT_FOUND");
}

#[tokio::test]
async fn read_masks_cut_and_unknown_paths_are_refused() {
    let (upstream, gateway) = start().await;
    upstream
        .always(GET, double::json(bodies::profiles(&[profile("SP_1", "one")])))
        .always(LIST, double::json(bodies::profiles(&[profile("SP_1", "one")])));
    let read = async |paths: &[&str]| {
        let request = GetProfileRequest { name: model::name("SP_1"), read_mask: Some(mask(paths)) };
        gateway.profiles.clone().get_profile(request).await.map(|answer| answer.into_inner())
    };
    let whole = gateway.get("SP_1").await.unwrap();
    assert_eq!(read(&["*"]).await.unwrap(), whole);
    let expected = Profile {
        display_name: "one".into(),
        radio_access: whole.radio_access.clone(),
        ..Profile::default()
    };
    assert_eq!(read(&["display_name", "radio_access"]).await.unwrap(), expected);

    let asked = upstream.seen().len();
    let refused = fails(read(&["nope", "name"]).await, Code::InvalidArgument, "VALIDATION_FAILED");
    assert_eq!(refused.fields, ["read_mask.nope"]);
    assert_eq!(refused.meta("backend"), "sft");
    let listed =
        ListProfilesRequest { read_mask: Some(mask(&["nope"])), ..model::list("backends/sft") };
    let listed = gateway.profiles.clone().list_profiles(listed).await;
    let refused = fails(listed, Code::InvalidArgument, "VALIDATION_FAILED");
    assert_eq!(refused.meta("backend"), "sft");
    assert_eq!(upstream.seen().len(), asked, "refused without a call");
}

/// All pages of a list, each checked.
async fn pages(gateway: &Gateway, parent: &str, size: i32) -> Result<Vec<Profile>, Status> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let request =
            ListProfilesRequest { page_size: size, page_token: token, ..model::list(parent) };
        let page = gateway.profiles.clone().list_profiles(request).await?.into_inner();
        assert!(page.profiles.len() <= usize::try_from(size).unwrap());
        all.extend(page.profiles);
        token = page.next_page_token;
        if token.is_empty() {
            return Ok(all);
        }
    }
}

/// So many profiles, in no order.
fn many(count: u32) -> Value {
    let items: Vec<Value> = (0..count)
        .map(|n| (n * 7919 + 13) % count + 1)
        .map(|n| profile(&format!("SP_{n}"), &format!("profile {n}")))
        .collect();
    bodies::profiles(&items)
}

#[tokio::test]
async fn pages_give_every_profile_once_in_the_order_of_ids() {
    let (upstream, gateway) = start().await;
    upstream.always(LIST, double::json(many(317)));
    let expected: Vec<String> = (1..=317).map(|n| model::name(&format!("SP_{n}"))).collect();
    for size in [1000, 317, 100, 7] {
        let found = pages(&gateway, "backends/sft", size).await.unwrap();
        let found: Vec<&str> = found.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(found, expected, "pages of {size}");
    }
    let page = gateway.profiles.clone().list_profiles(model::list("backends/sft")).await.unwrap();
    assert_eq!((page.get_ref().profiles.len(), page.get_ref().total_size), (50, 317));
    assert_eq!(upstream.count(LIST), 1, "pages are cut from one list");
    upstream.always(LIST, double::json(many(1200)));
    let request = ListProfilesRequest { page_size: 5000, ..model::list("backends/sft") };
    let page = gateway.profiles.clone().list_profiles(fresh(request)).await.unwrap();
    assert_eq!((page.get_ref().profiles.len(), page.get_ref().total_size), (1000, 1200));
}

#[tokio::test]
async fn a_token_belongs_to_its_query_and_cannot_be_forged() {
    let upstream = double().await;
    let gateway = gateway()
        .fixed("sft", &upstream.base_url, "")
        .fixed("other", &upstream.base_url, "")
        .start()
        .await;
    upstream.always(LIST, double::json(many(9)));
    let first = ListProfilesRequest { page_size: 2, ..model::list("backends/sft") };
    let page = gateway.profiles.clone().list_profiles(first.clone()).await.unwrap();
    let token = page.into_inner().next_page_token;
    let with_token =
        |page_token: &str| ListProfilesRequest { page_token: page_token.into(), ..first.clone() };
    let changed = format!("{}A", &token[..token.len() - 1]);
    let asked = upstream.seen().len();
    for (what, request) in [
        (
            "another backend",
            ListProfilesRequest { parent: "backends/other".into(), ..with_token(&token) },
        ),
        ("all backends", ListProfilesRequest { parent: "backends/-".into(), ..with_token(&token) }),
        ("partial", ListProfilesRequest { return_partial_success: true, ..with_token(&token) }),
        ("changed", with_token(&changed)),
        ("cut", with_token(&token[..token.len() / 2])),
        ("made up", with_token("SP_2")),
        ("not base64", with_token("%")),
        ("long", with_token(&"A".repeat(100_000))),
    ] {
        let failed = failure(gateway.profiles.clone().list_profiles(request).await);
        assert!(failed.is(Code::InvalidArgument, "VALIDATION_FAILED"), "{what}: {failed:#?}");
        assert_eq!(failed.fields, ["page_token"], "{what}");
    }
    let negative = ListProfilesRequest { page_size: -1, ..model::list("backends/sft") };
    let negative = failure(gateway.profiles.clone().list_profiles(negative).await);
    assert_eq!(negative.fields, ["page_size"]);
    assert_eq!(upstream.seen().len(), asked, "refused without a call");
    // The size of a page may change under way.
    let larger = ListProfilesRequest { page_size: 100, ..with_token(&token) };
    let rest = gateway.profiles.clone().list_profiles(larger).await.unwrap().into_inner();
    assert_eq!((rest.profiles.len(), rest.next_page_token.as_str()), (7, ""));
}

/// Two backends, one of them at an address without a listener.
async fn half_dead() -> (Double, ClosedPort, Gateway) {
    let (upstream, closed) = (double().await, ClosedPort::new());
    let gateway = gateway()
        .fixed("alive", &upstream.base_url, "display_name = \"Alive\"")
        .fixed("dead", &closed.base_url(), "")
        .start()
        .await;
    upstream.always(LIST, double::json(many(5)));
    (upstream, closed, gateway)
}

#[tokio::test]
async fn a_dead_backend_fails_a_list_of_all_unless_partial_success_is_allowed() {
    let (_upstream, _closed, gateway) = half_dead().await;
    let all = model::list("backends/-");
    let mut client = gateway.profiles.clone();
    let failed =
        fails(client.list_profiles(all.clone()).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(failed.meta("backend"), "dead");
    assert!(failed.message.starts_with("backends/dead: "), "{}", failed.message);
    assert!(failed.retry.is_some());

    let partial = ListProfilesRequest { return_partial_success: true, ..all };
    let page = client.list_profiles(partial).await.unwrap().into_inner();
    assert_eq!(page.unreachable, ["backends/dead"]);
    assert_eq!((page.profiles.len(), page.total_size), (5, 5));
    assert!(page.profiles.iter().all(|p| p.name.starts_with("backends/alive/profiles/")));
    assert!(
        gateway.admin("/readyz").await.contains("\"ready\":true"),
        "dead backends do not count"
    );

    let reach = async |name: &str| {
        let request = GetBackendRequest { name: name.to_owned() };
        let backend = gateway.backends.clone().get_backend(request).await.unwrap().into_inner();
        backend.status.unwrap()
    };
    assert_eq!(reach("backends/alive").await.reachability(), Reachability::Reachable);
    let dead = reach("backends/dead").await;
    assert_eq!(dead.reachability(), Reachability::Unreachable);
    assert_eq!(dead.last_error.unwrap().reason, "UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn backends_side_by_side_are_one_list() {
    let (one, two) = (double().await, double().await);
    let gateway =
        gateway().fixed("b", &one.base_url, "").fixed("a", &two.base_url, "").start().await;
    one.always(LIST, double::json(many(12)));
    two.always(LIST, double::json(many(11)));
    let found = pages(&gateway, "backends/-", 4).await.unwrap();
    let found: Vec<&str> = found.iter().map(|p| p.name.as_str()).collect();
    let expected =
        |backend, count| (1..=count).map(move |n| format!("backends/{backend}/profiles/SP_{n}"));
    let expected: Vec<String> = expected("a", 11).chain(expected("b", 12)).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn unknown_backends_and_malformed_names_are_distinguished() {
    let (upstream, gateway) = start().await;
    let mut client = gateway.profiles.clone();
    for (name, code, reason) in [
        ("backends/nope/profiles/SP_1", Code::NotFound, "BACKEND_NOT_FOUND"),
        ("backends/sft/profiles/1", Code::NotFound, "PROFILE_NOT_FOUND"),
        ("backends/sft/profiles/sp_1", Code::NotFound, "PROFILE_NOT_FOUND"),
        ("backends/sft/profiles/SP_", Code::NotFound, "PROFILE_NOT_FOUND"),
        ("backends/sft/profiles/SP_1a", Code::NotFound, "PROFILE_NOT_FOUND"),
        ("backends/sft/services/4", Code::InvalidArgument, "VALIDATION_FAILED"),
        ("backends/-/profiles/SP_1", Code::InvalidArgument, "VALIDATION_FAILED"),
        ("SP_1", Code::InvalidArgument, "VALIDATION_FAILED"),
        ("", Code::InvalidArgument, "VALIDATION_FAILED"),
    ] {
        let request = GetProfileRequest { name: name.to_owned(), read_mask: None };
        let failed = failure(client.get_profile(request).await);
        assert!(failed.is(code, reason), "{name}: {failed:#?}");
    }
    for parent in ["", "backends", "backends/sft/profiles/SP_1", "backends//"] {
        let failed = client.list_profiles(model::list(parent)).await;
        fails(failed, Code::InvalidArgument, "VALIDATION_FAILED");
    }
    let nowhere = client.list_profiles(model::list("backends/nope")).await;
    fails(nowhere, Code::NotFound, "BACKEND_NOT_FOUND");
    assert_eq!(upstream.seen().len(), 0);
}
