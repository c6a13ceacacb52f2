//! Which backends there are, and what goes on of one that changes.

use profile_gateway::pb::ListBackendsRequest;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::kit::{
    bodies::{profile, profiles, tokens},
    double::{self, Answer, Double, GET, LOGIN, double},
    gateway::{Builder, Gateway, PASSWORD, gateway},
    model,
    reloading::{Files, reloading},
    status::fails,
    until,
};

fn login(name: &str, at: &Double, lines: &str) -> impl FnOnce(Builder) -> Builder {
    let lines = format!("username = \"operator\"\npassword = \"{PASSWORD}\"\n{lines}");
    let (name, url) = (name.to_owned(), at.base_url.clone());
    move |builder: Builder| builder.backend(&name, &url, &lines)
}

fn found(name: &str) -> Answer {
    double::json(profiles(&[profile("SP_1", name)]))
}

/// An upstream where a login and a read succeed.
async fn upstream(name: &str) -> Double {
    let upstream = double().await;
    upstream.always(LOGIN, double::json(tokens("access-of-the-kit", "refresh-of-the-kit")));
    upstream.always(GET, found(name));
    upstream
}

async fn get(gateway: &Gateway, backend: &str) -> Result<String, tonic::Status> {
    let mut request = model::get("SP_1");
    request.name = format!("backends/{backend}/profiles/SP_1");
    let answer = gateway.profiles.clone().get_profile(request).await?;
    Ok(answer.into_inner().display_name)
}

async fn names(gateway: &Gateway) -> Vec<String> {
    let all = gateway.backends.clone().list_backends(ListBackendsRequest::default()).await;
    all.unwrap().into_inner().backends.into_iter().map(|backend| backend.name).collect()
}

fn asked(upstream: &Double) -> (usize, usize) {
    (upstream.count(LOGIN), upstream.count(GET))
}

#[tokio::test]
async fn a_backend_that_is_equal_keeps_what_it_has_while_others_come_and_go() {
    let (one, two) = (upstream("One").await, upstream("Two").await);
    let one_alone = || login("one", &one, "")(gateway());
    let reloading = reloading(Files::new(), one_alone()).await;
    let gateway = &reloading.gateway;
    assert_eq!(get(gateway, "one").await.unwrap(), "One");
    let watched = HealthCheckRequest { service: "backends/two".to_owned() };
    let mut health = gateway.health.clone().watch(watched).await.unwrap().into_inner();
    let mut status = async || health.message().await.unwrap().unwrap().status();
    assert_eq!(status().await, ServingStatus::ServiceUnknown);

    reloading.change(login("two", &two, "")(one_alone())).await;
    assert_eq!(reloading.outcome().await, ("applied".into(), vec!["backends.two".into()]));
    assert_eq!(get(gateway, "two").await.unwrap(), "Two");
    assert_eq!(get(gateway, "one").await.unwrap(), "One");
    assert_eq!(asked(&one), (1, 1), "what was cached stays so");
    assert!(gateway.admin("/metrics").await.contains("backend=\"two\""));
    assert_eq!(names(gateway).await, ["backends/one", "backends/two"]);
    assert_eq!(status().await, ServingStatus::Serving);
    assert!(gateway.admin("/config").await.contains(&two.base_url));

    reloading.change(one_alone()).await;
    let failure = fails(get(gateway, "two").await, Code::NotFound, "BACKEND_NOT_FOUND");
    assert!(failure.message.contains("one"), "{failure:#?}");
    assert_eq!(names(gateway).await, ["backends/one"]);
    assert_eq!(status().await, ServingStatus::ServiceUnknown);
    assert!(!gateway.admin("/config").await.contains(&two.base_url));
    let metrics = gateway.admin("/metrics").await;
    assert!(metrics.contains("backend=\"one\"") && !metrics.contains("backend=\"two\""));
    assert_eq!(get(gateway, "one").await.unwrap(), "One");
    assert_eq!(asked(&one), (1, 1));
}

/// A setting that is not about the account: another backend takes the place of the one before, and
/// goes on with its tokens and its cache.
#[tokio::test]
async fn other_settings_need_no_new_login_and_no_new_read() {
    let one = upstream("One").await;
    let with = |lines: &str| login("one", &one, lines)(gateway());
    let reloading = reloading(Files::new(), with("")).await;
    let gateway = &reloading.gateway;
    assert_eq!(get(gateway, "one").await.unwrap(), "One");
    reloading.change(with("request_timeout = \"7s\"\n")).await;
    let changed = vec!["backends.one.request_timeout".to_owned()];
    assert_eq!(reloading.outcome().await, ("applied".into(), changed));
    assert_eq!(get(gateway, "one").await.unwrap(), "One");
    assert_eq!(asked(&one), (1, 1), "the cache goes on");
    gateway.profiles.clone().get_profile(fresh("one")).await.unwrap();
    assert_eq!(asked(&one), (1, 2), "the token goes on");
    assert!(gateway.admin("/config").await.contains("\"request_timeout\":\"7s\""));
    // Other settings of the cache: what is in it is read again, and nothing else.
    reloading.change(with("request_timeout = \"7s\"\n[backends.one.cache]\nttl = \"9s\"\n")).await;
    assert_eq!(get(gateway, "one").await.unwrap(), "One");
    assert_eq!(asked(&one), (1, 3));
}

fn fresh(backend: &str) -> tonic::Request<profile_gateway::pb::GetProfileRequest> {
    let mut request = model::get("SP_1");
    request.name = format!("backends/{backend}/profiles/SP_1");
    crate::kit::gateway::fresh(request)
}

#[tokio::test]
async fn another_account_is_not_answered_with_what_is_cached_of_the_one_before() {
    let (one, two) = (upstream("One").await, upstream("Two").await);
    let at = |upstream: &Double| login("one", upstream, "")(gateway());
    let reloading = reloading(Files::new(), at(&one)).await;
    let gateway = &reloading.gateway;
    assert_eq!(get(gateway, "one").await.unwrap(), "One");
    reloading.change(at(&two)).await;
    let changed = vec!["backends.one.base_url".to_owned()];
    assert_eq!(reloading.outcome().await, ("applied".into(), changed));
    assert_eq!(get(gateway, "one").await.unwrap(), "Two");
    assert_eq!((asked(&one), asked(&two)), ((1, 1), (1, 1)));
}

/// A call that has begun ends with what it has.
#[tokio::test]
async fn a_call_under_way_ends_with_the_backend_that_it_has() {
    let (one, other) = (upstream("One").await, upstream("Other").await);
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    one.then(GET, Answer::Gated(std::sync::Arc::clone(&gate), Box::new(found("Late"))));
    let reloading = reloading(Files::new(), login("one", &one, "")(gateway())).await;
    let gateway = &reloading.gateway;
    let next = login("other", &other, "")(crate::kit::gateway::gateway());
    let under_way = get(gateway, "one");
    let reload = async {
        until("the request", async || one.count(GET) == 1).await;
        reloading.change(next).await;
        assert_eq!(names(gateway).await, ["backends/other"]);
        gate.add_permits(1);
    };
    let (ended, ()) = tokio::join!(under_way, reload);
    assert_eq!(ended.unwrap(), "Late");
}
