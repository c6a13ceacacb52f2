//! Whose profile a creation is about: nothing is added to a profile, and none is removed, that the
//! call has not created for certain.

mod names;
mod recent;
mod remains;
mod unclear;
mod undo;
mod vendor;

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use profile_gateway::pb::{CreateProfileRequest, Profile, Service, TrafficLimit};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use self::vendor::{NEW, Vendor, conflict, located, throttled, vendor};
use crate::kit::{
    bodies,
    double::{self, CREATE, GET, LIST, OTHER, double},
    gateway::gateway,
    model,
    status::{fails, failure},
    until,
};

fn profile(name: &str, services: &[&str]) -> Profile {
    let service = |id: &&str| Service { id: (*id).to_owned(), ..Service::default() };
    let services = services.iter().map(service).collect();
    Profile { display_name: name.to_owned(), services, ..Profile::default() }
}

async fn create(vendor: &Vendor, profile: Profile, request_id: &str) -> Result<Profile, Status> {
    let request = CreateProfileRequest {
        parent: "backends/endpoint".to_owned(),
        profile: Some(profile),
        request_id: request_id.to_owned(),
        validate_only: false,
    };
    vendor.gateway.profiles.clone().create_profile(request).await.map(Response::into_inner)
}

fn name(id: i64) -> String {
    format!("backends/endpoint/profiles/{id}")
}

#[tokio::test]
async fn a_location_counts_only_as_the_id_of_a_new_profile_of_that_name() {
    for (what, location) in [
        ("of something else", "/api/v1/organisation/77".to_owned()),
        ("below a profile", format!("/api/v1/service_profile/{NEW}/service/77")),
        ("of another profile", "https://cdn.example.net/api/v1/service_profile/77".to_owned()),
        ("with a query", "/api/v1/service_profile/77?from=cache".to_owned()),
        ("with a slash", "/api/v1/service_profile/77/".to_owned()),
        ("percent-encoded", "/api/v1/service_profile/%37%37".to_owned()),
        ("of no profile", "/api/v1/service_profile/909".to_owned()),
        ("of a collection", "/api/v1/service_profile".to_owned()),
    ] {
        let vendor = vendor("20s", &[(77, "theirs")]).await;
        vendor.on_create(located(&location), true);
        let result = create(&vendor, profile("ours", &["38"]), "").await;
        let theirs = vendor.profile(77).unwrap();
        assert_eq!(theirs["service"], json!([]), "{what}");
        let created = result.unwrap();
        assert_eq!((created.name, created.services.len()), (name(NEW), 1), "{what}");
        assert!(!vendor.writes().iter().any(|write| write.contains("/77")), "{what}");
    }
}

#[tokio::test]
async fn a_replayed_location_of_a_profile_of_the_same_name_is_not_the_new_one() {
    let vendor = vendor("20s", &[(77, "same")]).await;
    vendor.on_create(located("/api/v1/service_profile/77"), true);
    let created = create(&vendor, profile("same", &["38"]), "").await.unwrap();
    assert_eq!(created.name, name(NEW));
    assert_eq!(vendor.profile(77).unwrap()["service"], json!([]));
    assert!(!vendor.writes().iter().any(|write| write.contains("/77")));
}

