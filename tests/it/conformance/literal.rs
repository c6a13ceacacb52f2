//! The vendors' own examples, to the letter, from a double that shares nothing with the program:
//! each member has its place in the model, and what was read goes back out as it came in.

use std::sync::atomic::{AtomicUsize, Ordering};

use profile_gateway::pb::{GetProfileRequest, Profile, UpdateProfileRequest};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use super::{
    bench::{asked_of, has},
    samples::profile,
};
use crate::kit::{
    double::{self, Answer, Double, OTHER, Seen, double},
    gateway::{Gateway, fresh, gateway},
    model,
    status::fails,
};

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_slice(&text).unwrap()
}

/// A gateway with one backend at a double that answers by method and path.
async fn start(
    section: &str,
    answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> (Double, Gateway) {
    let upstream = double().await;
    upstream.always(OTHER, double::by(answer));
    let base_url = &upstream.base_url;
    let gateway = gateway().section(&format!("{section}base_url = \"{base_url}\"\n")).start().await;
    (upstream, gateway)
}

const PCC: &str = "[backends.pcc]\ndialect = \"pcc\"\ntenant = \"acme\"\nusername = \"gateway\"\n\
                   password = \"password-of-the-kit\"\nsettle_time = \"0s\"\n";
const ENDPOINT: &str = "[backends.endpoint]\ndialect = \"endpoint\"\n\
                        auth_token = \"fixed-token-of-the-kit\"\n\
                        settle_time = \"0s\"\n";

async fn get(gateway: &Gateway, name: &str) -> Profile {
    let request = GetProfileRequest { name: name.to_owned(), read_mask: None };
    gateway.profiles.clone().get_profile(fresh(request)).await.unwrap().into_inner()
}

async fn list(gateway: &Gateway, parent: &str) -> Vec<Profile> {
    let answer = gateway.profiles.clone().list_profiles(fresh(model::list(parent))).await.unwrap();
    answer.into_inner().profiles
}

async fn create(gateway: &Gateway, parent: &str, profile: Profile) -> Profile {
    let request = profile_gateway::pb::CreateProfileRequest {
        parent: parent.to_owned(),
        profile: Some(profile),
        ..Default::default()
    };
    gateway.profiles.clone().create_profile(request).await.unwrap().into_inner()
}

async fn update(gateway: &Gateway, profile: Profile, mask: &[&str]) -> Profile {
    try_update(gateway, profile, mask).await.unwrap()
}

/// An update of which the vendor's example, which stays as it is, shows nothing.
async fn ignored(gateway: &Gateway, profile: Profile, mask: &[&str]) {
    let updated = try_update(gateway, profile, mask).await;
    fails(updated, Code::FailedPrecondition, "WRITE_NOT_APPLIED");
}

async fn try_update(gateway: &Gateway, profile: Profile, mask: &[&str]) -> Result<Profile, Status> {
    let update_mask = Some(model::mask(mask));
    let request = UpdateProfileRequest {
        profile: Some(profile),
        update_mask,
        ..UpdateProfileRequest::default()
    };
    gateway.profiles.clone().update_profile(request).await.map(Response::into_inner)
}

/// The requests other than reads: method, path, body.
fn writes(upstream: &Double) -> Vec<(String, String, Value)> {
    let seen = upstream.seen().into_iter().filter(|seen| seen.method != "GET");
    let body = |seen: &Seen| if seen.body.is_empty() { Value::Null } else { seen.json() };
    seen.map(|seen| (seen.method.clone(), seen.path.clone(), body(&seen))).collect()
}

fn without_id(mut object: Value) -> Value {
    object.as_object_mut().unwrap().remove("id");
    object
}

/// The object of the create example as the contract places it.
fn turkey_sauce(payment_type: &str) -> Profile {
    profile(json!({
        "name": "backends/pcc/profiles/39",
        "dialect": "DIALECT_PCC",
        "display_name": "turkeySauce",
        "default_profile": false,
        "payment_type": payment_type,
        "subscriber":
            {"initial_core_plan": "turkey", "subscriber_class": "gold", "locale": "en"},
        "notifications": {"dps_enabled": false, "dps": false, "eos": false, "payg": false},
    }))
}

/// The second object of the list example.
fn cha_cha() -> Profile {
    profile(json!({
        "name": "backends/pcc/profiles/55",
        "dialect": "DIALECT_PCC",
        "display_name": "chaCha",
        "default_profile": true,
        "payment_type": "PAYMENT_TYPE_PREPAID",
        "subscriber": {"initial_core_plan": "prepaidCORE", "subscriber_class": "Standard",
            "locale": "en"},
        "notifications": {"dps_enabled": false, "dps": false, "eos": false, "payg": false},
    }))
}

fn but_etag(profile: &Profile) -> Profile {
    assert!(profile.etag.len() > 10, "{profile:?}");
    Profile { etag: String::new(), ..profile.clone() }
}

const PROFILES: &str = "/pcc/spcm/provisionProfile";

/// `lists`: how many were asked for.
fn pcc_answers(seen: &Seen, lists: &AtomicUsize) -> Answer {
    let one = fixture("pcc/create-success");
    match (seen.method.as_str(), seen.path.strip_prefix(PROFILES)) {
        // The profile of the example is not there when the create looks.
        ("GET", Some("")) => match lists.fetch_add(1, Ordering::Relaxed) {
            0 => double::json(fixture("pcc/list-success")),
            _ => double::json(json!({"length": 0, "provisioningProfileDTOList": []})),
        },
        ("GET", Some("/39")) | ("PUT", Some("/39")) => double::json(one),
        ("POST", Some("")) => double::http(201, "application/json", one.to_string()),
        _ => double::http(404, "text/plain", ""),
    }
}

#[tokio::test]
async fn the_pcc_examples_have_every_field_in_its_place_and_go_back_unchanged() {
    let lists = AtomicUsize::default();
    let (upstream, gateway) = start(PCC, move |seen| pcc_answers(seen, &lists)).await;
    let listed: Vec<Profile> = list(&gateway, "backends/pcc").await.iter().map(but_etag).collect();
    assert_eq!(listed, [turkey_sauce("PAYMENT_TYPE_POSTPAID"), cha_cha()]);
    let one = get(&gateway, "backends/pcc/profiles/39").await;
    assert_eq!(but_etag(&one), turkey_sauce("PAYMENT_TYPE_PREPAID"));

    assert_eq!(update(&gateway, one.clone(), &["*"]).await, one, "nothing to send");
    assert_eq!(writes(&upstream), []);
    assert_eq!(create(&gateway, "backends/pcc", one.clone()).await, one);
    let renamed = Profile { display_name: "other".into(), ..one.clone() };
    ignored(&gateway, renamed, &["display_name"]).await;

    let object = without_id(fixture("pcc/create-success"));
    assert_eq!(object, fixture("pcc/create-request"), "the examples are of one object");
    let mut other = object.clone();
    other["name"] = json!("other");
    let sent =
        |method: &str, path: &str, body| (method.to_owned(), format!("{PROFILES}{path}"), body);
    assert_eq!(writes(&upstream), [sent("POST", "", object), sent("PUT", "/39", other)]);
}

/// The literal object as the contract places it.
fn smart_meter() -> Profile {
    profile(json!({
        "name": "backends/endpoint/profiles/1",
        "dialect": "DIALECT_ENDPOINT",
        "display_name": "Smart meter",
        "description": "Data + SMS - 1G limit",
        "radio_access": ["RADIO_ACCESS_2G", "RADIO_ACCESS_3G"],
        "services": [
            {"id": "123", "type": "SERVICE_TYPE_DATA", "description": "Data",
             "teleservice_code": 7678345, "used_with_vlr": true, "used_with_sgsn": true,
             "traffic_type": {"id": "1", "description": "Data", "unit": "GB"},
             "traffic_limits": [
                {"id": "123", "volume": 64,
                 "period": {"id": "33", "time_units": 5, "unit": "Days"}},
                {"id": "234", "volume": 128,
                 "period": {"id": "35", "time_units": 1, "unit": "Months"}}]},
            {"id": "234", "type": "SERVICE_TYPE_SMS", "description": "SMS",
             "teleservice_code": 441236, "used_with_vlr": true, "used_with_sgsn": true,
             "traffic_type": {"id": "2", "description": "SMS", "unit": "count"}},
        ],
        "payment_type": "PAYMENT_TYPE_POSTPAID",
        "retail": false,
        "sms": {"p2p_internal": true, "p2p_external": true,
            "esme_interface": {"id": "3", "description": "Console"}},
        "network": {
            "network_initiated_pdp": false,
            "breakout_region":
                {"id": "3", "display_name": "eu-west-1 (VPN)", "ip_address": "0.0.0.0"},
            "dns": {"id": "1", "primary": "8.8.8.8", "secondary": "8.8.4.4", "ip_version": 4}},
        "callbacks": {
            "api": {"id": "38", "url": "https://www.customers-server.com",
                "purpose": "Customer's Webserver", "create_time_text": "2015-03-18 16:11:07"},
            "api_secret": {"id": "38", "purpose": "K3"},
            "moc": {"id": "39", "url": "https://moc.customers-server.com",
                "purpose": "Customer's Moc server", "create_time_text": "2015-03-18 16:11:17"}},
        "endpoint_count": 12,
    }))
}

/// What a create of the literal object sends first: all but what the upstream counts and what has
/// requests of its own, and references by their ids.
fn smart_meter_body() -> Value {
    let mut body = without_id(fixture("endpoint/profile"));
    let members = body.as_object_mut().unwrap();
    members.retain(|key, _| !["used_count", "service"].contains(&key.as_str()));
    for member in members.values_mut().filter(|member| member.is_object()) {
        *member = json!({"id": member["id"]});
    }
    body
}

/// `puts`: how many came. The new profile has its services once all have.
fn endpoint_answers(seen: &Seen, puts: &AtomicUsize) -> Answer {
    let one = fixture("endpoint/profile");
    match (seen.method.as_str(), seen.path.trim_start_matches("/api/v1")) {
        ("GET", "/service_profile/2") => {
            let mut new = fixture("endpoint/profile");
            new["id"] = json!(2);
            if puts.load(Ordering::Relaxed) < 4 {
                new["service"] = json!([]);
            }
            double::json(new)
        }
        ("GET", "/service_profile") => double::json(fixture("endpoint/list")),
        ("GET", "/service_profile/1") => double::json(one),
        ("GET", "/service") => double::json(one["service"].clone()),
        ("GET", "/service/123/traffic_limit") => {
            double::json(one["service"][0]["traffic_limit"].clone())
        }
        ("GET", "/service/234/traffic_limit") => double::json(json!([])),
        ("POST", "/service_profile") => {
            let location = "https://elsewhere.example/api/v1/service_profile/2".to_owned();
            let headers = vec![("location".to_owned(), location)];
            Answer::Http { status: 201, headers, body: Vec::new() }
        }
        ("PUT" | "PATCH", _) => {
            puts.fetch_add(1, Ordering::Relaxed);
            Answer::Http { status: 204, headers: Vec::new(), body: Vec::new() }
        }
        _ => double::http(404, "text/plain", ""),
    }
}

#[tokio::test]
async fn the_endpoint_example_has_every_field_in_its_place_and_goes_back_unchanged() {
    let puts = AtomicUsize::default();
    let (upstream, gateway) = start(ENDPOINT, move |seen| endpoint_answers(seen, &puts)).await;
    let one = get(&gateway, "backends/endpoint/profiles/1").await;
    assert_eq!(but_etag(&one), smart_meter());
    assert!(!has(&one, "unmapped"));
    assert_eq!(list(&gateway, "backends/endpoint").await, std::slice::from_ref(&one));

    assert_eq!(update(&gateway, one.clone(), &["*"]).await, one, "nothing to send");
    assert_eq!(writes(&upstream), []);
    let created = create(&gateway, "backends/endpoint", one.clone()).await;
    assert_eq!(asked_of(&created), asked_of(&one));
    let renamed = Profile { display_name: "other".into(), ..one };
    ignored(&gateway, renamed, &["display_name"]).await;

    let sent = |method: &str, path: &str, body| {
        (method.to_owned(), format!("/api/v1/service_profile{path}"), body)
    };
    let expected = [
        sent("POST", "", smart_meter_body()),
        sent("PUT", "/2/service/123", Value::Null),
        sent("PUT", "/2/service/234", Value::Null),
        sent("PUT", "/2/service/123/traffic_limit/123", Value::Null),
        sent("PUT", "/2/service/123/traffic_limit/234", Value::Null),
        sent("PATCH", "/1", json!({"name": "other"})),
    ];
    assert_eq!(writes(&upstream), expected);
}
