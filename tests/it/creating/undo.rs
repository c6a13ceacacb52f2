//! Writes that fail half way: what is undone while another client changes the same profile, and an
//! undo that cannot be confirmed.

use profile_gateway::pb::{Profile, UpdateProfileRequest};
use serde_json::json;
use tonic::{Code, Status};

use super::{
    create, name, profile, unprocessable,
    vendor::{NEW, Vendor, empty, missing, vendor_with},
};
use crate::kit::{
    model,
    status::{Failure, fails},
};

async fn vendor(time: &str, there: &[(i64, &str)]) -> Vendor {
    vendor_with(time, there, "settle_time = \"300ms\"").await
}

/// Renames a profile and attaches service 38, which the vendor refuses.
async fn refused(vendor: &Vendor) -> Failure {
    fails(renamed(vendor).await, Code::FailedPrecondition, "PROCESSING_FAILED")
}

async fn renamed(vendor: &Vendor) -> Result<(), Status> {
    vendor.on_step(unprocessable(), false);
    let request = UpdateProfileRequest {
        profile: Some(Profile { name: name(77), ..profile("new", &["38"]) }),
        update_mask: Some(model::mask(&["display_name", "services"])),
        ..UpdateProfileRequest::default()
    };
    vendor.gateway.profiles.clone().update_profile(request).await.map(drop)
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

#[tokio::test]
async fn an_undo_that_cannot_be_read_back_leaves_a_part() {
    let vendor = vendor("20s", &[(77, "old")]).await;
    vendor.on_get_after(3, empty(403));
    let failed = fails(renamed(&vendor).await, Code::FailedPrecondition, "PARTIALLY_APPLIED");
    assert_eq!(failed.meta("profile_id"), "77");
    assert_eq!(vendor.writes().len(), 3);
}

#[tokio::test]
async fn a_removal_that_cannot_be_read_back_leaves_a_part() {
    for is_done in [false, true] {
        let vendor = vendor("20s", &[]).await;
        vendor.on_step(unprocessable(), false).on_get_after(3, empty(403));
        if !is_done {
            vendor.on_delete(empty(204));
        }
        let failed = create(&vendor, profile("ours", &["38"]), "").await;
        let failed = fails(failed, Code::FailedPrecondition, "PARTIALLY_APPLIED");
        assert_eq!(failed.meta("profile_id"), NEW.to_string());
        assert_eq!(vendor.writes().len(), 3);
    }
}

#[tokio::test]
async fn after_an_undo_nothing_may_be_left() {
    let vendor = vendor("20s", &[(77, "old")]).await;
    vendor.on_get_after(3, missing());
    fails(renamed(&vendor).await, Code::NotFound, "PROFILE_NOT_FOUND");
    assert_eq!(vendor.writes().len(), 3);
}
