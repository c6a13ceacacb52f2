//! Lists that need only what an upstream's own list shows take one request.

use profile_gateway::pb::{ListProfilesRequest, ListProfilesResponse, Profile};
use tonic::Status;

use crate::kit::{
    double::{self, Answer, Double, OTHER, double},
    gateway::{Gateway, gateway},
    model::mask,
};

const SHORT: &str = r#"[
    {"id":1,"name":"a","description":null,"allowed_3g":true,"allowed_4g":false,
     "apply_data_quota":true,"apply_sms_quota":false,"used_count":"3"},
    {"id":2,"name":"b","description":"second","allowed_3g":true,"allowed_4g":true,
     "apply_data_quota":false,"apply_sms_quota":false,"used_count":2}]"#;

fn text(body: impl Into<String>) -> Answer {
    double::http(200, "application/json", body.into())
}

async fn start(short: &'static str) -> (Double, Gateway) {
    let upstream = double().await;
    let lines = format!(
        "[backends.e]\ndialect = \"endpoint\"\nbase_url = \"{}\"\nauth_token = \"t-of-the-kit\"\n",
        upstream.base_url
    );
    let gateway = gateway().section(&lines).start().await;
    upstream.always(
        OTHER,
        double::by(move |seen| match seen.path.rsplit('/').next() {
            Some("service_profile") => text(short),
            Some("1") => text(r#"{"id":1,"name":"a","retail":true}"#),
            Some("2") => text(r#"{"id":2,"name":"b","retail":false}"#),
            _ => double::http(418, "text/plain", "?"),
        }),
    );
    (upstream, gateway)
}

async fn list(
    gateway: &Gateway,
    paths: &[&str],
    filter: &str,
    order_by: &str,
) -> Result<ListProfilesResponse, Status> {
    let request = ListProfilesRequest {
        parent: "backends/e".to_owned(),
        read_mask: (!paths.is_empty()).then(|| mask(paths)),
        filter: filter.to_owned(),
        order_by: order_by.to_owned(),
        ..ListProfilesRequest::default()
    };
    Ok(gateway.profiles.clone().list_profiles(request).await?.into_inner())
}

#[tokio::test]
async fn what_the_list_shows_takes_one_request() {
    for (paths, filter, order_by, names) in [
        (&["name", "display_name"][..], "", "", &["a", "b"][..]),
        (&["display_name", "radio_access"], "quotas.data = true", "", &["a"]),
        (&["display_name", "quotas"], "", "endpoint_count", &["b", "a"]),
        (&["display_name"], "second", "display_name desc, name", &["b"]),
        (&["display_name"], "NOT description:* AND radio_access : 3G", "", &["a"]),
    ] {
        let (upstream, gateway) = start(SHORT).await;
        let found = list(&gateway, paths, filter, order_by).await.unwrap();
        let shown: Vec<&str> = found.profiles.iter().map(|p| p.display_name.as_str()).collect();
        assert_eq!(shown, names, "{paths:?} {filter} {order_by}");
        assert!(found.profiles.iter().all(|profile| profile.etag.is_empty()));
        assert_eq!(upstream.count(OTHER), 1, "{paths:?} {filter} {order_by}");
        // The second page, or another such question, is answered from the cache.
        list(&gateway, &["display_name"], "", "").await.unwrap();
        assert_eq!(upstream.count(OTHER), 1, "{paths:?} {filter} {order_by}");
    }
}

#[tokio::test]
async fn what_it_does_not_show_takes_a_read_of_each() {
    for (paths, filter, order_by) in [
        (&[][..], "", ""),
        (&["*"], "", ""),
        (&["display_name", "etag"], "", ""),
        (&["display_name", "unmapped"], "", ""),
        (&["display_name", "services"], "", ""),
        (&["display_name"], "retail = true", ""),
        (&["display_name"], "NOT (services.type : DATA)", ""),
        (&["display_name"], "unmapped.x = 1", ""),
        (&["display_name"], "", "retail"),
    ] {
        let (upstream, gateway) = start(SHORT).await;
        list(&gateway, paths, filter, order_by).await.unwrap();
        assert_eq!(upstream.count(OTHER), 3, "{paths:?} {filter} {order_by}");
    }
}

#[tokio::test]
async fn a_short_list_answers_no_other_question() {
    let (upstream, gateway) = start(SHORT).await;
    list(&gateway, &["display_name"], "", "").await.unwrap();
    // Neither a whole list nor a profile comes from it.
    let whole: Vec<Profile> = list(&gateway, &[], "", "").await.unwrap().profiles;
    assert_eq!(whole.iter().map(|p| p.retail).collect::<Vec<_>>(), [Some(true), Some(false)]);
    assert_eq!(upstream.count(OTHER), 4);
    let name = "backends/e/profiles/1".to_owned();
    let request = profile_gateway::pb::GetProfileRequest { name, read_mask: None };
    let one = gateway.profiles.clone().get_profile(request).await.unwrap().into_inner();
    assert_eq!((one.etag, one.retail), (whole[0].etag.clone(), Some(true)));
    // But the whole list answers it.
    let (upstream, gateway) = start(SHORT).await;
    list(&gateway, &[], "", "").await.unwrap();
    list(&gateway, &["display_name"], "", "").await.unwrap();
    assert_eq!(upstream.count(OTHER), 3);
}

#[tokio::test]
async fn a_list_that_lacks_a_member_says_nothing_about_it() {
    let (upstream, gateway) = start(r#"[{"id":1,"name":"a"},{"id":2,"name":"b"}]"#).await;
    let found = list(&gateway, &["display_name", "radio_access"], "", "").await.unwrap();
    assert_eq!(found.profiles.len(), 2);
    assert_eq!(upstream.count(OTHER), 3, "the list, which is not read again, and each profile");
    // What was read instead answers everything.
    list(&gateway, &["display_name", "quotas"], "", "endpoint_count").await.unwrap();
    assert_eq!(upstream.count(OTHER), 3);
}

#[tokio::test]
async fn only_what_is_named_has_to_be_in_the_list() {
    const NAMES: &str = r#"[{"id":1,"name":"a","used_count":1},{"id":2,"name":"b"}]"#;
    for (paths, filter, order_by, requests) in [
        (&["name", "display_name"][..], "", "", 1),
        (&["name"], "", "", 1),
        (&["dialect"], "display_name = \"a\"", "display_name", 1),
        (&["name", "display_name", "endpoint_count"], "", "", 3),
        (&["name"], "endpoint_count > 0", "", 3),
        (&["name"], "", "endpoint_count", 3),
        (&["name"], "description:*", "", 3),
    ] {
        let (upstream, gateway) = start(NAMES).await;
        list(&gateway, paths, filter, order_by).await.unwrap();
        assert_eq!(upstream.count(OTHER), requests, "{paths:?} {filter} {order_by}");
    }
    // What was kept for one question answers another one if it has all of it, and no other.
    let (upstream, gateway) = start(NAMES).await;
    for (paths, requests) in [
        (&["display_name"][..], 1),
        (&["name"], 1),
        (&["endpoint_count"], 1 + 3),
        (&["display_name"], 1 + 3),
    ] {
        list(&gateway, paths, "", "").await.unwrap();
        assert_eq!(upstream.count(OTHER), requests, "{paths:?}");
    }
}

#[tokio::test]
async fn a_write_outdates_a_short_list() {
    let (upstream, gateway) = start(SHORT).await;
    list(&gateway, &["display_name"], "", "").await.unwrap();
    let request = profile_gateway::pb::DeleteProfileRequest {
        name: "backends/e/profiles/1".to_owned(),
        ..Default::default()
    };
    // Whatever becomes of it.
    let _ = gateway.profiles.clone().delete_profile(request).await;
    let before = upstream.count(OTHER);
    list(&gateway, &["display_name"], "", "").await.unwrap();
    assert!(upstream.count(OTHER) > before);
}