#[tokio::test]
async fn a_failed_step_removes_nothing_that_the_call_has_not_created() {
    // Nothing was created, and the answer names what was there, or what another client made since.
    for (what, there, since, named) in [
        ("there before", vec![(77, "same")], None, 77),
        ("of another client", vec![], Some((78, "theirs")), 78),
    ] {
        let vendor = vendor("2s", &there).await;
        vendor.on_create(located(&format!("/api/v1/service_profile/{named}")), false);
        vendor.on_step(unprocessable(), false);
        if let Some(theirs) = since {
            vendor.appears_with_the_creation(theirs);
        }
        let failed = create(&vendor, profile("same", &["38"]), "").await;
        fails(failed, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
        assert_eq!(vendor.writes(), ["POST service_profile"], "{what}");
        assert!(vendor.profile(named).is_some(), "{what}");
    }
}

fn unprocessable() -> double::Answer {
    double::http(422, "text/html", "")
}

#[tokio::test]
async fn nothing_is_attached_to_a_profile_that_may_have_been_there() {
    // The answer is that of an older creation, or the right one. Nothing tells which.
    for (there, named, carried_out) in [(vec![(77, "ours")], 77, false), (vec![], NEW, true)] {
        let vendor = vendor("20s", &there).await;
        vendor.lists_fail();
        let location = format!("/api/v1/service_profile/{named}");
        vendor.on_create(located(&location), carried_out);
        let failed = failure(create(&vendor, profile("ours", &["38"]), "").await);
        assert!(failed.is(Code::FailedPrecondition, "PARTIALLY_APPLIED"), "{failed:#?}");
        assert_eq!(failed.meta("profile_id"), named.to_string());
        assert_eq!(vendor.writes(), ["POST service_profile"]);
    }
}

#[tokio::test]
async fn an_account_that_may_not_list_creates_what_one_request_carries() {
    let vendor = vendor("20s", &[]).await;
    vendor.lists_fail();
    let created = create(&vendor, profile("ours", &[]), "").await.unwrap();
    assert_eq!(created.name, name(NEW));
    assert_eq!(vendor.writes(), ["POST service_profile"]);
}

#[tokio::test]
async fn a_profile_that_does_not_show_yet_gets_its_services_once_it_does() {
    let vendor = vendor("20s", &[]).await;
    vendor.blind(3);
    let created = create(&vendor, profile("ours", &["38", "6"]), "").await.unwrap();
    assert_eq!((created.name, created.services.len()), (name(NEW), 2));
    let expected = [
        "POST service_profile",
        "PUT service_profile/101/service/38",
        "PUT service_profile/101/service/6",
    ];
    assert_eq!(vendor.writes(), expected);
}

#[tokio::test]
async fn a_creation_in_one_request_needs_no_request_more() {
    let vendor = vendor("20s", &[]).await;
    create(&vendor, profile("ours", &[]), "").await.unwrap();
    let expected = ["GET service_profile", "POST service_profile", "GET service_profile/101"];
    assert_eq!(vendor.requests(), expected);
}

#[tokio::test]
async fn a_throttled_step_is_waited_for_and_not_undone() {
    for throttles in [1, 2] {
        let vendor = vendor("20s", &[]).await;
        for _ in 0..throttles {
            vendor.on_step(throttled(1), false);
        }
        let created = create(&vendor, profile("ours", &["38", "6"]), "").await.unwrap();
        assert_eq!((created.name, created.services.len()), (name(NEW), 2));
        let puts = vendor.writes().iter().filter(|write| write.starts_with("PUT")).count();
        assert_eq!(puts, 2 + throttles);
        assert!(!vendor.writes().iter().any(|write| write.starts_with("DELETE")));
    }
}

#[tokio::test]
async fn a_step_that_is_throttled_beyond_the_deadline_is_undone() {
    let vendor = vendor("4s", &[]).await;
    vendor.on_step(throttled(6), false);
    // The removal has to wait for the pause as well, and has time for it after the call.
    let failed = create(&vendor, profile("ours", &["38"]), "").await;
    fails(failed, Code::DeadlineExceeded, "WRITE_OUTCOME_UNKNOWN");
    until("it is removed", async || vendor.ids().is_empty()).await;
    assert_eq!(vendor.writes().len(), 3);
}

#[tokio::test]
async fn a_throttled_removal_is_waited_for() {
    let vendor = vendor("20s", &[]).await;
    vendor.on_step(unprocessable(), false);
    vendor.on_delete(throttled(1));
    fails(
        create(&vendor, profile("ours", &["38"]), "").await,
        Code::FailedPrecondition,
        "PROCESSING_FAILED",
    );
    assert_eq!(vendor.ids(), [0; 0]);
}

#[tokio::test]
async fn what_a_new_profile_has_already_is_what_was_wanted() {
    let vendor = vendor("20s", &[]).await;
    // Carried out, although the answer says that it was there: a proxy sent it twice.
    vendor.on_step(conflict(), true).on_step(conflict(), true);
    let limit = TrafficLimit { id: "11".to_owned(), ..TrafficLimit::default() };
    let mut asked = profile("ours", &["38"]);
    asked.services[0].traffic_limits.push(limit);
    let created = create(&vendor, asked, "").await.unwrap();
    assert_eq!(created.services[0].id, "38");
    assert_eq!(created.services[0].traffic_limits[0].id, "11");
    assert_eq!(vendor.ids(), [NEW]);
}

#[tokio::test]
async fn what_a_new_profile_is_said_to_have_and_has_not_is_undone() {
    let odd =
        |code: i64| double::http(409, "application/json", json!({"error_code": code}).to_string());
    let (of_service, of_limit) = ("SERVICE_ALREADY_ATTACHED", "TRAFFIC_LIMIT_ALREADY_ATTACHED");
    for (answer, of_the_limit, code, reason) in [
        (conflict(), false, Code::AlreadyExists, of_service),
        (vendor::empty(409), false, Code::AlreadyExists, of_service),
        (odd(9999), false, Code::AlreadyExists, of_service),
        (odd(1406), false, Code::FailedPrecondition, "PROCESSING_FAILED"),
        (conflict(), true, Code::AlreadyExists, of_limit),
        (vendor::empty(409), true, Code::AlreadyExists, of_limit),
    ] {
        let vendor = vendor("20s", &[]).await;
        if of_the_limit {
            vendor.on_step(vendor::empty(204), true);
        }
        vendor.on_step(answer, false);
        let limit = TrafficLimit { id: "11".to_owned(), ..TrafficLimit::default() };
        let mut asked = profile("ours", &["38"]);
        asked.services[0].traffic_limits.push(limit);
        let failed = fails(create(&vendor, asked, "").await, code, reason);
        assert!(failed.message.contains("which was undone"), "{failed:#?}");
        assert_eq!(vendor.ids(), [0; 0], "{failed:#?}");
    }
}

#[tokio::test]
async fn a_service_that_is_refused_counts_only_if_it_is_there() {
    let not_allowed =
        || double::http(409, "application/json", json!({"error_code": 1406}).to_string());
    let vendor = vendor("20s", &[]).await;
    vendor.on_step(not_allowed(), true);
    let created = create(&vendor, profile("ours", &["38"]), "").await.unwrap();
    assert_eq!((created.services.len(), vendor.ids()), (1, vec![NEW]));
}

#[tokio::test]
async fn a_limit_that_is_refused_without_a_reason_counts_only_if_it_is_there() {
    for is_there in [true, false] {
        let vendor = vendor("20s", &[]).await;
        vendor.on_step(vendor::empty(204), true).on_step(unprocessable(), is_there);
        let limit = TrafficLimit { id: "11".to_owned(), ..TrafficLimit::default() };
        let mut asked = profile("ours", &["38"]);
        asked.services[0].traffic_limits.push(limit);
        let result = create(&vendor, asked, "").await;
        match is_there {
            true => assert_eq!(result.unwrap().services[0].traffic_limits.len(), 1),
            false => drop(fails(result, Code::FailedPrecondition, "PROCESSING_FAILED")),
        }
        assert_eq!(vendor.ids().len(), usize::from(is_there));
    }
}

#[tokio::test]
async fn of_two_new_profiles_alike_neither_is_claimed() {
    let vendor = vendor("2s", &[]).await;
    // Another client creates the same at the same time, and the answer is lost.
    vendor.appears_with_the_creation((7, "ours")).on_create(double::Answer::Close, true);
    let failed = create(&vendor, profile("ours", &["38"]), "").await;
    fails(failed, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
    assert_eq!(vendor.writes(), ["POST service_profile"], "nothing is attached to either");
    assert_eq!(vendor.ids(), [7, NEW]);
}

#[tokio::test]
async fn two_creations_of_one_name_come_one_after_the_other() {
    let vendor = vendor("20s", &[]).await;
    let calls = ["Fleet one", "fleet  ONE", "Fleet one"]
        .map(|name| create(&vendor, profile(name, &[]), ""));
    let created = join_all(calls).await;
    let mut names: Vec<String> = created.into_iter().map(|one| one.unwrap().name).collect();
    names.sort();
    assert_eq!(names, [name(101), name(102), name(103)]);
    // Each lists after the one before it was created.
    let all = vendor.requests();
    let posts: Vec<usize> = positions(&all, "POST service_profile");
    let lists: Vec<usize> = positions(&all, "GET service_profile");
    assert!(lists[1] > posts[0] && lists[2] > posts[1], "{all:?}");
}

fn positions(all: &[String], line: &str) -> Vec<usize> {
    all.iter().enumerate().filter(|(_, other)| *other == line).map(|(at, _)| at).collect()
}

#[tokio::test]
async fn an_answer_with_the_id_of_an_older_profile_is_not_believed() {
    // SFT: the answer to the creation names what was there before.
    let upstream = double().await;
    let gateway = gateway().fixed("sft", &upstream.base_url, "").start().await;
    let (old, new) = (bodies::profile("SP_7", "same"), bodies::profile("SP_8", "same"));
    upstream
        .then(LIST, double::json(bodies::profiles(std::slice::from_ref(&old))))
        .then(CREATE, double::json(bodies::created("SP_7")))
        .always(LIST, double::json(bodies::profiles(&[old.clone(), new])))
        .always(GET, double::json(bodies::profiles(&[old])));
    let created = gateway.create(model::profile("same")).await.unwrap();
    assert_eq!(created.name, model::name("SP_8"));
}

#[tokio::test]
async fn a_body_with_the_id_of_an_older_profile_is_not_believed() {
    // PCC: the body of the answer is that of a profile that was there before.
    let upstream = double().await;
    let (lists, old) = (AtomicUsize::default(), json!({"id": 7, "name": "old"}));
    let new = json!({"id": 8, "name": "same", "defaultProfile": false});
    let page = move |items: &[Value]| {
        double::json(json!({"length": items.len(), "provisioningProfileDTOList": items}))
    };
    upstream.always(
        OTHER,
        double::by(move |seen| match (seen.method.as_str(), seen.path.rsplit('/').next()) {
            ("POST", _) => double::http(201, "application/json", old.to_string()),
            (_, Some("7")) => double::json(old.clone()),
            (_, Some("8")) => double::json(new.clone()),
            _ if lists.fetch_add(1, Ordering::Relaxed) == 0 => page(std::slice::from_ref(&old)),
            _ => page(&[old.clone(), new.clone()]),
        }),
    );
    let section = format!(
        "[backends.pcc]\ndialect = \"pcc\"\ntenant = \"acme\"\nusername = \"gateway\"\n\
         password = \"password-of-the-kit\"\nbase_url = \"{}\"\n",
        upstream.base_url
    );
    let gateway = gateway().section(&section).start().await;
    let request = CreateProfileRequest {
        parent: "backends/pcc".to_owned(),
        profile: Some(Profile { default_profile: Some(false), ..profile("same", &[]) }),
        ..CreateProfileRequest::default()
    };
    let created = gateway.profiles.clone().create_profile(request).await.unwrap().into_inner();
    assert_eq!(created.name, "backends/pcc/profiles/8");
    assert!(upstream.seen().iter().all(|seen| seen.method == "GET" || seen.method == "POST"));
}
