//! TLS of upstreams: authorities, the certificates that they issue, and a server that shows them.
//!
//! Certificates are made here, and real TLS is spoken on real sockets.

use std::{
    convert::Infallible,
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    ALL_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::bodies;

/// Who issues certificates. They are made by openssl.
pub struct Authority {
    directory: TempDir,
    issued: AtomicUsize,
}

/// How openssl issues them: it sets dates only with such a file.
const CONFIG: &str = "[ca]\ndefault_ca = own\n\
    [own]\ndatabase = index.txt\nnew_certs_dir = .\nrand_serial = yes\ndefault_md = sha256\n\
    certificate = ca.pem\nprivate_key = ca.key\npolicy = any\nx509_extensions = leaf\n\
    unique_subject = no\n\
    [any]\ncommonName = supplied\n\
    [leaf]\nsubjectAltName = NAME\nbasicConstraints = CA:FALSE\n";
/// A key, and what it is for.
const NEW: &str = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// A certificate and its key, as files too.
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    der: PrivateKeyDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let directory = TempDir::new().unwrap();
        // Each has a name of its own: of two with the same, a client would compare signatures.
        let name = directory.path().file_name().unwrap().display().to_string();
        let authority = Self { directory, issued: AtomicUsize::new(0) };
        authority
            .openssl(&format!("{NEW} -x509 -days 2 -subj /CN=ca{name} -keyout ca.key -out ca.pem"));
        fs::write(authority.path("index.txt"), "").unwrap();
        authority
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(self.directory.path());
        let output = command.output().expect("openssl, which makes the certificates");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The file of its own certificate.
    pub fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A certificate for this address or name.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_between(name, 2020, 2050)
    }

    /// A certificate that is valid from the beginning of one year to that of another.
    pub fn issue_between(&self, name: &str, from: i32, to: i32) -> Identity {
        let number = self.issued.fetch_add(1, SeqCst);
        let kind = if name.parse::<IpAddr>().is_ok() { "IP" } else { "DNS" };
        let config = CONFIG.replace("NAME", &format!("{kind}:{name}"));
        fs::write(self.path("ca.cnf"), config).unwrap();
        self.openssl(&format!("{NEW} -subj /CN=leaf -keyout {number}.key -out {number}.csr"));
        self.openssl(&format!(
            "ca -batch -config ca.cnf -in {number}.csr -out {number}.crt -notext \
             -startdate {from}0101000000Z -enddate {to}0101000000Z"
        ));
        let (cert, key) =
            (self.path(&format!("{number}.crt")), self.path(&format!("{number}.key")));
        let chain = vec![CertificateDer::from_pem_file(&cert).unwrap()];
        let der = PrivateKeyDer::from_pem_file(&key).unwrap();
        Identity { cert, key, chain, der }
    }
}

/// How a server speaks TLS.
pub struct Speaks<'a> {
    /// Whose certificates it wants of its clients.
    pub client: Option<&'a Authority>,
    /// The protocols in it.
    pub protocols: &'a [&'a str],
    pub versions: &'a [&'static SupportedProtocolVersion],
}

impl Default for Speaks<'_> {
    fn default() -> Self {
        Self { client: None, protocols: &["h2", "http/1.1"], versions: ALL_VERSIONS }
    }
}

/// TLS of a server that shows this certificate.
pub fn acceptor(identity: &Identity, speaks: &Speaks<'_>) -> TlsAcceptor {
    let builder = ServerConfig::builder_with_protocol_versions(speaks.versions);
    let builder = match speaks.client {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority.file()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let (chain, key) = (identity.chain.clone(), identity.der.clone_key());
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = speaks.protocols.iter().map(|name| (*name).into()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub version: Version,
    /// Whom it is for, by `Host` or `:authority`.
    pub host: String,
    /// The name in the handshake.
    pub server_name: Option<String>,
    /// Whether the client showed a certificate.
    pub certified: bool,
}

/// An upstream over TLS that has every profile; ends when dropped.
pub struct Upstream {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    open: AtomicUsize,
    arrived: Mutex<Vec<Arrived>>,
    takes: Duration,
}

/// TLS in front of a port that does not speak it; ends when dropped.
pub struct Front {
    pub address: SocketAddr,
    _stop: DropGuard,
}

/// Lets what comes over TLS pass to this port of this machine, as plain text.
pub async fn front(tls: TlsAcceptor, port: u16) -> Front {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let accepting = async move {
        // Dropped with this task, and the connections with it.
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tls = tls.clone();
            connections.spawn(async move {
                let Ok(mut stream) = tls.accept(stream).await else { return };
                let mut behind = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut behind).await;
            });
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
    Front { address, _stop: stop.drop_guard() }
}

/// An upstream that answers at once.
pub async fn upstream(tls: TlsAcceptor) -> Upstream {
    slow_upstream(tls, Duration::ZERO).await
}

/// An upstream that takes so long for each answer.
pub async fn slow_upstream(tls: TlsAcceptor, takes: Duration) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new(Shared { takes, ..Shared::default() });
    let stop = CancellationToken::new();
    let accepting = accept(listener, tls, Arc::clone(&shared));
    tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
    Upstream { address, shared, _stop: stop.drop_guard() }
}

impl Upstream {
    pub fn base_url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many connections came, of which handshakes may have failed.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// How many of them have not ended.
    pub fn open(&self) -> usize {
        self.shared.open.load(SeqCst)
    }

    pub fn arrived(&self) -> Vec<Arrived> {
        self.shared.arrived.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        shared.connections.fetch_add(1, SeqCst);
        shared.open.fetch_add(1, SeqCst);
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, &shared).await;
            }
            shared.open.fetch_sub(1, SeqCst);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>, shared: &Shared) {
    let (_, session) = stream.get_ref();
    let server_name = session.server_name().map(str::to_owned);
    let (certified, takes) = (session.peer_certificates().is_some(), shared.takes);
    let service = service_fn(|request: Request<Incoming>| {
        let header = request.headers().get("host").and_then(|host| host.to_str().ok());
        let authority = request.uri().authority().map(ToString::to_string);
        let host = authority.unwrap_or_else(|| header.unwrap_or_default().to_owned());
        let version = request.version();
        let server_name = server_name.clone();
        shared.arrived.lock().unwrap().push(Arrived { version, host, server_name, certified });
        let id = request.uri().query().and_then(|query| query.split_once('='));
        let id = id.map_or("SP_1", |(_, id)| id).to_owned();
        async move {
            tokio::time::sleep(takes).await;
            let body = bodies::profiles(&[bodies::profile(&id, "Name")]).to_string();
            let answer = Response::builder().header("content-type", "application/json");
            Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body))).unwrap())
        }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}
