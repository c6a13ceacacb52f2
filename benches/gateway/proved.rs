//! What it costs to know who calls: a hit over TLS with client certificates beside a bare tonic
//! server with the same TLS, and a hit with a token that was verified before beside one without.
//!
//! A token is a long header, which HTTP/2 sends again with each call. A bare tonic server that is
//! sent the same, and ignores it, shows what that alone costs.

use std::{
    fs, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, server::Connected},
};

use profile_gateway::pb::{
    GetProfileRequest, Profile, profile_service_client::ProfileServiceClient,
};

use crate::{
    Role,
    certificates::{Authority, Issued, Leaf, channel_to},
    child::Child,
    load::{self, CONNECTIONS},
    measure, report, roles,
    tokens::{self, Issuer},
};

const WORKLOAD: &str = "spiffe://example.org/ns/bench/sa/load";

/// Calls to one server, with the same proof.
struct Load {
    clients: Vec<ProfileServiceClient<Channel>>,
    authorization: Option<MetadataValue<Ascii>>,
}

impl Load {
    async fn plain(address: &str, authorization: Option<MetadataValue<Ascii>>) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let endpoint = tonic::transport::Endpoint::new(format!("http://{address}")).unwrap();
            let channel = endpoint.tcp_nodelay(true).connect().await.unwrap();
            clients.push(ProfileServiceClient::new(channel));
        }
        Self { clients, authorization }
    }

    async fn secured(address: &str, authority: &Authority, own: &Issued) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let tls = authority.client(Some(own)).grpc();
            let channel = channel_to(tls, address.parse().unwrap()).await.unwrap();
            clients.push(ProfileServiceClient::new(channel));
        }
        Self { clients, authorization: None }
    }

    async fn once(&self) -> Profile {
        get(&mut self.clients[0].clone(), self.authorization.clone()).await
    }

    async fn make(&self, requests: usize) -> Duration {
        let (clients, authorization) = (self.clients.clone(), self.authorization.clone());
        load::all(requests, move |n| {
            let mut client = clients[n % CONNECTIONS].clone();
            let authorization = authorization.clone();
            async move { drop(get(&mut client, authorization).await) }
        })
        .await
    }
}

async fn get(
    client: &mut ProfileServiceClient<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
) -> Profile {
    let name = "backends/sft/profiles/SP_2".to_owned();
    let mut request = Request::new(GetProfileRequest { name, read_mask: None });
    if let Some(value) = authorization {
        request.metadata_mut().insert("authorization", value);
    }
    client.get_profile(request).await.unwrap().into_inner()
}

/// Makes the calls to all and prints all.
pub(crate) async fn compare(requests: usize, rounds: usize) {
    let (authority, issuer) = (Authority::new(), Issuer::new());
    let own = authority.issue(&Leaf::server(&["localhost"]));
    let client = authority.issue(&Leaf::client(&[WORKLOAD]));
    let upstream = Child::role(Role::Upstream, "");
    let url = format!("http://{}", upstream.address);
    let directory = TempDir::new().unwrap();
    let configured = |name: &str, sections: &str| {
        let path = directory.path().join(name);
        fs::write(&path, sections).unwrap();
        Child::gateway_configured(&url, path.to_str().unwrap())
    };
    let open = configured("open.toml", "");
    let by_certificate = configured("certificates.toml", &certificates(&authority, &own));
    let by_token = configured("tokens.toml", &with_tokens(&issuer));

    let to_open = Load::plain(&open.address, None).await;
    let to_certificates = Load::secured(&by_certificate.address, &authority, &client).await;
    let to_tokens = Load::plain(&by_token.address, Some(bearer())).await;
    let profile = to_open.once().await;
    let secured = secured(&profile, &authority, &own);
    let to_secured = Load::secured(&secured.address, &authority, &client).await;
    let tonic = Child::role(Role::Tonic, &load::to_text(&profile));
    let to_tonic = Load::plain(&tonic.address, None).await;
    let with_token = Load::plain(&tonic.address, Some(bearer())).await;
    for other in [&to_certificates, &to_tokens, &to_secured, &to_tonic, &with_token] {
        assert_eq!(other.once().await, profile);
    }

    let measured = [
        ("bare tonic server, the same TLS", &secured, &to_secured, &[][..]),
        ("cache hit, by a client certificate", &by_certificate, &to_certificates, &[0]),
        ("bare tonic server", &tonic, &to_tonic, &[]),
        ("bare tonic server that is sent a token", &tonic, &with_token, &[2]),
        ("cache hit, no one has to prove anything", &open, &to_open, &[2]),
        ("cache hit, by a token that is remembered", &by_token, &to_tokens, &[4, 3]),
    ];
    let each = (requests / rounds).max(1);
    let mut rows = measured.map(|(name, _, _, others)| (name, Vec::new(), others));
    // The first turn warms up.
    for round in 0..=rounds {
        for ((_, server, load, _), (_, turns, _)) in measured.iter().zip(&mut rows) {
            let turn = measure(server, async || load.make(each).await).await;
            if round > 0 {
                turns.push(turn);
            }
        }
    }
    println!();
    report(each, rounds, &rows);
}

/// A bare tonic server over TLS that answers with this profile.
fn secured(profile: &Profile, authority: &Authority, own: &Issued) -> Child {
    let with = json!({
        "profile": load::to_text(profile), "cert": own.certificate, "key": own.key,
        "client_ca": authority.file("ca.pem"),
    });
    Child::role(Role::Secured, &with.to_string())
}

/// A token that is good for longer than this takes.
fn bearer() -> MetadataValue<Ascii> {
    let claims = tokens::with(tokens::claims("bench"), json!({"exp": tokens::at(3000)}));
    let token = tokens::token(&tokens::header(), &claims, tokens::RS256);
    format!("Bearer {token}").parse().unwrap()
}

fn certificates(authority: &Authority, own: &Issued) -> String {
    format!(
        "[server.tls]\ncert = {:?}\nkey = {:?}\nclient_ca = {:?}\ntrust_domain = \"example.org\"\n\
         [auth]\nmode = \"required\"\n{}[auth.callers.bench]\nroles = \"reader\"\n\
         spiffe = \"{WORKLOAD}\"\n",
        own.certificate,
        own.key,
        authority.file("ca.pem"),
        tokens::role("reader", "read", "*"),
    )
}

fn with_tokens(issuer: &Issuer) -> String {
    let rules = tokens::role("reader", "read", "*") + &tokens::caller("bench", "reader");
    issuer.config("", &rules)
}

/// A gRPC server with TLS and client certificates that answers every call with the profile.
pub(crate) async fn tonic(with: &str) {
    let with: serde_json::Value = serde_json::from_str(with).unwrap();
    let text = |key: &str| with[key].as_str().unwrap().to_owned();
    let acceptor = acceptor(&text("cert"), &text("key"), &text("client_ca"));
    let listener = roles::listener().await;
    let (accepted, mut incoming) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let stream = acceptor.accept(stream).await.map(Secured);
            accepted.send(stream).await.unwrap();
        }
    });
    let incoming = futures_util::stream::poll_fn(move |cx| incoming.poll_recv(cx));
    roles::serve_constant(&text("profile"), incoming).await;
}

fn acceptor(cert: &str, key: &str, client_ca: &str) -> TlsAcceptor {
    let read = |path: &str| CertificateDer::from_pem_file(path).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(read(client_ca)).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![read(cert)], PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config).into()
}

/// A connection as tonic takes it.
struct Secured(TlsStream<TcpStream>);

impl Connected for Secured {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
