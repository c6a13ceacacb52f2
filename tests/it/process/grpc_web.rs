//! gRPC-Web by hand, over HTTP/1.1: the same calls, with the trailers as the last frame of the
//! body.

use std::net::SocketAddr;

use profile_gateway::pb::{DeleteProfileRequest, GetProfileRequest, Profile};
use prost::Message;
use rustix::process::Signal;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;

use super::{
    calls::{GET, failure, metadata, metric, named},
    child::{Gateway, gateway, patiently, sandbox, serve, sft},
    slow::Slow,
};
use crate::kit::tokens::{Issuer, caller, good, role};

const ON: (&str, &str) = ("PROFILE_GATEWAY__SERVER__GRPC_WEB", "true");
const DELETE: &str = "profilegateway.v1.ProfileService/DeleteProfile";

/// An answer: its messages, and what the frame of trailers says.
struct Answer {
    messages: Vec<Vec<u8>>,
    status: Status,
}

/// What a library in a browser sends.
async fn post(
    address: SocketAddr,
    path: &str,
    content_type: &str,
    message: &impl Message,
    headers: &[(&'static str, &str)],
) -> reqwest::Response {
    let mut body = vec![0];
    body.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    body.extend(message.encode_to_vec());
    let client = reqwest::Client::builder().http1_only().no_proxy().build().unwrap();
    let mut request = client.post(format!("http://{address}/{path}")).body(body);
    request = request.header("content-type", content_type).header("x-grpc-web", "1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    patiently("an answer", request.send()).await.unwrap()
}

async fn ask(
    gateway: &Gateway,
    path: &str,
    message: &impl Message,
    headers: &[(&'static str, &str)],
) -> Answer {
    const TYPE: &str = "application/grpc-web+proto";
    let answer = post(gateway.grpc, path, TYPE, message, headers).await;
    assert_eq!(answer.version(), reqwest::Version::HTTP_11);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], TYPE);
    // In the trailers' frame alone, or a client could take it for an answer without a body.
    assert_eq!(answer.headers().get("grpc-status"), None);
    frames(&patiently("the body", answer.bytes()).await.unwrap())
}

fn frames(mut body: &[u8]) -> Answer {
    let mut messages = Vec::new();
    loop {
        let (head, rest) = body.split_at(5);
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let (frame, rest) = rest.split_at(length as usize);
        if head[0] == 0 {
            messages.push(frame.to_vec());
            body = rest;
            continue;
        }
        assert_eq!((head[0], rest), (0x80, &b""[..]), "trailers are the last frame");
        let text = String::from_utf8(frame.to_vec()).unwrap();
        let mut trailers = http::HeaderMap::new();
        for line in text.split_terminator("\r\n") {
            let (name, value) = line.split_once(':').unwrap();
            let name: http::HeaderName = name.parse().unwrap();
            trailers.append(name, value.trim().parse().unwrap());
        }
        let status = Status::from_header_map(&trailers).unwrap();
        return Answer { messages, status };
    }
}

#[tokio::test]
async fn a_token_proves_its_caller_as_in_any_other_call() {
    let (issuer, sandbox) = (Issuer::new(), sandbox().await);
    let rules = role("all", "read", "*") + &caller("me", "all");
    let gateway = serve(&(issuer.config("", &rules) + &sandbox.config), &[ON]).await;
    let mut told = Vec::new();
    for token in [Some(good("me")), Some(good("me") + "x"), None] {
        let value = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = value.iter().map(|value| ("authorization", value.as_str())).collect();
        let Answer { messages, status } = ask(&gateway, GET, &named("SP_352"), &headers).await;
        told.push(match status.code() {
            Code::Ok => Profile::decode(&*messages[0]).unwrap().display_name,
            Code::Unauthenticated => metadata(&failure(&status).2)["why"].clone(),
            _ => panic!("{status:?}"),
        });
        assert_eq!(messages.len(), usize::from(status.code() == Code::Ok));
    }
    assert_eq!(told, ["MVNEServiceProfile-Base", "invalid", "missing"]);
}

#[tokio::test]
async fn calls_are_answered_and_counted_as_any_other() {
    let gateway = gateway(&[], &[ON]).await;
    let read = ask(&gateway, GET, &named("SP_352"), &[]).await;
    assert_eq!(read.status.code(), Code::Ok);
    let profile = Profile::decode(&*read.messages[0]).unwrap();
    assert_eq!(
        (read.messages.len(), profile.display_name.as_str()),
        (1, "MVNEServiceProfile-Base")
    );

    let none = ask(&gateway, GET, &named("SP_999"), &[]).await;
    assert_eq!(none.messages, [[0; 0]; 0]);
    let (code, reason, details) = failure(&none.status);
    assert_eq!((code, reason.as_str()), (Code::NotFound, "PROFILE_NOT_FOUND"));
    assert_eq!(metadata(&details)["operation"], "GetProfile");
    assert!(none.status.message().contains("SP_999"), "{:?}", none.status);

    let used =
        DeleteProfileRequest { name: named("SP_1249").name, ..DeleteProfileRequest::default() };
    let (code, _, details) = failure(&ask(&gateway, DELETE, &used, &[]).await.status);
    assert_eq!(code, Code::FailedPrecondition);
    assert_eq!(details.precondition_failure().unwrap().violations[0].r#type, "PROFILE_IN_USE");
    let nothing = ask(&gateway, "profilegateway.v1.ProfileService/Nope", &used, &[]).await;
    assert_eq!(failure(&nothing.status).0, Code::Unimplemented);

    let calls = |method: &str, code: &str, reason: &str| {
        format!(
            "profile_gateway_calls_total{{method=\"{method}\",code=\"{code}\",reason=\"{reason}\"}}"
        )
    };
    assert_eq!(metric(&gateway, &calls(GET, "OK", "")).await, 1);
    assert_eq!(metric(&gateway, &calls(GET, "NOT_FOUND", "PROFILE_NOT_FOUND")).await, 1);
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let logged = ended.stderr.lines().filter(|line| line.contains("\"target\":\"access\""));
    assert_eq!(logged.count(), 4, "{}", ended.stderr);
}

#[tokio::test]
async fn size_limits_and_deadlines_hold() {
    let slow = Slow::start().await;
    let env = [ON, ("PROFILE_GATEWAY__SERVER__MAX_REQUEST_BYTES", "1KiB")];
    let gateway = serve(&sft(&slow.url, "ops", "hunter2"), &env).await;
    let large = GetProfileRequest { name: "x".repeat(2000), read_mask: None };
    let (code, reason, _) = failure(&ask(&gateway, GET, &large, &[]).await.status);
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));

    let timeout = [("grpc-timeout", "300m")];
    let (code, reason, _) = failure(&ask(&gateway, GET, &named("SP_2"), &timeout).await.status);
    assert_eq!((code, reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));

    // A stream that began well, and ends when its caller said.
    let watched = HealthCheckRequest::default();
    let stream = ask(&gateway, "grpc.health.v1.Health/Watch", &watched, &timeout).await;
    assert_eq!(stream.messages.len(), 1);
    assert_eq!(stream.status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn what_is_not_switched_on_or_not_spoken_is_refused() {
    let off = gateway(&[], &[]).await;
    let answer = post(off.grpc, GET, "application/grpc-web+proto", &named("SP_2"), &[]).await;
    assert_eq!(answer.status(), 415);
    let said = answer.text().await.unwrap();
    assert!(said.contains("set `grpc_web = true` in `[server]`"), "{said}");
    let on = gateway(&[], &[ON]).await;
    for content_type in ["application/grpc-web-text", "application/grpc-web+json", "text/plain"] {
        let answer = post(on.grpc, GET, content_type, &named("SP_2"), &[]).await;
        assert_eq!(answer.status(), 415, "{content_type}");
        let said = answer.text().await.unwrap();
        assert!(!said.contains("grpc_web"), "{said}");
    }
}
