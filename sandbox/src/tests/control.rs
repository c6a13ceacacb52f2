//! The control API.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn reset_stops_late_effects_and_restores_the_seed() {
    let (_sandbox, client) = started().await;
    let before = names(&client).await;
    let late = json!({"kind": "result", "code": "10240", "commit": "late", "late_ms": 100});
    client.arm("CreateServiceProfile", late).await;
    client.write("CreateServiceProfile", new_profile("late")).await;
    client.write("DeleteServiceProfile", json!({"id": "SP_352"})).await;
    client.call("POST", "/sandbox/reset", &Value::Null).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(names(&client).await, before);
    assert!(client.journal().await.is_empty());
    // Earlier tokens are unknown.
    assert_eq!(client.get(LIST).await.code(), "401");
}

/// Method, path, body; status and part of the error.
const INVALID: &[(&str, &str, &str, u16, &str)] = &[
    ("POST", "/sandbox/faults", "{", 400, "EOF"),
    (
        "POST",
        "/sandbox/faults",
        r#"{"upstream":"sft","operation":"*","fault":{"kind":"x"}}"#,
        400,
        "`delay`",
    ),
    (
        "POST",
        "/sandbox/faults",
        r#"{"upstream":"sft","operation":"x","fault":{"kind":"drop"}}"#,
        400,
        "login",
    ),
    ("DELETE", "/sandbox/faults/x", "", 400, "number"),
    ("DELETE", "/sandbox/faults/9", "", 404, "no such fault"),
    ("GET", "/sandbox/journal?from=1", "", 400, "`after`"),
    ("PATCH", "/sandbox/sft/options", r#"{"in_use_code":"7"}"#, 400, "`8196` or `1338`"),
    ("PATCH", "/sandbox/sft/options", r#"{"x":"7"}"#, 400, "in_use_code"),
    ("PUT", "/sandbox/sft/profiles/SP_9", r#"{"nam":"x"}"#, 400, "`name`"),
    ("DELETE", "/sandbox/sft/profiles/SP_9", "", 404, "no such profile"),
    ("GET", "/sandbox", "", 404, "/sandbox/faults"),
    ("GET", "/sandbox/x", "", 404, "/sandbox/faults"),
    ("PUT", "/sandbox/reset", "", 405, "allow"),
];

#[tokio::test]
async fn control_refuses_invalid_requests() {
    let (_sandbox, client) = started().await;
    for (method, path, body, status, says) in INVALID {
        let reply = client.send(method, path, body).await.unwrap();
        assert_eq!(reply.status, *status, "{method} {path}");
        let error = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(*says), "{method} {path}: {error}");
    }
    assert!(client.journal().await.is_empty());
}

#[tokio::test]
async fn raw_profiles_may_break_the_rules() {
    let (_sandbox, client) = started().await;
    let raw = json!({"name": "DEFAULT", "services": ["VOICE", "DATA"], "category": "7",
                      "extra": {"owner": [1]}});
    let reply = client.call("PUT", "/sandbox/sft/profiles/SP_9000", &raw).await;
    assert_eq!(reply.json()["id"], "SP_9000");
    let one = client.get(&format!("{LIST}?serviceProfileId=SP_9000")).await.json();
    assert_eq!(
        one["Response"]["responseParam"]["serviceProfileList"][0],
        json!({"profileId": "SP_9000", "profileName": "DEFAULT", "status": "1",
               "serviceName": "DATA|VOICE",
               "category": "7", "owner": [1]})
    );
    let created = client.write("CreateServiceProfile", new_profile("next")).await.json();
    let id = created["Response"]["serviceProfile"].as_str().unwrap().to_owned();
    assert!(id.strip_prefix("SP_").unwrap().parse::<u64>().unwrap() > 9000);
    // Ids are never reused.
    client.call("DELETE", &format!("/sandbox/sft/profiles/{id}"), &Value::Null).await;
    let again = client.write("CreateServiceProfile", new_profile("next")).await.json();
    assert_ne!(again["Response"]["serviceProfile"], json!(id));
}

#[tokio::test]
async fn tokens_expire_by_time_and_by_hand() {
    let (_sandbox, client) = started().await;
    client.call("POST", "/sandbox/sft/expire-tokens", &json!({"refresh": false})).await;
    assert_eq!(client.get(LIST).await.code(), "401");
    client
        .call(
            "PATCH",
            "/sandbox/sft/options",
            &json!({"token_ttl_ms": 100, "unauthorized_outer": "401"}),
        )
        .await;
    let short = Client::logged_in(client.address).await;
    assert_eq!(short.get(LIST).await.code(), "1331");
    tokio::time::sleep(Duration::from_millis(150)).await;
    let late = short.get(LIST).await;
    assert_eq!((late.status, late.code().as_str(), late.outer().as_str()), (200, "401", "401"));
}

/// What a page of any site can make a browser send.
#[tokio::test]
async fn a_page_in_a_browser_controls_nothing() {
    let (_sandbox, client) = started().await;
    let fault = r#"{"upstream":"sft","operation":"*","fault":{"kind":"drop"},"times":0}"#;
    let forms = ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"];
    for kind in forms {
        let reply = client.declared(kind, "", "POST", "/sandbox/faults", fault).await;
        assert_eq!(reply.status, 415, "{kind}");
    }
    const JSON: &str = "application/json";
    for origin in
        ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"]
    {
        for (method, path, body) in [
            ("POST", "/sandbox/faults", fault),
            ("POST", "/sandbox/reset", ""),
            ("DELETE", "/sandbox/journal", ""),
        ] {
            let reply = client.declared(JSON, origin, method, path, body).await;
            assert_eq!(reply.status, 403, "{origin} {method} {path}");
        }
    }
    assert_eq!(client.get("/sandbox/faults").await.json()["faults"], json!([]));
    for own in ["", "Origin: http://127.0.0.1:8080\r\n", "Origin: http://localhost\r\n"] {
        let kind = "Application/JSON; charset=utf-8";
        let reply = client.declared(kind, own, "POST", "/sandbox/faults", fault).await;
        assert_eq!(reply.status, 200, "{own}");
    }
    // Without a body there is nothing to declare.
    assert_eq!(client.declared("text/plain", "", "POST", "/sandbox/reset", "").await.status, 200);
}
