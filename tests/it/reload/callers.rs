//! Callers and what they may do.

use std::time::Duration;

use profile_gateway::pb::{
    GetBackendRequest, ListProfilesRequest, WatchProfilesRequest, WatchProfilesResponse,
};
use tonic::{Code, Status, Streaming};

use crate::kit::{
    gateway::{Builder, Gateway, gateway},
    reloading::{Files, Reloading, reloading},
    sandbox::{Sandbox, sandbox},
    status::fails,
    tokens::{Issuer, by, caller, good, role},
};

pub fn config(issuer: &Issuer, sandbox: &Sandbox, rules: &str) -> Builder {
    gateway().section(&issuer.config("", rules)).section(&sandbox.config())
}

pub async fn started(rules: &str) -> (Reloading, Issuer, Sandbox) {
    let (issuer, sandbox) = (Issuer::new(), sandbox().await);
    let reloading = reloading(Files::new(), config(&issuer, &sandbox, rules)).await;
    (reloading, issuer, sandbox)
}

async fn watch(gateway: &Gateway, name: &str, parent: &str) -> Streaming<WatchProfilesResponse> {
    watch_by(gateway, &good(name), parent).await.unwrap()
}

/// Opens a stream with this token.
pub async fn watch_by(
    gateway: &Gateway,
    token: &str,
    parent: &str,
) -> Result<Streaming<WatchProfilesResponse>, Status> {
    let request = WatchProfilesRequest { parent: parent.to_owned(), ..<_>::default() };
    let opened = gateway.profiles.clone().watch_profiles(by(token, request)).await;
    let mut stream = opened?.into_inner();
    stream.message().await?.unwrap();
    Ok(stream)
}

/// How a stream ends. The bound is for a broken program.
pub async fn end(mut stream: Streaming<WatchProfilesResponse>) -> Result<(), Status> {
    let ended = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(status) => return Err(status),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap()
}

/// A stream does not end.
pub async fn goes_on(stream: &mut Streaming<WatchProfilesResponse>) {
    let next = async { while let Ok(Some(_)) = stream.message().await {} };
    let ended = tokio::time::timeout(Duration::from_millis(500), next).await;
    assert!(ended.is_err());
}

pub async fn get(gateway: &Gateway, name: &str, backend: &str) -> Result<(), Status> {
    get_by(gateway, &good(name), backend).await
}

/// The same with this token.
pub async fn get_by(gateway: &Gateway, token: &str, backend: &str) -> Result<(), Status> {
    let request = GetBackendRequest { name: format!("backends/{backend}") };
    gateway.backends.clone().get_backend(by(token, request)).await.map(drop)
}

#[tokio::test]
async fn a_stream_ends_with_the_right_that_it_was_opened_by_and_others_go_on() {
    let before = role("all", "read", "*") + &caller("one", "all") + &caller("two", "all");
    let (reloading, issuer, sandbox) = started(&before).await;
    let gateway = &reloading.gateway;
    let sft = watch(gateway, "one", "backends/sft").await;
    let everything = watch(gateway, "one", "backends/-").await;
    let mut pcc = watch(gateway, "one", "backends/pcc").await;
    let mut two = watch(gateway, "two", "backends/sft").await;
    let after = role("all", "read", "*")
        + &role("some", "read", "pcc, endpoint")
        + &caller("one", "some")
        + &caller("two", "all");
    reloading.change(config(&issuer, &sandbox, &after)).await;
    let changed = vec!["auth.roles.some".to_owned(), "auth.callers.one.roles".to_owned()];
    assert_eq!(reloading.outcome().await, ("applied".into(), changed));
    for stream in [sft, everything] {
        fails(end(stream).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    }
    fails(get(gateway, "one", "sft").await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    get(gateway, "one", "pcc").await.unwrap();
    get(gateway, "two", "sft").await.unwrap();
    // Those that keep their right have no end.
    for stream in [&mut pcc, &mut two] {
        goes_on(stream).await;
    }
}

#[tokio::test]
async fn a_caller_that_is_gone_has_no_rights_and_others_are_asked_again() {
    let both = role("all", "read", "*") + &caller("one", "all") + &caller("two", "all");
    let (reloading, issuer, sandbox) = started(&both).await;
    let gateway = &reloading.gateway;
    let one = watch(gateway, "one", "backends/sft").await;
    let two = watch(gateway, "two", "backends/sft").await;
    let rest = role("all", "read", "*") + &caller("two", "all");
    reloading.change(config(&issuer, &sandbox, &rest)).await;
    fails(end(one).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    fails(get(gateway, "one", "sft").await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    // The same token may be of another caller now, so it is asked again.
    fails(end(two).await, Code::Unavailable, "OVERLOADED");
    get(gateway, "two", "sft").await.unwrap();
}

#[tokio::test]
async fn page_tokens_stay_good_when_callers_change() {
    let before = role("all", "read", "*") + &caller("one", "all");
    let (reloading, issuer, sandbox) = started(&before).await;
    let page = async |token: &str| {
        let request = ListProfilesRequest {
            parent: "backends/sft".to_owned(),
            page_size: 2,
            page_token: token.to_owned(),
            ..<_>::default()
        };
        let mut client = reloading.gateway.profiles.clone();
        let answer = client.list_profiles(by(&good("one"), request)).await;
        answer.unwrap().into_inner().next_page_token
    };
    let token = page("").await;
    let after = before + &role("other", "read, write", "sft") + &caller("two", "other");
    reloading.change(config(&issuer, &sandbox, &after)).await;
    assert_eq!(reloading.outcome().await.0, "applied");
    page(&token).await;
}

/// A port that was open for everyone is closed for those who are on it, too.
#[tokio::test]
async fn proofs_can_be_demanded_from_one_moment_on() {
    let rules = role("all", "read", "*") + &caller("one", "all");
    let (issuer, sandbox) = (Issuer::new(), sandbox().await);
    let open = gateway().section(&sandbox.config());
    let reloading = reloading(Files::new(), open).await;
    let gateway = &reloading.gateway;
    let request = WatchProfilesRequest { parent: "backends/sft".to_owned(), ..<_>::default() };
    let stream = gateway.profiles.clone().watch_profiles(request).await.unwrap().into_inner();
    reloading.change(config(&issuer, &sandbox, &rules)).await;
    fails(end(stream).await, Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    let request = GetBackendRequest { name: "backends/sft".to_owned() };
    let refused = gateway.backends.clone().get_backend(request).await;
    fails(refused, Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    get(gateway, "one", "sft").await.unwrap();
    reloading.change(crate::kit::gateway::gateway().section(&sandbox.config())).await;
    let request = GetBackendRequest { name: "backends/sft".to_owned() };
    gateway.backends.clone().get_backend(request).await.unwrap();
}
