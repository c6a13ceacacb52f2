//! Bugs that were there once: each test is named after what went wrong, and fails should it return.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use futures_util::future::{join, pending};
use profile_gateway::{
    app::App,
    pb::{
        AttachServiceRequest, GetBackendRequest, ListProfilesRequest, Profile, Reachability,
        Service, profile_service_client::ProfileServiceClient,
    },
};
use serde_json::json;
use tonic::{Code, Response, Status, transport::Endpoint};

use crate::kit::{
    bodies::{self, fixture, result, result_with, tokens},
    double::{self, Answer, DELETE, GET, LOGIN, MODIFY, REFRESH, double},
    gateway::{self, Gateway, PASSWORD, TOKEN, gateway, loaded},
    model::{self, SMS_MO, SMS_MT, named, service, shape},
    sandbox::sandbox,
    status::{fails, failure},
    until,
};

const FIRST: &str = "access-1-of-the-kit";
const STALE: &str = "access-2-of-the-kit";
const SECOND: &str = "access-3-of-the-kit";
const REFRESH_TOKEN: &str = "refresh-1-of-the-kit";

fn found() -> Answer {
    double::json(bodies::profiles(&[bodies::profile("SP_1", "one")]))
}

/// An envelope with a code that is in no table, in an HTTP answer that asks to wait seven seconds.
fn enveloped(status: u16) -> Answer {
    let headers = [("content-type", "application/json"), ("retry-after", "7")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let body = result_with("99999", "1", "words of the upstream").to_string().into_bytes();
    Answer::Http { status, headers, body }
}

async fn attach(gateway: &Gateway, id: &str, service: Service) -> Result<Profile, Status> {
    let (name, service) = (model::name(id), Some(service));
    let request = AttachServiceRequest { name, service, ..Default::default() };
    gateway.profiles.clone().attach_service(request).await.map(Response::into_inner)
}

async fn reachability(gateway: &Gateway) -> Reachability {
    let request = GetBackendRequest { name: model::BACKEND.to_owned() };
    let backend = gateway.backends.clone().get_backend(request).await.unwrap().into_inner();
    backend.status.unwrap().reachability()
}

// Pages were cut by a key that they were not ordered by: `sft-emea/` comes before `sft/`.
#[tokio::test]
async fn paging_over_all_backends_lost_profiles_where_one_name_begins_another() {
    let sandbox = sandbox().await;
    let (url, credentials) = (sandbox.base_url(), sandbox.credentials());
    let builder = gateway().backend("sft", &url, &credentials);
    let gateway = builder.backend("sft-emea", &url, &credentials).start().await;
    let mut expected: Vec<String> =
        gateway.list().await.unwrap().into_iter().map(|profile| profile.name).collect();
    assert!(expected.len() > 4, "more than a page: {expected:?}");
    let emea = |name: &String| name.replacen("backends/sft/", "backends/sft-emea/", 1);
    expected.extend(expected.iter().map(emea).collect::<Vec<_>>());

    let (mut names, mut page_token) = (Vec::new(), String::new());
    // As many pages as there are profiles are enough, or it goes round and round.
    for _ in 0..expected.len() {
        let request = ListProfilesRequest { page_size: 4, page_token, ..model::list("backends/-") };
        let page = gateway.profiles.clone().list_profiles(request).await.unwrap().into_inner();
        assert!(page.profiles.len() <= 4, "{page:#?}");
        names.extend(page.profiles.into_iter().map(|profile| profile.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

// Each read the list of services, added its own and wrote the whole.
#[tokio::test]
async fn one_of_two_attaches_at_once_was_lost() {
    let sandbox = sandbox().await;
    let gateway = gateway::on(&sandbox).await;
    let slow = json!({"kind": "delay", "ms": 700, "commit": "after"});
    sandbox.arm("ModifyServiceProfile", slow).await;
    let (one, other) = join(
        attach(&gateway, "SP_402", service(SMS_MT)),
        attach(&gateway, "SP_402", service(SMS_MO)),
    )
    .await;
    let (one, other) = (one.unwrap(), other.unwrap());
    let profile = gateway.get("SP_402").await.unwrap();
    let services: BTreeSet<&str> = shape(&profile).0.into_iter().collect();
    assert_eq!(services, BTreeSet::from(["2", "3", "4"]), "after {one:#?} and {other:#?}");
}

// Only refusals with a code of the vendor's paused logins; an account is locked after a few others.
#[tokio::test]
async fn a_login_refused_by_http_status_alone_was_tried_with_every_call() {
    const WRONG: (Code, &str) = (Code::Internal, "UPSTREAM_AUTH_FAILED");
    const DENIED: (Code, &str) = (Code::PermissionDenied, "UPSTREAM_PERMISSION_DENIED");
    for (what, refusal, (code, reason)) in [
        ("403 of a proxy", double::http(403, "text/html", "<html>no</html>"), DENIED),
        ("403 with JSON", double::http(403, "application/json", "{}"), DENIED),
        ("400 with HTML", double::http(400, "text/html", "<html>no</html>"), WRONG),
        ("400 with JSON", double::http(400, "application/json", r#"{"error": "no"}"#), WRONG),
        ("400 with nothing", double::http(400, "text/plain", ""), WRONG),
        ("422 with JSON", double::http(422, "application/json", "{}"), WRONG),
    ] {
        let upstream = double().await;
        let gateway = gateway::login(&upstream.base_url).await;
        upstream.always(LOGIN, refusal);
        for failed in [
            failure(gateway.get("SP_1").await),
            failure(gateway.delete("SP_1").await),
            failure(gateway.get("SP_1").await),
        ] {
            assert!(failed.is(code, reason), "{what}: {failed:#?}");
        }
        assert_eq!((upstream.count(LOGIN), upstream.seen().len()), (1, 1), "{what}");
    }
}

// They were kept, and renewed again and again from a refresh token that is good for nothing.
#[tokio::test]
async fn renewed_tokens_that_are_refused_kept_the_gateway_from_logging_in() {
    let upstream = double().await;
    let gateway = gateway::login(&upstream.base_url).await;
    let answer = double::by(|seen| {
        let right = seen.header("x-authorization") == format!("Bearer {SECOND}");
        if right { found() } else { double::json(result_with("401", "1", "Authorization Failed")) }
    });
    upstream
        .then(LOGIN, double::json(tokens(FIRST, REFRESH_TOKEN)))
        .then(LOGIN, double::json(tokens(SECOND, REFRESH_TOKEN)))
        .always(REFRESH, double::json(tokens(STALE, REFRESH_TOKEN)))
        .always(GET, answer);
    fails(gateway.get("SP_1").await, Code::Internal, "UPSTREAM_AUTH_FAILED");
    assert_eq!((upstream.count(LOGIN), upstream.count(REFRESH)), (1, 1));
    assert_eq!(gateway.get("SP_1").await.unwrap().display_name, "one");
    assert_eq!((upstream.count(LOGIN), upstream.count(REFRESH)), (2, 1));
}

// The caller had all the time of the world; it was the login that had none left.
#[tokio::test]
async fn a_login_that_hangs_was_reported_as_the_callers_deadline() {
    let upstream = double().await;
    let lines = format!(
        "username = \"operator\"\npassword = \"{PASSWORD}\"\nrequest_timeout = \"500ms\"\n"
    );
    let gateway = gateway().backend("sft", &upstream.base_url, &lines).start().await;
    upstream.always(LOGIN, Answer::Stall);
    for failed in [failure(gateway.get("SP_1").await), failure(gateway.delete("SP_1").await)] {
        assert!(failed.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "{failed:#?}");
        assert!(failed.retry.is_some(), "{failed:#?}");
    }
    assert_eq!(upstream.writes(), 0);
}

// The code, which is not documented, was believed in place of the status.
#[tokio::test]
async fn an_unlisted_code_hid_what_the_http_status_says() {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    for (status, code, reason) in [
        (429, Code::ResourceExhausted, "UPSTREAM_THROTTLED"),
        (403, Code::PermissionDenied, "UPSTREAM_PERMISSION_DENIED"),
        (503, Code::Unavailable, "UPSTREAM_UNAVAILABLE"),
    ] {
        upstream.always(GET, enveloped(status));
        let failed = failure(gateway.get("SP_1").await);
        assert!(failed.is(code, reason), "{status}: {failed:#?}");
        assert_eq!(failed.meta("upstream_code"), "99999", "{status}: {failed:#?}");
        if status == 429 {
            assert_eq!(failed.retry, Some(Duration::from_secs(7)), "{failed:#?}");
        }
    }
}

// It was taken for a write that may have happened, and looked for until the deadline.
#[tokio::test]
async fn a_throttled_delete_with_an_unlisted_code_was_read_back() {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    upstream.always(DELETE, enveloped(429)).always(GET, found());
    let failed = failure(gateway.delete("SP_1").await);
    assert!(failed.is(Code::ResourceExhausted, "UPSTREAM_THROTTLED"), "{failed:#?}");
    assert_eq!(failed.retry, Some(Duration::from_secs(7)));
    assert_eq!((upstream.writes(), upstream.seen().len()), (1, 1), "nothing is looked for");
}

// It read back until the deadline, and then did not know.
#[tokio::test]
async fn an_update_of_a_missing_profile_had_an_unknown_outcome() {
    let upstream = double().await;
    let server = "default_timeout = \"20s\"";
    let gateway = gateway().server(server).fixed("sft", &upstream.base_url, "").start().await;
    upstream
        .then(GET, found())
        .then(MODIFY, double::json(result("10240")))
        .always(GET, double::json(fixture("get-failure-no-data-available")));
    let renamed = Profile { display_name: "new".into(), ..named("SP_1") };
    fails(gateway.update(renamed).await, Code::NotFound, "PROFILE_NOT_FOUND");
    assert_eq!((upstream.count(MODIFY), upstream.count(GET)), (1, 2));
}

// A caller without patience says nothing of the upstream.
#[tokio::test]
async fn a_callers_short_deadline_made_a_backend_unreachable() {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    let hasty = async || {
        let mut request = gateway::fresh(model::get("SP_1"));
        request.set_timeout(Duration::from_secs(1));
        let result = gateway.profiles.clone().get_profile(request).await;
        fails(result, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    };
    upstream.then(GET, Answer::Stall).then(GET, found()).then(GET, Answer::Stall);
    hasty().await;
    assert_eq!(reachability(&gateway).await, Reachability::Unspecified, "never answered so far");
    gateway.get("SP_1").await.unwrap();
    hasty().await;
    assert_eq!(reachability(&gateway).await, Reachability::Reachable);
    upstream.always(GET, Answer::Close);
    fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(reachability(&gateway).await, Reachability::Unreachable);
}

/// The address of a gateway with room for one call, which may take a second.
async fn narrow(base_url: &str) -> SocketAddr {
    let text = format!(
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[server]\n\
         default_timeout = \"1s\"\nmax_concurrent_calls = 1\n[backends.sft]\n\
         dialect = \"bics-sft\"\nbase_url = \"{base_url}\"\naccess_token = \"{TOKEN}\"\n"
    );
    let app = App::start(loaded(&text)).await.unwrap();
    let address = app.address().dial().unwrap();
    tokio::spawn(app.run(pending(), pending()));
    address
}

// The answer's body was not polled, and so neither was its deadline.
#[tokio::test]
async fn a_client_that_opens_no_window_kept_its_place_forever() {
    let upstream = double().await;
    upstream.always(GET, found());
    let endpoint = Endpoint::new(format!("http://{}", narrow(&upstream.base_url).await)).unwrap();
    let open = ProfileServiceClient::new(endpoint.connect_lazy());
    let shut = endpoint.initial_stream_window_size(0).connect_lazy();
    let mut shut = ProfileServiceClient::new(shut);
    let call = tokio::spawn(async move { shut.get_profile(model::get("SP_1")).await });
    until("the call has its place", async || upstream.count(GET) == 1).await;
    let get = async || open.clone().get_profile(model::get("SP_1")).await;
    until("its place is free", async || get().await.is_ok()).await;
    until("the call is over", async || call.is_finished()).await;
    call.await.unwrap().unwrap_err();
}
