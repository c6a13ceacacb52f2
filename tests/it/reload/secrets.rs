//! Secrets that change.

use profile_gateway::pb::CircuitState;
use tonic::Code;

use crate::kit::{
    bodies::{profile, profiles, result, tokens},
    double::{self, Double, GET, LOGIN, Seen, double},
    gateway::{Builder, gateway},
    reloading::{Files, Reloading, reloading},
    status::fails,
};

/// An upstream that takes this password, and no other.
async fn upstream(password: &'static str) -> Double {
    let upstream = double().await;
    let login = double::by(move |seen: &Seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        match body.contains(password) {
            true => double::json(tokens("access-of-the-kit", "refresh-of-the-kit")),
            false => double::json(result("10126")),
        }
    });
    upstream.always(LOGIN, login).always(GET, double::json(profiles(&[profile("SP_1", "One")])));
    upstream
}

fn config(files: &Files, upstream: &Double) -> Builder {
    let lines = format!("username = \"operator\"\npassword = {}\n", files.secret("password"));
    gateway().backend("sft", &upstream.base_url, &lines)
}

async fn start(upstream: &Double, password: &str) -> Reloading {
    let files = Files::new();
    files.put("password", password);
    let config = config(&files, upstream);
    reloading(files, config).await
}

#[tokio::test]
async fn a_new_password_makes_one_new_login_and_ends_the_pause() {
    let upstream = upstream("right-of-the-kit").await;
    let reloading = start(&upstream, "wrong-of-the-kit").await;
    let gateway = &reloading.gateway;
    for _ in 0..3 {
        fails(gateway.get("SP_1").await, Code::Internal, "UPSTREAM_AUTH_FAILED");
    }
    assert_eq!(upstream.count(LOGIN), 1, "logins pause");
    assert_eq!(gateway.status("sft").await.circuit_state(), CircuitState::Open);
    reloading.files().put("password", "right-of-the-kit\n");
    reloading.reload().await;
    let changed = vec!["backends.sft.password".to_owned()];
    assert_eq!(reloading.outcome().await, ("applied".into(), changed));
    assert_eq!(gateway.get("SP_1").await.unwrap().display_name, "One");
    assert_eq!(upstream.count(LOGIN), 2);
    assert_eq!(gateway.status("sft").await.circuit_state(), CircuitState::Closed);
    // The same again changes nothing.
    reloading.reload().await;
    assert_eq!(reloading.outcome().await, ("unchanged".into(), vec![]));
    gateway.get("SP_1").await.unwrap();
    assert_eq!(upstream.count(LOGIN), 2);
}

#[tokio::test]
async fn what_is_cached_stays_when_only_a_password_changes() {
    let upstream = upstream("of-the-kit").await;
    let reloading = start(&upstream, "one-of-the-kit").await;
    let gateway = &reloading.gateway;
    gateway.get("SP_1").await.unwrap();
    let cached = || gateway.profiles.clone();
    reloading.files().put("password", "two-of-the-kit");
    reloading.reload().await;
    cached().get_profile(crate::kit::model::get("SP_1")).await.unwrap();
    assert_eq!((upstream.count(LOGIN), upstream.count(GET)), (1, 1), "no call needs a login yet");
    gateway.get("SP_1").await.unwrap();
    assert_eq!((upstream.count(LOGIN), upstream.count(GET)), (2, 2));
}

/// Neither the new secret nor the one before is in a text that a caller gets.
#[tokio::test]
async fn secrets_of_before_are_kept_out_of_messages_too() {
    let upstream = upstream("of-the-kit").await;
    let reloading = start(&upstream, "first-password-of-the-kit").await;
    reloading.files().put("password", "second-password-of-the-kit");
    reloading.reload().await;
    let mut answer = result("9999");
    answer["Response"]["resultParam"]["resultDescription"] =
        "no first-password-of-the-kit and no second-password-of-the-kit".into();
    upstream.always(GET, double::json(answer));
    // The check of all failures looks for the secrets of the kit.
    let failure = crate::kit::status::failure(reloading.gateway.get("SP_1").await);
    assert!(failure.message.contains("no "), "{failure:#?}");
}
