//! How much can be armed, set, and sent, and by how many at a time.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::*;

fn fault(kind: &Value) -> Value {
    json!({"upstream": "sft", "operation": "login", "fault": kind})
}

#[tokio::test]
async fn so_many_faults_can_be_armed_at_a_time() {
    let (_sandbox, client) = started().await;
    let arm =
        async || client.call("POST", "/sandbox/faults", &fault(&json!({"kind": "drop"}))).await;
    for _ in 0..256 {
        assert_eq!(arm().await.status, 200);
    }
    let refused = arm().await;
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"].as_str().unwrap().contains("at most 256 faults"));
    client.call("DELETE", "/sandbox/faults", &Value::Null).await;
    assert_eq!(arm().await.status, 200);
}

#[tokio::test]
async fn a_control_request_has_at_most_a_megabyte() {
    let (_sandbox, client) = started().await;
    let of_bytes = |bytes: usize| {
        let empty = fault(&json!({"kind": "body", "body": ""})).to_string();
        let body = "x".repeat(bytes - empty.len());
        fault(&json!({"kind": "body", "body": body})).to_string()
    };
    let most = client.send("POST", "/sandbox/faults", &of_bytes(1024 * 1024)).await.unwrap();
    assert_eq!(most.status, 200);
    let beyond = client.send("POST", "/sandbox/faults", &of_bytes(1024 * 1024 + 1)).await;
    // The unread rest of the body causes a reset, which may arrive before the refusal.
    assert!(beyond.map_or(true, |reply| reply.status == 413));
}

/// Sends what is within a bound, and what is beyond it.
async fn is_bounded(client: &Client, method: &str, path: &str, [within, beyond]: [Value; 2]) {
    for (body, status) in [(within, 200), (beyond, 400)] {
        let reply = client.call(method, path, &body).await;
        assert_eq!(reply.status, status, "{path} {body:.200}");
    }
}

/// A fault with a number and with one more, in this member.
fn one_more(kind: &Value, member: &str, number: u64) -> [Value; 2] {
    [number, number + 1].map(|number| {
        let mut kind = kind.clone();
        kind[member] = json!(number);
        fault(&kind)
    })
}

#[tokio::test]
async fn the_times_and_sizes_of_faults_are_bounded() {
    let (_sandbox, client) = started().await;
    for (kind, member, most) in [
        (json!({"kind": "delay"}), "ms", 600_000),
        (json!({"kind": "lag"}), "ms", 600_000),
        (json!({"kind": "trickle", "chunk": 1}), "pause_ms", 600_000),
        (json!({"kind": "status", "status": 500}), "late_ms", 600_000),
        (json!({"kind": "result", "code": "1", "commit": "late"}), "late_ms", 600_000),
        (json!({"kind": "huge"}), "bytes", 8 << 30),
        (json!({"kind": "deep"}), "depth", 1_000_000),
        (json!({"kind": "empty"}), "status", 999),
    ] {
        is_bounded(&client, "POST", "/sandbox/faults", one_more(&kind, member, most)).await;
    }
}

#[tokio::test]
async fn switches_and_profiles_are_bounded() {
    const YEAR: u64 = 365 * 24 * 60 * 60 * 1000;
    let (_sandbox, client) = started().await;
    for (upstream, member, most) in [
        ("sft", "token_ttl_ms", YEAR),
        ("sft", "refresh_ttl_ms", YEAR),
        ("endpoint", "token_ttl_ms", YEAR),
        ("endpoint", "lock_ms", YEAR),
        ("endpoint", "window_ms", YEAR),
        ("endpoint", "rate_per_second", 1_000_000),
        ("endpoint", "rate_burst", 1_000_000),
        ("endpoint", "window_requests", 100_000),
        ("endpoint", "window_logins", 100_000),
    ] {
        let path = format!("/sandbox/{upstream}/options");
        let bodies = [most, most + 1].map(|number| json!({ member: number }));
        is_bounded(&client, "PATCH", &path, bodies).await;
    }
    let plans = [1000, 1001].map(|plans| json!({"core_plans": vec!["x"; plans]}));
    is_bounded(&client, "PATCH", "/sandbox/pcc/options", plans).await;
    let names = [255, 256].map(|bytes| json!({"core_plans": ["x".repeat(bytes)]}));
    is_bounded(&client, "PATCH", "/sandbox/pcc/options", names).await;
    // A member's name counts, and so do the quotes of its text.
    let extra = |bytes: usize| json!({"extra": {"a": "x".repeat(bytes - 3)}});
    let extra = [16 * 1024, 16 * 1024 + 1].map(extra);
    is_bounded(&client, "PUT", "/sandbox/sft/profiles/SP_9000", extra).await;
    for (bytes, status) in [(64, 200), (65, 400)] {
        let path = format!("/sandbox/sft/profiles/{}", "9".repeat(bytes));
        assert_eq!(client.call("PUT", &path, &json!({})).await.status, status, "{bytes}");
    }
}

#[tokio::test]
async fn so_many_connections_are_served_and_others_wait() {
    let options = Options { max_connections: 2, ..Options::default() };
    let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let mut connections = Vec::new();
    for _ in 0..3 {
        let mut connection = TcpStream::connect(sandbox.address()).await.unwrap();
        let request = b"GET /sandbox/faults HTTP/1.1\r\nhost: localhost\r\n\r\n";
        connection.write_all(request).await.unwrap();
        connections.push(connection);
    }
    let [first, second, third] = &mut connections[..] else { panic!("three") };
    assert!(first.read(&mut [0]).await.unwrap() > 0 && second.read(&mut [0]).await.unwrap() > 0);
    let waits = timeout(Duration::from_millis(50), third.read(&mut [0])).await;
    assert!(waits.is_err(), "{waits:?}");
    connections.remove(0);
    assert!(connections[1].read(&mut [0]).await.unwrap() > 0);
}
