//! A gateway with TLS whose files change while it runs, and clients of it.

use std::{fs, path::Path};

use profile_gateway::pb::profile_service_client::ProfileServiceClient;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tonic::transport::Channel;

use crate::kit::{
    certificates::{Authority, Client, Issued, Leaf, channel_to, secured},
    gateway::{Builder, gateway},
    reloading::{Files, Reloading, start},
};

/// Such a gateway.
pub struct Secured {
    /// It has signed all certificates.
    pub authority: Authority,
    pub reloading: Reloading,
    /// What the gateway shows at the start.
    pub own: Issued,
    server: String,
    backends: String,
}

/// What a client that is accepted is named.
pub const APP: &str = "spiffe://example.org/ns/a/sa/app";

/// The section for the files of this directory, with these lines.
pub fn section(files: &Files, lines: &str) -> String {
    format!(
        "[server.tls]\ncert = {:?}\nkey = {:?}\n{lines}\n",
        files.path("cert"),
        files.path("key")
    )
}

impl Secured {
    /// One over these backends that looks at its files only when it is asked to. `@` in the lines
    /// of the section is the directory of the files, which has the authority as `ca` and an empty
    /// list as `crl`.
    pub async fn started(backends: &str, lines: &str) -> Self {
        Self::looking("off", backends, lines, Leaf::server(&["localhost"])).await
    }

    /// The same with these lines in the section of the server.
    pub async fn serving(server: &str, backends: &str, lines: &str) -> Self {
        Self::of((server, "off"), backends, lines, Leaf::server(&["localhost"])).await
    }

    /// One that looks at its files so often, and shows this.
    pub async fn looking(interval: &str, backends: &str, lines: &str, leaf: Leaf) -> Self {
        Self::of(("", interval), backends, lines, leaf).await
    }

    async fn of((server, interval): (&str, &str), backends: &str, lines: &str, leaf: Leaf) -> Self {
        let (authority, files) = (Authority::new(), Files::new());
        let own = authority.issue(&leaf);
        put_pair(&files, &own);
        files.put("ca", fs::read(authority.path("ca.pem")).unwrap());
        files.put("crl", fs::read(authority.revoke(&[])).unwrap());
        let backends = format!("[reload]\ninterval = \"{interval}\"\n{backends}");
        let text = config(&files, (server, &backends), lines).text();
        let reloading = start(files, &text).await;
        Self { authority, reloading, own, server: server.to_owned(), backends }
    }

    /// The configuration with other lines in the section.
    pub fn config(&self, lines: &str) -> Builder {
        config(self.reloading.files(), (&self.server, &self.backends), lines)
    }

    /// Has these lines instead. Returns how that ended.
    pub async fn change(&self, lines: &str) -> Value {
        self.reloading.change_to(&self.config(lines).text()).await
    }

    /// Puts the content of a file in the place of another.
    pub fn put(&self, name: &str, from: impl AsRef<Path>) {
        self.reloading.files().put(name, fs::read(from).unwrap());
    }

    /// Puts a certificate and its key in the places of those before.
    pub fn put_own(&self, own: &Issued) {
        put_pair(self.reloading.files(), own);
    }

    /// Has what was put there read. Only these keys of the section have changed.
    pub async fn applied(&self, keys: &[&str]) {
        let latest = self.reloading.reload().await;
        assert_eq!(latest["latest"]["outcome"], "applied", "{latest}");
        let keys: Vec<String> = keys.iter().map(|key| format!("server.tls.{key}")).collect();
        assert_eq!(latest["latest"]["changed"], json!(keys));
    }

    /// A certificate for a client of this name.
    pub fn client_of(&self, uri: &str) -> Issued {
        self.authority.issue(&Leaf::client(&[uri]))
    }

    /// A connection of its own for a client that shows this.
    pub async fn channel(&self, own: Option<&Issued>) -> Result<Channel, tonic::transport::Error> {
        self.channel_of(self.authority.client(own)).await
    }

    /// The same for any client.
    pub async fn channel_of(&self, client: Client) -> Result<Channel, tonic::transport::Error> {
        channel_to(client.grpc(), self.reloading.gateway.address).await
    }

    /// A client that has connected, showing this.
    pub async fn client(&self, own: Option<&Issued>) -> ProfileServiceClient<Channel> {
        ProfileServiceClient::new(self.channel(own).await.unwrap())
    }

    /// The certificate that the next handshake shows.
    pub async fn shown(&self) -> CertificateDer<'static> {
        let stream = TcpStream::connect(self.reloading.gateway.address).await.unwrap();
        let stream = secured(&self.authority.client(None).grpc(), stream).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    }

    /// How many connections the gateway has closed for a reason, or for any.
    pub async fn closed(&self, reason: &str) -> f64 {
        let labels = format!("port=\"grpc\",reason=\"{reason}");
        self.reloading.gateway.metric("connections_closed_total", &labels).await
    }
}

fn config(files: &Files, (server, backends): (&str, &str), lines: &str) -> Builder {
    let directory = files.path("");
    let directory = directory.to_str().unwrap().trim_end_matches('/');
    let gateway = gateway().server(server).section(backends);
    gateway.section(&section(files, &lines.replace('@', directory)))
}

fn put_pair(files: &Files, own: &Issued) {
    files.put("cert", fs::read(&own.certificate).unwrap());
    files.put("key", fs::read(&own.key).unwrap());
}

/// The certificate of a file.
pub fn read(own: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&own.certificate).unwrap()
}
