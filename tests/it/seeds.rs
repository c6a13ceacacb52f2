//! Every example of the vendor's page "06. Service Profile", through the whole gateway.

use profile_gateway::pb::{Category, Dialect, Profile, RadioAccess, State};
use serde_json::json;
use tonic::Code;

use crate::kit::{
    bodies::{self, fixture},
    double::{self, CREATE, DELETE, Double, GET, LIST, LOGIN, MODIFY, Seen, double},
    gateway::{self, Gateway, PASSWORD, TOKEN},
    model::{
        DATA, NB_IOT, R2G, R3G, R4G, R5G, SMS_MO, SMS_MT, named, profile, service, shape, with,
    },
    status::{Failure, failure},
};

const FIXED: &str = "a fixed token";
const ACCESS: &str = "access-1-of-the-kit";

/// A gateway with either kind of credentials, and the token that requests must carry.
async fn start(credentials: &str, upstream: &Double) -> (Gateway, &'static str) {
    if credentials == FIXED {
        return (gateway::fixed(&upstream.base_url).await, TOKEN);
    }
    upstream.always(LOGIN, double::json(bodies::tokens(ACCESS, "refresh-1-of-the-kit")));
    (gateway::login(&upstream.base_url).await, ACCESS)
}

/// The headers that the vendor lists for every call.
#[track_caller]
fn assert_headers(request: &Seen, token: &str) {
    assert_eq!(request.header("content-type"), "application/json", "{request:?}");
    assert_eq!(request.header("x-requested-with"), "XMLHttpRequest", "{request:?}");
    assert_eq!(request.header("authorization"), "", "{request:?}");
    let bearer = if token.is_empty() { String::new() } else { format!("Bearer {token}") };
    assert_eq!(request.header("x-authorization"), bearer, "{request:?}");
}

/// The profile of the create example.
fn addon() -> Profile {
    Profile {
        display_name: "MVNE-AddOnServiceProfile".into(),
        state: State::Active.into(),
        category: Category::Addon.into(),
        ..with(&[SMS_MO, SMS_MT, DATA], &[R5G, R4G, R3G, R2G])
    }
}

/// The change of the modify example.
fn change() -> Profile {
    Profile {
        display_name: "MVNE-BaseServiceProfile".into(),
        state: State::Active.into(),
        ..Profile { name: named("SP_343").name, ..with(&[SMS_MT], &[R2G, R3G, R4G]) }
    }
}

/// What the profile of the modify example is before it: everything differs.
fn before_change() -> serde_json::Value {
    bodies::profile_with("SP_343", "before", json!({"status": "0"}))
}

#[tokio::test]
async fn creates_as_the_examples_show() {
    for credentials in [FIXED, "a login"] {
        for (example, id, read) in [
            ("create-success-addon-plan", "SP_355", "1"),
            ("create-success-base-plan", "SP_354", "1"),
            ("create-success-with-nb-iot-service-type", "SP_554", "1"),
        ] {
            let upstream = double().await;
            let (gateway, token) = start(credentials, &upstream).await;
            let stored = json!({"status": read, "category": "1", "ratTypeName": "2G/3G/4G/5G",
                "serviceName": "DATA|MO-SMS|MT-SMS"});
            let stored = bodies::profile_with(id, "MVNE-AddOnServiceProfile", stored);
            upstream
                .then(CREATE, double::json(fixture(example)))
                .always(LIST, double::json(fixture("get-failure-no-data-available")))
                .always(GET, double::json(bodies::profiles(&[stored])));

            let created = gateway.create(addon()).await.unwrap();
            let sent = upstream.requests(CREATE);
            assert_eq!(sent.len(), 1);
            assert_eq!(sent[0].json(), fixture("create-request"));
            upstream
                .seen()
                .iter()
                .filter(|r| r.operation() != Some(LOGIN))
                .for_each(|r| assert_headers(r, token));
            assert_eq!(created.name, format!("backends/sft/profiles/{id}"));
            assert!(!created.etag.is_empty());
            assert_eq!(created, gateway.get(id).await.unwrap(), "{example}");
        }
    }
}

