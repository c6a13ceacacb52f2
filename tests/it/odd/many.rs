//! Lists that are longer than any account's are refused, and say so.

use profile_gateway::pb::{GetProfileRequest, ListProfilesRequest, ListServicesRequest, Profile};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::kit::{
    bodies,
    double::{self, Answer, Double, LIST, OTHER, double},
    gateway::{Gateway, fresh, gateway},
    status::{Failure, fails, failure},
};

/// The documented bounds.
const MOST_PARTS: usize = 1000;
const MOST_ITEMS: usize = 200_000;

async fn start(upstream: &Double) -> Gateway {
    let base = &upstream.base_url;
    let others = format!(
        "[backends.e]\ndialect = \"endpoint\"\nbase_url = \"{base}\"\ndata_limits = \"on\"\n\
         auth_token = \"t-of-the-kit\"\n\
         [backends.p]\ndialect = \"pcc\"\nbase_url = \"{base}\"\ntenant = \"t\"\n\
         username = \"u\"\npassword = \"p-of-the-kit\"\n"
    );
    gateway().fixed("sft", base, "").section(&others).start().await
}

async fn get(gateway: &Gateway) -> Result<Profile, Status> {
    let request = GetProfileRequest { name: "backends/e/profiles/1".to_owned(), read_mask: None };
    gateway.profiles.clone().get_profile(fresh(request)).await.map(tonic::Response::into_inner)
}

fn many(count: usize) -> Vec<Value> {
    (1..=count).map(|id| json!({ "id": id })).collect()
}

/// A profile with these services and these data limits, in a list of its own.
fn plan(upstream: &Double, services: Vec<Value>, data_limits: Vec<Value>) {
    let profile = double::json(json!({"id": 1, "name": "one", "service": services}));
    let data_limits = double::json(Value::Array(data_limits));
    upstream.always(
        OTHER,
        double::by(move |seen| match seen.path.rsplit('/').next() {
            Some("service_profile") => double::json(json!([{"id": 1}, {"id": 2}])),
            Some("traffic_limit") if !seen.path.contains("/1/") => double::json(json!([])),
            Some("traffic_limit") => data_limits.clone(),
            Some("2") => double::json(json!({"id": 2, "name": "two"})),
            _ => profile.clone(),
        }),
    );
}

fn refused<T: std::fmt::Debug>(result: Result<T, Status>, most: usize, what: &str) -> Failure {
    let failed = failure(result);
    assert!(failed.is(Code::Internal, "UPSTREAM_CONTRACT_VIOLATION"), "{what}: {failed:#?}");
    assert!(failed.message.contains(&most.to_string()), "{what}: {failed:#?}");
    failed
}

#[tokio::test]
async fn a_profile_has_at_most_a_thousand_services_and_a_thousand_limits() {
    let upstream = double().await;
    let gateway = start(&upstream).await;
    let limited = |count| vec![json!({"id": 1, "traffic_limit": many(count)})];
    let split = |count| {
        let two = [1, 2].map(|id| json!({"id": id, "traffic_limit": many(count)}));
        two.to_vec()
    };
    plan(&upstream, many(MOST_PARTS), many(MOST_PARTS));
    let found = get(&gateway).await.unwrap();
    assert_eq!((found.services.len(), found.data_limits.len()), (MOST_PARTS, MOST_PARTS));
    for services in [limited(MOST_PARTS), split(MOST_PARTS / 2)] {
        plan(&upstream, services, Vec::new());
        let found = get(&gateway).await.unwrap();
        assert_eq!(found.services.iter().map(|s| s.traffic_limits.len()).sum::<usize>(), 1000);
    }
    let nothing = vec![json!("x"); MOST_PARTS + 1];
    for (what, services, data_limits) in [
        ("services", many(MOST_PARTS + 1), vec![]),
        ("the same service", vec![json!({"id": 1}); MOST_PARTS + 1], vec![]),
        ("no services at all", nothing, vec![]),
        ("limits", limited(MOST_PARTS + 1), vec![]),
        ("limits of several services", split(MOST_PARTS / 2 + 1), vec![]),
        ("data limits", vec![], many(MOST_PARTS + 1)),
    ] {
        plan(&upstream, services, data_limits);
        refused(get(&gateway).await, MOST_PARTS, what);
        // It is one profile's, and the list has the other one.
        let request = ListProfilesRequest {
            parent: "backends/e".to_owned(),
            return_partial_success: true,
            ..ListProfilesRequest::default()
        };
        let found = gateway.profiles.clone().list_profiles(fresh(request)).await.unwrap();
        let found = found.into_inner();
        assert_eq!(found.unreachable, ["backends/e/profiles/1"], "{what}");
        assert_eq!(found.profiles.len(), 1, "{what}");
    }
}

