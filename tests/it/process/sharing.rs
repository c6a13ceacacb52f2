//! What belongs to one caller: the ids of its requests, its tokens, and its part of the log. Each
//! address of this machine is a caller.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use profile_gateway::pb::{
    CreateProfileRequest, DeleteProfileRequest, ListBackendsRequest, ListProfilesRequest,
    UpdateProfileRequest, WatchProfilesRequest, backend_service_client::BackendServiceClient,
    profile_service_client::ProfileServiceClient,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tonic::{Code, transport::Channel};
use uuid::Uuid;

use super::{
    calls::{channel_from, effects, failure, metric, named, profiles},
    child::{Gateway, gateway, serve, sft},
};
use crate::kit::model::{mask, profile, rename};

const GREEDY: &str = "127.0.0.2";
const OTHER: &str = "127.0.0.3";
const BACKEND: &str = "backends/sft";

async fn from(source: &str, gateway: &Gateway) -> ProfileServiceClient<Channel> {
    ProfileServiceClient::new(channel_from(source, gateway.grpc).await)
}

fn creation(request_id: &str) -> CreateProfileRequest {
    CreateProfileRequest {
        parent: BACKEND.to_owned(),
        profile: Some(profile("Once")),
        request_id: request_id.to_owned(),
        validate_only: false,
    }
}

#[tokio::test]
async fn no_caller_can_make_the_repeat_of_another_write_again() {
    let gateway = gateway(&[], &[("PROFILE_GATEWAY__REQUEST_IDS__MAX_ENTRIES", "20")]).await;
    let id = Uuid::from_u128(7).to_string();
    let (mut other, mut greedy) = (from(OTHER, &gateway).await, from(GREEDY, &gateway).await);
    let created = other.create_profile(creation(&id)).await.unwrap().into_inner();

    // What writes nothing takes no place, however often it is tried.
    for n in 0..60 {
        let deletion = DeleteProfileRequest {
            name: format!("{BACKEND}/profiles/SP_99{n}"),
            request_id: Uuid::from_u128(100 + n).to_string(),
            ..DeleteProfileRequest::default()
        };
        let missing = greedy.delete_profile(deletion.clone()).await.unwrap_err();
        assert_eq!(failure(&missing).1, "PROFILE_NOT_FOUND");
        let allowed = DeleteProfileRequest { allow_missing: true, ..deletion };
        greedy.delete_profile(allowed).await.unwrap();
    }
    assert_eq!(metric(&gateway, "profile_gateway_request_ids").await, 1);

    // What writes takes the caller's share; after that, it is refused and not sent.
    let update = |n: u128| UpdateProfileRequest {
        request_id: Uuid::from_u128(n).to_string(),
        ..rename("SP_352", &format!("name {n}"))
    };
    for n in 1000..1010 {
        greedy.update_profile(update(n)).await.unwrap();
    }
    let before = effects(&gateway).await.len();
    for n in 1010..1020 {
        let refused = greedy.update_profile(update(n)).await.unwrap_err();
        let (code, reason, _) = failure(&refused);
        assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED"));
    }
    assert_eq!(effects(&gateway).await.len(), before);
    let refusals = "profile_gateway_request_id_refusals_total{bound=\"caller\"}";
    assert_eq!(metric(&gateway, refusals).await, 10);
    // An own repeat needs no new place.
    let repeated = greedy.update_profile(update(1000)).await.unwrap().into_inner();
    assert_eq!(repeated.display_name, "name 1000");

    let again = other.create_profile(creation(&id)).await.unwrap().into_inner();
    assert_eq!(again, created);
    assert_eq!(effects(&gateway).await.len(), before, "the repeat wrote nothing");
    // There is room for another caller, and ids are each caller's own.
    let another = UpdateProfileRequest { request_id: id, ..rename("SP_352", "of the third") };
    profiles(&gateway).await.update_profile(another).await.unwrap();
}

/// A request for pages of one profile that are sorted by a field which they do not show.
fn page(page_token: String) -> ListProfilesRequest {
    ListProfilesRequest {
        parent: BACKEND.to_owned(),
        page_size: 1,
        order_by: "display_name".to_owned(),
        read_mask: Some(mask(&["name", "state"])),
        page_token,
        ..ListProfilesRequest::default()
    }
}

#[tokio::test]
async fn a_token_shows_nothing_and_serves_no_other_caller() {
    let gateway = gateway(&[], &[]).await;
    let (mut other, mut greedy) = (from(OTHER, &gateway).await, from(GREEDY, &gateway).await);
    let all = ListProfilesRequest { page_size: 1000, read_mask: None, ..page(String::new()) };
    let all = other.list_profiles(all).await.unwrap().into_inner().profiles;
    let names: Vec<&str> = all.iter().map(|profile| profile.display_name.as_str()).collect();

    let first = other.list_profiles(page(String::new())).await.unwrap().into_inner();
    assert_eq!(first.profiles[0].display_name, "", "the mask hides it");
    let token = first.next_page_token;
    let bytes = String::from_utf8_lossy(&URL_SAFE_NO_PAD.decode(&token).unwrap()).to_lowercase();
    let has = |text: &str| bytes.contains(&text.to_lowercase());
    assert!(!names.iter().any(|name| has(name)) && !has("SP_"), "{bytes:?}");
    let refused = greedy.list_profiles(page(token.clone())).await.unwrap_err();
    let details = failure(&refused).2;
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "page_token");
    // Its own caller goes on from there, over whichever connection.
    let mut again = from(OTHER, &gateway).await;
    let second = again.list_profiles(page(token)).await.unwrap().into_inner();
    assert_ne!(second.profiles[0].name, first.profiles[0].name);
}