#[tokio::test]
async fn creates_nb_iot_without_an_access_type() {
    let upstream = double().await;
    let (gateway, _) = start(FIXED, &upstream).await;
    let stored = json!({"serviceName": "NB-IOT", "ratTypeName": null});
    upstream
        .then(CREATE, double::json(fixture("create-success-with-nb-iot-service-type")))
        .always(LIST, double::json(fixture("get-success-with-nb-iot-service-type")))
        .always(
            GET,
            double::json(bodies::profiles(&[bodies::profile_with("SP_554", "m", stored)])),
        );
    let meter = Profile { services: vec![], radio_access: vec![NB_IOT.into()], ..profile("m") };
    let created = gateway.create(meter).await.unwrap();
    let members = json!({"name": "m", "category": "0", "status": "1", "service": "5"});
    assert_eq!(upstream.requests(CREATE)[0].json(), bodies::request(members));
    assert_eq!(shape(&created), (vec![], vec![NB_IOT]));
}

#[tokio::test]
async fn modifies_as_the_examples_show() {
    for credentials in [FIXED, "a login"] {
        for example in
            ["modify-base-plan", "modify-addon-plan", "modify-success-with-nb-iot-service-type"]
        {
            let upstream = double().await;
            let (gateway, token) = start(credentials, &upstream).await;
            let after = json!({"serviceName": "MT-SMS", "ratTypeName": "2G/3G/4G"});
            let after = bodies::profile_with("SP_343", "MVNE-BaseServiceProfile", after);
            upstream
                .then(GET, double::json(bodies::profiles(&[before_change()])))
                .always(GET, double::json(bodies::profiles(&[after])))
                .then(MODIFY, double::json(fixture(example)));

            let changed = gateway.update(change()).await.unwrap();
            let sent = upstream.requests(MODIFY);
            assert_eq!(sent.len(), 1);
            assert_eq!(sent[0].json(), fixture("modify-request"));
            assert_headers(&sent[0], token);
            assert_eq!(changed, gateway.get("SP_343").await.unwrap(), "{example}");
            assert_eq!(shape(&changed), (vec!["3"], vec![R2G, R3G, R4G]));
        }
    }
}

#[tokio::test]
async fn deletes_as_the_example_shows() {
    for credentials in [FIXED, "a login"] {
        let upstream = double().await;
        let (gateway, token) = start(credentials, &upstream).await;
        upstream.then(DELETE, double::json(fixture("delete-success")));
        gateway.delete("SP_12").await.unwrap();
        let sent = upstream.requests(DELETE);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].json(), fixture("delete-request"));
        assert_headers(&sent[0], token);
    }
}

#[tokio::test]
async fn reads_as_the_examples_show() {
    for credentials in [FIXED, "a login"] {
        let upstream = double().await;
        let (gateway, token) = start(credentials, &upstream).await;
        upstream
            .then(GET, double::json(fixture("get-success-specific-service-profile")))
            .then(LIST, double::json(fixture("get-success")))
            .then(LIST, double::json(fixture("get-success-with-nb-iot-service-type")));

        let one = gateway.get("SP_2").await.unwrap();
        let expected = Profile {
            name: "backends/sft/profiles/SP_2".into(),
            display_name: "DEFAULT".into(),
            dialect: Dialect::BicsSft.into(),
            state: State::Active.into(),
            category: Category::Base.into(),
            radio_access: [R2G, R3G, R4G, R5G].map(i32::from).to_vec(),
            services: [("2", SMS_MO), ("3", SMS_MT), ("4", DATA)]
                .map(|(id, kind)| profile_gateway::pb::Service { id: id.into(), ..service(kind) })
                .to_vec(),
            etag: one.etag.clone(),
            ..Profile::default()
        };
        assert_eq!(one, expected);
        assert!(one.etag.starts_with('"') && one.etag.ends_with('"') && one.etag.len() > 10);

        // `totalCount` is "19" in the example, and there are three.
        let listed = gateway.list().await.unwrap();
        let names: Vec<&str> = listed.iter().map(|p| p.display_name.as_str()).collect();
        assert_eq!(names, ["DEFAULT", "MVNEServiceProfile-Base", "MVNEServiceProfile-Addon"]);
        assert_eq!(listed[0], one);
        assert_eq!(shape(&listed[2]), (vec!["2", "3", "4"], vec![R2G, R3G, R4G]));

        let meters = gateway.list().await.unwrap();
        let facts = |p: &Profile| (p.display_name.clone(), p.category(), p.radio_access.clone());
        let nb_iot = vec![i32::from(RadioAccess::NbIot)];
        assert_eq!(facts(&meters[0]), ("DEFAULT".into(), Category::Base, nb_iot.clone()));
        assert_eq!(facts(&meters[1]), ("addonn".into(), Category::Addon, nb_iot));

        let gets = upstream.requests(GET);
        assert_eq!(gets[0].path, "/api/GetServiceProfile?serviceProfileId=SP_2");
        gets.iter().chain(&upstream.requests(LIST)).for_each(|r| assert_headers(r, token));
    }
}

