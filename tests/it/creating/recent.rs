//! Reads and lists that lag behind what the gateway itself has written a moment ago.

use profile_gateway::pb::{DeleteProfileRequest, GetProfileRequest, Profile, UpdateProfileRequest};
use tonic::{Code, Response, Status};

use super::{
    create, name, profile, unprocessable,
    vendor::{NEW, Vendor, empty, vendor},
};
use crate::kit::{
    bodies,
    double::{self, Answer, CREATE, DELETE, Double, GET, LIST, double},
    gateway::{Gateway, gateway},
    model,
    status::{fails, failure},
};

async fn get(vendor: &Vendor, id: i64) -> Result<Profile, Status> {
    let request = GetProfileRequest { name: name(id), read_mask: None };
    vendor.gateway.profiles.clone().get_profile(request).await.map(Response::into_inner)
}

async fn list(vendor: &Vendor) -> Vec<String> {
    let mut client = vendor.gateway.profiles.clone();
    let answer = client.list_profiles(model::list("backends/endpoint"));
    answer.await.unwrap().into_inner().profiles.into_iter().map(|one| one.name).collect()
}

async fn describe(vendor: &Vendor, id: i64) {
    let described = Profile { name: name(id), description: Some("x".into()), ..Profile::default() };
    let request = UpdateProfileRequest {
        profile: Some(described),
        update_mask: Some(model::mask(&["description"])),
        ..UpdateProfileRequest::default()
    };
    vendor.gateway.profiles.clone().update_profile(request).await.unwrap();
}

#[tokio::test]
async fn an_absence_after_an_acknowledged_write_is_not_kept() {
    let vendor = vendor("20s", &[(77, "theirs")]).await;
    create(&vendor, profile("ours", &[]), "").await.unwrap();
    describe(&vendor, NEW).await;
    // Neither that of the new profile, nor that of one that was there before.
    vendor.lists_lag(1).blind(1);
    fails(get(&vendor, NEW).await, Code::NotFound, "PROFILE_NOT_FOUND");
    assert_eq!(list(&vendor).await, [name(77)]);
    assert_eq!(get(&vendor, NEW).await.unwrap().description(), "x");
    assert_eq!(list(&vendor).await, [name(77), name(NEW)]);
    describe(&vendor, 77).await;
    vendor.blind(1);
    fails(get(&vendor, 77).await, Code::NotFound, "PROFILE_NOT_FOUND");
    assert_eq!(get(&vendor, 77).await.unwrap().description(), "x");
}

#[tokio::test]
async fn a_lost_creation_does_not_take_the_profile_of_the_one_before() {
    let vendor = vendor("2s", &[]).await;
    create(&vendor, profile("same", &[]), "").await.unwrap();
    vendor.lists_lag(1).on_create(Answer::Close, false);
    let lost = create(&vendor, profile("same", &[]), "").await;
    fails(lost, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
}

#[tokio::test]
async fn a_lost_creation_does_not_take_a_profile_that_one_before_left() {
    let vendor = vendor("4s", &[]).await;
    vendor.on_step(unprocessable(), false).on_delete(empty(400));
    let left = failure(create(&vendor, profile("same", &["38"]), "").await);
    assert_eq!(left.reason, "PARTIALLY_APPLIED", "{left:#?}");
    vendor.lists_lag(1).on_create(Answer::Close, false);
    let lost = create(&vendor, profile("same", &[]), "").await;
    fails(lost, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
    assert_eq!(vendor.ids(), [NEW]);
}

/// An SFT without profiles, whose creations are answered so.
async fn sft(creations: Vec<Answer>) -> (Double, Gateway) {
    let upstream = double().await;
    let server = "default_timeout = \"2s\"";
    let gateway = gateway().server(server).fixed("sft", &upstream.base_url, "").start().await;
    for answer in creations {
        upstream.then(CREATE, answer);
    }
    (upstream, gateway)
}

fn lost() -> Answer {
    double::http(504, "text/html", "<html>late</html>")
}

fn page(ids: &[&str]) -> Answer {
    let all: Vec<_> = ids.iter().map(|id| bodies::profile(id, "same")).collect();
    double::json(bodies::profiles(&all))
}

#[tokio::test]
async fn a_lost_creation_of_sft_does_not_take_the_profile_of_the_one_before() {
    let (upstream, gateway) = sft(vec![double::json(bodies::created("SP_8")), lost()]).await;
    upstream.then(LIST, page(&[])).then(LIST, page(&[])).always(LIST, page(&["SP_8"]));
    upstream.always(GET, page(&["SP_8"]));
    let created = gateway.create(model::profile("same")).await.unwrap();
    assert_eq!(created.name, model::name("SP_8"));
    let second = gateway.create(model::profile("same")).await;
    fails(second, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
}

#[tokio::test]
async fn a_deleted_profile_that_shows_again_is_not_taken_for_the_new_one() {
    let (upstream, gateway) = sft(vec![lost()]).await;
    upstream.always(DELETE, double::json(bodies::result("1329")));
    upstream.then(LIST, page(&[])).always(LIST, page(&["SP_7"])).always(GET, page(&["SP_7"]));
    let request = DeleteProfileRequest { name: model::name("SP_7"), ..Default::default() };
    gateway.profiles.clone().delete_profile(request).await.unwrap();
    let created = gateway.create(model::profile("same")).await;
    fails(created, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
}
