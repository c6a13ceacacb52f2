//! Faults that replace or distort the answer.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn replaced_answers() {
    let (_sandbox, client) = started().await;
    for (fault, status, head, body) in [
        (json!({"kind": "html"}), 200, "text/html", "<!doctype"),
        (json!({"kind": "empty", "status": 502}), 502, "content-length: 0", ""),
        (
            json!({"kind": "status", "status": 429, "retry_after_seconds": 7}),
            429,
            "retry-after: 7",
            "<!doctype",
        ),
        (json!({"kind": "status", "status": 503, "body": "{}"}), 503, "application/json", "{}"),
        (
            json!({"kind": "body", "content_type": "text/plain", "body": "hi"}),
            200,
            "text/plain",
            "hi",
        ),
    ] {
        client.arm("GetServiceProfile", fault.clone()).await;
        let reply = client.send("GET", LIST, "").await.unwrap();
        assert_eq!(reply.status, status, "{fault}");
        assert!(reply.head.contains(head), "{fault}: {}", reply.head);
        assert!(reply.body.starts_with(body.as_bytes()), "{fault}");
    }
}

async fn distorted(client: &Client, fault: Value) -> client::Reply {
    client.arm("GetServiceProfile", fault).await;
    client.send("GET", LIST, "").await.unwrap()
}

#[tokio::test]
async fn members_of_other_types_or_values() {
    let (_sandbox, client) = started().await;
    let numbers = distorted(&client, json!({"kind": "numbers"})).await.json();
    let response = &numbers["Response"];
    assert_eq!(response["resultCode"], 0);
    assert_eq!(response["resultParam"]["resultCode"], 1331);
    assert!(response["responseId"].is_u64());
    assert_eq!(response["responseParam"]["totalCount"], 9);
    assert_eq!(response["responseParam"]["serviceProfileList"][0]["status"], 1);

    let outer = distorted(&client, json!({"kind": "outer", "code": "9"})).await;
    assert_eq!((outer.outer().as_str(), outer.code().as_str()), ("9", "1331"));

    let nulls = distorted(&client, json!({"kind": "nulls", "members": ["category"]})).await.json();
    let third = &nulls["Response"]["responseParam"]["serviceProfileList"][3];
    assert_eq!((&third["ratTypeName"], &third["category"]), (&Value::Null, &Value::Null));
    assert!(third.get("ratTypeName").is_some());
    assert_eq!(nulls["Response"].get("serviceProfile"), Some(&Value::Null));

    let count = distorted(&client, json!({"kind": "total_count", "value": "19"})).await.json();
    assert_eq!(count["Response"]["responseParam"]["totalCount"], "19");
}

#[tokio::test]
async fn members_too_many_or_too_few_and_broken_text() {
    let (_sandbox, client) = started().await;
    let unknown = distorted(&client, json!({"kind": "unknown_members"})).await.json();
    assert!(unknown["Response"]["sandboxNested"].is_object());
    assert!(
        unknown["Response"]["responseParam"]["serviceProfileList"][0]["sandboxNested"].is_object()
    );

    let missing =
        distorted(&client, json!({"kind": "missing", "members": ["status", "totalCount"]}))
            .await
            .json();
    let param = &missing["Response"]["responseParam"];
    assert!(param.get("totalCount").is_none());
    assert!(param["serviceProfileList"][0].get("status").is_none());

    let invalid = distorted(&client, json!({"kind": "invalid_utf8"})).await.body;
    assert!(String::from_utf8(invalid.clone()).is_err());
    let lossy = String::from_utf8_lossy(&invalid);
    assert!(serde_json::from_str::<Value>(&lossy).is_ok());
}

#[tokio::test]
async fn codings_echoes_and_heads_that_are_not_http() {
    let (_sandbox, client) = started().await;
    let gzip = distorted(&client, json!({"kind": "coding", "coding": "X-GZip"})).await;
    assert!(gzip.head.contains("content-encoding: x-gzip"), "{}", gzip.head);
    assert_eq!(gzip.body[..2], [0x1f, 0x8b]);
    let other = distorted(&client, json!({"kind": "coding", "coding": "br"})).await;
    assert_eq!(other.body[0], b'{');

    client.arm("GetServiceProfile", json!({"kind": "echo", "code": "9999"})).await;
    let echo = client.get(LIST).await;
    assert_eq!(echo.code(), "9999");
    let words = echo.json()["Response"]["resultParam"]["resultDescription"].to_string();
    assert!(words.contains(&client.token), "{words}");

    client.arm("GetServiceProfile", json!({"kind": "bad_head"})).await;
    let bytes = client.raw("GET", LIST, "").await.unwrap();
    assert!(bytes.starts_with(b"SSH-2.0"), "{bytes:?}");
}

#[tokio::test]
async fn big_deep_and_slow_answers() {
    let (_sandbox, client) = started().await;
    for declared in [false, true] {
        let fault = json!({"kind": "huge", "bytes": 300_000, "declared": declared});
        client.arm("GetServiceProfile", fault).await;
        let huge = client.send("GET", LIST, "").await.unwrap();
        assert_eq!(huge.body.len(), 300_000);
        assert_eq!(huge.head.contains("content-length: 300000"), declared);
        assert_eq!(huge.code(), "1331");
    }
    client.arm("GetServiceProfile", json!({"kind": "deep", "depth": 100})).await;
    assert_eq!(client.get(LIST).await.code(), "1331");
    client.arm("GetServiceProfile", json!({"kind": "deep", "depth": 1_000_000})).await;
    let deep = client.send("GET", LIST, "").await.unwrap();
    assert!(deep.body.len() > 2_000_000);

    client.arm("GetServiceProfile", json!({"kind": "trickle", "chunk": 500, "pause_ms": 50})).await;
    let start = Instant::now();
    assert_eq!(client.get(LIST).await.code(), "1331");
    assert!(start.elapsed() >= Duration::from_millis(100));
}
