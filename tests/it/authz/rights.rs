//! Rights that are not those of a method: to ask past the cache, and to check a write.

use profile_gateway::pb::{CreateProfileRequest, DeleteProfileRequest, ListBackendsRequest};
use tonic::{Code, Request};

use crate::kit::{
    gateway::{Gateway, gateway},
    model::{get, list, name, profile},
    sandbox::{Sandbox, sandbox},
    status::failure,
    tokens::{Issuer, by, caller, good, role},
};

async fn started() -> (Gateway, Sandbox, Issuer) {
    with("").await
}

async fn with(lines: &str) -> (Gateway, Sandbox, Issuer) {
    let (issuer, upstream) = (Issuer::new(), sandbox().await);
    let rules = role("reads", "read", "*")
        + &role("refreshes", "fresh", "*")
        + &role("plans", "preview", "*")
        + &role("writes", "write", "*")
        + &caller("reader", "reads")
        + &caller("poller", "reads, refreshes")
        + &caller("planner", "plans")
        + &caller("writer", "writes");
    let config = issuer.config(lines, &rules);
    let builder = gateway().section(&config);
    let gateway = builder.backend("sft", &upstream.base_url(), &upstream.credentials());
    (gateway.start().await, upstream, issuer)
}

#[tokio::test]
async fn only_who_may_has_the_upstream_asked_although_there_is_an_answer() {
    let (gateway, upstream, _issuer) = started().await;
    let read = async |who: &str, control: &str| {
        let mut request: Request<_> = by(&good(who), get("SP_1"));
        request.metadata_mut().insert("cache-control", control.parse().unwrap());
        let answer = gateway.profiles.clone().get_profile(request).await;
        let metadata = match &answer {
            Ok(answer) => answer.metadata(),
            Err(status) => status.metadata(),
        };
        metadata.get("x-profile-cache").unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(read("reader", "max-age=60").await, "miss");
    let asked = upstream.journal().await.len();
    for control in ["no-cache", "max-age=0", "no-cache, max-age=0"] {
        assert_eq!(read("reader", control).await, "hit", "{control}");
    }
    assert_eq!(upstream.journal().await.len(), asked);
    assert_eq!(read("poller", "no-cache").await, "bypass");
    assert!(upstream.journal().await.len() > asked);
}

#[tokio::test]
async fn who_may_not_is_refused_where_the_configuration_says_so() {
    let (gateway, upstream, _issuer) = with("fresh = \"deny\"").await;
    let mut profiles = gateway.profiles.clone();
    let asking = |who: &str, control: &str| {
        let mut request: Request<_> = by(&good(who), get("SP_1"));
        request.metadata_mut().insert("cache-control", control.parse().unwrap());
        request
    };
    let asked = upstream.journal().await.len();
    for control in ["no-cache", "max-age=0"] {
        let refused = failure(profiles.get_profile(asking("reader", control)).await);
        assert!(refused.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{refused:#?}");
        assert_eq!((refused.meta("right"), refused.meta("backend")), ("fresh", "sft"));
    }
    for parent in ["backends/sft", "backends/-"] {
        let mut all = by(&good("reader"), list(parent));
        all.metadata_mut().insert("cache-control", "no-cache".parse().unwrap());
        let refused = failure(profiles.list_profiles(all).await);
        assert_eq!(refused.meta("right"), "fresh", "{refused:#?}");
    }
    assert_eq!(upstream.journal().await.len(), asked);
    for (who, control) in [("reader", "max-age=60"), ("poller", "no-cache")] {
        let answer = profiles.get_profile(asking(who, control)).await;
        assert_ne!(answer.err().map(|status| status.code()), Some(Code::PermissionDenied));
    }
    // What looks at no cache is not about it.
    let mut backends = by(&good("reader"), ListBackendsRequest {});
    backends.metadata_mut().insert("cache-control", "no-cache".parse().unwrap());
    gateway.backends.clone().list_backends(backends).await.unwrap();
}

#[tokio::test]
async fn who_may_read_no_backend_is_told_of_none() {
    let (gateway, _upstream, _issuer) = started().await;
    let create = || CreateProfileRequest {
        parent: "backends/absent".to_owned(),
        profile: Some(profile("anywhere")),
        ..CreateProfileRequest::default()
    };
    let refused =
        failure(gateway.profiles.clone().create_profile(by(&good("writer"), create())).await);
    assert!(refused.is(Code::NotFound, "BACKEND_NOT_FOUND"), "{refused:#?}");
    assert_eq!(refused.message, "no backend \"absent\" is configured");
    let read = profile_gateway::pb::GetBackendRequest { name: "backends/absent".to_owned() };
    let refused = failure(gateway.backends.clone().get_backend(by(&good("reader"), read)).await);
    assert!(refused.message.ends_with("is configured; the backends are sft"), "{refused:#?}");
}

#[tokio::test]
async fn who_may_only_preview_may_check_a_write_and_not_do_it() {
    let (gateway, upstream, _issuer) = started().await;
    let mut profiles = gateway.profiles.clone();
    let create = |validate_only| CreateProfileRequest {
        parent: "backends/sft".to_owned(),
        profile: Some(profile("checked")),
        validate_only,
        ..CreateProfileRequest::default()
    };
    let delete = |validate_only| DeleteProfileRequest {
        name: name("SP_1"),
        validate_only,
        ..DeleteProfileRequest::default()
    };
    for who in ["planner", "writer"] {
        profiles.create_profile(by(&good(who), create(true))).await.unwrap();
    }
    let before = upstream.journal().await.len();
    for refused in [
        failure(profiles.create_profile(by(&good("planner"), create(false))).await),
        failure(profiles.create_profile(by(&good("reader"), create(true))).await),
        failure(profiles.delete_profile(by(&good("planner"), delete(false))).await),
        failure(profiles.delete_profile(by(&good("writer"), delete(false))).await),
        failure(profiles.delete_profile(by(&good("writer"), delete(true))).await),
    ] {
        assert!(refused.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{refused:#?}");
    }
    assert_eq!(upstream.journal().await.len(), before);
}
