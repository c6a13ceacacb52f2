//! What happens on the connection to an upstream: connections that were idle for too long, TLS that
//! does not come about, and HTTP/2 streams that the upstream refuses.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
};
use tokio_rustls::TlsAcceptor;
use tonic::Code;

use super::{
    calls::{failure, named, profiles},
    child::{Gateway, Sandbox, sandbox, serve, sft},
};
use crate::kit::model::rename;

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Passes one exchange of each connection on, and then closes it as soon as another request comes:
/// what a connection looks like whose idle time is over at the other end. Counts those requests.
async fn stale(sandbox: &str) -> (SocketAddr, Arc<AtomicUsize>) {
    let (listener, address) = listener().await;
    let upstream: SocketAddr = sandbox.strip_prefix("http://").unwrap().parse().unwrap();
    let lost = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lost);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            tokio::spawn(async move { drop(one_exchange(client, upstream, counted).await) });
        }
    });
    (address, lost)
}

async fn one_exchange(
    mut client: TcpStream,
    upstream: SocketAddr,
    lost: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    let (mut asked, mut answered) = ([0; 16 * 1024], [0; 16 * 1024]);
    let mut begun = false;
    loop {
        tokio::select! {
            n = client.read(&mut asked) => match n? {
                0 => return Ok(()),
                _ if begun => {
                    lost.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                n => server.write_all(&asked[..n]).await?,
            },
            n = server.read(&mut answered) => match n? {
                0 => return Ok(()),
                n => {
                    begun = true;
                    client.write_all(&answered[..n]).await?;
                }
            },
        }
    }
}

#[tokio::test]
async fn a_write_is_not_lost_on_a_connection_that_was_idle_for_too_long() {
    let Sandbox { url, config, program: _program } = sandbox().await;
    let (address, lost) = stale(&url).await;
    let gateway = serve(&config.replace(&url, &format!("http://{address}")), &[]).await;
    let mut client = profiles(&gateway).await;
    for round in 0..3 {
        let mut request = tonic::Request::new(rename("SP_352", &format!("Round {round}")));
        request.set_timeout(std::time::Duration::from_secs(20));
        let written = client.update_profile(request).await.unwrap().into_inner();
        assert_eq!(written.display_name, format!("Round {round}"));
    }
    // Reads met such connections, and were sent again; the proxy is what this test takes it for.
    assert!(lost.load(Ordering::Relaxed) > 0);
    let journal = reqwest::get(format!("{url}/sandbox/journal")).await.unwrap();
    let journal = journal.text().await.unwrap();
    assert_eq!(journal.matches("\"ModifyServiceProfile\"").count(), 3, "{journal}");
}

/// How openssl issues certificates: it sets dates only with such a file.
const CONFIG: &str = "[ca]\ndefault_ca = own\n\
    [own]\ndatabase = index.txt\nnew_certs_dir = .\nrand_serial = yes\ndefault_md = sha256\n\
    certificate = ca.pem\nprivate_key = ca.key\npolicy = any\nx509_extensions = server\n\
    [any]\ncommonName = supplied\n\
    [server]\nsubjectAltName = NAME\nbasicConstraints = CA:FALSE\n";
pub(super) const VALID: &str = "20491231235959Z";
const EXPIRED: &str = "20200102000000Z";

/// Certificates of an authority of its own, made by openssl.
pub(super) struct Authority(TempDir);

impl Authority {
    pub(super) async fn new() -> Self {
        let authority = Self(TempDir::new().unwrap());
        // Each has a name of its own: of two with the same, a client would compare signatures.
        let name = authority.0.path().file_name().unwrap().display().to_string();
        authority
            .openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                 -subj /CN=ca{name} -keyout ca.key -out ca.pem"
            ))
            .await;
        authority
    }

    async fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split_whitespace()).current_dir(self.0.path());
        let output = output.output().await.expect("openssl, which makes the certificates");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// A certificate for a name, `IP:…` or `DNS:…`, which is valid until the given date.
    pub(super) async fn issue(&self, name: &str, end: &str) {
        fs::write(self.path("index.txt"), "").unwrap();
        fs::write(self.path("ca.cnf"), CONFIG.replace("NAME", name)).unwrap();
        self.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server \
             -keyout server.key -out server.csr",
        )
        .await;
        self.openssl(&format!(
            "ca -batch -config ca.cnf -in server.csr -out server.pem -notext \
             -startdate 20200101000000Z -enddate {end}"
        ))
        .await;
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(name)).unwrap()
    }

    /// TLS with the issued certificate, which negotiates this protocol.
    pub(super) fn tls(&self, wants_client: bool, protocol: &str) -> TlsAcceptor {
        let builder = ServerConfig::builder();
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate("ca.pem")).unwrap();
        let builder = match wants_client {
            true => {
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
            false => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        let mut config =
            builder.with_single_cert(vec![self.certificate("server.pem")], key).unwrap();
        config.alpn_protocols = vec![protocol.into()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Accepts TLS connections and counts all connections; HTTP/2 streams on them are refused.
async fn refusing(tls: Option<TlsAcceptor>) -> (SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (listener, address) = listener().await;
    let (connections, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (accepted, reset) = (Arc::clone(&connections), Arc::clone(&refused));
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            accepted.fetch_add(1, Ordering::Relaxed);
            let (tls, reset) = (tls.clone(), Arc::clone(&reset));
            tokio::spawn(async move {
                let Some(tls) = tls else {
                    let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                    return;
                };
                let Ok(client) = tls.accept(client).await else { return };
                let Ok(mut h2) = h2::server::handshake(client).await else { return };
                while let Some(Ok((_, mut respond))) = h2.accept().await {
                    reset.fetch_add(1, Ordering::Relaxed);
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
            });
        }
    });
    (address, connections, refused)
}

/// A gateway that trusts this authority, with a fixed token, so that the first request is a read.
pub(super) async fn trusting(authority: &Path, base_url: &str) -> Gateway {
    let config = format!(
        "[backends.sft]\ndialect = \"bics-sft\"\nbase_url = {base_url:?}\n\
         access_token = \"fixed-token-of-the-test\"\n"
    );
    serve(&config, &[("SSL_CERT_FILE", authority.to_str().unwrap())]).await
}

#[tokio::test]
async fn tls_faults_say_what_failed_and_are_not_retried() {
    let (authority, other) = (Authority::new().await, Authority::new().await);
    for (name, end, trusted, client, expected) in [
        ("IP:127.0.0.1", VALID, &other, None, "unknown issuer"),
        ("DNS:elsewhere.example", VALID, &authority, None, "name mismatch"),
        ("IP:127.0.0.1", EXPIRED, &authority, None, "has expired"),
        ("IP:127.0.0.1", VALID, &authority, Some("http/1.1"), "wants a client certificate"),
        ("IP:127.0.0.1", VALID, &authority, Some("h2"), "wants a client certificate"),
    ] {
        authority.issue(name, end).await;
        let tls = authority.tls(client.is_some(), client.unwrap_or("h2"));
        let (address, connections, _) = refusing(Some(tls)).await;
        let url = format!("https://{address}");
        let gateway = trusting(&trusted.path("ca.pem"), &url).await;
        says(&gateway, &connections, expected, 1).await;
    }
    // No TLS at all.
    let (address, connections, _) = refusing(None).await;
    let url = format!("https://{address}");
    let gateway = trusting(&authority.path("ca.pem"), &url).await;
    says(&gateway, &connections, "does not speak TLS", 1).await;
    // A login fails for the same reason.
    let (address, connections, _) = refusing(None).await;
    let gateway = serve(&sft(&format!("https://{address}"), "ops", "hunter2"), &[]).await;
    says(&gateway, &connections, "does not speak TLS", 1).await;
}

/// Reads a profile, which fails for this reason after so many connections.
async fn says(gateway: &Gateway, connections: &AtomicUsize, expected: &str, attempts: usize) {
    let mut client = profiles(gateway).await;
    let (code, reason, details) = failure(&client.get_profile(named("SP_2")).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "{expected}");
    assert!(details.retry_info().is_none(), "{expected}: {details:?}");
    let status = client.get_profile(named("SP_2")).await.unwrap_err();
    assert!(status.message().contains(expected), "{expected}: {}", status.message());
    assert_eq!(connections.load(Ordering::Relaxed), 2 * attempts, "{expected}");
}

#[tokio::test]
async fn a_write_whose_stream_was_refused_is_definite_and_sent_again() {
    let authority = Authority::new().await;
    authority.issue("IP:127.0.0.1", VALID).await;
    let (address, _, refused) = refusing(Some(authority.tls(false, "h2"))).await;
    let gateway = trusting(&authority.path("ca.pem"), &format!("https://{address}")).await;
    let mut client = profiles(&gateway).await;
    let deletion = profile_gateway::pb::DeleteProfileRequest {
        name: "backends/sft/profiles/SP_2".to_owned(),
        ..Default::default()
    };
    let status = client.delete_profile(deletion).await.unwrap_err();
    let (code, reason, _) = failure(&status);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "{status:?}");
    assert!(status.message().contains("refused to process"), "{}", status.message());
    assert_eq!(refused.load(Ordering::Relaxed), 3, "one for each attempt");
}
