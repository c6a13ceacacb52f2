//! How the gateway logs in and renews, how rarely it retries, and that its secrets stay hidden.

mod refused;

use std::time::Duration;

use futures_util::future::join_all;
use profile_gateway::pb::{BackendStatus, CircuitState, GetBackendRequest};
use serde_json::{Value, json};
use tonic::Code;

use crate::kit::{
    bodies::{self, fixture, result_with, tokens},
    double::{self, Answer, CREATE, DELETE, Double, GET, LIST, LOGIN, REFRESH, double},
    gateway::{self, Gateway, PASSWORD, TOKEN},
    model::{self, profile},
    sandbox::sandbox,
    status::{Failure, fails, failure},
};

const FIRST: &str = "access-1-of-the-kit";
const SECOND: &str = "access-2-of-the-kit";
const REFRESH_TOKEN: &str = "refresh-1-of-the-kit";

/// How an upstream has been seen to say that a token is no longer good.
fn refusals() -> Vec<(&'static str, Answer)> {
    let body = |outer| double::json(result_with("401", outer, "Authorization Failed"));
    let mut outer_alone = result_with("", "401", "Authorization Failed");
    outer_alone["Response"]["resultParam"] = Value::Null;
    vec![
        ("inner 401, outer 1", body("1")),
        ("inner 401, outer 401", body("401")),
        ("inner 401, outer 0", body("0")),
        ("outer 401 alone", double::json(outer_alone)),
        ("HTTP 401", double::http(401, "text/html", "<html>401</html>")),
    ]
}

/// Answers well with the right token, and refuses any other.
fn only_with(token: &'static str, refusal: Answer, answer: Answer) -> Answer {
    double::by(move |seen| {
        let right = seen.header("x-authorization") == format!("Bearer {token}");
        if right { answer.clone() } else { refusal.clone() }
    })
}

fn found() -> Answer {
    double::json(bodies::profiles(&[bodies::profile("SP_1", "one")]))
}

/// An upstream that gives the first token at login and takes only the second.
async fn renewing(refusal: Answer) -> (Double, Gateway) {
    let upstream = double().await;
    let gateway = gateway::login(&upstream.base_url).await;
    upstream
        .then(LOGIN, double::json(tokens(FIRST, REFRESH_TOKEN)))
        .always(GET, only_with(SECOND, refusal.clone(), found()))
        .always(LIST, only_with(SECOND, refusal.clone(), found()))
        .always(CREATE, only_with(SECOND, refusal.clone(), double::json(bodies::created("SP_1"))))
        .always(DELETE, only_with(SECOND, refusal, double::json(fixture("delete-success"))));
    (upstream, gateway)
}

async fn status(gateway: &Gateway) -> BackendStatus {
    let request = GetBackendRequest { name: model::BACKEND.to_owned() };
    let backend = gateway.backends.clone().get_backend(request).await.unwrap().into_inner();
    backend.status.unwrap()
}