#[tokio::test]
async fn a_catalog_has_at_most_a_thousand_services_and_as_many_limits_of_each() {
    let upstream = double().await;
    let gateway = start(&upstream).await;
    for (services, limits) in [(MOST_PARTS + 1, 0), (1, MOST_PARTS + 1)] {
        upstream.always(
            OTHER,
            double::by(move |seen| match seen.path.rsplit('/').next() {
                Some("service") => double::json(Value::Array(many(services))),
                _ => double::json(Value::Array(many(limits))),
            }),
        );
        let request = ListServicesRequest { parent: "backends/e".to_owned() };
        let answer = gateway.backends.clone().list_services(request).await;
        refused(answer, MOST_PARTS, "catalog");
    }
}

#[tokio::test]
async fn a_list_has_at_most_two_hundred_thousand_profiles() {
    let upstream = double().await;
    let gateway = start(&upstream).await;
    let plan = |count: usize| {
        let items = vec!["{}"; count].join(",");
        let text = |body: String| -> Answer { double::http(200, "application/json", body) };
        let sft = bodies::profiles(&[json!("all")]).to_string().replace("\"all\"", &items);
        upstream.always(LIST, text(sft));
        let pcc = text(format!(r#"{{"provisioningProfileDTOList":[{items}]}}"#));
        let endpoint = text(format!("[{items}]"));
        upstream.always(
            OTHER,
            double::by(move |seen| match seen.path.starts_with("/pcc") {
                true => pcc.clone(),
                false => endpoint.clone(),
            }),
        );
    };
    let list = async |backend: &str| {
        let parent = format!("backends/{backend}");
        let request = ListProfilesRequest { parent, ..ListProfilesRequest::default() };
        gateway.profiles.clone().list_profiles(fresh(request)).await
    };
    plan(MOST_ITEMS + 1);
    for backend in ["sft", "e", "p"] {
        let failed = refused(list(backend).await, MOST_ITEMS, backend);
        assert!(failed.message.contains("profiles"), "{failed:#?}");
    }
    assert_eq!(upstream.count(OTHER), 2, "no profile was read");
    plan(MOST_ITEMS);
    for backend in ["sft", "e", "p"] {
        assert_eq!(list(backend).await.unwrap().into_inner().profiles, [], "{backend}");
    }
}

#[tokio::test]
async fn a_request_has_at_most_64_limits_of_a_service_and_a_thousand_in_all() {
    let upstream = double().await;
    let gateway = start(&upstream).await;
    let limit =
        |id: usize| profile_gateway::pb::TrafficLimit { id: id.to_string(), ..Default::default() };
    let service = |id: usize, limits: usize| profile_gateway::pb::Service {
        id: id.to_string(),
        traffic_limits: (1..=limits).map(limit).collect(),
        ..Default::default()
    };
    let create = async |services: Vec<profile_gateway::pb::Service>| {
        let profile = Profile { display_name: "one".to_owned(), services, ..Profile::default() };
        let request = profile_gateway::pb::CreateProfileRequest {
            parent: "backends/e".to_owned(),
            profile: Some(profile),
            validate_only: true,
            ..Default::default()
        };
        gateway.profiles.clone().create_profile(request).await
    };
    let many = (1..=16).map(|id| service(id, 63)).collect();
    for (services, last) in [(vec![service(1, 65)], 0), (many, 15)] {
        let failed = create(services).await;
        let failed = fails(failed, Code::InvalidArgument, "VALIDATION_FAILED");
        assert_eq!(failed.fields, [format!("profile.services[{last}].traffic_limits")]);
    }
    assert_eq!(upstream.seen().len(), 0);
}
