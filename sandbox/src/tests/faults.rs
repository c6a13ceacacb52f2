//! Faults of the connection and of time, over real connections.

use std::{io::ErrorKind, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn connections_end_as_the_fault_says() {
    let (_sandbox, client) = started().await;
    client.arm("CreateServiceProfile", json!({"kind": "reset", "commit": "before"})).await;
    let error = client.raw("POST", "/api/CreateServiceProfile", &create("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    client.arm("CreateServiceProfile", json!({"kind": "drop"})).await;
    let bytes = client.raw("POST", "/api/CreateServiceProfile", &create("b")).await.unwrap();
    assert!(bytes.is_empty());

    client.arm("GetServiceProfile", json!({"kind": "truncate", "bytes": 40})).await;
    let cut = client.send("GET", LIST, "").await.unwrap();
    assert_eq!(cut.body.len(), 40);
    assert!(cut.head.contains("content-length: ") && !cut.head.contains("content-length: 40\r"));

    let names = names(&client).await;
    assert!(names.contains(&"a".to_owned()) && !names.contains(&"b".to_owned()));
    let faults: Vec<Value> =
        client.journal().await.iter().map(|entry| entry["fault"].clone()).collect();
    assert_eq!(faults, ["reset", "drop", "truncate"]);
    assert_eq!(client.get(LIST).await.code(), "1331");
}

#[tokio::test]
async fn hang_lasts_until_a_reset() {
    let (_sandbox, client) = started().await;
    client.arm("*", json!({"kind": "hang"})).await;
    let hanging = client.raw("GET", LIST, "");
    tokio::pin!(hanging);
    let waited = tokio::time::timeout(Duration::from_millis(200), &mut hanging).await;
    assert!(waited.is_err());
    client.call("POST", "/sandbox/reset", &Value::Null).await;
    assert!(hanging.await.unwrap().is_empty());
}

#[tokio::test]
async fn delayed_effect_happens_even_if_the_client_left() {
    let (_sandbox, client) = started().await;
    client
        .arm("CreateServiceProfile", json!({"kind": "delay", "ms": 300, "commit": "after"}))
        .await;
    let body = create("left");
    let leaving = client.raw("POST", "/api/CreateServiceProfile", &body);
    assert!(tokio::time::timeout(Duration::from_millis(100), leaving).await.is_err());
    assert!(!names(&client).await.contains(&"left".to_owned()));
    client.journal_until(|entries| !entries.is_empty()).await;
    assert!(names(&client).await.contains(&"left".to_owned()));

    client.arm("GetServiceProfile", json!({"kind": "delay", "ms": 150})).await;
    let start = Instant::now();
    assert_eq!(client.get(LIST).await.code(), "1331");
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn results_without_with_and_with_late_effect() {
    let (_sandbox, client) = started().await;
    for (name, commit, code) in
        [("n", "none", "10239"), ("b", "before", "10239"), ("l", "late", "10240")]
    {
        let late_ms = if commit == "late" { 200 } else { 0 };
        let fault = json!({"kind": "result", "code": code, "commit": commit, "late_ms": late_ms});
        client.arm("CreateServiceProfile", fault).await;
        let reply = client.write("CreateServiceProfile", new_profile(name)).await;
        assert_eq!((reply.code().as_str(), reply.outer().as_str()), (code, "1"));
        assert!(reply.json()["Response"].get("serviceProfile").is_none());
    }
    let at_once = names(&client).await;
    assert!(at_once.contains(&"b".to_owned()));
    assert!(!at_once.contains(&"n".to_owned()) && !at_once.contains(&"l".to_owned()));
    let entries = client.journal_until(|entries| entries.len() == 4).await;
    assert_eq!(entries[3]["late_of"], entries[2]["seq"]);
    assert!(entries[3]["effect"]["created"].is_string());
    assert!(names(&client).await.contains(&"l".to_owned()));
}

#[tokio::test]
async fn hanging_connection_is_given_up_when_its_client_leaves() {
    let options = Options { max_connections: 1, ..Options::default() };
    let any_port = "127.0.0.1:0".parse().unwrap();
    let sandbox = Sandbox::start(any_port, options).await.unwrap();
    let client = Client::logged_in(sandbox.address()).await;
    client.arm("*", json!({"kind": "hang"})).await;
    let leaving = client.raw("GET", LIST, "");
    let waited = tokio::time::timeout(Duration::from_millis(100), leaving).await;
    assert!(waited.is_err());
    // Only one connection is allowed, so this is answered once the first one has closed.
    assert_eq!(client.get(LIST).await.code(), "1331");
}
