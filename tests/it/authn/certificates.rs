//! The certificate of a connection as what proves a caller, alone and beside a token or a proxy.

use std::{future::Future, time::Duration};

use profile_gateway::pb::{
    CreateProfileRequest, GetBackendRequest, WatchProfilesRequest,
    backend_service_client::BackendServiceClient, profile_service_client::ProfileServiceClient,
};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::asking::{asked, refused, saying};
use crate::kit::{
    certificates::{Authority, Issued, Leaf, channel_over, channel_to, secured},
    double::double,
    gateway::{Builder, Gateway, gateway},
    model,
    sandbox::sandbox,
    status::failure,
    tokens::{Issuer, RS256, at, by, caller, claims, good, header, role, token, with},
};

pub const APP: &str = "spiffe://example.org/ns/a/sa/app";
const PROXY: &str = "spiffe://example.org/ns/ingress/sa/envoy";

/// For what is broken if it takes so long.
const LONG: Duration = Duration::from_secs(60);

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.unwrap()
}

fn rules() -> String {
    let by_certificate = |name: &str, roles: &str, id: &str| {
        format!("[auth.callers.{name}]\nroles = \"{roles}\"\nspiffe = \"{id}\"\n")
    };
    role("all", "read, write", "*")
        + &role("reads", "read", "*")
        + &role("writes", "write", "*")
        + &by_certificate("app", "all", APP)
        + &by_certificate("writer", "writes", "spiffe://example.org/ns/w/*")
        + &by_certificate("space", "all", "spiffe://example.org/ns/b/*")
        + &caller("me", "reads")
}

/// A gateway with TLS, where callers have to prove who they are, by certificates or tokens.
pub struct Proving {
    pub authority: Authority,
    issuer: Issuer,
    auth: &'static str,
    client_auth: &'static str,
}

impl Proving {
    pub fn new() -> Self {
        let (authority, issuer) = (Authority::new(), Issuer::new());
        Self { authority, issuer, auth: "", client_auth: "optional" }
    }

    /// The settings, without a backend.
    pub fn builder(&self) -> Builder {
        let own = self.authority.issue(&Leaf::server(&["localhost", "127.0.0.1"]));
        let tls = format!(
            "[server.tls]\ncert = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\nclient_auth = \"{}\"\n",
            own.certificate,
            own.key,
            self.authority.file("ca.pem"),
            self.client_auth
        );
        gateway().section(&(tls + &self.issuer.config(self.auth, &rules())))
    }

    async fn started(&self) -> Gateway {
        let upstream = double().await;
        self.builder().fixed("sft", &upstream.base_url, "").start().await
    }

    fn of(&self, uris: &[&str]) -> Issued {
        self.authority.issue(&Leaf::client(uris))
    }

    /// A connection with this certificate.
    pub async fn channel(&self, gateway: &Gateway, own: Option<&Issued>) -> Channel {
        let tls = self.authority.client(own).grpc();
        in_time(channel_to(tls, gateway.address)).await.unwrap()
    }

    /// Asks over a connection with a certificate of this id.
    async fn asks(
        &self,
        gateway: &Gateway,
        id: &str,
        request: Request<GetBackendRequest>,
    ) -> Result<(), Status> {
        let own = self.of(&[id]);
        ask(self.channel(gateway, Some(&own)).await, request).await
    }
}

async fn ask(channel: Channel, request: Request<GetBackendRequest>) -> Result<(), Status> {
    in_time(BackendServiceClient::new(channel).get_backend(request)).await.map(drop)
}

#[track_caller]
fn denied(result: Result<(), Status>, what: &str) {
    let failure = failure(result);
    assert!(failure.is(Code::PermissionDenied, "CALLER_NOT_ALLOWED"), "{what}: {failure:#?}");
}

