//! Asks a gateway for its health over gRPC, as `profile-gateway health` does.

mod own_certificate;

use std::{
    convert::Infallible,
    fmt,
    future::pending,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::Uri;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use own_certificate::OwnCertificate;
use rustls::{ClientConfig, crypto::aws_lc_rs, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::service_fn;

use crate::{
    config::Config,
    server::{ClientAuth, ListenAddress, ServerTlsSettings},
};

/// For the connection and the answer together.
const LIMIT: Duration = Duration::from_secs(5);

const NO_CLIENT_CERTIFICATE: &str = "the gRPC port demands a client certificate, which this \
    command does not have: set `probe_listen`, because that port has no TLS";

/// A port that tells the health of a gateway.
#[derive(Debug)]
pub struct HealthPort {
    address: ListenAddress,
    tls: Option<Arc<ClientConfig>>,
}

/// How a gateway was found.
#[derive(Debug)]
pub struct Found {
    address: ListenAddress,
    outcome: Result<ServingStatus, String>,
}

impl HealthPort {
    /// The port at `address`, or else the one that `config` has for probes, or else its gRPC port.
    /// TLS is spoken if `config` has it for that port.
    ///
    /// # Errors
    ///
    /// When the port cannot be asked, and what to do.
    pub fn find(address: Option<ListenAddress>, config: Option<&Config>) -> Result<Self, String> {
        let defaults = config.map(|config| &config.addresses);
        let probes = defaults.and_then(|addresses| addresses.probe_listen.as_ref());
        let grpc = defaults.map(|addresses| &addresses.listen);
        let address = address.or_else(|| probes.or(grpc).cloned());
        let address = address.ok_or("neither an address nor a configuration is given")?;
        let has_tls = probes != Some(&address);
        let tls = config.filter(|_| has_tls).map(|config| client(&config.tls)).transpose()?;
        Ok(Self { address, tls: tls.flatten() })
    }

    /// Asks it once.
    pub async fn ask(self) -> Found {
        let Self { address, tls } = self;
        let outcome = match timeout(LIMIT, connect_and_ask(&address, tls)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("it does not answer within {} s", LIMIT.as_secs())),
        };
        Found { address, outcome }
    }
}

impl Found {
    /// Whether it serves calls.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.outcome == Ok(ServingStatus::Serving)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, outcome } = self;
        match outcome {
            Ok(status) => write!(f, "{address}: {}", status.as_str_name()),
            Err(why) => write!(f, "{address}: {why}"),
        }
    }
}

/// What speaks to a gRPC port with these settings. `None` if it has no TLS.
fn client(settings: &ServerTlsSettings) -> Result<Option<Arc<ClientConfig>>, String> {
    let Some(certificate) = settings.cert.as_ref().and_then(|cert| cert.der.first()) else {
        return Ok(None);
    };
    if settings.client_auth() == ClientAuth::Required {
        return Err(NO_CLIENT_CERTIFICATE.to_owned());
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(OwnCertificate::new(certificate.clone(), &provider));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let mut config =
        config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(Arc::new(config)))
}

async fn connect_and_ask(
    address: &ListenAddress,
    tls: Option<Arc<ClientConfig>>,
) -> Result<ServingStatus, String> {
    let unreachable = |error| format!("it cannot be reached: {error}");
    match (address, reachable(address)) {
        (ListenAddress::Unix(path), _) => {
            ask_over(UnixStream::connect(path).await.map_err(unreachable)?, tls).await
        }
        (_, Some(address)) => {
            ask_over(TcpStream::connect(address).await.map_err(unreachable)?, tls).await
        }
        (_, None) => Err("it is not a port of TCP".to_owned()),
    }
}

/// Where a program on this machine reaches a port that listens there.
fn reachable(address: &ListenAddress) -> Option<SocketAddr> {
    let address = address.dial()?;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(SocketAddr::new(ip, address.port()))
}

async fn ask_over<S>(stream: S, tls: Option<Arc<ClientConfig>>) -> Result<ServingStatus, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(tls) = tls else { return ask(stream).await };
    // The certificate is known, whatever it names.
    let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    let secured = TlsConnector::from(tls).connect(name, stream).await;
    ask(secured.map_err(|error| format!("the TLS handshake failed: {error}"))?).await
}

async fn ask<S>(stream: S) -> Result<ServingStatus, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connected = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) =
        connected.map_err(|error| format!("it does not speak HTTP/2: {error}"))?;
    let service = service_fn(move |request| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    });
    let mut client = HealthClient::with_origin(service, Uri::from_static("http://localhost"));
    let answer = client.check(HealthCheckRequest::default());
    // What it has answered counts also when it closes the connection then.
    let connection = async {
        drop(connection.await);
        pending::<Infallible>().await
    };
    let answer = tokio::select! { answer = answer => answer, never = connection => match never {} };
    match answer {
        Ok(answer) => Ok(answer.into_inner().status()),
        Err(status) => Err(format!("it does not tell its health: {}", status.message())),
    }
}
