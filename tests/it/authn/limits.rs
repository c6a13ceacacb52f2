//! How many calls of one connection may be of no one.

use profile_gateway::{
    auth::{AuthMetrics, NotIdentified, Peer, PreparedRules, Proxy},
    caller::{CallerId, Callers},
    error::Reason,
    pb::{GetBackendRequest, backend_service_client::BackendServiceClient},
};
use serde_json::json;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::rotation::{identify, rules};
use crate::kit::{
    double::double,
    gateway::{Gateway, gateway},
    status::failure,
    tokens::{
        ISSUER, Issuer, RS256, Signed, at, by, caller, claims, good, header, role, token, with,
    },
    until,
};

async fn started(lines: &str) -> (Gateway, Issuer, crate::kit::double::Double) {
    let (issuer, upstream) = (Issuer::new(), double().await);
    let mut rules = role("all", "read", "*") + &caller("me", "all");
    if lines.contains("xfcc_from") {
        rules += "[auth.callers.app]\nroles = \"all\"\nspiffe = \"spiffe://example.org/app\"\n";
    }
    let builder = gateway().section(&issuer.config(lines, &rules));
    (builder.fixed("sft", &upstream.base_url, "").start().await, issuer, upstream)
}

pub async fn forged(channel: &Channel, calls: usize) {
    let mut client = BackendServiceClient::new(channel.clone());
    for _ in 0..calls {
        let request = GetBackendRequest { name: "backends/sft".to_owned() };
        let refused = failure(client.get_backend(by("forged-of-the-kit", request)).await);
        assert_eq!(refused.reason, "CALLER_UNAUTHENTICATED");
    }
}

async fn closed(gateway: &Gateway) -> f64 {
    gateway.metric("connections_closed_total", "reason=\"unproved\"").await
}

#[tokio::test]
async fn a_connection_of_which_a_hundred_calls_prove_nothing_ends_and_what_runs_on_it_is_served() {
    let (gateway, _issuer, _upstream) = started("").await;
    let channel = gateway.channel_from("127.0.0.2");
    forged(&channel, 99).await;
    assert_eq!(closed(&gateway).await, 0.0);
    forged(&channel, 1).await;
    until("the connection ends", async || closed(&gateway).await >= 1.0).await;
    // The client connects again by itself.
    let request = GetBackendRequest { name: "backends/sft".to_owned() };
    let mut client = BackendServiceClient::new(channel);
    client.get_backend(by(&good("me"), request)).await.unwrap();
}

/// A token that looks right and is signed by another.
fn wrong(n: usize) -> String {
    token(&header(), &with(claims("me"), json!({"jti": n.to_string()})), Signed::OtherRsa)
}

/// Another good token with each number.
fn another(n: usize) -> String {
    token(&header(), &with(claims("me"), json!({"jti": format!("good-{n}")})), RS256)
}

async fn ask(channel: &Channel, mut request: Request<GetBackendRequest>) -> Result<(), Status> {
    request.get_mut().name = "backends/sft".to_owned();
    BackendServiceClient::new(channel.clone()).get_backend(request).await.map(drop)
}

async fn ask_by(channel: &Channel, token: &str) -> Result<(), Status> {
    ask(channel, by(token, GetBackendRequest::default())).await
}

