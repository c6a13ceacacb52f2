//! Answers that leave open whether a profile was created, or which one it is.

use std::sync::{Arc, Mutex};

use profile_gateway::pb::{CreateProfileRequest, Profile};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use super::{
    create, profile,
    vendor::{empty, vendor_with},
};
use crate::kit::{
    double::{self, Answer, Double, OTHER, double},
    gateway::{Gateway, gateway},
    status::fails,
};

const SENT: &str = "Fleet Germany 2024 spare";
/// What an upstream might make of that, and a good name of another client's profile.
const ALIKE: &str = "Fleet Germany 2024";

/// A PCC that answers creations in one way, and how its lists look after that, one after the other.
/// The last one stays.
async fn pcc(time: &str, answer: Answer, lists: Vec<Vec<Value>>) -> (Double, Gateway) {
    let upstream = double().await;
    let rest = Arc::new(Mutex::new(lists));
    let (all, created) = (rest.lock().unwrap().concat(), Mutex::new(false));
    upstream.always(
        OTHER,
        double::by(move |seen| match (seen.method.as_str(), seen.path.rsplit('/').next()) {
            ("POST", _) => {
                *created.lock().unwrap() = true;
                answer.clone()
            }
            (_, Some("provisionProfile")) if !*created.lock().unwrap() => page(&[]),
            (_, Some("provisionProfile")) => {
                let mut rest = rest.lock().unwrap();
                if rest.len() > 1 { page(&rest.remove(0)) } else { page(&rest[0]) }
            }
            (_, id) => {
                let id: i64 = id.unwrap().parse().unwrap();
                let found = all.iter().find(|one| one["id"] == id);
                double::json(found.unwrap().clone())
            }
        }),
    );
    let section = format!(
        "[backends.pcc]\ndialect = \"pcc\"\ntenant = \"acme\"\nusername = \"gateway\"\n\
         password = \"password-of-the-kit\"\nbase_url = \"{}\"\n",
        upstream.base_url
    );
    let server = format!("default_timeout = \"{time}\"");
    let gateway = gateway().server(&server).section(&section).start().await;
    (upstream, gateway)
}

fn page(items: &[Value]) -> Answer {
    double::json(json!({"length": items.len(), "provisioningProfileDTOList": items}))
}

fn stored(id: i64, name: &str) -> Value {
    json!({"id": id, "name": name, "defaultProfile": false})
}

async fn created(gateway: &Gateway) -> Result<Profile, Status> {
    let request = CreateProfileRequest {
        parent: "backends/pcc".to_owned(),
        profile: Some(Profile { default_profile: Some(false), ..profile(SENT, &[]) }),
        ..CreateProfileRequest::default()
    };
    gateway.profiles.clone().create_profile(request).await.map(Response::into_inner)
}

fn count(upstream: &Double, method: &str) -> usize {
    upstream.seen().iter().filter(|seen| seen.method == method).count()
}

#[tokio::test]
async fn the_id_of_a_new_profile_is_an_integer_in_whatever_spelling() {
    for (id, is_one) in [
        ("40", true),
        ("40.0", true),
        ("4e1", true),
        ("\"40\"", true),
        ("40.5", false),
        ("-40", false),
        ("1e400", false),
        ("\"x\"", false),
        ("\"40/service/1\"", false),
        ("\"\"", false),
        ("null", false),
        ("true", false),
        ("{}", false),
    ] {
        let body = format!("{{\"id\":{id},\"name\":\"{SENT}\"}}");
        let answer = double::http(201, "application/json", body);
        let (upstream, gateway) = pcc("20s", answer, vec![vec![stored(40, SENT)]]).await;
        assert_eq!(created(&gateway).await.unwrap().name, "backends/pcc/profiles/40", "{id}");
        let lists = upstream.seen();
        let lists = lists.iter().filter(|seen| seen.path.ends_with("/provisionProfile"));
        let lists = lists.filter(|seen| seen.method == "GET").count();
        // Without an id, the profile is looked for by its name.
        assert_eq!(lists, if is_one { 1 } else { 2 }, "{id}");
    }
}

#[tokio::test]
async fn overload_that_something_in_between_reports_is_looked_at() {
    let reset = "upstream connect error or disconnect/reset before headers";
    for (kind, body) in [
        ("text/plain", reset),
        ("text/html", "<html><body>503</body></html>"),
        ("application/json", r#"{"code": 503, "message": "no healthy upstream"}"#),
        ("text/plain", ""),
    ] {
        let answer = double::http(503, kind, body);
        let (upstream, gateway) = pcc("20s", answer, vec![vec![stored(8, SENT)]]).await;
        assert_eq!(created(&gateway).await.unwrap().name, "backends/pcc/profiles/8", "{body}");
        assert_eq!(count(&upstream, "POST"), 1, "{body}");
    }
    // Nothing shows: the request may still be on its way.
    let (upstream, gateway) = pcc("2s", double::http(503, "text/plain", reset), vec![vec![]]).await;
    fails(created(&gateway).await, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
    assert_eq!(count(&upstream, "POST"), 1);
}

#[tokio::test]
async fn overload_that_the_vendor_reports_is_a_refusal() {
    let body = r#"{"message": "Request rejected due to overload", "status": "error"}"#;
    let answer = double::http(503, "application/json", body);
    let (upstream, gateway) = pcc("20s", answer, vec![vec![]]).await;
    let failed = fails(created(&gateway).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert!(failed.retry.is_some());
    assert_eq!((count(&upstream, "POST"), count(&upstream, "GET")), (1, 1));
}

#[tokio::test]
async fn another_clients_profile_of_a_shorter_name_is_not_the_new_one() {
    let (theirs, ours) = (stored(7, ALIKE), stored(8, SENT));
    let lists = vec![vec![theirs.clone()], vec![theirs.clone()], vec![theirs, ours]];
    let (upstream, gateway) = pcc("20s", double::http(204, "text/plain", ""), lists).await;
    let created = created(&gateway).await.unwrap();
    assert_eq!(created.name, "backends/pcc/profiles/8");
    assert_eq!(created.display_name, SENT);
    assert_eq!(count(&upstream, "POST"), 1);
}

#[tokio::test]
async fn several_that_appear_late_are_not_taken_for_nothing() {
    let (one, other) = (stored(7, SENT), stored(8, SENT));
    let lists = vec![vec![], vec![one, other]];
    let (upstream, gateway) = pcc("20s", double::http(204, "text/plain", ""), lists).await;
    fails(created(&gateway).await, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
    assert_eq!(count(&upstream, "POST"), 1);
}

#[tokio::test]
async fn nothing_is_attached_to_a_profile_that_only_resembles_the_new_one() {
    // The answer names no profile, and the new one does not show.
    let vendor = vendor_with("20s", &[], "settle_time = \"300ms\"").await;
    vendor.on_create(empty(201), false).appears_with_the_creation((78, ALIKE));
    fails(
        create(&vendor, profile(SENT, &["38"]), "").await,
        Code::Unknown,
        "WRITE_OUTCOME_UNKNOWN",
    );
    assert_eq!(vendor.writes(), ["POST service_profile"]);
}

#[tokio::test]
async fn an_acknowledged_profile_with_other_values_may_be_another_clients() {
    // Acknowledged without an id, and what has appeared differs in a value.
    let other = json!({"id": 8, "name": SENT, "defaultProfile": true});
    let answer = double::http(204, "text/plain", "");
    let (upstream, gateway) = pcc("20s", answer, vec![vec![other]]).await;
    fails(created(&gateway).await, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
    assert_eq!(count(&upstream, "POST"), 1);
}
