//! Heads and codings of HTTP responses.

use std::io::Write as _;

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use tonic::Code;

use crate::kit::{
    bodies::{self, created},
    double::{self, Answer, CREATE, Double, GET, LIST, double},
    gateway::{self, Gateway},
    model::profile,
    status::fails,
};

async fn start() -> (Double, Gateway) {
    let upstream = double().await;
    let gateway = gateway::fixed(&upstream.base_url).await;
    (upstream, gateway)
}

fn one() -> Vec<u8> {
    bodies::profiles(&[bodies::profile("SP_1", "one")]).to_string().into_bytes()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn coded(coding: &str, body: Vec<u8>) -> Answer {
    let headers = [("content-type", "application/json"), ("content-encoding", coding)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Answer::Http { status: 200, headers, body }
}

/// A whole response with these lines in its head.
fn with_lines(status_line: &str, lines: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{status_line}\r\n{lines}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn headed(lines: &str) -> Answer {
    Answer::Raw(with_lines("HTTP/1.1 200 OK", lines, &one()))
}

#[tokio::test]
async fn codings_are_read_however_they_are_spelled() {
    let (upstream, gateway) = start().await;
    let body = one();
    let (begin, end) = body.split_at(20);
    let members = [gzip(begin), gzip(end)].concat();
    for (coding, body) in [
        ("gzip", gzip(&body)),
        ("GZIP", gzip(&body)),
        ("x-gzip", gzip(&body)),
        ("X-Gzip", gzip(&body)),
        ("gzip", members),
        ("deflate", zlib(&body)),
        ("deflate", deflate(&body)),
        ("identity", body.clone()),
        ("identity, gzip", gzip(&body)),
        ("deflate, gzip", gzip(&zlib(&body))),
    ] {
        upstream.then(GET, coded(coding, body));
        let found = gateway.get("SP_1").await.unwrap_or_else(|s| panic!("{coding}: {s:?}"));
        assert_eq!(found.display_name, "one", "{coding}");
    }
}

#[tokio::test]
async fn a_body_in_another_coding_is_named_and_asked_for_once() {
    let (upstream, gateway) = start().await;
    for coding in ["br", "gzip, br", "zstd"] {
        upstream.then(GET, coded(coding, one()));
        let before = upstream.count(GET);
        let failed = gateway.get("SP_1").await;
        let failed = fails(failed, Code::Internal, "UPSTREAM_CONTRACT_VIOLATION");
        assert!(failed.message.contains("content coding"), "{failed:#?}");
        assert_eq!(upstream.count(GET), before + 1, "{coding}");
    }
    let limited = "max_response_bytes = \"64 KiB\"";
    let limited = gateway::gateway().fixed("sft", &upstream.base_url, limited).start().await;
    for (coding, body) in [
        ("X-GZIP", gzip(&vec![b' '; 1 << 20])),
        ("deflate", zlib(&vec![b' '; 1 << 20])),
        ("gzip, gzip", gzip(&gzip(&vec![b' '; 1 << 20]))),
    ] {
        upstream.then(GET, coded(coding, body));
        let failed = limited.get("SP_1").await;
        let failed = fails(failed, Code::Internal, "UPSTREAM_CONTRACT_VIOLATION");
        assert!(failed.message.contains("exceeds 65536 bytes"), "{coding}: {failed:#?}");
    }
}

#[tokio::test]
async fn heads_that_other_clients_read_are_read() {
    let (upstream, gateway) = start().await;
    let many: String = (0..110).map(|n| format!("x-{n}: {n}\r\n")).collect();
    for (what, lines) in [
        ("a space before the colon", "Server : x\r\n"),
        ("a tab before the colon", "Server\t: x\r\n"),
        ("a folded header", "x-long: one\r\n two\r\n\tthree\r\n"),
        ("110 headers", many.as_str()),
        ("a line without a colon", "no header\r\n"),
        ("a name with a space", "x y: z\r\n"),
        ("a control character in a value", "x-odd: a\u{1}b\r\n"),
        ("Latin-1", "x-odd: \u{e9}\r\n"),
        ("an empty value", "x-odd:\r\n"),
    ] {
        upstream.then(GET, headed(lines));
        let found = gateway.get("SP_1").await.unwrap_or_else(|s| panic!("{what}: {s:?}"));
        assert_eq!(found.display_name, "one", "{what}");
    }
    let body = one();
    for line in ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.0 200 OK", "HTTP/1.1 200 \u{e9}"] {
        upstream.then(GET, Answer::Raw(with_lines(line, "", &body)));
        let found = gateway.get("SP_1").await.unwrap_or_else(|s| panic!("{line}: {s:?}"));
        assert_eq!(found.display_name, "one", "{line}");
    }
    assert_eq!(upstream.count(GET), 13, "each at the first attempt");
}

/// Heads of no HTTP response.
fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let many: String = (0..5000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    vec![
        ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec()),
        ("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x46".to_vec()),
        ("no status", b"HTTP/1.1 OK\r\n\r\n".to_vec()),
        ("another version", with_lines("HTTP/3.7 200 OK", "", &one())),
        ("two lengths", with_lines("HTTP/1.1 200 OK", "content-length: 3\r\n", &one())),
        ("a length of words", with_lines("HTTP/1.1 200 OK", "content-length: many\r\n", &one())),
        ("5000 headers", with_lines("HTTP/1.1 200 OK", &many, &one())),
        ("a page alone", b"<html><body>hello</body></html>".to_vec()),
    ]
}

#[tokio::test]
async fn a_head_that_is_not_http_breaks_the_contract_and_is_not_asked_for_again() {
    let (upstream, _) = start().await;
    for (what, bytes) in garbage() {
        // A gateway each, because so many failures would open its circuit.
        let gateway = gateway::fixed(&upstream.base_url).await;
        let before = upstream.count(GET);
        upstream.always(GET, Answer::Raw(bytes));
        let failed = gateway.get("SP_1").await;
        let failed = fails(failed, Code::Internal, "UPSTREAM_CONTRACT_VIOLATION");
        assert_eq!(failed.retry, None, "{what}");
        assert_eq!(upstream.count(GET), before + 1, "{what}: {failed:#?}");
    }
}

#[tokio::test]
async fn a_write_that_is_answered_with_such_a_head_is_looked_at() {
    let (upstream, gateway) = start().await;
    let none = double::json(bodies::profiles(&[]));
    let there = double::json(bodies::profiles(&[bodies::profile("SP_7", "new")]));
    let before = upstream.count(CREATE);
    upstream
        .then(LIST, none)
        .then(CREATE, Answer::Raw(b"nonsense\r\n\r\n".to_vec()))
        .always(LIST, there.clone())
        .always(GET, there);
    let made = gateway.create(profile("new")).await.unwrap();
    assert_eq!(made.name, "backends/sft/profiles/SP_7");
    assert_eq!(upstream.count(CREATE), before + 1);
}

#[tokio::test]
async fn a_length_beside_identity_ends_a_body() {
    let (upstream, gateway) = start().await;
    let body = one();
    for lines in ["transfer-encoding: identity\r\n", "Transfer-Encoding: Identity\r\n"] {
        let bytes = with_lines("HTTP/1.1 200 OK", lines, &body);
        // Nothing follows, and the connection stays open.
        upstream.then(GET, Answer::Open(bytes));
        assert_eq!(gateway.get("SP_1").await.unwrap().display_name, "one", "{lines}");
    }
    // Fewer bytes than announced are not a whole answer.
    let mut short = with_lines("HTTP/1.1 200 OK", "transfer-encoding: identity\r\n", &body);
    short.truncate(short.len() - 1);
    upstream.always(GET, Answer::Raw(short));
    fails(gateway.get("SP_1").await, Code::Internal, "UPSTREAM_CONTRACT_VIOLATION");
}

#[tokio::test]
async fn a_byte_order_mark_is_ignored() {
    let upstream = double().await;
    let gateway = gateway::login(&upstream.base_url).await;
    let marked = |body: String| {
        double::http(200, "application/json", [&b"\xef\xbb\xbf"[..], body.as_bytes()].concat())
    };
    upstream
        .then(
            double::LOGIN,
            marked(bodies::tokens("access-of-the-kit", "r-of-the-kit").to_string()),
        )
        .then(GET, marked(String::from_utf8(one()).unwrap()))
        .then(LIST, marked(bodies::profiles(&[]).to_string()))
        .then(CREATE, marked(created("SP_1").to_string()))
        .always(GET, marked(bodies::profiles(&[bodies::profile("SP_1", "x")]).to_string()));
    assert_eq!(gateway.get("SP_1").await.unwrap().display_name, "one");
    assert_eq!(gateway.create(profile("x")).await.unwrap().name, "backends/sft/profiles/SP_1");
}
