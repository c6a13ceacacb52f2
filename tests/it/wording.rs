//! What messages say: what was wrong, and what would be right.

use profile_gateway::pb::{
    GetProfileRequest, ListProfilesRequest, Profile, Service, UpdateProfileRequest,
};
use serde_json::json;
use tonic::Code;

use crate::kit::{
    double::double,
    gateway,
    model::{self, mask, named, profile},
    sandbox::sandbox,
    status::{Failure, fails},
};

/// A refusal whose message has these words.
#[track_caller]
fn says(failed: &Failure, words: &str, what: &str) {
    assert!(failed.message.contains(words), "{what}: {failed:#?}");
}

#[tokio::test]
async fn a_mask_with_an_unknown_path_gets_one_that_there_is() {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    for (path, words) in [
        ("displayName", "did you mean display_name?"),
        ("DisplayName", "did you mean display_name?"),
        ("network.breakoutRegion", "did you mean network.breakout_region?"),
        ("network.breakoutRegion.id", "did you mean network.breakout_region.id?"),
        ("stat", "did you mean state?"),
        ("services.type", "a mask names services as a whole"),
        ("services.traffic_limits.volume", "a mask names services as a whole"),
        ("state.x", "a mask names state as a whole"),
        ("radio_access.x", "a mask names radio_access as a whole"),
        ("network.dns.x", "a mask names network.dns as a whole"),
        ("quotas.xyzzy", "quotas has quotas.data, quotas.sms"),
    ] {
        let refused = |failed: &Failure, field: &str| {
            says(failed, words, path);
            assert_eq!(failed.fields, [format!("{field}.{path}")], "{failed:#?}");
        };
        let read_mask = Some(mask(&[path]));
        let get = GetProfileRequest { name: model::name("SP_1"), read_mask: read_mask.clone() };
        let got = gateway.profiles.clone().get_profile(get).await;
        refused(&fails(got, Code::InvalidArgument, "VALIDATION_FAILED"), "read_mask");
        let list = ListProfilesRequest { read_mask, ..model::list(model::BACKEND) };
        let listed = gateway.profiles.clone().list_profiles(list).await;
        refused(&fails(listed, Code::InvalidArgument, "VALIDATION_FAILED"), "read_mask");
        let update = UpdateProfileRequest {
            profile: Some(named("SP_1")),
            update_mask: Some(mask(&[path])),
            ..UpdateProfileRequest::default()
        };
        let updated = gateway.profiles.clone().update_profile(update).await;
        refused(&fails(updated, Code::InvalidArgument, "VALIDATION_FAILED"), "update_mask");
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn a_service_that_there_is_not_is_named_by_what_was_given_of_it() {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    let service = |id: &str, kind: i32| Service { r#type: kind, ..model::service_id(id) };
    let voice = i32::from(profile_gateway::pb::ServiceType::Voice);
    for (service, words) in [
        (service("", 0), "a service must have an id or a type, and this one has neither"),
        (service("9", 0), "there is no service with the id \"9\"; see ListServices"),
        (service("", voice), "there is no service with type SERVICE_TYPE_VOICE; see ListServices"),
        (
            service("4", voice),
            "there is no service with the id \"4\" and type SERVICE_TYPE_VOICE; see ListServices",
        ),
    ] {
        let wrong = Profile { services: vec![service.clone()], ..profile("any") };
        let refused = gateway.create(wrong).await;
        let failed = fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
        says(&failed, words, &format!("{service:?}"));
        assert_eq!(failed.fields, ["profile.services"], "{failed:#?}");
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn a_failure_without_a_cause_is_not_told_as_one_without_a_code() {
    for (code, words) in [
        ("1330", "the upstream says that the operation failed, and not why (1330"),
        ("7777", "the upstream failed with a code that is not documented (7777"),
    ] {
        let sandbox = sandbox().await;
        let gateway = gateway::within("20s", &sandbox).await;
        sandbox.arm("DeleteServiceProfile", json!({"kind": "result", "code": code})).await;
        let failed = fails(gateway.delete("SP_352").await, Code::Unknown, "UPSTREAM_FAILURE");
        says(&failed, words, code);
    }
}
