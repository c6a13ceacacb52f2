//! Calls about several backends, some of which their caller may not use.

use profile_gateway::pb::{
    BatchGetProfilesRequest, DiffProfilesRequest, GetBackendRequest, ListBackendsRequest,
    ListProfilesRequest, TranslateProfileRequest, WatchProfilesRequest,
};
use serde_json::Value;
use tonic::{Code, Request, Response, Status};

use crate::kit::{
    double::double,
    gateway::{Gateway, gateway},
    model::list,
    sandbox::{Sandbox, sandbox},
    status::failure,
    tokens::{Issuer, by, caller, good, role},
};

/// Backends `sft`, `endpoint` and `pcc`, and a caller that may not use the second.
async fn started() -> (Gateway, Sandbox, Issuer) {
    let (issuer, upstream) = (Issuer::new(), sandbox().await);
    let rules = role("some", "read, preview", "sft, pcc")
        + &role("looks", "read", "sft")
        + &role("plans", "preview", "pcc")
        + &role("all", "read, admin", "*")
        + &caller("me", "some")
        + &caller("half", "looks, plans")
        + &caller("root", "all");
    let config = issuer.config("", &rules);
    let gateway = gateway().section(&config).section(&upstream.config()).start().await;
    (gateway, upstream, issuer)
}

#[tokio::test]
async fn lists_of_all_have_what_the_caller_may_see() {
    let (gateway, upstream, _issuer) = started().await;
    let request = || ListProfilesRequest { page_size: 1000, ..list("backends/-") };
    let listed = gateway.profiles.clone().list_profiles(by(&good("me"), request())).await;
    let mut of: Vec<String> = listed
        .unwrap()
        .into_inner()
        .profiles
        .into_iter()
        .map(|profile| profile.name.split('/').nth(1).unwrap().to_owned())
        .collect();
    of.dedup();
    assert_eq!(of, ["pcc", "sft"]);
    let asked = upstream.journal().await;
    let of_endpoint = |entry: &Value| entry["path"].as_str().unwrap().starts_with("/api/v1/");
    assert!(!asked.is_empty() && !asked.iter().any(of_endpoint), "{asked:#?}");
    let backends = async |who: &str| {
        let request = by(&good(who), ListBackendsRequest {});
        let answer = gateway.backends.clone().list_backends(request).await.unwrap().into_inner();
        answer.backends.into_iter().map(|backend| backend.name).collect::<Vec<_>>()
    };
    assert_eq!(backends("me").await, ["backends/pcc", "backends/sft"]);
    assert_eq!(backends("root").await.len(), 3);
    let request = WatchProfilesRequest { parent: "backends/-".into(), ..<_>::default() };
    let stream = gateway.profiles.clone().watch_profiles(by(&good("me"), request)).await.unwrap();
    let mut stream = stream.into_inner();
    let mut complete = false;
    while !complete {
        let message = stream.message().await.unwrap().unwrap();
        let foreign = message
            .changes
            .iter()
            .any(|change| change.profile.as_ref().unwrap().name.starts_with("backends/endpoint/"));
        assert!(!foreign, "{message:?}");
        complete = message.snapshot_complete;
    }
}

/// What a token and a certificate allow, each in another backend, is allowed in none.
#[tokio::test]
async fn who_may_read_no_backend_is_refused_and_gets_no_empty_list() {
    let (issuer, upstream) = (Issuer::new(), sandbox().await);
    let workload = |name: &str, role: &str| {
        format!(
            "[auth.callers.{name}]\nroles = \"{role}\"\nspiffe = \"spiffe://example.org/{name}\"\n"
        )
    };
    let rules = role("sft", "read", "sft")
        + &role("pcc", "read", "pcc")
        + &role("both", "read", "sft, pcc")
        + &caller("me", "sft")
        + &workload("other", "pcc")
        + &workload("wide", "both");
    let config = issuer.config("xfcc_from = \"127.0.0.1\"", &rules);
    let gateway = gateway().section(&config).section(&upstream.config()).start().await;
    let (mut profiles, mut backends) = (gateway.profiles.clone(), gateway.backends.clone());
    let before = upstream.journal().await.len();
    for (workload, expected) in [("other", Err("CALLER_NOT_ALLOWED")), ("wide", Ok(1))] {
        let all = backends.list_backends(from(workload, ListBackendsRequest {})).await;
        assert_eq!(number(all, |all| all.backends.len()), expected, "{workload}");
        let list = from(workload, ListProfilesRequest { page_size: 1, ..list("backends/-") });
        let listed = profiles.list_profiles(list).await;
        assert_eq!(number(listed, |list| list.profiles.len()), expected, "{workload}");
        let watch = WatchProfilesRequest { parent: "backends/-".into(), ..<_>::default() };
        let watched = profiles.watch_profiles(from(workload, watch)).await;
        assert_eq!(number(watched, |_| 1), expected, "{workload}");
        if expected.is_err() {
            assert_eq!(upstream.journal().await.len(), before, "{workload}");
        }
    }
}

