//! Requests and answers that are not sent by accident: each has its status, nothing grows without
//! bound, and the gateway keeps answering.

use std::io::Write as _;

use profile_gateway::pb::{
    BatchGetProfilesRequest, CreateProfileRequest, DeleteProfileRequest, DetachServiceRequest,
    GetProfileRequest, Profile, UpdateProfileRequest,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::kit::{
    bodies::{self, fixture, profile_with, result_with},
    double::{self, Answer, CREATE, DELETE, Double, GET, LIST, MODIFY, double},
    gateway::{self, Gateway, gateway},
    model::{self, DATA, mask, named, profile, service},
    status::{Failure, fails, failure},
};

async fn start() -> (Double, Gateway) {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    (upstream, gateway)
}

/// That the gateway answers, has caught no panic, and says so.
async fn assert_well(upstream: &Double, gateway: &Gateway) {
    upstream.then(GET, double::json(fixture("get-success-specific-service-profile")));
    assert_eq!(gateway.get("SP_2").await.unwrap().display_name, "DEFAULT");
    let metrics = gateway.admin("/metrics").await;
    assert!(!metrics.contains("GATEWAY_INTERNAL"), "{metrics}");
}

/// All calls that name a profile, with this name.
async fn calls(gateway: &Gateway, name: &str) -> Vec<(&'static str, Failure)> {
    let (mut client, name) = (gateway.profiles.clone(), name.to_owned());
    let get = GetProfileRequest { name: name.clone(), read_mask: None };
    let changed = Profile { name: name.clone(), display_name: "x".into(), ..Profile::default() };
    let update = UpdateProfileRequest { profile: Some(changed), ..Default::default() };
    let delete = DeleteProfileRequest { name: name.clone(), ..Default::default() };
    let detach = DetachServiceRequest { name, service: Some(service(DATA)), ..Default::default() };
    vec![
        ("get", failure(client.get_profile(get).await)),
        ("update", failure(client.update_profile(update).await)),
        ("delete", failure(client.delete_profile(delete).await)),
        ("detach", failure(client.detach_service(detach).await)),
    ]
}

#[tokio::test]
async fn ids_never_reach_an_url_unchecked() {
    const INVALID: (Code, &str) = (Code::InvalidArgument, "VALIDATION_FAILED");
    const MISSING: (Code, &str) = (Code::NotFound, "PROFILE_NOT_FOUND");
    let (upstream, gateway) = start().await;
    let long = format!("SP_{}", "1".repeat(10_000));
    for (id, (code, reason)) in [
        ("SP_1/SP_2", INVALID),
        ("../SP_1", INVALID),
        ("SP_1\0", INVALID),
        ("SP_1\n", INVALID),
        ("", INVALID),
        (&long, INVALID),
        ("..", MISSING),
        ("%2F", MISSING),
        ("SP_1%2F..", MISSING),
        ("SP_1&serviceProfileId=SP_2", MISSING),
        ("SP_1#x", MISSING),
        ("SP_1?x", MISSING),
        ("SP_1 ", MISSING),
        ("SP_-1", MISSING),
        ("SP_1١", MISSING),
        ("ＳＰ_1", MISSING),
        ("\u{202e}1_PS", MISSING),
        ("SP_11111111111111111111111111111111111111111", MISSING),
    ] {
        for (call, failed) in calls(&gateway, &model::name(id)).await {
            let short: String = id.chars().take(50).collect();
            assert!(failed.is(code, reason), "{call} {short:?}: {failed:#?}");
        }
    }
    assert_eq!(upstream.seen().len(), 0);
    assert_well(&upstream, &gateway).await;
}

#[tokio::test]
async fn long_requests_are_refused_with_short_messages() {
    let (upstream, gateway) = start().await;
    let long = "é".repeat(1 << 16);
    let mut client = gateway.profiles.clone();
    for (call, failed) in calls(&gateway, &model::name(&long)).await {
        assert!(failed.is(Code::InvalidArgument, "VALIDATION_FAILED"), "{call}: {failed:#?}");
    }
    let nowhere =
        GetProfileRequest { name: format!("backends/{long}/profiles/SP_1"), read_mask: None };
    fails(client.get_profile(nowhere).await, Code::InvalidArgument, "VALIDATION_FAILED");
    let named_long = Profile { display_name: long.clone(), ..profile("x") };
    let failed =
        fails(gateway.create(named_long).await, Code::InvalidArgument, "VALIDATION_FAILED");
    assert_eq!(failed.fields, ["profile.display_name"]);
    for wrong in ["a\0b", "a\nb", "\u{1b}[31m", "\u{7f}"] {
        let failed = failure(gateway.create(profile(wrong)).await);
        assert_eq!(failed.fields, ["profile.display_name"], "{wrong:?}");
    }

    let paths: Vec<String> = (0..5_000).map(|n| format!("nope_{n}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let many = failure(gateway.update_with(named("SP_1"), Some(mask(&paths)), None).await);
    assert!(many.is(Code::InvalidArgument, "VALIDATION_FAILED") && !many.fields.is_empty());
    let one = failure(gateway.update_with(named("SP_1"), Some(mask(&[&long])), None).await);
    assert!(one.is(Code::InvalidArgument, "VALIDATION_FAILED"), "{one:#?}");
    let services = (0..300).map(|n| model::service_id(&format!("{n}{}", "x".repeat(500))));
    let services = Profile { services: services.collect(), ..profile("x") };
    fails(gateway.create(services).await, Code::InvalidArgument, "VALIDATION_FAILED");
    let access = Profile { radio_access: (0..50_000).collect(), ..profile("x") };
    fails(gateway.create(access).await, Code::InvalidArgument, "VALIDATION_FAILED");
    assert_eq!(upstream.seen().len(), 0);
    assert_well(&upstream, &gateway).await;
}

#[tokio::test]
async fn messages_over_the_limit_are_not_read() {
    let (upstream, gateway) = start().await;
    let large = Profile { display_name: "x".repeat(5 << 20), ..profile("x") };
    fails(gateway.create(large).await, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    assert_eq!(upstream.seen().len(), 0);
    assert_well(&upstream, &gateway).await;

    // The other way: what is over the limit of answers. A list has pages, a batch does not.
    let builder = gateway::gateway().server("max_response_bytes = \"4 KiB\"");
    let small = builder.fixed("sft", &upstream.base_url, "").start().await;
    let items: Vec<Value> = (1..=200).map(|n| bodies::profile(&format!("SP_{n}"), "one")).collect();
    upstream.always(LIST, double::json(bodies::profiles(&items)));
    assert!(small.list().await.unwrap().len() < 200);
    let batch = BatchGetProfilesRequest {
        parent: model::BACKEND.into(),
        names: (1..=200).map(|n| model::name(&format!("SP_{n}"))).collect(),
    };
    let batch = small.profiles.clone().batch_get_profiles(batch).await;
    fails(batch, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
}

#[tokio::test]
async fn request_ids_are_uuids() {
    let (upstream, gateway) = start().await;
    let mut client = gateway.profiles.clone();
    for id in ["1", "nope", "123e4567-e89b-12d3-a456-42661417400", "' or 1=1", &"a".repeat(100_000)]
    {
        let create = CreateProfileRequest {
            parent: model::BACKEND.into(),
            profile: Some(profile("x")),
            request_id: id.into(),
            ..Default::default()
        };
        let update = UpdateProfileRequest {
            profile: Some(Profile { display_name: "x".into(), ..named("SP_1") }),
            request_id: id.into(),
            ..Default::default()
        };
        let delete = DeleteProfileRequest {
            name: model::name("SP_1"),
            request_id: id.into(),
            ..Default::default()
        };
        for failed in [
            failure(client.create_profile(create).await),
            failure(client.update_profile(update).await),
            failure(client.delete_profile(delete).await),
        ] {
            assert!(failed.is(Code::InvalidArgument, "VALIDATION_FAILED"), "{failed:#?}");
            assert_eq!(failed.fields, ["request_id"]);
        }
    }
    assert_eq!(upstream.seen().len(), 0);
}

fn raw(body: impl Into<Vec<u8>>) -> Answer {
    double::http(200, "application/json", body)
}

/// A member with arrays in each other.
fn nested(depth: usize) -> String {
    let member = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let body = bodies::profiles(&[bodies::profile_with("SP_1", "one", json!({"deep": "here"}))]);
    body.to_string().replace("\"here\"", &member)
}

/// Four megabytes of spaces in a few kilobytes, over and over.
fn bomb() -> Answer {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&vec![b' '; 4 << 20]).unwrap();
    let body = encoder.finish().unwrap().repeat(64);
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Answer::Http { status: 200, headers, body }
}

/// Answers that are not the dialect's.
fn foreign() -> Vec<(&'static str, Answer)> {
    let mut list_is_a_text = bodies::profiles(&[]);
    list_is_a_text["Response"]["responseParam"]["serviceProfileList"] = json!("DATA");
    let mut item_is_a_number = bodies::profiles(&[]);
    item_is_a_number["Response"]["responseParam"]["serviceProfileList"] = json!([1, "x", null]);
    let mut not_text = fixture("get-success").to_string().into_bytes();
    let at = not_text.iter().position(|b| *b == b'D').unwrap();
    not_text[at] = 0xff;
    let cut =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"Resp";
    let chunk = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"Res\r\nzz\r\n";
    vec![
        ("HTML", double::http(200, "text/html", "<html><body>Sign in</body></html>")),
        ("HTML called JSON", raw("\n <!DOCTYPE html><html>x</html>")),
        ("nothing", raw("")),
        ("white space", raw(" \r\n ")),
        ("cut JSON", raw("{\"Response\":{\"resultCode\":\"0\"")),
        ("a cut body", Answer::Raw(cut.to_vec())),
        ("a broken chunk", Answer::Raw(chunk.to_vec())),
        ("null", raw("null")),
        ("an array", raw("[]")),
        ("a number", raw("1331")),
        ("a text", raw("\"1331\"")),
        ("an empty object", raw("{}")),
        ("another envelope", raw("{\"error\":{\"code\":1331}}")),
        ("a null envelope", raw("{\"Response\":null}")),
        ("an envelope without a code", raw("{\"Response\":{\"resultCode\":\"0\"}}")),
        ("wrong types", raw("{\"Response\":{\"resultParam\":[{\"resultCode\":{}}]}}")),
        ("a success without payload", double::json(bodies::result("1331"))),
        ("a text for a list", double::json(list_is_a_text)),
        ("no objects in the list", double::json(item_is_a_number)),
        ("bytes that are not text", raw(not_text)),
        ("arrays without end", raw("[".repeat(200_000))),
        ("objects without end", raw("{\"a\":".repeat(200_000))),
        ("a broken gzip", {
            let headers = vec![("content-encoding".to_owned(), "gzip".to_owned())];
            Answer::Http { status: 200, headers, body: b"not gzip".to_vec() }
        }),
        ("a bomb", bomb()),
        ("a bare 404", double::http(404, "text/html", "<html>404</html>")),
        ("a 404 of a proxy", double::http(404, "application/json", "{\"message\":\"no route\"}")),
        ("a 400", double::http(400, "text/html", "<html>400</html>")),
        ("a 204", double::http(204, "text/plain", "")),
    ]
}

#[tokio::test]
async fn answers_that_are_not_the_dialects_break_its_contract() {
    let upstream = double().await;
    let limits = "max_response_bytes = \"1 MiB\"";
    let gateway = gateway().fixed("sft", &upstream.base_url, limits).start().await;
    for (what, answer) in foreign() {
        upstream.then(GET, answer.clone()).then(LIST, answer);
        for failed in [failure(gateway.get("SP_1").await), failure(gateway.list().await)] {
            let expected = failed.is(Code::Internal, "UPSTREAM_CONTRACT_VIOLATION");
            assert!(expected, "{what}: {failed:#?}");
            assert_eq!(failed.retry, None, "{what}");
        }
        assert_well(&upstream, &gateway).await;
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    const CHUNK: usize = 1 << 20;
    const TIMES: usize = 400;
    let upstream = double().await;
    let limits = "max_response_bytes = \"1 MiB\"";
    let gateway = gateway().fixed("sft", &upstream.base_url, limits).start().await;
    upstream.then(GET, Answer::Stream { chunk: vec![b' '; CHUNK], times: TIMES });
    let failed = fails(gateway.get("SP_1").await, Code::Internal, "UPSTREAM_CONTRACT_VIOLATION");
    assert_eq!(failed.retry, None);
    assert_well(&upstream, &gateway).await;
    // The rest is what sockets hold on both sides.
    assert!(upstream.sent() < TIMES * CHUNK / 4, "{} bytes were taken", upstream.sent());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (upstream, gateway) = start().await;
    let elsewhere = double().await;
    for status in [301, 302, 303, 307, 308] {
        let to = format!("{}/api/GetServiceProfile?serviceProfileId=SP_1", elsewhere.base_url);
        let headers = vec![("location".to_owned(), to)];
        let answer = Answer::Http { status, headers, body: Vec::new() };
        upstream.then(GET, answer.clone()).then(DELETE, answer);
        let failed = failure(gateway.get("SP_1").await);
        assert!(failed.is(Code::Internal, "UPSTREAM_CONTRACT_VIOLATION"), "{status}: {failed:#?}");
        assert_eq!(failed.meta("upstream_status"), status.to_string());
        // A redirect says nothing about what a write has done, so a read does.
        upstream.then(GET, double::json(fixture("get-failure-no-data-available")));
        gateway.delete("SP_1").await.unwrap();
    }
    assert_eq!(elsewhere.seen().len(), 0, "no other host gets the token");
    assert_eq!(upstream.seen().len(), 15);
}

#[tokio::test]
async fn an_upstreams_text_is_bounded_and_escaped() {
    let (upstream, gateway) = start().await;
    let long = "wörds ".repeat(200_000);
    for words in [
        long.as_str(),
        "<html><body><h1>Tomcat</h1></body></html>",
        "before <!DOCTYPE html><p>x</p>",
        "a\0b\r\n\u{1b}[31mc",
    ] {
        for code in ["1328", "9999", long.as_str(), "<b>", "a\nb"] {
            let mut body = result_with(code, "1", words);
            body["Response"]["responseId"] = json!(words);
            upstream.then(GET, double::json(body));
            // `failure` holds sizes and markup against what is promised.
            let failed = failure(gateway.get("SP_1").await);
            assert!(failed.is(Code::Unknown, "UPSTREAM_FAILURE"), "{failed:#?}");
            assert!(failed.metadata.values().all(|value| value.len() <= 256), "{failed:#?}");
            let shown = failed.metadata.values().chain([&failed.message]);
            assert!(
                shown.into_iter().all(|text| !text.chars().any(char::is_control)),
                "{failed:#?}"
            );
        }
    }
    let conflict = format!("conflicting RAT privileges assigned by {long}. Please");
    upstream
        .then(GET, double::json(bodies::profiles(&[bodies::profile("SP_1", "one")])))
        .then(MODIFY, double::json(result_with("10085", "0", &conflict)));
    let renamed = Profile { display_name: "x".into(), ..named("SP_1") };
    fails(gateway.update(renamed).await, Code::FailedPrecondition, "RAT_PRIVILEGE_CONFLICT");
    assert_well(&upstream, &gateway).await;
}

#[tokio::test]
async fn odd_values_of_a_profile_survive_unchanged() {
    let (upstream, gateway) = start().await;
    let long = "x".repeat(300_000);
    let odd = "\u{202e}<script>\u{0}\u{1f600}";
    for members in [
        json!({"profileName": long}),
        json!({"profileName": odd}),
        json!({"serviceName": "|".repeat(100_000)}),
        json!({"ratTypeName": "/".repeat(100_000)}),
        json!({"extra": {"a": [[[1, {"b": null}]]]}}),
    ] {
        let item = profile_with("SP_1", "one", members.clone());
        upstream.then(GET, double::json(bodies::profiles(&[item])));
        let found = gateway.get("SP_1").await.unwrap();
        if let Some(name) = members["profileName"].as_str() {
            assert_eq!(found.display_name, name);
        }
    }
    // Deeper than clients read protobuf, and than parsers read JSON.
    for depth in [110, 100_000] {
        upstream.then(GET, raw(nested(depth)));
        assert!(gateway.get("SP_1").await.unwrap().unmapped.unwrap().fields.contains_key("deep"));
    }
    let lists: Vec<Value> =
        (1..=3_000).map(|n| bodies::profile(&format!("SP_{n}"), "one")).collect();
    upstream.then(LIST, double::json(bodies::profiles(&lists)));
    assert_eq!(gateway.list().await.unwrap().len(), 1000);
    // A created id that no profile can have is not believed.
    upstream
        .always(LIST, double::json(fixture("get-failure-no-data-available")))
        .then(CREATE, double::json(bodies::created("../../login")));
    let builder = gateway::gateway().server("default_timeout = \"1s\"");
    let hasty = builder.fixed("sft", &upstream.base_url, "").start().await;
    fails(hasty.create(profile("x")).await, Code::Unknown, "WRITE_OUTCOME_UNKNOWN");
}
