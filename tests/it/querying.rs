//! Lists that are filtered and ordered, over sockets: what passes, in which order, page by page,
//! and what is refused.

use profile_gateway::pb::{ListProfilesRequest, ListProfilesResponse, Profile};
use tonic::{Code, Status};

use crate::kit::{
    bodies::{self, profile_with},
    double::{self, Double, LIST, double},
    gateway::{self, Gateway},
    model,
    sandbox::sandbox,
    status::fails,
};

async fn ask(
    gateway: &Gateway,
    request: ListProfilesRequest,
) -> Result<ListProfilesResponse, Status> {
    gateway.profiles.clone().list_profiles(request).await.map(tonic::Response::into_inner)
}

fn query(parent: &str, filter: &str, order_by: &str) -> ListProfilesRequest {
    ListProfilesRequest {
        filter: filter.to_owned(),
        order_by: order_by.to_owned(),
        page_size: 1000,
        ..model::list(parent)
    }
}

/// All pages of a query.
async fn pages(gateway: &Gateway, query: &ListProfilesRequest, size: i32) -> Vec<Profile> {
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let request = ListProfilesRequest { page_size: size, page_token: token, ..query.clone() };
        let page = ask(gateway, request).await.unwrap();
        found.extend(page.profiles);
        if page.next_page_token.is_empty() {
            return found;
        }
        token = page.next_page_token;
    }
}

/// So many profiles, every third inactive, with names that repeat.
async fn many(count: usize) -> (Double, Gateway) {
    let items: Vec<_> = (1..=count)
        .map(|n| {
            let members = serde_json::json!({
                "status": if n % 3 == 0 { "0" } else { "1" },
                "profileName": format!("name {}", n % 7),
            });
            profile_with(&format!("SP_{n}"), "", members)
        })
        .collect();
    let upstream = double().await;
    upstream.always(LIST, double::json(bodies::profiles(&items)));
    let gateway = gateway::fixed(&upstream.base_url).await;
    (upstream, gateway)
}

#[tokio::test]
async fn a_filter_and_an_order_hold_over_all_pages_of_one_list() {
    let (upstream, gateway) = many(1000).await;
    let query = query(model::BACKEND, "state = INACTIVE", "display_name desc");
    let whole = ask(&gateway, query.clone()).await.unwrap();
    assert_eq!((whole.total_size, whole.profiles.len()), (333, 333));
    assert!(whole.profiles.iter().all(|p| p.state == 2), "only what passes");
    let ids = |n: usize| whole.profiles[n].name.rsplit('_').next().unwrap().parse::<u32>().unwrap();
    for n in 1..333 {
        let (before, after) = (&whole.profiles[n - 1], &whole.profiles[n]);
        let in_order = before.display_name > after.display_name
            || (before.display_name == after.display_name && ids(n - 1) < ids(n));
        assert!(in_order, "{} before {}", before.name, after.name);
    }
    for size in [100, 7, 333] {
        assert_eq!(pages(&gateway, &query, size).await, whole.profiles, "pages of {size}");
    }
    assert_eq!(upstream.count(LIST), 1, "all from one list");
}

#[tokio::test]
async fn every_dialect_is_filtered_and_ordered() {
    let sandbox = sandbox().await;
    let gateway = gateway::over_all(&sandbox).await;
    let all = pages(&gateway, &model::list("backends/-"), 1000).await;
    for (filter, passes) in [
        ("dialect = PCC", (|p| p.name.starts_with("backends/pcc/")) as fn(&Profile) -> bool),
        ("state = ACTIVE AND services.type : DATA", |p| {
            p.state == 1 && p.services.iter().any(|s| s.r#type == 1)
        }),
        ("NOT dialect = BICS_SFT OR radio_access : NB_IOT", |p| {
            p.dialect != 1 || p.radio_access.contains(&5)
        }),
        ("services.traffic_limits.volume > 0", |p| {
            p.services.iter().flat_map(|s| &s.traffic_limits).any(|l| l.volume > Some(0))
        }),
        ("display_name = \"*e*\"", |p| p.display_name.contains('e')),
        ("-payment_type : *", |p| p.payment_type == 0),
        ("notifications.dps = true", |p| {
            p.notifications.as_ref().is_some_and(|n| n.dps == Some(true))
        }),
    ] {
        let expected: Vec<&Profile> = all.iter().filter(|p| passes(p)).collect();
        let found = pages(&gateway, &query("backends/-", filter, ""), 3).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter}");
        assert!(!found.is_empty() && found.len() < all.len(), "{filter}: {} pass", found.len());
    }
    let names = |list: &[Profile]| list.iter().map(|p| p.display_name.clone()).collect::<Vec<_>>();
    let mut expected = names(&all);
    expected.sort();
    let found = pages(&gateway, &query("backends/-", "", "display_name"), 4).await;
    assert_eq!(names(&found), expected);
}

