//! Certificates of a test's own authorities, and TLS clients that show them.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};

/// Versions of TLS.
pub type Versions = &'static [&'static SupportedProtocolVersion];

pub static TLS_12: Versions = &[&rustls::version::TLS12];
pub static TLS_13: Versions = &[&rustls::version::TLS13];

/// Far from now, in seconds.
const YEAR: i64 = 365 * 24 * 60 * 60;

/// An authority with a directory for what it has signed.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate with its key, both in PEM files.
pub struct Issued {
    pub certificate: String,
    pub key: String,
    serial: u64,
}

/// What a certificate says.
#[derive(Clone)]
pub struct Leaf {
    names: Vec<SanType>,
    purpose: ExtendedKeyUsagePurpose,
    /// From now, in seconds.
    valid: (i64, i64),
}

impl Leaf {
    /// For a server at these DNS names and IP addresses.
    pub fn server(names: &[&str]) -> Self {
        let names = names.iter().map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        });
        let purpose = ExtendedKeyUsagePurpose::ServerAuth;
        Self { names: names.collect(), purpose, valid: (-YEAR, YEAR) }
    }

    /// For a client of these URIs.
    pub fn client(uris: &[&str]) -> Self {
        let names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        let purpose = ExtendedKeyUsagePurpose::ClientAuth;
        Self { names: names.collect(), purpose, valid: (-YEAR, YEAR) }
    }

    /// The same, for a server alone.
    pub fn for_servers(self) -> Self {
        Self { purpose: ExtendedKeyUsagePurpose::ServerAuth, ..self }
    }

    /// The same, valid from then to then, in seconds from now.
    pub fn valid(self, from: i64, to: i64) -> Self {
        Self { valid: (from, to), ..self }
    }
}

/// So many seconds from now, since 1970.
fn from_now(seconds: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Duration::from_secs(now.checked_add_signed(seconds).unwrap())
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name = named(&format!("authority {number} of the tests"));
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("ca.pem"), own.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), directory }
    }

    /// A file of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same as it is written in a configuration.
    pub fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file of its directory. Gives its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.file(name)
    }

    /// Signs a certificate.
    pub fn issue(&self, leaf: &Leaf) -> Issued {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::default();
        params.distinguished_name = named("CN of the tests");
        params.subject_alt_names.clone_from(&leaf.names);
        params.extended_key_usages = vec![leaf.purpose.clone()];
        params.serial_number = Some(serial.into());
        params.not_before = date_time_ymd(1970, 1, 1) + from_now(leaf.valid.0);
        params.not_after = date_time_ymd(1970, 1, 1) + from_now(leaf.valid.1);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let certificate = self.write(&format!("{serial}.pem"), &signed.pem());
        let key = self.write(&format!("{serial}.key"), &key.serialize_pem());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        Issued { certificate, key, serial }
    }

    /// Writes the list of these certificates, which it revokes. Gives its path.
    pub fn revoke(&self, revoked: &[&Issued]) -> String {
        let then = date_time_ymd(2020, 1, 1);
        let revoked_certs = revoked.iter().map(|issued| RevokedCertParams {
            serial_number: issued.serial.into(),
            revocation_time: then,
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: then,
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        self.write("crl.pem", &list.signed_by(&self.issuer).unwrap().pem().unwrap())
    }

    /// What a client of a server of this authority does, with a certificate of its own or without.
    pub fn client(&self, own: Option<&Issued>) -> Client {
        Client {
            roots: self.certificate(),
            own: own.map(Issued::read),
            versions: rustls::ALL_VERSIONS,
        }
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Issued {
    fn read(&self) -> Shown {
        let chain = vec![CertificateDer::from_pem_file(&self.certificate).unwrap()];
        (chain, PrivateKeyDer::from_pem_file(&self.key).unwrap())
    }
}

/// A client under way.
pub struct Client {
    roots: CertificateDer<'static>,
    own: Option<Shown>,
    versions: Versions,
}

impl Client {
    /// The same with these versions of TLS.
    pub fn versions(self, versions: Versions) -> Self {
        Self { versions, ..self }
    }

    /// What begins connections, offering these protocols.
    pub fn connector(self, protocols: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.roots).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.own {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config).into()
    }

    /// The same for gRPC.
    pub fn grpc(self) -> TlsConnector {
        self.connector(&["h2"])
    }
}

/// A channel over TLS connections to this address.
pub async fn channel_to(
    tls: TlsConnector,
    address: SocketAddr,
) -> Result<Channel, tonic::transport::Error> {
    channel_over(move || {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            // Otherwise a part of a call waits until the part before it is acknowledged.
            stream.set_nodelay(true)?;
            secured(&tls, stream).await
        }
    })
    .await
}

/// A TLS connection to `localhost` over this one.
pub async fn secured<S: AsyncRead + AsyncWrite + Unpin>(
    tls: &TlsConnector,
    stream: S,
) -> io::Result<TlsStream<S>> {
    tls.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// A channel over connections that this opens.
pub async fn channel_over<F, S>(
    open: impl Fn() -> F + Send + Sync + 'static,
) -> Result<Channel, tonic::transport::Error>
where
    F: Future<Output = io::Result<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let open = tower::service_fn(move |_: Uri| {
        let opened = open();
        async move { opened.await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(open).await
}