/// A request with a token of `me`, and what a proxy says of a workload.
fn from<T>(workload: &str, message: T) -> Request<T> {
    let mut request = by(&good("me"), message);
    let header = format!("URI=spiffe://example.org/{workload}").parse().unwrap();
    request.metadata_mut().insert("x-forwarded-client-cert", header);
    request
}

/// How many there are in an answer, or why the call failed.
fn number<T>(
    answer: Result<Response<T>, Status>,
    count: impl FnOnce(&T) -> usize,
) -> Result<usize, &'static str> {
    match answer {
        Ok(answer) => Ok(count(answer.get_ref())),
        Err(status) => {
            let failure = failure(Err::<(), _>(status));
            assert!(failure.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{failure:#?}");
            assert_eq!(failure.meta("right"), "read");
            Err("CALLER_NOT_ALLOWED")
        }
    }
}

#[tokio::test]
async fn one_backend_that_is_forbidden_refuses_the_whole_call_before_any_is_asked() {
    let (gateway, upstream, _issuer) = started().await;
    let (mine, theirs) = ("backends/sft/profiles/SP_1", "backends/endpoint/profiles/1");
    let before = upstream.journal().await.len();
    let mut profiles = gateway.profiles.clone();
    let names = vec![mine.to_owned(), theirs.to_owned()];
    let parent = "backends/-".to_owned();
    let batch = BatchGetProfilesRequest { parent, names };
    let refused = [
        failure(profiles.batch_get_profiles(by(&good("me"), batch)).await),
        failure(profiles.diff_profiles(by(&good("me"), diff(mine, theirs))).await),
        failure(profiles.diff_profiles(by(&good("me"), diff(theirs, mine))).await),
        failure(profiles.translate_profile(by(&good("me"), to(mine, "endpoint"))).await),
        failure(profiles.translate_profile(by(&good("me"), to(theirs, "sft"))).await),
    ];
    for refused in refused {
        assert!(refused.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{refused:#?}");
        assert_eq!(refused.meta("backend"), "endpoint");
    }
    assert_eq!(upstream.journal().await.len(), before);
    // The source is read, and the target is previewed: one right each is enough.
    let name = gateway.profiles.clone().list_profiles(by(&good("me"), list("backends/sft"))).await;
    let name = name.unwrap().into_inner().profiles[0].name.clone();
    profiles.translate_profile(by(&good("half"), to(&name, "pcc"))).await.unwrap();
    let reversed = failure(profiles.translate_profile(by(&good("half"), to(&name, "sft"))).await);
    assert_eq!((reversed.meta("right"), reversed.meta("backend")), ("preview", "sft"));
}

fn diff(left: &str, right: &str) -> DiffProfilesRequest {
    DiffProfilesRequest { left: left.to_owned(), right: right.to_owned() }
}

fn to(name: &str, target: &str) -> TranslateProfileRequest {
    TranslateProfileRequest { name: name.to_owned(), target_backend: format!("backends/{target}") }
}

#[tokio::test]
async fn the_last_error_of_a_backend_is_for_those_who_look_after_it() {
    let (issuer, upstream) = (Issuer::new(), double().await);
    let rules = role("reads", "read", "*")
        + &role("looks", "read, admin", "*")
        + &caller("reader", "reads")
        + &caller("operator", "looks");
    let config = issuer.config("", &rules);
    let gateway = gateway().section(&config).fixed("sft", &upstream.base_url, "").start().await;
    let mut profiles = gateway.profiles.clone();
    failure(profiles.list_profiles(by(&good("reader"), list("backends/sft"))).await);
    let last_error = async |who: &str| {
        let request = GetBackendRequest { name: "backends/sft".to_owned() };
        let answer = gateway.backends.clone().get_backend(by(&good(who), request)).await.unwrap();
        answer.into_inner().status.unwrap().last_error
    };
    assert!(last_error("operator").await.is_some());
    assert_eq!(last_error("reader").await, None);
}
