//! Tests of a real server with a small service, over loopback sockets.

mod calls;
mod ends;
mod layers;
mod ports;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::{
    AddressSettings, Admin, AdminSettings, Drained, Health, Operators, Routes, Server,
    ServerMetrics, ServerSettings, Services,
};
use crate::{
    call::Writes,
    caller::Callers,
    levers::{LeverMetrics, Levers},
    pb::{
        Backend, CloseDoubtfulWriteRequest, CloseDoubtfulWriteResponse, GetBackendRequest,
        ListBackendsRequest, ListBackendsResponse, ListDoubtfulWritesRequest,
        ListDoubtfulWritesResponse, ListServicesRequest, ListServicesResponse, PurgeCacheRequest,
        PurgeCacheResponse, backend_service_client::BackendServiceClient,
    },
    rpc::servers::backend_service_server::{BackendService, BackendServiceServer},
    telemetry::{AuditLog, Registry},
};

/// Where the stub's calls wait.
#[derive(Debug)]
pub(super) struct Gate {
    entered: Semaphore,
    open: Semaphore,
}

impl Gate {
    /// Waits until one more call has reached the gate.
    async fn entered(&self) {
        self.entered.acquire().await.unwrap().forget();
    }

    fn open(&self) {
        self.open.add_permits(1);
    }
}

/// Does what the request's name says.
#[derive(Debug)]
struct Stub(Arc<Gate>);

#[tonic::async_trait]
impl BackendService for Stub {
    async fn get_backend(
        &self,
        request: Request<GetBackendRequest>,
    ) -> Result<Response<Backend>, Status> {
        let name = request.into_inner().name;
        match name.as_str() {
            "panic" => panic!("a secret"),
            "wait" => {
                self.0.entered.add_permits(1);
                self.0.open.acquire().await.unwrap().forget();
            }
            _ => {}
        }
        Ok(Response::new(Backend { name, ..Default::default() }))
    }

    async fn list_backends(
        &self,
        _: Request<ListBackendsRequest>,
    ) -> Result<Response<ListBackendsResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn list_services(
        &self,
        _: Request<ListServicesRequest>,
    ) -> Result<Response<ListServicesResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn purge_cache(
        &self,
        _: Request<PurgeCacheRequest>,
    ) -> Result<Response<PurgeCacheResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn list_doubtful_writes(
        &self,
        _: Request<ListDoubtfulWritesRequest>,
    ) -> Result<Response<ListDoubtfulWritesResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn close_doubtful_write(
        &self,
        _: Request<CloseDoubtfulWriteRequest>,
    ) -> Result<Response<CloseDoubtfulWriteResponse>, Status> {
        Ok(Response::new(Default::default()))
    }
}

/// A running server.
pub(super) struct Running {
    grpc: SocketAddr,
    admin: SocketAddr,
    health: Health,
    metrics: Arc<Registry>,
    gate: Arc<Gate>,
    writes: Writes,
    stop: CancellationToken,
    abort: CancellationToken,
    end: JoinHandle<Drained>,
}

pub(super) fn settings() -> ServerSettings {
    let long = Duration::from_secs(3600);
    ServerSettings {
        default_timeout: long,
        max_timeout: long,
        max_concurrent_calls: 100,
        max_connections: 100,
        max_connection_age: None,
        max_connection_age_grace: long,
        drain_grace: Duration::ZERO,
        drain_timeout: long,
        grpc_web: false,
        ..ServerSettings::default()
    }
}

fn any_ports() -> AddressSettings {
    let any = || "127.0.0.1:0".parse().unwrap();
    AddressSettings { listen: any(), admin_listen: any(), probe_listen: None }
}

pub(super) async fn start(settings: ServerSettings) -> Running {
    let gate = Arc::new(Gate { entered: Semaphore::new(0), open: Semaphore::new(0) });
    let stub = BackendServiceServer::new(Stub(Arc::clone(&gate))).max_decoding_message_size(1024);
    let routes = Routes::default().with(stub);
    let health = Health::new(&["profilegateway.v1.BackendService"], &["sft"]);
    let mut registry = Registry::new("test");
    let counted = ServerMetrics::register(&mut registry);
    let services = Services::new(routes, health.clone(), counted, Callers::default()).unwrap();
    let metrics = Arc::new(registry);
    let admin = Admin {
        metrics: Arc::clone(&metrics),
        config: Arc::new(|| serde_json::json!({ "listen": "somewhere" })),
        reload: Arc::new(|| serde_json::json!({})),
        shared_store: None,
        settings: AdminSettings::default(),
        operators: Operators::new(),
        end_pause: Arc::new(|backend| {
            let ended = (backend == "sft").then_some(true);
            Box::pin(async move { ended })
        }),
        levers: Levers::new(AuditLog::in_memory(usize::MAX), LeverMetrics::default()),
        backends: Arc::new(|| vec!["sft".to_owned()]),
    };
    let server = Server::bind(&any_ports(), settings, services).await.unwrap();
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    let writes = Writes::default();
    let [grpc, admin_address] =
        [server.address(), server.admin_address()].map(|address| address.dial().unwrap());
    let run = server.run(
        admin,
        writes.clone(),
        stop.clone().cancelled_owned(),
        abort.clone().cancelled_owned(),
    );
    let end = tokio::spawn(run);
    Running { grpc, admin: admin_address, health, metrics, gate, writes, stop, abort, end }
}

impl Running {
    async fn channel(&self) -> Channel {
        Endpoint::new(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    async fn client(&self) -> BackendServiceClient<Channel> {
        BackendServiceClient::new(self.channel().await)
    }

    async fn health_client(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel().await)
    }

    /// Starts a call, and returns when it waits at the gate.
    async fn waiting(&self) -> JoinHandle<Result<Response<Backend>, Status>> {
        let mut client = self.client().await;
        let call = tokio::spawn(async move { client.get_backend(named("wait")).await });
        self.gate.entered().await;
        call
    }

    /// Waits until the metrics have this line.
    async fn counted(&self, line: &str) {
        while !self.metrics.encode().lines().any(|other| other == line) {
            tokio::task::yield_now().await;
        }
    }
}

fn named(name: &str) -> GetBackendRequest {
    GetBackendRequest { name: name.to_owned() }
}

/// The metric line that counts the stub's calls with this code and reason.
fn calls(code: &str, reason: &str, n: u32) -> String {
    const METHOD: &str = "profilegateway.v1.BackendService/GetBackend";
    format!(
        "profile_gateway_calls_total{{method=\"{METHOD}\",code=\"{code}\",reason=\"{reason}\",\
         backend=\"\"}} {n}"
    )
}

/// Code and reason of a failed call; its ErrorInfo must be complete.
#[track_caller]
fn failure<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "profile-gateway");
    (status.code(), info.reason.clone())
}