#[tokio::test]
async fn logs_in_as_the_page_shows() {
    let upstream = double().await;
    let (gateway, token) = start("a login", &upstream).await;
    upstream.always(GET, double::json(fixture("get-success-specific-service-profile")));
    gateway.get("SP_2").await.unwrap();
    gateway.get("SP_2").await.unwrap();
    let logins = upstream.requests(LOGIN);
    assert_eq!(logins.len(), 1);
    assert_eq!(logins[0].json(), json!({"username": "operator", "password": PASSWORD}));
    assert_headers(&logins[0], "");
    upstream.requests(GET).iter().for_each(|r| assert_headers(r, token));
}

/// The failure examples: operation, fixture, and what the caller gets.
const FAILURES: &[(&str, &str, Code, &str, &str)] = &[
    (CREATE, "create-failure", Code::Unknown, "UPSTREAM_FAILURE", "1324"),
    (
        CREATE,
        "create-failure-duplicate-service-profile-name",
        Code::AlreadyExists,
        "PROFILE_ALREADY_EXISTS",
        "6554",
    ),
    (
        CREATE,
        "create-failure-invalid-child-config-for-service-profile",
        Code::FailedPrecondition,
        "CHILD_CONFIG_INVALID",
        "6565",
    ),
    (
        CREATE,
        "create-failure-obsolete-access-type-value",
        Code::InvalidArgument,
        "ACCESS_TYPE_NOT_APPLICABLE",
        "10111",
    ),
    (GET, "get-failure", Code::Unknown, "UPSTREAM_FAILURE", "1328"),
    (LIST, "get-failure", Code::Unknown, "UPSTREAM_FAILURE", "1328"),
    (GET, "get-failure-no-data-available", Code::NotFound, "PROFILE_NOT_FOUND", "1359"),
    // The profile is still there in these two.
    (MODIFY, "modify-failure", Code::Unknown, "UPSTREAM_FAILURE", "1326"),
    (DELETE, "delete-failure", Code::Unknown, "UPSTREAM_FAILURE", "1330"),
    (
        MODIFY,
        "modify-failure-invalid-child-config-for-service-profile",
        Code::FailedPrecondition,
        "CHILD_CONFIG_INVALID",
        "6565",
    ),
    (
        MODIFY,
        "modify-base-plan-failure-accesstype-modification",
        Code::FailedPrecondition,
        "RAT_PRIVILEGE_CONFLICT",
        "10085",
    ),
    (
        MODIFY,
        "modify-failure-service-modification-not-allowed-for-addons",
        Code::FailedPrecondition,
        "ADDON_SERVICES_IMMUTABLE",
        "10100",
    ),
    (
        DELETE,
        "delete-failure-service-profile-attached-to-plan-so-deletion-failure",
        Code::FailedPrecondition,
        "PROFILE_IN_USE",
        "8196",
    ),
];