#[tokio::test]
async fn a_certificate_proves_the_caller_of_its_id() {
    let proving = Proving::new();
    let gateway = proving.started().await;
    let plain = || Request::new(asked());
    for id in [APP, "spiffe://example.org/ns/b/sa/any"] {
        proving.asks(&gateway, id, plain()).await.unwrap();
    }
    for id in ["spiffe://example.org/ns/w/x", "spiffe://example.org/ns/a/sa/app/more"] {
        denied(proving.asks(&gateway, id, plain()).await, id);
    }
    denied(
        proving.asks(&gateway, "spiffe://elsewhere.example/ns/a/sa/app", plain()).await,
        "other",
    );
    refused(ask(proving.channel(&gateway, None).await, plain()).await, "missing", "nothing");
    // Its subject has a name, which no one looks at.
    for (uris, what) in [(&[][..], "a name alone"), (&["https://example.org/"], "another URI")] {
        let own = proving.of(uris);
        let answer = ask(proving.channel(&gateway, Some(&own)).await, plain()).await;
        refused(answer, "invalid", what);
    }
}

#[tokio::test]
async fn a_certificate_and_a_token_both_have_to_be_valid_and_allowed() {
    let proving = Proving::new();
    let gateway = proving.started().await;
    let both = async |id: &str, token: &str| proving.asks(&gateway, id, by(token, asked())).await;
    both(APP, &good("me")).await.unwrap();
    // What the workload may not do is not allowed, whatever the token's caller may.
    denied(both("spiffe://example.org/ns/w/x", &good("me")).await, "the workload only writes");
    // The token names the caller, whatever the certificate says.
    denied(both(APP, &good("you")).await, "an unknown caller");
    // A workload that is not configured takes nothing away.
    both("spiffe://example.org/ns/unknown", &good("me")).await.unwrap();
    refused(both(APP, "bad-of-the-kit").await, "invalid", "a bad token");
    let expired = token(&header(), &with(claims("me"), json!({"exp": at(-60)})), RS256);
    refused(both(APP, &expired).await, "expired", "an old token");
    // Without a certificate, or with one that names no workload, the token alone counts.
    ask(proving.channel(&gateway, None).await, by(&good("me"), asked())).await.unwrap();
    let nameless = proving.of(&[]);
    let channel = proving.channel(&gateway, Some(&nameless)).await;
    ask(channel, by(&good("me"), asked())).await.unwrap();
}

#[tokio::test]
async fn a_proxy_is_believed_by_its_own_certificate() {
    let auth = "xfcc_from = \"spiffe://example.org/ns/ingress/*\"";
    let proving = Proving { auth, client_auth: "required", ..Proving::new() };
    let gateway = proving.started().await;
    let (app, writer) = (format!("URI={APP}"), "URI=spiffe://example.org/ns/w/x");
    let from = async |id: &str, headers: &[&str]| proving.asks(&gateway, id, saying(headers)).await;
    from(PROXY, &[&app]).await.unwrap();
    denied(from(PROXY, &[writer]).await, "whose client may only write");
    // Its own certificate is that of no caller.
    refused(from(PROXY, &[]).await, "missing", "a proxy that says nothing");
    refused(from(PROXY, &["Hash=ab"]).await, "invalid", "a proxy that names no one");
    refused(from(PROXY, &[&app, &app]).await, "invalid", "two headers");
    // No one else is, and what they say does not count.
    from(APP, &[writer]).await.unwrap();
    from(APP, &["garbage"]).await.unwrap();
    denied(from("spiffe://example.org/ns/ingressed/x", &[&app]).await, "a longer name");
    denied(from("spiffe://example.org/ns/w/x", &[&app]).await, "a stranger");
}

#[tokio::test]
async fn a_proxy_is_believed_by_its_address_whatever_its_certificate() {
    let proving = Proving { auth: "xfcc_from = \"127.0.0.1\"", ..Proving::new() };
    let gateway = proving.started().await;
    let writer = "URI=spiffe://example.org/ns/w/x";
    denied(proving.asks(&gateway, APP, saying(&[writer])).await, "whose client may only write");
    proving.asks(&gateway, PROXY, saying(&[&format!("URI={APP}")])).await.unwrap();
    refused(proving.asks(&gateway, APP, saying(&[])).await, "missing", "its own certificate");
}

