//! `grpc.health.v1` of the real program.

use std::collections::BTreeMap;

use prost::Message;
use rustix::process::Signal;
use tonic::{Code, Request, client::Grpc};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
};

use super::{
    calls::{channel, failure, metadata, metric},
    child::{gateway, patiently, until},
    crowds::Victim,
    wire::{ENCODINGS, frame, send},
};

const KNOWN: [&str; 6] = [
    "",
    "backends/endpoint",
    "backends/pcc",
    "backends/sft",
    "profilegateway.v1.BackendService",
    "profilegateway.v1.ProfileService",
];

// The library's copy of the protocol has no List yet.
#[derive(Clone, PartialEq, prost::Message)]
struct ListRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct ListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: BTreeMap<String, HealthCheckResponse>,
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn check_knows_the_process_its_services_and_its_backends() {
    let gateway = gateway(&[], &[]).await;
    let mut client = HealthClient::new(channel(gateway.grpc).await);
    for name in KNOWN {
        let answer = client.check(of(name)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{name}");
    }
    for (name, reason) in [
        ("nope", "OPERATION_NOT_SUPPORTED"),
        ("backends/nope", "BACKEND_NOT_FOUND"),
        ("profilegateway.v1.Nope", "OPERATION_NOT_SUPPORTED"),
    ] {
        let (code, said, details) = failure(&client.check(of(name)).await.unwrap_err());
        assert_eq!((code, said.as_str()), (Code::NotFound, reason), "{name}");
        assert_eq!(metadata(&details)["operation"], "Check", "{name}");
    }
}

#[tokio::test]
async fn list_shows_all_of_them() {
    let gateway = gateway(&[], &[]).await;
    let mut client = Grpc::new(channel(gateway.grpc).await);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/List");
    let codec = ProstCodec::<ListRequest, ListResponse>::default();
    let answer = client.unary(Request::new(ListRequest {}), path, codec).await.unwrap();
    let statuses = answer.into_inner().statuses;
    assert_eq!(statuses.keys().map(String::as_str).collect::<Vec<_>>(), KNOWN);
    assert!(statuses.values().all(|answer| answer.status() == ServingStatus::Serving));
}

#[tokio::test]
async fn a_request_larger_than_any_name_is_refused_before_it_is_decompressed_whole() {
    let gateway = gateway(&[], &[]).await;
    for (encoding, compress) in ENCODINGS {
        let headers = [("grpc-encoding", encoding)];
        let (small, large) = (of(&"x".repeat(5000)), of(&"x".repeat(1 << 20)));
        let large = compress(&large.encode_to_vec());
        assert!(large.len() < 4096, "{} bytes", large.len());
        for method in ["Check", "Watch", "List"] {
            let path = format!("grpc.health.v1.Health/{method}");
            for body in [frame(0, &small.encode_to_vec()), frame(1, &large)] {
                let status = send(gateway.grpc, &path, &headers, body).await.status();
                let (code, reason, details) = failure(&status);
                let expected = (Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
                assert_eq!((code, reason.as_str()), expected, "{encoding} {method}");
                assert_eq!(metadata(&details)["operation"], method);
                let message = "the request message is larger than the limit of 4096 bytes";
                assert_eq!(status.message(), message, "{method}");
            }
        }
        // What fits is answered.
        let fitting = compress(&of(&"x".repeat(4000)).encode_to_vec());
        let path = "grpc.health.v1.Health/Check";
        let status = send(gateway.grpc, path, &headers, frame(1, &fitting)).await.status();
        assert_eq!(failure(&status).0, Code::NotFound, "{encoding}");
    }
}

#[tokio::test]
async fn streams_of_probes_have_places_of_their_own() {
    let gateway = gateway(&[], &[("PROFILE_GATEWAY__SERVER__MAX_PROBE_STREAMS", "4")]).await;
    let victim = Victim::start(&gateway).await;
    let mut client = HealthClient::new(channel(gateway.grpc).await);
    let long = "x".repeat(4000);
    let mut held = Vec::new();
    // Half of them is one caller's share, whatever it watches.
    for name in ["", &long] {
        let mut watch = client.watch(of(name)).await.unwrap().into_inner();
        patiently("a status", watch.message()).await.unwrap().unwrap();
        held.push(watch);
    }
    let mut other = HealthClient::new(channel(gateway.grpc).await);
    let expected = (Code::ResourceExhausted, "CALLER_QUOTA_EXCEEDED".to_owned());
    for client in [&mut client, &mut other] {
        let refused = client.watch(of(&long)).await.unwrap_err();
        let (code, reason, _) = failure(&refused);
        assert_eq!((code, reason), expected);
        // What does not last needs no place.
        client.check(of("")).await.unwrap();
    }
    let reflection = channel(gateway.grpc).await;
    let mut reflection = ServerReflectionClient::new(reflection);
    let questions = futures_util::stream::pending::<ServerReflectionRequest>();
    let refused = reflection.server_reflection_info(questions).await.unwrap_err();
    assert_eq!(failure(&refused).1, expected.1);
    let counted = r#"profile_gateway_caller_refusals_total{resource="probes",bound="caller"}"#;
    assert_eq!(metric(&gateway, counted).await, 3);
    held.pop();
    until("a place", async || client.watch(of("")).await.is_ok()).await;
    victim.stays_unharmed().await;
}

#[tokio::test]
async fn watch_tells_when_the_process_goes_down() {
    let gateway = gateway(&[], &[]).await;
    let mut client = HealthClient::new(channel(gateway.grpc).await);
    let mut watched = Vec::new();
    for name in KNOWN {
        watched.push(client.watch(of(name)).await.unwrap().into_inner());
    }
    for stream in &mut watched {
        let first = patiently("a status", stream.message()).await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
    }
    let mut unknown = client.watch(of("nope")).await.unwrap().into_inner();
    let first = patiently("a status", unknown.message()).await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);

    gateway.program.signal(Signal::TERM);
    for stream in &mut watched {
        let next = patiently("a status", stream.message()).await.unwrap().unwrap();
        assert_eq!(next.status(), ServingStatus::NotServing);
    }
    // Streams would keep the process alive forever, so they are ended.
    assert_eq!(gateway.program.ended().await.code(), Some(0));
}
