//! What a response says: the same in the same words on all paths, and nothing that was not done.

use bytes::Bytes;
use profile_gateway::pb::GetProfileRequest;
use prost::Message;
use serde_json::json;
use tonic::Code;

use super::{
    calls::{GET, LIST, arm, failure, named, raw},
    child::{gateway, serve, sft},
    slow::Slow,
    wire::{ENCODINGS, Sent, ask, frame, list, send},
};

/// A frame of zstd without content, which wants a window of 2 GiB to be decompressed.
const WINDOW: &[u8] = b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00";
const WEB: (&str, &str) = ("PROFILE_GATEWAY__SERVER__GRPC_WEB", "true");

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_in_the_same_words_on_all_paths() {
    let env = [WEB, ("PROFILE_GATEWAY__SERVER__MAX_REQUEST_BYTES", "64KiB")];
    let gateway = gateway(&[], &env).await;
    let large = GetProfileRequest { name: "x".repeat(300_000), read_mask: None }.encode_to_vec();
    let mut refused = vec![send(gateway.grpc, GET, &[], frame(0, &large)).await.status()];
    for (encoding, compress) in ENCODINGS {
        let encoding = [("grpc-encoding", encoding)];
        let bomb = frame(1, &compress(&large));
        refused.push(send(gateway.grpc, GET, &encoding, bomb).await.status());
        refused.push(send(gateway.grpc, GET, &encoding, frame(1, &large)).await.status());
    }
    let web = {
        let client = reqwest::Client::builder().http1_only().no_proxy().build().unwrap();
        let post = client.post(format!("http://{}/{GET}", gateway.grpc));
        let post = post.header("content-type", "application/grpc-web+proto");
        post.body(frame(0, &large)).send().await.unwrap().text().await.unwrap()
    };
    for status in &refused {
        let (code, reason, _) = failure(status);
        assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
        let expected = "the request message is larger than the limit of 65536 bytes";
        assert_eq!(status.message(), expected);
    }
    assert!(web.contains("the%20request%20message%20is%20larger%20than%20the%20limit"), "{web}");

    let broken = "the request message cannot be decompressed";
    for (headers, body, expected) in [
        (&[][..], frame(0, b"\x0a\x01\xff"), "is not valid Protobuf for this method: "),
        (&[], frame(0, b"\x08\x01"), "is not valid Protobuf for this method: "),
        (&[], frame(1, b""), "is marked as compressed, and grpc-encoding names no encoding"),
        (&[], frame(7, b""), "begins with an invalid compression flag, which must be 0 or 1"),
        (&[], Bytes::new(), "the request has no message"),
        (&[], frame(0, b"abc").slice(..6), "ended before the length that its message announces"),
        (&[("grpc-encoding", "gzip")], frame(1, b"abc"), broken),
        (&[("grpc-encoding", "zstd")], frame(1, b"abc"), broken),
        (&[("grpc-encoding", "zstd")], frame(1, WINDOW), broken),
    ] {
        let status = send(gateway.grpc, GET, headers, body).await.status();
        let (code, reason, _) = failure(&status);
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "MALFORMED_REQUEST"));
        assert!(status.message().contains(expected), "{}", status.message());
        for foreign in ["Error", "stream", "failed to decode", "protocol error"] {
            assert!(!status.message().contains(foreign), "{}", status.message());
        }
    }
    let unknown = [("grpc-encoding", "deflate")];
    let sent = send(gateway.grpc, GET, &unknown, frame(1, b"abc")).await;
    assert_eq!(failure(&sent.status()).0, Code::Unimplemented);
    let expected = "grpc-encoding \"deflate\" is not supported; use gzip, zstd, or identity";
    assert_eq!(sent.status().message(), expected);
    assert_eq!(sent.headers["grpc-accept-encoding"], "gzip,zstd,identity");
}

#[tokio::test]
async fn a_deadline_is_told_in_the_same_words_on_all_paths() {
    let slow = Slow::start().await;
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &[]).await;
    let timeout = ("grpc-timeout", "300m");
    for headers in [&[timeout][..], &[timeout, ("cache-control", "no-cache")]] {
        for status in [
            raw(gateway.grpc, GET, &named("SP_2"), headers).await,
            raw(gateway.grpc, LIST, &list(1), headers).await,
            raw(gateway.grpc, LIST, &list(1), &[("grpc-timeout", "1n")]).await,
        ] {
            assert_eq!(status.code(), Code::DeadlineExceeded);
            assert_eq!(status.message(), "the deadline passed");
        }
    }
}

#[tokio::test]
async fn only_an_answered_read_says_how_the_cache_served_it() {
    let gateway = gateway(&[], &[]).await;
    let told = |sent: &Sent| {
        let value = |name: &str| sent.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        (value("x-profile-cache"), value("age").is_some())
    };
    let nothing = (None, false);
    let found = ask(&gateway, GET, &named("SP_2")).await;
    assert_eq!(told(&found), (Some("miss".to_owned()), true));
    let absent = ask(&gateway, GET, &named("SP_999")).await;
    assert_eq!(told(&absent), (Some("miss".to_owned()), true));
    let impossible = ask(&gateway, GET, &named("nope")).await;
    assert_eq!((impossible.status().code(), told(&impossible)), (Code::NotFound, nothing.clone()));

    let cached = [("cache-control", "only-if-cached")];
    let message = frame(0, &named("SP_352").encode_to_vec());
    let miss = send(gateway.grpc, GET, &cached, message).await;
    assert_eq!(failure(&miss.status()).1, "CACHE_MISS");
    assert_eq!(told(&miss), nothing);
    let sandbox = gateway.sandbox.as_deref().unwrap();
    arm(sandbox, "GetServiceProfile", json!({ "kind": "drop" })).await;
    let failed = ask(&gateway, GET, &named("SP_353")).await;
    assert_eq!(failure(&failed.status()).1, "UPSTREAM_UNAVAILABLE");
    assert_eq!(told(&failed), nothing);
}
