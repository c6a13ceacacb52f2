//! What the measured processes do. Each prints its address, and ends when its input does, which is
//! when its parent is gone.

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    io::{self, BufRead},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use profile_gateway::{
    call::{Admitted, Writes},
    caller::Callers,
    levers::{LeverMetrics, Levers},
    pb::{GetProfileRequest, Profile},
    rpc::servers::profile_service_server,
    server::{
        self as gateway, AddressSettings, Admin, AdminSettings, Health, ListenAddress, Operators,
        Routes, ServerMetrics, ServerSettings, Services,
    },
    telemetry::{AuditLog, AuditMetrics, AuditSettings, Registry, logs},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tonic::{
    body::Body,
    codegen::{Body as HttpBody, BoxFuture, Service, StdError},
    server::{Grpc, NamedService, UnaryService},
    transport::server::{Connected, Server, TcpIncoming},
};
use tonic_prost::ProstCodec;

use crate::load;

fn end_with_input() {
    std::thread::spawn(|| {
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        std::process::exit(0);
    });
}

pub(crate) async fn listener() -> TcpListener {
    end_with_input();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    listener
}

/// Speaks as much SFT as a read of a profile and a deletion need. Each takes so many milliseconds,
/// if it says so.
pub(crate) async fn upstream(millis: &str) {
    let took = Duration::from_millis(millis.parse().unwrap_or(0));
    let listener = listener().await;
    let profile = json!({
        "profileId": "SP_ID", "profileName": "DEFAULT", "status": "1", "category": "0",
        "serviceName": "DATA|MO-SMS|MT-SMS", "ratTypeName": "2G/3G/4G/5G",
    });
    let get = json!({ "Response": {
        "responseId": "38069526535776562",
        "responseTimestamp": "29/04/2020 04:42:56",
        "resultCode": "0",
        "resultParam": { "resultCode": "1331", "resultDescription": "Get service profile success" },
        "responseParam": { "totalCount": "1", "serviceProfileList": [profile] },
    } });
    let deleted = json!({ "Response": {
        "resultCode": "0",
        "resultParam": { "resultCode": "1329", "resultDescription": "Delete success" },
    } });
    let answers = Arc::new(Answers {
        login: Bytes::from(json!({ "AccessToken": "token" }).to_string()),
        get: get.to_string(),
        deleted: Bytes::from(deleted.to_string()),
        slow: AtomicUsize::new(0),
        took,
    });
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(answer(stream, Arc::clone(&answers)));
    }
}

/// The profile that takes a second to read; how often it was, the upstream tells under `/slow`.
pub(crate) const SLOW: usize = 1;

struct Answers {
    login: Bytes,
    get: String,
    deleted: Bytes,
    slow: AtomicUsize,
    took: Duration,
}

impl Answers {
    async fn to(&self, uri: &http::Uri) -> Bytes {
        let id = uri.query().and_then(|query| query.split_once('='));
        match (uri.path(), id) {
            ("/api/login", _) => self.login.clone(),
            ("/slow", _) => self.slow.load(Ordering::Relaxed).to_string().into(),
            ("/api/DeleteServiceProfile", _) => {
                self.take_time().await;
                self.deleted.clone()
            }
            (_, Some((_, id))) => {
                if id == format!("SP_{SLOW}") {
                    self.slow.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                } else {
                    self.take_time().await;
                }
                self.get.replace("SP_ID", id).into()
            }
            (_, None) => Bytes::new(),
        }
    }

    async fn take_time(&self) {
        if !self.took.is_zero() {
            tokio::time::sleep(self.took).await;
        }
    }
}

