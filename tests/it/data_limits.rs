//! The custom data limits of endpoint profiles, and other things that the vendor accepts without
//! doing: nothing of them is lost in silence.

use std::sync::atomic::{AtomicUsize, Ordering};

use profile_gateway::pb::{
    CreateProfileRequest, DiffProfilesRequest, DiffProfilesResponse, GetBackendRequest,
    GetProfileRequest, ListProfilesRequest, Note, NoteKind, PaymentType, PreviewWriteRequest,
    Profile, Service, ServiceType, TranslateProfileRequest, UpdateProfileRequest,
    preview_write_request::Write,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::kit::{
    double::{self, Answer, Double, OTHER, Seen, double},
    gateway::{self, Gateway, fresh},
    model,
    sandbox::{Sandbox, sandbox},
    status::{fails, failure},
};

const ONE: &str = "backends/endpoint/profiles/390";
const TWO: &str = "backends/endpoint/profiles/412";
const E: &str = "backends/e/profiles/1";
const LIMITS: &str = "data_limits";

/// A gateway that looks at data limits or not.
async fn looking(sandbox: &Sandbox, setting: &str) -> Gateway {
    sandbox.set("endpoint", &json!({"rate_limit": false})).await;
    let lines = format!("requests_per_second = 100000\ndata_limits = \"{setting}\"");
    gateway::reaching(&sandbox.base_url(), sandbox, "endpoint", "20s", &lines).await
}

/// Adds a data limit as another client of the vendor would.
async fn limit(sandbox: &Sandbox, id: i64, body: Value) {
    let config = sandbox.config();
    let token = config.split("application_token = \"").nth(1).unwrap();
    let token = token.split('"').next().unwrap();
    let (http, base) = (reqwest::Client::new(), sandbox.base_url());
    let login = json!({ "application_token": token }).to_string();
    let answer = http.post(format!("{base}/api/v1/authenticate")).body(login).send().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let url = format!("{base}/api/v1/service_profile/{id}/traffic_limit");
    let bearer = answer["auth_token"].as_str().unwrap();
    let added = http.post(url).bearer_auth(bearer).body(body.to_string()).send().await.unwrap();
    assert_eq!(added.status(), 201);
}

async fn get(gateway: &Gateway, name: &str) -> Result<Profile, Status> {
    let request = GetProfileRequest { name: name.to_owned(), read_mask: None };
    gateway.profiles.clone().get_profile(fresh(request)).await.map(tonic::Response::into_inner)
}

async fn diff(gateway: &Gateway, left: &str, right: &str) -> DiffProfilesResponse {
    let request = DiffProfilesRequest { left: left.to_owned(), right: right.to_owned() };
    gateway.profiles.clone().diff_profiles(request).await.unwrap().into_inner()
}

async fn translated(gateway: &Gateway, name: &str) -> Vec<Note> {
    let request = TranslateProfileRequest {
        name: name.to_owned(),
        target_backend: "backends/endpoint".to_owned(),
    };
    gateway.profiles.clone().translate_profile(request).await.unwrap().into_inner().notes
}

fn kinds(notes: &[Note], field: &str) -> Vec<NoteKind> {
    notes.iter().filter(|note| note.field == field).map(Note::kind).collect()
}

#[tokio::test]
async fn what_was_not_looked_at_is_said_so() {
    let sandbox = sandbox().await;
    let gateway = looking(&sandbox, "off").await;
    limit(&sandbox, 390, json!({"service": {"id": 38}, "volume": 1_000_000})).await;
    assert_eq!(get(&gateway, ONE).await.unwrap().data_limits, []);
    assert_eq!(kinds(&translated(&gateway, ONE).await, LIMITS), [NoteKind::NotRead]);
    let found = diff(&gateway, ONE, TWO).await;
    assert_eq!(kinds(&found.notes, LIMITS), [NoteKind::NotRead]);
    assert!(found.notes[0].description.contains("data_limits is off"), "{found:?}");
    assert_eq!(sandbox.arrived("ListProfileTrafficLimits").await, 0);
}

// Regression: the answer to "which profiles have a cap?" was an empty list.
#[tokio::test]
async fn a_question_about_what_was_not_looked_at_is_refused() {
    let sandbox = sandbox().await;
    let gateway = looking(&sandbox, "off").await;
    limit(&sandbox, 390, json!({"service": {"id": 38}, "volume": 1_000_000})).await;
    let before = sandbox.journal().await.len();
    let list = async |parent: &str, filter: &str, mask: &[&str], partial: bool| {
        let request = ListProfilesRequest {
            filter: filter.to_owned(),
            read_mask: Some(model::mask(mask)),
            return_partial_success: partial,
            ..model::list(parent)
        };
        gateway.profiles.clone().list_profiles(request).await.map(tonic::Response::into_inner)
    };
    for (filter, mask, fields) in [
        ("data_limits.volume_bytes > 0", &[][..], &["filter"][..]),
        ("NOT data_limits : *", &[], &["filter"]),
        ("state = ACTIVE OR data_limits.id = 1", &["name"], &["filter"]),
        ("", &["name", "data_limits"], &["read_mask"]),
        ("data_limits : *", &["data_limits"], &["read_mask", "filter"]),
    ] {
        for parent in ["backends/endpoint", "backends/-"] {
            let failed = list(parent, filter, mask, false).await;
            let failed = fails(failed, Code::InvalidArgument, "VALIDATION_FAILED");
            assert_eq!(failed.fields, fields, "{filter} {mask:?}");
            assert!(failed.message.contains("data_limits is off"), "{}", failed.message);
        }
        let partial = list("backends/-", filter, mask, true).await.unwrap();
        assert_eq!((partial.profiles.len(), partial.unreachable.len()), (0, 1), "{filter}");
    }
    let request = GetProfileRequest {
        name: ONE.to_owned(),
        read_mask: Some(model::mask(&["display_name", "data_limits"])),
    };
    let failed = gateway.profiles.clone().get_profile(request).await;
    let failed = fails(failed, Code::InvalidArgument, "VALIDATION_FAILED");
    assert_eq!(failed.fields, ["read_mask"]);
    assert!(failed.message.contains("data_limits is off"), "{}", failed.message);
    assert_eq!(sandbox.journal().await.len(), before, "nothing was sent");
    list("backends/-", "data_limits", &["*"], false).await.unwrap();
}

#[tokio::test]
async fn data_limits_are_read_and_never_lost_in_silence() {
    let sandbox = sandbox().await;
    let gateway = looking(&sandbox, "on").await;
    let before = get(&gateway, ONE).await.unwrap();
    assert_eq!(kinds(&translated(&gateway, ONE).await, LIMITS), [], "there are no limits");
    let cap = json!({"service": {"id": 38}, "volume": 5_000_000_000_i64, "warning_percent": 80});
    limit(&sandbox, 390, cap).await;
    let satellite = json!({"service": {"id": 38}, "volume": 7, "satellite_only": true});
    limit(&sandbox, 390, satellite).await;

    let one = get(&gateway, ONE).await.unwrap();
    assert_ne!(one.etag, before.etag);
    let told: Vec<_> = one
        .data_limits
        .iter()
        .map(|l| (l.service_id.as_str(), l.volume_bytes, l.satellite_only, l.warning_percent))
        .collect();
    let expected =
        [("38", Some(5_000_000_000), Some(false), Some(80)), ("38", Some(7), Some(true), None)];
    assert_eq!(told, expected);
    let period = one.data_limits[0].period.clone().unwrap();
    assert_eq!((period.id.as_str(), period.time_units), ("2", Some(1)));

    let mut request = model::list("backends/endpoint");
    request.filter = "data_limits.volume_bytes > 1000".to_owned();
    let listed = gateway.profiles.clone().list_profiles(fresh(request)).await.unwrap();
    assert_eq!(listed.into_inner().profiles, [one]);

    let notes = translated(&gateway, ONE).await;
    assert_eq!(kinds(&notes, LIMITS), [NoteKind::Lost]);
    let lost = notes.iter().find(|note| note.field == LIMITS).unwrap();
    assert!(lost.description.contains("2 of the source profile"), "{lost:?}");
    let found = diff(&gateway, ONE, TWO).await;
    assert!(found.differences.iter().any(|difference| difference.field == LIMITS), "{found:?}");
    assert_eq!(found.notes, []);
}

#[tokio::test]
async fn limits_that_cannot_be_read_are_not_taken_for_none() {
    let sandbox = sandbox().await;
    let gateway = looking(&sandbox, "on").await;
    let arm = async |operation: &str, fault: Value, skip: u64| {
        let spec = json!({"upstream": "endpoint", "operation": operation, "fault": fault,
            "skip": skip});
        sandbox.arm_spec(spec).await;
    };
    let forbidden = json!({"kind": "result", "code": "1104"});
    arm("ListProfileTrafficLimits", forbidden.clone(), 0).await;
    let failed = get(&gateway, ONE).await;
    let failed = fails(failed, Code::PermissionDenied, "UPSTREAM_PERMISSION_DENIED");
    assert!(failed.message.contains("data_limits off"), "{}", failed.message);
    // The profile is removed between the two reads.
    arm("ListProfileTrafficLimits", forbidden, 0).await;
    arm("GetProfile", json!({"kind": "result", "code": "1201"}), 1).await;
    fails(get(&gateway, ONE).await, Code::NotFound, "PROFILE_NOT_FOUND");
}

/// Answers of an installation that has no data limits, or does not show them.
const REFUSALS: [(&str, u16, &str); 9] = [
    ("its own code", 404, r#"{"error_code":1201,"message":"Resource not found"}"#),
    ("another of its codes", 404, r#"{"error_code":1401,"message":"x"}"#),
    ("an unknown code", 404, r#"{"error_code":9999,"message":"x"}"#),
    ("of the API gateway", 404, r#"{"message":"Not Found"}"#),
    ("a page", 404, "<html>no</html>"),
    ("no body", 404, ""),
    ("no such method", 405, ""),
    ("gone", 410, ""),
    ("not allowed", 403, r#"{"error_code":1104,"message":"no"}"#),
];

/// An endpoint account with one profile, which answers this to a read of its data limits.
async fn without_limits(status: u16, body: &'static str) -> (Double, Gateway) {
    let upstream = double().await;
    let section = format!(
        "[backends.e]\ndialect = \"endpoint\"\nbase_url = \"{}\"\nauth_token = \
         \"t-of-the-kit\"\ndata_limits = \"on\"\n",
        upstream.base_url
    );
    let gateway = gateway::gateway().section(&section).start().await;
    upstream.always(OTHER, double::by(move |seen| answer(seen, status, body)));
    (upstream, gateway)
}

fn answer(seen: &Seen, status: u16, body: &str) -> Answer {
    match seen.path.rsplit('/').next() {
        Some("service_profile") => double::http(200, "application/json", r#"[{"id":1}]"#),
        Some("traffic_limit") => double::http(status, "text/html", body),
        _ => double::http(200, "application/json", r#"{"id":1,"name":"one"}"#),
    }
}

#[tokio::test]
async fn an_upstream_without_data_limits_does_not_make_profiles_vanish() {
    for (what, status, body) in REFUSALS {
        let (_upstream, gateway) = without_limits(status, body).await;
        let failed = failure(get(&gateway, E).await);
        assert_ne!(failed.code, Code::NotFound, "{what}: {failed:#?}");
        let told = failed.message.contains("turn the backend's data_limits off");
        assert!(told, "{what}: {failed:#?}");
        let mut request = model::list("backends/e");
        request.return_partial_success = true;
        let listed = gateway.profiles.clone().list_profiles(fresh(request)).await.unwrap();
        assert_eq!(listed.into_inner().unreachable, [E], "{what}");
    }
}

#[tokio::test]
async fn a_profile_that_goes_while_its_data_limits_are_read_is_gone() {
    for (_, status, body) in REFUSALS {
        let (upstream, gateway) = without_limits(status, body).await;
        let gone = r#"{"error_code":1201,"message":"ServiceProfile with id 1 not found"}"#;
        let gone = double::http(404, "application/json", gone);
        let asked = AtomicUsize::new(0);
        upstream.always(
            OTHER,
            double::by(move |seen| {
                let is_limits = seen.path.ends_with("traffic_limit");
                match asked.fetch_add(usize::from(!is_limits), Ordering::SeqCst) {
                    1 if !is_limits => gone.clone(),
                    _ => answer(seen, status, body),
                }
            }),
        );
        fails(get(&gateway, E).await, Code::NotFound, "PROFILE_NOT_FOUND");
    }
}

async fn preview(gateway: &Gateway, write: Write) -> Vec<Note> {
    let request = PreviewWriteRequest { write: Some(write) };
    gateway.profiles.clone().preview_write(request).await.unwrap().into_inner().notes
}

#[tokio::test]
async fn what_the_vendor_deprecates_or_does_not_do_is_said_before_it_is_written() {
    let sandbox = sandbox().await;
    let gateway = looking(&sandbox, "off").await;
    let request = GetBackendRequest { name: "backends/endpoint".to_owned() };
    let backend = gateway.backends.clone().get_backend(request).await.unwrap().into_inner();
    let fields = backend.capabilities.unwrap().fields;
    let note = |path: &str| fields.iter().find(|f| f.field == path).unwrap().note.clone();
    assert_eq!(note("payment_type"), "deprecated by the vendor");
    assert!(note("services").contains("no effect"), "{}", note("services"));
    assert!(note("data_limits").contains("data_limits is on"), "{}", note("data_limits"));
    assert_eq!(note("display_name"), "");

    let voice = [
        Service { r#type: ServiceType::Voice.into(), ..Service::default() },
        model::service_id("3"),
    ];
    for service in voice {
        let profile = Profile {
            display_name: "x".to_owned(),
            payment_type: PaymentType::Prepaid.into(),
            services: vec![service],
            ..Profile::default()
        };
        let parent = "backends/endpoint".to_owned();
        let create = CreateProfileRequest { parent, profile: Some(profile), ..Default::default() };
        let notes = preview(&gateway, Write::Create(create)).await;
        assert_eq!(kinds(&notes, "payment_type"), [NoteKind::Caution]);
        assert_eq!(kinds(&notes, "services"), [NoteKind::Caution]);
    }

    let change = |payment_type: PaymentType| {
        let profile = Profile {
            name: ONE.to_owned(),
            payment_type: payment_type.into(),
            ..Profile::default()
        };
        Write::Update(UpdateProfileRequest { profile: Some(profile), ..Default::default() })
    };
    let notes = preview(&gateway, change(PaymentType::Prepaid)).await;
    assert_eq!(kinds(&notes, "payment_type"), [NoteKind::Caution]);
    let notes = preview(&gateway, change(PaymentType::Postpaid)).await;
    assert_eq!(kinds(&notes, "payment_type"), [], "it is postpaid already");
}
