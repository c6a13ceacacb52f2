//! How upstreams are reached, changed while they are: authorities, client certificates, proxies.

use std::{fs, path::Path};

use tonic::Code;

use crate::kit::{
    gateway::{Builder, Gateway, gateway},
    proxy::{Does, proxy},
    reloading::{Files, reloading, start},
    status::fails,
    tls::{Authority, Speaks, Upstream, acceptor, upstream},
};

const WHO: &str = "gateway:proxy-password-of-the-kit";

/// Lines that trust what is in this file alone.
fn trusting(file: &Path) -> String {
    format!("tls.ca_file = {file:?}\ntls.roots = \"file\"\n")
}

async fn served_by(authority: &Authority) -> Upstream {
    upstream(acceptor(&authority.issue("127.0.0.1"), &Speaks::default())).await
}

async fn fault(gateway: &Gateway) -> String {
    let failed = fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    failed.meta("connection_fault").to_owned()
}

/// On the signal, and when the file is looked at.
#[tokio::test]
async fn an_authority_that_takes_the_place_of_another_is_trusted_in_its_place() {
    let (one, two) = (Authority::new(), Authority::new());
    let upstream = served_by(&one).await;
    for interval in ["off", "1s"] {
        let files = Files::new();
        files.put("ca.pem", fs::read(one.file()).unwrap());
        let builder = gateway().section(&format!("[reload]\ninterval = \"{interval}\"\n"));
        let lines = trusting(&files.path("ca.pem"));
        let config = builder.fixed("sft", &upstream.base_url(), &lines).text();
        let reloading = start(files, &config).await;
        let change = async |to: &Authority| {
            let before = reloading.latest().await;
            reloading.files().put("ca.pem", fs::read(to.file()).unwrap());
            match interval {
                "off" => reloading.reload().await,
                _ => reloading.next(&before).await,
            };
            let changed = vec!["backends.sft.tls.ca_file".to_owned()];
            assert_eq!(reloading.outcome().await, ("applied".into(), changed));
        };
        reloading.gateway.get("SP_1").await.unwrap();
        change(&two).await;
        assert_eq!(fault(&reloading.gateway).await, "unknown_issuer");
        change(&one).await;
        reloading.gateway.get("SP_1").await.unwrap();
    }
}

#[tokio::test]
async fn a_client_certificate_that_takes_the_place_of_another_is_shown_in_its_place() {
    let (authority, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let speaks = Speaks { client: Some(&clients), ..Speaks::default() };
    let upstream = upstream(acceptor(&authority.issue("127.0.0.1"), &speaks)).await;
    let files = Files::new();
    let [right, wrong] = [&clients, &others].map(|by| by.issue("gateway.example"));
    let put = |files: &Files, identity: &crate::kit::tls::Identity| {
        files.put("cert.pem", fs::read(&identity.cert).unwrap());
        files.put("key.pem", fs::read(&identity.key).unwrap());
    };
    put(&files, &wrong);
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| files.path(name));
    let shows = format!("tls.cert = {cert:?}\ntls.key = {key:?}\n");
    let lines = trusting(&authority.file()) + &shows;
    let reloading = reloading(files, gateway().fixed("sft", &upstream.base_url(), &lines)).await;
    assert_eq!(fault(&reloading.gateway).await, "client_certificate_refused");
    for (identity, is_served) in [(&right, true), (&wrong, false), (&right, true)] {
        put(reloading.files(), identity);
        reloading.reload().await;
        let (outcome, changed) = reloading.outcome().await;
        assert_eq!(outcome, "applied");
        assert!(changed.iter().all(|key| key.starts_with("backends.sft.tls.")), "{changed:?}");
        match is_served {
            true => drop(reloading.gateway.get("SP_1").await.unwrap()),
            false => assert_eq!(fault(&reloading.gateway).await, "client_certificate_refused"),
        }
    }
    assert!(upstream.arrived().iter().all(|request| request.certified));
}

#[tokio::test]
async fn a_proxy_is_added_gets_other_credentials_and_is_removed() {
    let authority = Authority::new();
    let (upstream, proxy) = (served_by(&authority).await, proxy(Does::ServeOnly(WHO)).await);
    let config = |lines: &str| -> Builder {
        let lines = trusting(&authority.file()) + lines;
        gateway().fixed("sft", &upstream.base_url(), &lines)
    };
    let through = |password: &str| {
        let who = format!("proxy_username = \"gateway\"\nproxy_password = \"{password}\"\n");
        format!("proxy = \"{}\"\n{who}", proxy.url())
    };
    let reloading = reloading(Files::new(), config("")).await;
    let gateway = &reloading.gateway;
    gateway.get("SP_1").await.unwrap();
    assert_eq!(proxy.heads().len(), 0);

    reloading.change(config(&through("wrong-password-of-the-kit"))).await;
    assert_eq!(reloading.outcome().await.0, "applied");
    assert_eq!(fault(gateway).await, "proxy_credentials_refused");
    reloading.change(config(&through("proxy-password-of-the-kit"))).await;
    let changed = vec!["backends.sft.proxy_password".to_owned()];
    assert_eq!(reloading.outcome().await, ("applied".into(), changed));
    gateway.get("SP_1").await.unwrap();
    let heads = proxy.heads();
    assert!(heads.iter().all(|head| head.starts_with("CONNECT ")), "{heads:?}");

    reloading.change(config("")).await;
    gateway.get("SP_1").await.unwrap();
    assert_eq!(proxy.heads().len(), heads.len(), "requests go past it again");
}