/// How many of these are answered as not valid before the sender has sent too many.
async fn verified(
    channel: &Channel,
    mut nth: impl FnMut(usize) -> Request<GetBackendRequest>,
) -> usize {
    for n in 0..5_000 {
        let refused = failure(ask(channel, nth(n)).await);
        if refused.reason != "CALLER_UNAUTHENTICATED" {
            assert!(refused.is(Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED"), "{refused:#?}");
            return n;
        }
    }
    panic!("there is no bound");
}

fn by_wrong(n: usize) -> Request<GetBackendRequest> {
    by(&wrong(n), GetBackendRequest::default())
}

#[tokio::test]
async fn wrong_signatures_of_one_peer_are_bounded_and_no_valid_token_that_is_known_pays_for_it() {
    let (gateway, _issuer, _upstream) = started("").await;
    let channel = gateway.channel_from("127.0.0.2");
    let known = good("me");
    ask_by(&channel, &known).await.unwrap();
    let wrong = verified(&channel, by_wrong).await;
    assert!(wrong >= 200, "{wrong}");
    let labels = "resource=\"verifications\",bound=\"caller\"";
    assert!(gateway.metric("caller_refusals_total", labels).await >= 1.0);
    ask_by(&channel, &known).await.unwrap();
    // Of another one, also a token that is not known is verified.
    ask_by(&gateway.channel_from("127.0.0.5"), &another(0)).await.unwrap();
}

#[tokio::test]
async fn a_configured_caller_behind_a_proxy_pays_for_itself() {
    let (gateway, _issuer, _upstream) = started("xfcc_from = \"127.0.0.3\"").await;
    let proxy = gateway.channel_from("127.0.0.3");
    let mine = |n| {
        let mut request = by_wrong(n);
        let header = "URI=spiffe://example.org/app".parse().unwrap();
        request.metadata_mut().insert("x-forwarded-client-cert", header);
        request
    };
    let count = verified(&proxy, mine).await;
    assert!(count >= 200, "{count}");
    ask_by(&proxy, &another(0)).await.unwrap();
    let refused = failure(ask_by(&proxy, &wrong(0)).await);
    assert_eq!(refused.reason, "CALLER_UNAUTHENTICATED");
}

#[test]
fn for_a_flood_over_proxies_no_one_else_pays() {
    let (issuer, callers) = (Issuer::new(), Callers::default());
    let mut settings = rules(&issuer);
    let proxies = [1, 2, 3, 4];
    settings.settings.xfcc_from = Some(proxies.map(Proxy::User).to_vec());
    let rules = PreparedRules::new(&settings, &AuthMetrics::default()).unwrap().configure(&callers);
    let user = |uid| (Peer::User(uid), callers.of(CallerId::User { uid }));
    let (other, its_caller) = user(9);
    let token = wrong(0);
    let refused = |n: usize, proxy: u32| {
        let (peer, caller) = user(proxy);
        let not = identify(&rules, &token, Some((peer, &caller))).unwrap_err();
        identify(&rules, &another(n), Some((other, &its_caller))).unwrap();
        match not {
            NotIdentified::Unproved(_) => None,
            NotIdentified::Refused(error) => Some(error.reason()),
        }
    };
    let mut reasons = proxies.map(|proxy| (0..20_000).find_map(|n| refused(n, proxy))).to_vec();
    assert!(reasons.iter().all(Option::is_some), "{reasons:?}");
    assert_eq!(reasons.swap_remove(0), Some(Reason::CallerQuotaExceeded));
}

#[tokio::test]
async fn an_expired_token_is_verified_once_however_often_it_comes() {
    let (gateway, _issuer, _upstream) = started("").await;
    let channel = gateway.channel_from("127.0.0.2");
    let old = token(&header(), &with(claims("me"), json!({"exp": at(-100)})), RS256);
    for _ in 0..600 {
        let refused = failure(ask_by(&channel, &old).await);
        assert_eq!(refused.meta("why"), "expired", "{refused:#?}");
    }
}

#[tokio::test]
async fn a_probe_with_a_token_that_is_not_looked_at_is_refused_and_one_without_is_answered() {
    let (gateway, _issuer, _upstream) = started("").await;
    let channel = gateway.channel_from("127.0.0.2");
    verified(&channel, by_wrong).await;
    let request = HealthCheckRequest { service: "backends/sft".to_owned() };
    let mut health = HealthClient::new(channel);
    let (mut watched, mut checked) = (Vec::new(), Vec::new());
    // Twenty a second are looked at. They are wrong, so that they use that up, and end connections.
    for n in 0..20 {
        let watching = health.watch(by(&wrong(10_000 + n), request.clone())).await;
        watched.extend(watching.map(drop).err());
        let checking = health.check(by(&wrong(20_000 + n), request.clone())).await;
        checked.extend(checking.map(drop).err());
    }
    for refused in [watched, checked] {
        let is_unverified =
            |one: Status| failure(Err::<(), _>(one)).reason == "CALLER_QUOTA_EXCEEDED";
        assert!(refused.into_iter().any(is_unverified));
    }
    until("its next connection is answered", async || {
        health.clone().check(HealthCheckRequest::default()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_for_what_it_says_counts_too() {
    let (issuer, upstream) = (Issuer::new(), double().await);
    let claimed = |name: &str| {
        let claim = format!("claims = \"{name}=yes\"");
        format!("[auth.callers.{name}]\nroles = \"all\"\nissuer = \"{ISSUER}\"\n{claim}\n")
    };
    let rules = role("all", "read", "*") + &claimed("one") + &claimed("two");
    let config = issuer.config("", &format!("max_lifetime = \"20m\"\n{rules}"));
    let gateway = gateway().section(&config).fixed("sft", &upstream.base_url, "").start().await;
    for (from, said) in [
        ("127.0.0.2", json!({"exp": at(3600)})),
        ("127.0.0.4", json!({"iat": null})),
        ("127.0.0.5", json!({"iat": at(100)})),
        ("127.0.0.6", json!({"one": "yes", "two": "yes"})),
    ] {
        let token = token(&header(), &with(claims("me"), said), RS256);
        let nth = |_| by(&token, GetBackendRequest::default());
        let wrong = verified(&gateway.channel_from(from), nth).await;
        assert!(wrong >= 200, "{from}: {wrong}");
    }
}

#[tokio::test]
async fn one_of_a_proxy_stays_because_others_call_over_it() {
    let (gateway, _issuer, _upstream) = started("xfcc_from = \"127.0.0.3\"").await;
    forged(&gateway.channel_from("127.0.0.3"), 250).await;
    assert_eq!(closed(&gateway).await, 0.0);
    forged(&gateway.channel_from("127.0.0.4"), 100).await;
    until("that of another one ends", async || closed(&gateway).await >= 1.0).await;
}

#[tokio::test]
async fn reflection_can_be_off_for_everyone() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    let (required, _issuer, _upstream) = started("reflection = \"off\"").await;
    let open = gateway().section("[auth]\nreflection = \"off\"\n");
    let upstream = double().await;
    let open = open.fixed("sft", &upstream.base_url, "").start().await;
    for gateway in [&required, &open] {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let asked = ServerReflectionRequest { host: String::new(), message_request };
        let asked = || futures_util::stream::iter([asked.clone()]);
        let mut client = ServerReflectionClient::new(gateway.channel_of_another());
        for request in [Request::new(asked()), by(&good("me"), asked())] {
            let refused = failure(client.server_reflection_info(request).await.map(drop));
            assert_eq!(refused.reason, "OPERATION_NOT_SUPPORTED", "{refused:#?}");
        }
    }
    required.serving("").await;
}