/// Calls what asks the upstream for this operation.
async fn call(gateway: &Gateway, operation: &str) -> Failure {
    match operation {
        CREATE => failure(gateway.create(addon()).await),
        MODIFY => failure(gateway.update(change()).await),
        DELETE => failure(gateway.delete("SP_343").await),
        LIST => failure(gateway.list().await),
        _ => failure(gateway.get("SP_343").await),
    }
}

#[tokio::test]
async fn failures_mean_what_their_code_says() {
    for credentials in [FIXED, "a login"] {
        for (operation, example, code, reason, upstream_code) in FAILURES {
            let upstream = double().await;
            let (gateway, _) = start(credentials, &upstream).await;
            let example_body = fixture(example);
            upstream
                .then(operation, double::json(example_body.clone()))
                .always(LIST, double::json(fixture("get-failure-no-data-available")))
                .always(GET, double::json(bodies::profiles(&[before_change()])));
            // The profile is read before it is changed.
            let failed = call(&gateway, operation).await;
            assert!(failed.is(*code, reason), "{example}: {failed:#?}");
            let response = &example_body["Response"];
            let description = response["resultParam"]["resultDescription"].as_str().unwrap();
            for (key, value) in [
                ("upstream_code", *upstream_code),
                ("upstream_status", "200"),
                ("upstream_message", description),
                ("upstream_request_id", response["responseId"].as_str().unwrap()),
                ("backend", "sft"),
                ("dialect", "bics-sft"),
            ] {
                assert_eq!(failed.meta(key), value, "{example}: {key}");
            }
            let planned = upstream.count(operation);
            assert!(operation == &GET || planned == 1, "{example}: {planned} calls");
        }
    }
}

#[tokio::test]
async fn failures_say_what_they_are_about() {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    let plan = |operation, example| {
        upstream.then(operation, double::json(fixture(example)));
    };
    upstream
        .always(LIST, double::json(fixture("get-failure-no-data-available")))
        .always(GET, double::json(bodies::profiles(&[before_change()])));

    plan(CREATE, "create-failure-obsolete-access-type-value");
    assert_eq!(call(&gateway, CREATE).await.fields, ["profile.radio_access"]);
    plan(MODIFY, "modify-base-plan-failure-accesstype-modification");
    let conflict = call(&gateway, MODIFY).await;
    assert_eq!(conflict.meta("child_entity"), "Reseller_11");
    assert_eq!(conflict.preconditions, ["RAT_PRIVILEGE_CONFLICT"]);
    plan(DELETE, "delete-failure-service-profile-attached-to-plan-so-deletion-failure");
    let in_use = call(&gateway, DELETE).await;
    assert_eq!(in_use.resource.as_deref(), Some("backends/sft/profiles/SP_343"));
    assert_eq!(in_use.preconditions, ["PROFILE_IN_USE"]);
    assert_eq!(in_use.retry, None);

    // The table of the page has 1338 for what the example answers with 8196.
    upstream.then(DELETE, double::json(bodies::result("1338")));
    assert!(call(&gateway, DELETE).await.is(Code::FailedPrecondition, "PROFILE_IN_USE"));
    upstream.then(MODIFY, double::json(bodies::result("6554")));
    assert!(call(&gateway, MODIFY).await.is(Code::AlreadyExists, "PROFILE_ALREADY_EXISTS"));
}

#[tokio::test]
async fn only_the_inner_code_decides() {
    for credentials in [FIXED, "a login"] {
        let upstream = double().await;
        let (gateway, _) = start(credentials, &upstream).await;
        for (n, outer) in ["0", "1", "nonsense", "", "401"].into_iter().enumerate() {
            upstream.then(DELETE, double::json(bodies::result_with("1329", outer, "words")));
            gateway.delete("SP_343").await.unwrap();
            upstream.then(DELETE, double::json(bodies::result_with("1338", outer, "words")));
            let failed = call(&gateway, DELETE).await;
            assert!(failed.is(Code::FailedPrecondition, "PROFILE_IN_USE"), "{outer}: {failed:#?}");
            assert_eq!(upstream.writes(), 2 * (n + 1), "{credentials}, outer {outer:?}");
        }
    }
}