async fn answer(stream: TcpStream, answers: Arc<Answers>) {
    stream.set_nodelay(true).unwrap();
    let service = service_fn(|request: http::Request<Incoming>| {
        let answers = Arc::clone(&answers);
        async move {
            let body = answers.to(request.uri()).await;
            // An unread body would cost the connection.
            drop(request.into_body().collect().await);
            let answer = http::Response::builder().header("content-type", "application/json");
            answer.body(Full::new(body))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new();
    drop(connection.serve_connection(TokioIo::new(stream), service).await);
}

/// Answers every call with the profile.
pub(crate) async fn tonic(profile: &str) {
    let incoming = TcpIncoming::from(listener().await).with_nodelay(Some(true));
    serve_constant(profile, incoming).await;
}

/// The same over these connections.
pub(crate) async fn serve_constant<I, C>(profile: &str, incoming: I)
where
    I: Stream<Item = io::Result<C>>,
    C: AsyncRead
        + AsyncWrite
        + Connected<ConnectInfo: Clone + Send + Sync>
        + Unpin
        + Send
        + 'static,
{
    let constant = Constant(Arc::new(load::from_text(profile)));
    Server::builder().add_service(Served(constant)).serve_with_incoming(incoming).await.unwrap();
}

/// Refuses every call with the same status.
pub(crate) async fn refuse(status: &str) {
    let refusal = Refusal(Arc::new(load::status_from_text(status)));
    let incoming = TcpIncoming::from(listener().await).with_nodelay(Some(true));
    Server::builder().add_service(Served(refusal)).serve_with_incoming(incoming).await.unwrap();
}

/// Asks the upstream in each call, decodes its answer, and answers with the profile.
pub(crate) async fn relay(with: &str) {
    let (upstream, profile) = with.split_once(' ').unwrap();
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().unwrap();
    let url = format!("{upstream}/api/GetServiceProfile?serviceProfileId=").into();
    let relay = Relay { client, url, profile: Arc::new(load::from_text(profile)) };
    let incoming = TcpIncoming::from(listener().await).with_nodelay(Some(true));
    Server::builder().add_service(Served(relay)).serve_with_incoming(incoming).await.unwrap();
}

/// Answers every call with the profile, behind the gateway's server.
pub(crate) async fn stack(profile: &str) {
    behind_the_stack(Constant(Arc::new(load::from_text(profile)))).await;
}

/// Serves a method behind the gateway's server, as the program runs it.
pub(crate) async fn behind_the_stack<M>(method: M)
where
    M: UnaryService<GetProfileRequest, Response = Profile, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    end_with_input();
    logs::init(logs::Format::Json, "info").unwrap();
    let mut registry = Registry::new("bench");
    let counted = ServerMetrics::register(&mut registry);
    let health = Health::new(&[Served::<M>::NAME], &["sft"]);
    let routes = Routes::default().with(Served(method));
    let services = Services::new(routes, health, counted, Callers::default()).unwrap();
    let any: ListenAddress = "127.0.0.1:0".parse().unwrap();
    let addresses = AddressSettings { listen: any.clone(), admin_listen: any, probe_listen: None };
    let settings = ServerSettings {
        default_timeout: Duration::from_secs(45),
        max_timeout: Duration::from_secs(300),
        max_concurrent_calls: 1024,
        max_connections: 1024,
        max_connection_age: Some(Duration::from_secs(3600)),
        max_connection_age_grace: Duration::from_secs(60),
        drain_grace: Duration::ZERO,
        drain_timeout: Duration::from_secs(1),
        grpc_web: false,
        ..ServerSettings::default()
    };
    let server = gateway::Server::bind(&addresses, settings, services).await.unwrap();
    println!("{}", server.address());
    let (settings, metrics) = (AuditSettings::default(), AuditMetrics::default());
    let audit = AuditLog::open(&settings, logs::Format::Json, metrics).unwrap();
    let admin = Admin {
        metrics: Arc::new(registry),
        config: Arc::new(|| Value::Null),
        reload: Arc::new(|| Value::Null),
        shared_store: None,
        settings: AdminSettings::default(),
        operators: Operators::new(),
        end_pause: Arc::new(|_: &str| Box::pin(async { None })),
        levers: Levers::new(audit, LeverMetrics::default()),
        backends: Arc::new(Vec::new),
    };
    server.run(admin, Writes::default(), pending(), pending()).await;
}

/// What the generated code does for a method, without the others.
#[derive(Clone)]
struct Served<M>(M);

impl<M> NamedService for Served<M> {
    const NAME: &'static str = profile_service_server::SERVICE_NAME;
}

impl<M, B> Service<http::Request<B>> for Served<M>
where
    M: UnaryService<GetProfileRequest, Response = Profile, Future: Send> + Clone + Send + 'static,
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let method = self.0.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(method, request).await) })
    }
}

#[derive(Clone)]
struct Constant(Arc<Profile>);

impl UnaryService<GetProfileRequest> for Constant {
    type Response = Profile;
    type Future = Ready<Result<tonic::Response<Profile>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<GetProfileRequest>) -> Self::Future {
        // What every read of the gateway does for the log.
        if let Some(call) = request.extensions().get::<Admitted>() {
            call.record.set_backend("sft");
        }
        ready(Ok(tonic::Response::new(Profile::clone(&self.0))))
    }
}

#[derive(Clone)]
struct Refusal(Arc<tonic::Status>);

impl UnaryService<GetProfileRequest> for Refusal {
    type Response = Profile;
    type Future = Ready<Result<tonic::Response<Profile>, tonic::Status>>;

    fn call(&mut self, _: tonic::Request<GetProfileRequest>) -> Self::Future {
        ready(Err(tonic::Status::clone(&self.0)))
    }
}

#[derive(Clone)]
struct Relay {
    client: reqwest::Client,
    url: Arc<str>,
    profile: Arc<Profile>,
}

impl UnaryService<GetProfileRequest> for Relay {
    type Response = Profile;
    type Future = BoxFuture<tonic::Response<Profile>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<GetProfileRequest>) -> Self::Future {
        let Self { client, url, profile } = self.clone();
        Box::pin(async move {
            let (_, id) = request.get_ref().name.rsplit_once('/').unwrap();
            get(client.get(format!("{url}{id}"))).await;
            Ok(tonic::Response::new(Profile::clone(&profile)))
        })
    }
}

/// One request upstream, and its answer decoded.
async fn get(request: reqwest::RequestBuilder) {
    let request = request.header("x-authorization", "Bearer token");
    let body = request.send().await.unwrap().bytes().await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(body["Response"].is_object());
}

/// Reads numbers of requests from its input, makes them, and prints the microseconds they took.
pub(crate) async fn reqwest(upstream: &str) {
    println!();
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().unwrap();
    let url = format!("{upstream}/api/GetServiceProfile?serviceProfileId=SP_2");
    for line in io::stdin().lock().lines() {
        let requests = line.unwrap().parse().unwrap();
        let (client, url) = (client.clone(), url.clone());
        let took = load::all(requests, move |_| get(client.get(&url))).await;
        println!("{}", took.as_micros());
    }
}