/// The last token of a stream's beginning.
async fn resume_token(client: &mut ProfileServiceClient<Channel>) -> String {
    let request = WatchProfilesRequest { parent: BACKEND.to_owned(), ..Default::default() };
    let mut stream = client.watch_profiles(request).await.unwrap().into_inner();
    loop {
        let message = stream.message().await.unwrap().unwrap();
        if message.snapshot_complete {
            return message.changes.last().unwrap().resume_token.clone();
        }
    }
}

#[tokio::test]
async fn a_resume_token_serves_no_other_caller() {
    let gateway = gateway(&[], &[]).await;
    let (mut other, mut greedy) = (from(OTHER, &gateway).await, from(GREEDY, &gateway).await);
    let resume_token = resume_token(&mut other).await;
    let bytes = URL_SAFE_NO_PAD.decode(&resume_token).unwrap();
    assert!(!bytes.windows(3).any(|part| part == b"sft"), "it names a backend");
    let request = WatchProfilesRequest { parent: BACKEND.to_owned(), resume_token };
    let refused = greedy.watch_profiles(request.clone()).await.unwrap_err();
    let details = failure(&refused).2;
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "resume_token");
    other.watch_profiles(request).await.unwrap();
}

#[tokio::test]
async fn partial_lists_over_a_failing_backend_are_not_a_flood_of_lines() {
    const CALLS: usize = 200;
    let rate = [("PROFILE_GATEWAY__CALLERS__LOG_LINES_PER_SECOND", "1")];
    let gateway = serve(&sft("http://127.0.0.1:9", "ops", "hunter2"), &rate).await;
    let mut greedy = from(GREEDY, &gateway).await;
    for _ in 0..CALLS {
        let request = ListProfilesRequest {
            parent: BACKEND.to_owned(),
            return_partial_success: true,
            ..ListProfilesRequest::default()
        };
        let listed = greedy.list_profiles(request).await.unwrap().into_inner();
        assert_eq!(listed.unreachable, [BACKEND]);
    }
    gateway.program.signal(Signal::TERM);
    let said = gateway.program.ended().await.stderr;
    let lines = said.matches("left out of a partial list").count();
    assert!((1..CALLS / 2).contains(&lines), "{lines} of {CALLS}");
}

#[tokio::test]
async fn a_flood_of_calls_is_not_a_flood_of_lines() {
    const CALLS: usize = 400;
    let rate = [("PROFILE_GATEWAY__CALLERS__LOG_LINES_PER_SECOND", "20")];
    let gateway = gateway(&[], &rate).await;
    let mut greedy = from(GREEDY, &gateway).await;
    for _ in 0..CALLS {
        greedy.get_profile(named("no-such-id")).await.unwrap_err();
    }
    from(OTHER, &gateway).await.get_profile(named("SP_352")).await.unwrap();
    let left_out = "profile_gateway_log_lines_left_out_total{log=\"access\",cause=\"rate\"}";
    let left_out = metric(&gateway, left_out).await;
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    let lines: Vec<Value> =
        ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |source: &str| {
        let is_of = |line: &&Value| {
            let peer = line["peer"].as_str().unwrap_or_default();
            line["target"] == json!("access") && peer.starts_with(source)
        };
        lines.iter().filter(is_of).count()
    };
    assert_eq!(of(OTHER), 1);
    assert!(left_out > 0, "nothing was left out of {CALLS} lines");
    assert_eq!(of(GREEDY) + usize::try_from(left_out).unwrap(), CALLS);
}

#[tokio::test]
async fn lines_that_the_filter_leaves_out_take_nothing_of_the_rate() {
    let env = [
        ("PROFILE_GATEWAY__CALLERS__LOG_LINES_PER_SECOND", "5"),
        ("PROFILE_GATEWAY__LOG__LEVEL", "info,access=warn"),
    ];
    let gateway = serve(&sft("http://127.0.0.1:9", "ops", "hunter2"), &env).await;
    let mut backends = BackendServiceClient::new(channel_from(GREEDY, gateway.grpc).await);
    for _ in 0..300 {
        backends.list_backends(ListBackendsRequest::default()).await.unwrap();
    }
    from(GREEDY, &gateway).await.get_profile(named("SP_1")).await.unwrap_err();
    let left_out = "profile_gateway_log_lines_left_out_total{log=\"access\",cause=\"rate\"}";
    assert_eq!(metric(&gateway, left_out).await, 0);
    gateway.program.signal(Signal::TERM);
    let said = gateway.program.ended().await.stderr;
    assert_eq!(said.matches("\"target\":\"access\"").count(), 1, "{said}");
}

#[tokio::test]
async fn a_flood_of_failures_is_not_a_flood_of_lines_either() {
    const WRITES: usize = 200;
    let env = [
        ("PROFILE_GATEWAY__CALLERS__LOG_LINES_PER_SECOND", "5"),
        ("PROFILE_GATEWAY__AUDIT__FILE", "/dev/full"),
    ];
    let gateway = gateway(&[], &env).await;
    let mut greedy = from(GREEDY, &gateway).await;
    for _ in 0..WRITES {
        let refused = greedy.create_profile(creation("")).await.unwrap_err();
        assert_eq!(failure(&refused).1, "AUDIT_UNAVAILABLE");
    }
    let left_out = "profile_gateway_log_lines_left_out_total{log=\"access\",cause=\"rate\"}";
    let left_out = usize::try_from(metric(&gateway, left_out).await).unwrap();
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    let of = |target: &str| {
        let named = format!("\"target\":\"{target}\"");
        ended.stderr.lines().filter(|line| line.contains(&named)).count()
    };
    // Each has a line about the call, and one about why it failed.
    assert!(of("rpc") < WRITES, "{} lines of {WRITES} failures", of("rpc"));
    assert_eq!(of("rpc") + of("access") + left_out, 2 * WRITES);
}
