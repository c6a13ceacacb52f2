//! An update that fails half way, while another client changes the same profile.

use profile_gateway::pb::{Profile, UpdateProfileRequest};
use serde_json::json;
use tonic::Code;

use super::{
    name, profile, unprocessable,
    vendor::{Vendor, vendor},
};
use crate::kit::{
    model,
    status::{Failure, fails},
};

/// Renames a profile and attaches service 38, which the vendor refuses.
async fn refused(vendor: &Vendor) -> Failure {
    vendor.on_step(unprocessable(), false);
    let request = UpdateProfileRequest {
        profile: Some(Profile { name: name(77), ..profile("new", &["38"]) }),
        update_mask: Some(model::mask(&["display_name", "services"])),
        ..UpdateProfileRequest::default()
    };
    let updated = vendor.gateway.profiles.clone().update_profile(request).await;
    fails(updated, Code::FailedPrecondition, "PROCESSING_FAILED")
}

#[tokio::test]
async fn only_what_the_update_touched_is_undone() {
    let vendor = vendor("20s", &[(77, "old")]).await;
    let services = json!([{"id": 6, "traffic_limit": [{"id": 9}]}]);
    let theirs = json!({"description": "theirs", "retail": true, "service": services});
    vendor.changes_with_the_step(theirs);
    let failed = refused(&vendor).await;
    assert_eq!(failed.meta("steps_undone"), "change members");
    let expected = [
        "PATCH service_profile/77",
        "PUT service_profile/77/service/38",
        "PATCH service_profile/77",
    ];
    assert_eq!(vendor.writes(), expected);
    let left = vendor.profile(77).unwrap();
    let expected = json!({
        "id": 77, "name": "old", "description": "theirs", "retail": true, "service": services,
    });
    assert_eq!(left, expected);
}

#[tokio::test]
async fn without_others_all_is_undone() {
    let vendor = vendor("20s", &[(77, "old")]).await;
    let before = vendor.profile(77);
    refused(&vendor).await;
    assert_eq!(vendor.profile(77), before);
}
