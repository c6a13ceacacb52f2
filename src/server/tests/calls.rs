//! What callers see when the stack responds instead of the service, and what is counted then.

use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::{Code, Request, Response, Status, client::Grpc};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use super::{Running, ServerSettings, calls, failure, named, settings, start};
use crate::{
    pb::Backend,
    server::services::health::{HealthListRequest, HealthListResponse},
};

/// Sends any message to any path.
async fn send<Q, A>(server: &Running, path: &'static str, message: Q) -> Result<Response<A>, Status>
where
    Q: prost::Message + Default + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(server.channel().await);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static(path);
    grpc.unary(Request::new(message), path, ProstCodec::default()).await
}

/// Its field 1 is a number where GetBackendRequest has a string.
#[derive(Clone, PartialEq, prost::Message)]
struct Wrong {
    #[prost(uint64, tag = "1")]
    name: u64,
}

#[tokio::test]
async fn a_call_over_the_limit_is_rejected_and_counted_while_health_responds() {
    let server = start(ServerSettings { max_concurrent_calls: 1, ..settings() }).await;
    let first = server.waiting().await;

    let status = server.client().await.get_backend(named("ok")).await.unwrap_err();
    assert!(status.get_error_details().retry_info().unwrap().retry_delay.is_some());
    let expected = (Code::Unavailable, "OVERLOADED".to_owned());
    assert_eq!(failure::<()>(Err(status)), expected);
    let check = HealthCheckRequest::default();
    server.health_client().await.check(check).await.unwrap();

    server.gate.open();
    first.await.unwrap().unwrap();
    server.client().await.get_backend(named("ok")).await.unwrap();
    server.counted(&calls("UNAVAILABLE", "OVERLOADED", 1)).await;
    server.counted(&calls("OK", "", 2)).await;
    server.counted("profile_gateway_calls_shed_total 1").await;
    server.counted("profile_gateway_calls_in_flight 0").await;
}

#[tokio::test]
async fn a_panic_is_internal_reveals_nothing_and_releases_its_permit() {
    let server = start(ServerSettings { max_concurrent_calls: 1, ..settings() }).await;
    let mut client = server.client().await;
    let status = client.get_backend(named("panic")).await.unwrap_err();
    assert!(!format!("{status:?}").contains("secret"));
    let info = status.get_error_details().error_info().unwrap().clone();
    assert_eq!(info.metadata.get("operation").map(String::as_str), Some("GetBackend"));
    assert_eq!(failure::<()>(Err(status)), (Code::Internal, "GATEWAY_INTERNAL".to_owned()));
    client.get_backend(named("ok")).await.unwrap();
    server.counted(&calls("INTERNAL", "GATEWAY_INTERNAL", 1)).await;
}

#[tokio::test]
async fn the_deadline_ends_a_call_and_releases_its_permit() {
    let default_timeout = Duration::from_millis(20);
    let server =
        start(ServerSettings { default_timeout, max_concurrent_calls: 1, ..settings() }).await;
    let mut client = server.client().await;
    let cut = client.get_backend(named("wait")).await;
    assert_eq!(failure(cut), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    // It would be rejected if the permit were still taken.
    let next = client.get_backend(named("wait")).await;
    assert_eq!(failure(next), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    server.counted(&calls("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", 2)).await;
}

#[tokio::test]
async fn a_caller_who_leaves_is_counted_as_cancelled() {
    let server = start(settings()).await;
    let call = server.waiting().await;
    call.abort();
    server.counted(&calls("CANCELLED", "CALLER_CANCELLED", 1)).await;
    server.counted("profile_gateway_calls_in_flight 0").await;
}

#[tokio::test]
async fn what_tonic_refuses_has_the_gateways_vocabulary() {
    let server = start(settings()).await;
    let mut client = server.client().await;
    let large = client.get_backend(named(&"x".repeat(2000))).await;
    assert_eq!(failure(large), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));

    const GET: &str = "/profilegateway.v1.BackendService/GetBackend";
    let malformed = (Code::InvalidArgument, "MALFORMED_REQUEST".to_owned());
    let bytes = send::<_, Backend>(&server, GET, Wrong { name: 7 }).await;
    assert_eq!(failure(bytes), malformed);
    let mut request = Request::new(named("ok"));
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    assert_eq!(failure(client.get_backend(request).await), malformed);

    let missing = (Code::Unimplemented, "OPERATION_NOT_SUPPORTED".to_owned());
    for path in ["/profilegateway.v1.BackendService/Nope", "/no.Service/Nope", "/nope"] {
        let status = send::<_, Backend>(&server, path, named("x")).await.unwrap_err();
        assert!(status.message().contains(path), "{status:?}");
        assert_eq!(failure::<()>(Err(status)), missing);
    }
    let mut request = Request::new(named("ok"));
    request.metadata_mut().insert("grpc-encoding", "snappy".parse().unwrap());
    let status = client.get_backend(request).await.unwrap_err();
    assert!(status.message().contains("snappy"), "{status:?}");
    assert!(status.metadata().contains_key("grpc-accept-encoding"));
    assert_eq!(failure::<()>(Err(status)), missing);

    server.counted(&calls("INVALID_ARGUMENT", "MALFORMED_REQUEST", 2)).await;
    assert!(server.metrics.encode().contains(r#"method="unknown",code="UNIMPLEMENTED""#));
    assert!(!server.metrics.encode().contains("Nope"));
}

#[tokio::test]
async fn health_knows_the_process_services_and_backends() {
    let server = start(settings()).await;
    let mut client = server.health_client().await;
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for name in ["", "profilegateway.v1.BackendService", "backends/sft"] {
        let answer = client.check(ask(name)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{name}");
    }
    let unknown = client.check(ask("backends/other")).await;
    assert_eq!(failure(unknown), (Code::NotFound, "BACKEND_NOT_FOUND".to_owned()));

    let mut watch = client.watch(ask("backends/sft")).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    server.health.set_backend("sft", false);
    let second = watch.message().await.unwrap().unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);

    // A stream of a name that nothing has stays open, and no copy of the name is kept.
    for name in ["backends/other", &"x".repeat(4000)] {
        let mut watch = client.watch(ask(name)).await.unwrap().into_inner();
        let first = watch.message().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    }

    const LIST: &str = "/grpc.health.v1.Health/List";
    let list: Response<HealthListResponse> =
        send(&server, LIST, HealthListRequest::default()).await.unwrap();
    let statuses = list.into_inner().statuses;
    let names: Vec<&str> = statuses.keys().map(String::as_str).collect();
    let expected = ["", "backends/sft", "profilegateway.v1.BackendService"];
    assert_eq!(names, expected);
    assert_eq!(statuses["backends/sft"].status(), ServingStatus::NotServing);
    assert_eq!(statuses[""].status(), ServingStatus::Serving);
}