#[tokio::test]
async fn every_violation_is_reported_at_once_with_its_field_and_nothing_is_sent() {
    let (upstream, gateway) = many(3).await;
    let mut request =
        query(model::BACKEND, "state = ACTIVE AND sate = 1", "services, display_name");
    request.page_size = -1;
    request.page_token = "made up".to_owned();
    let failed = fails(ask(&gateway, request).await, Code::InvalidArgument, "VALIDATION_FAILED");
    assert_eq!(failed.fields, ["filter", "order_by", "page_size", "page_token"], "{failed:#?}");
    let why = &failed.message;
    assert!(why.contains("column 20") && why.contains("state"), "{why}");
    for filter in ["state =", "(((((", "retail > true", "endpoint_count = many", "\"", "f(x)"] {
        let result = ask(&gateway, query(model::BACKEND, filter, "")).await;
        let failed = fails(result, Code::InvalidArgument, "VALIDATION_FAILED");
        assert_eq!(failed.fields, ["filter"], "{filter}");
    }
    for hostile in ["(".repeat(4000), "a AND ".repeat(600), "x".repeat(5000), "*".repeat(4000)] {
        let _ = ask(&gateway, query(model::BACKEND, &hostile, "")).await;
    }
    assert!(upstream.count(LIST) <= 1);
}

#[tokio::test]
async fn a_token_belongs_to_its_filter_and_its_order() {
    let (_upstream, gateway) = many(30).await;
    let first = ListProfilesRequest { page_size: 5, ..query(model::BACKEND, "state = ACTIVE", "") };
    let page_token = ask(&gateway, first.clone()).await.unwrap().next_page_token;
    for other in [
        query(model::BACKEND, "", ""),
        query(model::BACKEND, "state = INACTIVE", ""),
        query(model::BACKEND, "state = ACTIVE", "display_name"),
    ] {
        let request = ListProfilesRequest { page_token: page_token.clone(), ..other };
        fails(ask(&gateway, request).await, Code::InvalidArgument, "VALIDATION_FAILED");
    }
    assert!(ask(&gateway, ListProfilesRequest { page_token, ..first }).await.is_ok());
}

#[tokio::test]
async fn replicas_that_share_a_key_understand_each_other_s_tokens() {
    let upstream = double().await;
    let items: Vec<_> = (1..9).map(|n| bodies::profile(&format!("SP_{n}"), "a")).collect();
    upstream.always(LIST, double::json(bodies::profiles(&items)));
    let start = async |top: &str| {
        gateway::gateway().top(top).fixed("sft", &upstream.base_url, "").start().await
    };
    let key = "page_token_key = \"a key of the kit, shared\"";
    let (one, other) = (start(key).await, start(key).await);
    let request = ListProfilesRequest { page_size: 5, ..model::list(model::BACKEND) };
    let page_token = ask(&one, request.clone()).await.unwrap().next_page_token;
    let request = ListProfilesRequest { page_token, ..request };
    assert_eq!(ask(&other, request.clone()).await.unwrap().profiles.len(), 3);
    // Of two mistakes that look alike, only one is the operator's.
    for stranger in ["page_token_key = \"another key of the kit\"", ""] {
        let refused = ask(&start(stranger).await, request.clone()).await;
        let failed = fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
        let why = "was issued by another process of the gateway or under another page_token_key";
        assert!(failed.message.contains(why), "{stranger}: {failed:#?}");
    }
    let request = ListProfilesRequest { filter: "state = ACTIVE".to_owned(), ..request };
    let failed = fails(ask(&one, request).await, Code::InvalidArgument, "VALIDATION_FAILED");
    assert!(failed.message.contains("of this same query"), "{failed:#?}");
    assert!(!failed.message.contains("page_token_key"), "{failed:#?}");
}