#[tokio::test]
async fn streams_end_with_the_certificate_and_say_so() {
    let (proving, upstream) = (Proving::new(), sandbox().await);
    let gateway = proving.builder().section(&upstream.config()).start().await;
    let own = proving.authority.issue(&Leaf::client(&[APP]).valid(-100, 5));
    let channel = proving.channel(&gateway, Some(&own)).await;
    let request = WatchProfilesRequest { parent: "backends/sft".to_owned(), ..Default::default() };
    let mut profiles = ProfileServiceClient::new(channel.clone());
    let mut watch = in_time(profiles.watch_profiles(request)).await.unwrap().into_inner();
    let request = HealthCheckRequest { service: "backends/sft".to_owned() };
    let mut client = HealthClient::new(channel);
    let mut health = in_time(client.watch(request)).await.unwrap().into_inner();

    let mut resume = String::new();
    let end = loop {
        match in_time(watch.message()).await {
            Ok(Some(message)) => {
                resume = message.bookmark.map_or(resume, |bookmark| bookmark.resume_token);
            }
            Ok(None) => panic!("it ended well"),
            Err(status) => break status,
        }
    };
    refused(Err(end), "expired", "the changes");
    assert!(!resume.is_empty(), "where to go on was told before");
    let told = in_time(async {
        while health.message().await?.is_some() {}
        Ok(())
    });
    refused(told.await, "expired", "the health");

    // It goes on with another certificate.
    let channel = proving.channel(&gateway, Some(&proving.of(&[APP]))).await;
    let request = WatchProfilesRequest { parent: "backends/sft".to_owned(), resume_token: resume };
    in_time(ProfileServiceClient::new(channel).watch_profiles(request)).await.unwrap();
}

#[tokio::test]
async fn what_is_written_is_audited_with_the_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let audit = directory.path().join("audit.log").display().to_string();
    let (proving, upstream) = (Proving::new(), sandbox().await);
    let gateway = proving.builder().audit(&audit).section(&upstream.config()).start().await;
    let channel = proving.channel(&gateway, Some(&proving.of(&[APP]))).await;
    let mut profiles = ProfileServiceClient::new(channel);
    let creation = CreateProfileRequest {
        parent: model::BACKEND.to_owned(),
        profile: Some(model::profile("of a workload")),
        ..CreateProfileRequest::default()
    };
    in_time(profiles.create_profile(creation)).await.unwrap();
    gateway.stop().await;
    let lines = std::fs::read_to_string(&audit).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 2, "{lines:#?}");
    for line in &lines {
        assert_eq!(line["caller"], "app", "{line}");
        assert_eq!(line["caller_via"], "mtls", "{line}");
        assert_eq!(line["subject"], APP, "{line}");
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
}

#[tokio::test]
async fn who_calls_over_a_unix_socket_has_to_prove_it_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.sock");
    let uid = rustix::process::getuid().as_raw();
    let (issuer, upstream) = (Issuer::new(), double().await);
    for (user, believed) in [(uid, true), (uid + 1, false)] {
        let auth = issuer.config(&format!("xfcc_from = \"uid:{user}\""), &rules());
        let builder = gateway().listen(&format!("unix:{}", path.display())).section(&auth);
        let gateway = builder.fixed("sft", &upstream.base_url, "").start().await;
        let channel = async || {
            let path = path.clone();
            in_time(channel_over(move || UnixStream::connect(path.clone()))).await.unwrap()
        };
        refused(ask(channel().await, saying(&[])).await, "missing", "nothing");
        ask(channel().await, by(&good("me"), asked())).await.unwrap();
        let forwarded = ask(channel().await, saying(&[&format!("URI={APP}")])).await;
        match believed {
            true => forwarded.unwrap(),
            false => refused(forwarded, "missing", "another user"),
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_certificate_proves_its_caller_over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.sock");
    let (proving, upstream) = (Proving::new(), double().await);
    let builder = proving.builder().listen(&format!("unix:{}", path.display()));
    let _gateway = builder.fixed("sft", &upstream.base_url, "").start().await;
    let tls = proving.authority.client(Some(&proving.of(&[APP]))).grpc();
    let channel = channel_over(move || {
        let (tls, path) = (tls.clone(), path.clone());
        async move { secured(&tls, UnixStream::connect(path).await?).await }
    });
    ask(in_time(channel).await.unwrap(), Request::new(asked())).await.unwrap();
}