#[tokio::test]
async fn one_login_serves_many_calls_at_once() {
    let upstream = double().await;
    let gateway = gateway::login(&upstream.base_url).await;
    upstream
        .always(LOGIN, double::json(tokens(FIRST, REFRESH_TOKEN)))
        .always(GET, only_with(FIRST, Answer::Close, found()));
    for result in join_all((0..50).map(|_| gateway.get("SP_1"))).await {
        result.unwrap();
    }
    assert_eq!((upstream.count(LOGIN), upstream.count(GET)), (1, 50));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_the_call_is_retried() {
    for (what, refusal) in refusals() {
        let (upstream, gateway) = renewing(refusal).await;
        upstream.then(REFRESH, double::json(tokens(SECOND, "refresh-2-of-the-kit")));
        assert_eq!(gateway.get("SP_1").await.unwrap().display_name, "one", "{what}");
        let refreshes = upstream.requests(REFRESH);
        assert_eq!(refreshes.len(), 1, "{what}");
        let header = refreshes[0].header("x-authorization");
        assert_eq!(header, format!("Bearer {REFRESH_TOKEN}"), "{what}");
        // The first token is new, so it was tried again before it counted as refused.
        assert_eq!((upstream.count(LOGIN), upstream.count(GET)), (1, 3), "{what}");
        gateway.get("SP_1").await.unwrap();
        assert_eq!((upstream.count(LOGIN), upstream.count(GET)), (1, 4), "{what}: kept");
    }
}

#[tokio::test]
async fn a_refused_write_is_sent_again_with_a_renewed_token() {
    for (what, refusal) in refusals() {
        let (upstream, gateway) = renewing(refusal.clone()).await;
        upstream.then(REFRESH, double::json(tokens(SECOND, "refresh-2-of-the-kit")));
        gateway.delete("SP_1").await.unwrap();
        let bodies: Vec<Value> = upstream.requests(DELETE).iter().map(|r| r.json()).collect();
        // Twice with the first token, because it is new.
        assert_eq!(bodies.len(), 3, "{what}");
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{what}");
    }
    // On the sandbox, which knows what took effect.
    let sandbox = sandbox().await;
    let gateway = gateway::on(&sandbox).await;
    for outer in ["1", "401"] {
        sandbox.switch(json!({"unauthorized_outer": outer})).await;
        gateway.get("SP_2").await.unwrap();
        sandbox.post("/sandbox/sft/expire-tokens", json!({"access": true, "refresh": false})).await;
        let name = format!("after a renewal, {outer}");
        gateway.create(profile(&name)).await.unwrap();
        assert_eq!(sandbox.count_named(&name).await, 1);
    }
    let counts = (sandbox.arrived("login").await, sandbox.arrived("RefreshToken").await);
    assert_eq!((counts, sandbox.effects().await.len()), ((1, 2), 2));
}

#[tokio::test]
async fn many_refused_at_once_renew_once() {
    let (upstream, gateway) = renewing(double::json(result_with("401", "1", "no"))).await;
    upstream.then(REFRESH, double::json(tokens(SECOND, "refresh-2-of-the-kit")));
    for result in join_all((0..50).map(|_| gateway.get("SP_1"))).await {
        result.unwrap();
    }
    assert_eq!((upstream.count(LOGIN), upstream.count(REFRESH)), (1, 1));
}

#[tokio::test]
async fn without_a_refresh_it_logs_in() {
    for (what, refresh) in [
        ("refused", double::json(result_with("401", "1", "Authorization Failed"))),
        ("HTTP 401", double::http(401, "text/html", "<html></html>")),
        ("HTTP 500", double::http(500, "text/html", "<html></html>")),
        ("HTML", double::http(200, "text/html", "<html></html>")),
        ("no token", double::json(json!({"AccessToken": ""}))),
        ("gone", Answer::Close),
    ] {
        let (upstream, gateway) = renewing(double::json(result_with("401", "1", "no"))).await;
        upstream.then(REFRESH, refresh).then(LOGIN, double::json(tokens(SECOND, "r-of-the-kit")));
        assert_eq!(gateway.get("SP_1").await.unwrap().display_name, "one", "{what}");
        assert_eq!((upstream.count(REFRESH), upstream.count(LOGIN)), (1, 2), "{what}");
        assert_eq!(upstream.count(GET), 3, "{what}");
    }
}

#[tokio::test]
async fn refused_after_a_renewal_is_the_gateways_fault() {
    for (what, refusal) in refusals() {
        let (upstream, gateway) = renewing(refusal).await;
        upstream.then(REFRESH, double::json(tokens("access-3-of-the-kit", "r-of-the-kit")));
        let failed = failure(gateway.get("SP_1").await);
        assert!(failed.is(Code::Internal, "UPSTREAM_AUTH_FAILED"), "{what}: {failed:#?}");
        assert_eq!((upstream.count(REFRESH), upstream.count(LOGIN)), (1, 1), "{what}");
        assert_eq!(upstream.count(GET), 4, "{what}: twice with each token, not more");
    }
    let (upstream, gateway) = renewing(double::json(result_with("401", "1", "no"))).await;
    upstream.then(REFRESH, double::json(tokens("access-3-of-the-kit", "r-of-the-kit")));
    fails(gateway.delete("SP_1").await, Code::Internal, "UPSTREAM_AUTH_FAILED");
    assert_eq!(upstream.count(DELETE), 4);
}

#[tokio::test]
async fn a_fixed_token_is_not_renewed() {
    for (what, refusal) in refusals() {
        let upstream = double().await;
        let gateway = gateway::fixed(&upstream.base_url).await;
        upstream.always(GET, refusal.clone()).always(DELETE, refusal);
        for failed in [failure(gateway.get("SP_1").await), failure(gateway.delete("SP_1").await)] {
            assert!(failed.is(Code::Internal, "UPSTREAM_AUTH_FAILED"), "{what}: {failed:#?}");
        }
        assert_eq!(upstream.seen().len(), 2, "{what}");
    }
}

/// What a refused login may look like; it is not documented.
fn login_refusals(code: &str) -> Vec<(&'static str, Answer)> {
    let words = "BadCredential Exception: Username or Password not valid";
    let bare = json!({"resultCode": code, "resultDescription": words});
    vec![
        ("in the envelope", double::json(result_with(code, "1", words))),
        ("bare", double::json(bare.clone())),
        ("with HTTP 400", double::http(400, "application/json", bare.to_string())),
    ]
}

#[tokio::test]
async fn wrong_credentials_are_tried_once() {
    for (what, refusal) in login_refusals("10126") {
        let upstream = double().await;
        let gateway = gateway::login(&upstream.base_url).await;
        upstream.always(LOGIN, refusal);
        assert_eq!(status(&gateway).await.circuit_state(), CircuitState::Closed);
        let calls: [Failure; 4] = [
            failure(gateway.get("SP_1").await),
            failure(gateway.list().await),
            failure(gateway.create(profile("x")).await),
            failure(gateway.delete("SP_1").await),
        ];
        for failed in calls {
            assert!(failed.is(Code::Internal, "UPSTREAM_AUTH_FAILED"), "{what}: {failed:#?}");
            assert_eq!(failed.meta("upstream_code"), "10126", "{what}");
        }
        assert_eq!((upstream.count(LOGIN), upstream.seen().len()), (1, 1), "{what}");
        let status = status(&gateway).await;
        assert_eq!(status.circuit_state(), CircuitState::Open, "{what}");
        assert_eq!(status.last_error.unwrap().reason, "UPSTREAM_AUTH_FAILED", "{what}");
    }
}

#[tokio::test]
async fn a_locked_account_is_left_alone() {
    for (what, refusal) in login_refusals("11044") {
        let upstream = double().await;
        let gateway = gateway::login(&upstream.base_url).await;
        upstream.always(LOGIN, refusal);
        for failed in [
            failure(gateway.get("SP_1").await),
            failure(gateway.create(profile("x")).await),
            failure(gateway.get("SP_1").await),
        ] {
            assert!(failed.is(Code::Unavailable, "UPSTREAM_ACCOUNT_LOCKED"), "{what}: {failed:#?}");
            assert!(failed.retry.is_some_and(|retry| retry > Duration::ZERO), "{what}");
        }
        assert_eq!(upstream.seen().len(), 1, "{what}");
        assert_eq!(status(&gateway).await.circuit_state(), CircuitState::Open, "{what}");
    }
}

#[tokio::test]
async fn an_account_without_the_right_is_not_a_stale_token() {
    for code in ["401", "1328", "9999"] {
        let upstream = double().await;
        let gateway = gateway::login(&upstream.base_url).await;
        let refused = double::json(result_with(code, "1", "Authorisation Failure"));
        upstream
            .always(LOGIN, double::json(tokens(FIRST, REFRESH_TOKEN)))
            .always(GET, refused.clone())
            .always(DELETE, refused);
        for failed in [failure(gateway.get("SP_1").await), failure(gateway.delete("SP_1").await)] {
            let denied = failed.is(Code::PermissionDenied, "UPSTREAM_PERMISSION_DENIED");
            assert!(denied, "{code}: {failed:#?}");
        }
        assert_eq!((upstream.count(LOGIN), upstream.count(REFRESH)), (1, 0), "{code}");
        assert_eq!((upstream.count(GET), upstream.count(DELETE)), (1, 1), "{code}");
    }
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    upstream.always(GET, double::http(403, "text/html", "<html>forbidden</html>"));
    let denied = gateway.get("SP_1").await;
    fails(denied, Code::PermissionDenied, "UPSTREAM_PERMISSION_DENIED");
}

#[tokio::test]
async fn a_login_that_is_out_of_order_is_reported_and_retried() {
    const BROKEN: (Code, &str) = (Code::Internal, "UPSTREAM_CONTRACT_VIOLATION");
    const DOWN: (Code, &str) = (Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    for (what, answer, (code, reason)) in [
        ("HTML", double::http(200, "text/html", "<html>login</html>"), BROKEN),
        ("nothing", double::http(200, "application/json", ""), BROKEN),
        ("no object", double::json(json!(["x"])), BROKEN),
        ("no token", double::json(json!({"RefreshToken": "r-of-the-kit"})), BROKEN),
        ("an empty token", double::json(tokens("", "r-of-the-kit")), BROKEN),
        ("a null token", double::json(json!({"AccessToken": null})), BROKEN),
        ("no header's token", double::json(tokens("a\nb-of-the-kit", "r")), BROKEN),
        ("HTTP 404", double::http(404, "text/html", "<html></html>"), BROKEN),
        ("HTTP 500", double::http(500, "text/html", "x"), (Code::Internal, "UPSTREAM_INTERNAL")),
        ("HTTP 503", double::http(503, "text/html", "x"), DOWN),
        ("gone", Answer::Close, DOWN),
        (
            "HTTP 429",
            double::http(429, "text/plain", "x"),
            (Code::ResourceExhausted, "UPSTREAM_THROTTLED"),
        ),
    ] {
        let upstream = double().await;
        let gateway = gateway::login(&upstream.base_url).await;
        upstream.then(LOGIN, answer).always(LOGIN, double::json(tokens(FIRST, REFRESH_TOKEN)));
        upstream.always(DELETE, double::json(fixture("delete-success")));
        let failed = failure(gateway.delete("SP_1").await);
        assert!(failed.is(code, reason), "{what}: {failed:#?}");
        assert_eq!(failed.retry.is_some(), code != Code::Internal, "{what}");
        assert_eq!(upstream.writes(), 0, "{what}");
        gateway.delete("SP_1").await.unwrap_or_else(|e| panic!("{what}: {e:?}"));
    }
}

#[tokio::test]
async fn echoed_secrets_never_reach_the_caller() {
    // At every place relative to where an upstream's words are cut, whole or in part.
    let paddings = (0..300).step_by(7).map(|n| "x ".repeat(n / 2));
    for padding in paddings.chain([String::new()]) {
        let upstream = double().await;
        let gateway = gateway::login(&upstream.base_url).await;
        upstream.always(LOGIN, double::json(tokens(FIRST, REFRESH_TOKEN)));
        let words = format!("{padding}{PASSWORD} {FIRST} {REFRESH_TOKEN}");
        upstream.then(GET, double::json(result_with("1328", "1", &words)));
        upstream.then(GET, double::http(500, "text/plain", words));
        for _ in 0..2 {
            let failed = failure(gateway.get("SP_1").await);
            let whole = format!("{failed:?}");
            for start in [&PASSWORD[..6], &FIRST[..6], &REFRESH_TOKEN[..6]] {
                assert!(!whole.contains(start), "{start} of a secret in {whole}");
            }
        }
    }
    let upstream = double().await;
    let gateway = gateway::login(&upstream.base_url).await;
    let words = format!("{PASSWORD} is wrong, so is Bearer {TOKEN}");
    upstream.always(LOGIN, double::json(result_with("10126", "1", &words)));
    failure(gateway.get("SP_1").await);
    let paused = failure(gateway.get("SP_1").await);
    assert!(!paused.message.contains(PASSWORD));
    let last = status(&gateway).await.last_error.unwrap();
    assert!(!last.message.contains("of-the-kit"), "{last:?}");
    let config = gateway.admin("/config").await;
    assert!(config.contains("operator") && !config.contains(PASSWORD), "{config}");
}
