//! The two ports: what they serve, and what they refuse.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};

use super::{
    AddressSettings, Health, Routes, Server, ServerMetrics, ServerSettings, Services, any_ports,
    settings, start,
};
use crate::{caller::Callers, telemetry::Registry};

#[tokio::test]
async fn the_admin_port_shows_and_changes_nothing() {
    let server = start(settings()).await;
    let url = |path: &str| format!("http://{}{path}", server.admin);
    let get = async |path: &str| {
        let answer = reqwest::get(url(path)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/livez").await, (200, "ok\n".to_owned()));
    assert!(get("/").await.1.contains("/readyz"));
    let (status, ready) = get("/readyz").await;
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    assert_eq!((status, &ready["ready"]), (200, &true.into()));
    assert_eq!(ready["health"]["backends/sft"], "SERVING");
    assert_eq!(get("/config").await, (200, "{\"listen\":\"somewhere\"}\n".to_owned()));
    assert_eq!(get("/nope").await.0, 404);
    let posted = reqwest::Client::new().post(url("/livez")).send().await.unwrap();
    assert_eq!(posted.status(), 405);
    assert_eq!(posted.text().await.unwrap(), "GET only\n");
    let scraped = reqwest::get(url("/metrics")).await.unwrap();
    let kind = scraped.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert!(scraped.text().await.unwrap().contains("profile_gateway_build_info"));
}

#[tokio::test]
async fn a_backend_that_is_down_does_not_make_the_process_unready() {
    let server = start(settings()).await;
    server.health.set_backend("sft", false);
    let answer = reqwest::get(format!("http://{}/readyz", server.admin)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains(r#""backends/sft":"NOT_SERVING""#));
}

#[tokio::test]
async fn the_grpc_port_tells_a_browser_that_it_speaks_grpc() {
    let server = start(settings()).await;
    let answer = reqwest::get(format!("http://{}/index.html", server.grpc)).await.unwrap();
    assert_eq!(answer.status(), 415);
    assert!(answer.text().await.unwrap().contains("gRPC"));
    let counted =
        r#"profile_gateway_calls_total{method="unknown",code="HTTP_415",reason="",backend=""} 1"#;
    server.counted(counted).await;
}

#[tokio::test]
async fn an_error_names_the_port_that_is_in_use() {
    let server = start(settings()).await;
    let bind = async |addresses: AddressSettings| {
        let mut registry = Registry::new("test");
        let metrics = ServerMetrics::register(&mut registry);
        let health = Health::new(&[], &[] as &[&str]);
        let callers = Callers::default();
        let services = Services::new(Routes::default(), health, metrics, callers).unwrap();
        Server::bind(&addresses, settings(), services).await.unwrap_err().to_string()
    };
    let error = bind(AddressSettings { admin_listen: server.admin.into(), ..any_ports() }).await;
    assert!(error.contains("admin address") && error.contains(&server.admin.to_string()));
    let error = bind(AddressSettings { listen: server.grpc.into(), ..any_ports() }).await;
    assert!(error.contains("gRPC address") && error.contains(&server.grpc.to_string()));
    let error =
        bind(AddressSettings { probe_listen: Some(server.grpc.into()), ..any_ports() }).await;
    assert!(error.contains("address for probes") && error.contains(&server.grpc.to_string()));
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_while_calls_run_on_all_others() {
    let server = start(ServerSettings { max_connections: 1, ..settings() }).await;
    let first = server.waiting().await;
    let mut second = TcpStream::connect(server.grpc).await.unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    server.counted(r#"profile_gateway_port_full_total{port="grpc"} 1"#).await;
    server.counted("profile_gateway_connections 1").await;
    assert!(!first.is_finished());
    server.gate.open();
    let mut answer = String::new();
    second.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_beyond_the_limit_takes_the_place_of_an_idle_one() {
    let server = start(ServerSettings { max_connections: 1, ..settings() }).await;
    let mut first = TcpStream::connect(server.grpc).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(first.read(&mut [0; 1]).await.unwrap() > 0);
    let mut second = TcpStream::connect(server.grpc).await.unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    second.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
    first.read_to_string(&mut answer).await.unwrap();
    let closed = r#"profile_gateway_connections_closed_total{port="grpc",reason="room"} 1"#;
    server.counted(closed).await;
}

#[tokio::test]
async fn reflection_serves_both_versions_and_knows_error_details() {
    let server = start(settings()).await;
    let ask =
        |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let requests = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".to_owned())),
        ask(MessageRequest::FileContainingSymbol("grpc.health.v1.Health.List".to_owned())),
    ];
    let mut client = ServerReflectionClient::new(server.channel().await);
    let requests = futures_util::stream::iter(requests);
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = first else { panic!("{first:?}") };
    let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "profilegateway.v1.BackendService",
        "profilegateway.v1.ProfileService",
    ];
    assert_eq!(names, expected);
    for _ in 0..2 {
        let file = answers.message().await.unwrap().unwrap().message_response.unwrap();
        assert!(matches!(file, MessageResponse::FileDescriptorResponse(_)), "{file:?}");
    }

    let channel = server.channel().await;
    let mut old = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request =
        v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let requests = futures_util::stream::iter([request]);
    let mut answers = old.server_reflection_info(requests).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
}
