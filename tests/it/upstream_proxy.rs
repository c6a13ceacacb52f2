//! Upstreams behind an HTTP proxy: with and without a password, over both versions of HTTP, and
//! what is told of each way in which the proxy does not help.

use http::Version;
use tonic::Code;

use crate::kit::{
    SECRET, bodies,
    double::{self, ClosedPort},
    gateway::{self, Gateway},
    proxy::{Does, proxy},
    status::{Failure, fails, failure},
    tls::{Authority, Speaks, acceptor, front, upstream},
};

const PASSWORD: &str = "proxy-password-of-the-kit";
const WHO: &str = "gateway:proxy-password-of-the-kit";

fn through(url: &str, password: Option<&str>) -> String {
    let who = password
        .map(|password| format!("proxy_username = \"gateway\"\nproxy_password = \"{password}\"\n"));
    format!("proxy = {url:?}\n{}", who.unwrap_or_default())
}

async fn reaching(base_url: &str, lines: &str) -> Gateway {
    gateway::gateway().fixed("sft", base_url, lines).start().await
}

async fn read(gateway: &Gateway) -> Failure {
    let failed = fails(gateway.get("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    // Nothing was sent, so nothing is in doubt.
    let write = fails(gateway.delete("SP_1").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(write.meta("connection_fault"), failed.meta("connection_fault"), "{write:#?}");
    failed
}

#[tokio::test]
async fn tunnels_are_opened_with_and_without_a_password() {
    for (protocol, version) in [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)] {
        let authority = Authority::new();
        let speaks = Speaks { protocols: &[protocol], ..Speaks::default() };
        let upstream = upstream(acceptor(&authority.issue("pcc.example"), &speaks)).await;
        let trusts = format!("tls.ca_file = {:?}\ntls.roots = \"file\"\n", authority.file());
        // Only the proxy knows where that is.
        let base_url = format!("https://pcc.example:{}", upstream.address.port());
        for (does, password) in [(Does::Serve, None), (Does::ServeOnly(WHO), Some(PASSWORD))] {
            let proxy = proxy(does).await;
            let lines = format!("{}{trusts}", through(&proxy.url(), password));
            let gateway = reaching(&base_url, &lines).await;
            assert_eq!(gateway.get("SP_1").await.unwrap().display_name, "Name");
            let arrived = upstream.arrived().pop().unwrap();
            assert_eq!(arrived.version, version);
            let heads = proxy.heads();
            let authority = base_url.strip_prefix("https://").unwrap();
            assert!(heads[0].starts_with(&format!("CONNECT {authority} ")), "{heads:?}");
            assert_eq!(heads[0].contains("roxy-"), password.is_some(), "{heads:?}");
            // The proxy never sees what is for the upstream.
            assert!(!heads.concat().contains(gateway::TOKEN), "{heads:?}");
        }
    }
}

#[tokio::test]
async fn what_the_proxy_refuses_is_told_and_not_tried_again() {
    let base_url = "https://pcc.example:8443";
    for (does, password, fault, expected) in [
        (Does::ServeOnly(WHO), None, "proxy_credentials_refused", "set `proxy_username` and"),
        (
            Does::ServeOnly(WHO),
            Some("wrong-password-of-the-kit"),
            "proxy_credentials_refused",
            "check `proxy_username` and",
        ),
        (Does::Refuse(403), None, "proxy_refused", "opens no tunnel to it"),
        (Does::Refuse(502), None, "proxy_refused", "opens no tunnel to it"),
    ] {
        let proxy = proxy(does).await;
        let gateway = reaching(base_url, &through(&proxy.url(), password)).await;
        let failed = read(&gateway).await;
        assert_eq!((failed.meta("connection_fault"), failed.retry), (fault, None), "{failed:#?}");
        assert!(failed.message.contains(expected), "{}", failed.message);
        assert_eq!(proxy.heads().len(), 2, "one for each call: {does:?}");
        let labels = format!("fault=\"{fault}\"");
        let counted = gateway.metric("upstream_connection_faults_total", &labels).await;
        assert!((counted - 2.0).abs() < 0.1, "{fault}: {counted}");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_is_told_from_the_upstream_and_tried_again() {
    let base_url = "https://pcc.example:8443";
    let closed = ClosedPort::new();
    let gateway = reaching(base_url, &through(&closed.base_url(), None)).await;
    let failed = read(&gateway).await;
    assert_eq!(failed.meta("connection_fault"), "proxy_unreachable", "{failed:#?}");
    assert!(failed.message.contains("its proxy takes no connection"), "{}", failed.message);
    assert!(failed.retry.is_some(), "{failed:#?}");

    let leaves = proxy(Does::Leave).await;
    let gateway = reaching(base_url, &through(&leaves.url(), None)).await;
    let failed = read(&gateway).await;
    assert_eq!(failed.meta("connection_fault"), "proxy_failed", "{failed:#?}");
    assert!(leaves.heads().len() > 2, "it was tried again");

    // One that does not speak TLS.
    let plain = proxy(Does::Serve).await;
    let url = plain.url().replace("http:", "https:");
    let gateway = reaching(base_url, &through(&url, None)).await;
    let failed = read(&gateway).await;
    assert_eq!((failed.meta("connection_fault"), failed.retry), ("proxy_tls_failed", None));
}

#[tokio::test]
async fn plain_http_is_passed_on_by_the_proxy() {
    let upstream = double::double().await;
    upstream.always(double::GET, double::json(bodies::profiles(&[bodies::profile("SP_1", "N")])));
    let serves = proxy(Does::ServeOnly(WHO)).await;
    let gateway = reaching(&upstream.base_url, &through(&serves.url(), Some(PASSWORD))).await;
    assert_eq!(gateway.get("SP_1").await.unwrap().display_name, "N");
    assert_eq!(serves.heads().len(), 1);
    // Its 407 is not taken for the upstream's.
    let gateway = reaching(&upstream.base_url, &through(&serves.url(), None)).await;
    let failed = read(&gateway).await;
    let fault = failed.meta("connection_fault");
    assert_eq!((fault, failed.retry), ("proxy_credentials_refused", None), "{failed:#?}");
    let closed = ClosedPort::new();
    let gateway = reaching(&upstream.base_url, &through(&closed.base_url(), None)).await;
    let failed = read(&gateway).await;
    assert_eq!(failed.meta("connection_fault"), "proxy_unreachable", "{failed:#?}");
}

#[tokio::test]
async fn in_a_tunnel_a_407_is_the_upstreams_and_its_writes_are_in_doubt() {
    let upstream = double::double().await;
    upstream.always(double::GET, double::json(bodies::profiles(&[bodies::profile("SP_1", "N")])));
    // It has done it, and something in front of it answers otherwise.
    upstream.always(double::DELETE, double::http(407, "text/plain", "no"));
    let authority = Authority::new();
    let speaks = Speaks { protocols: &["http/1.1"], ..Speaks::default() };
    let port = upstream.base_url.rsplit_once(':').unwrap().1.parse().unwrap();
    let front = front(acceptor(&authority.issue("pcc.example"), &speaks), port).await;
    let proxy = proxy(Does::Serve).await;
    let trusts = format!("tls.ca_file = {:?}\ntls.roots = \"file\"\n", authority.file());
    let lines = format!("{}{trusts}settle_time = \"100ms\"\n", through(&proxy.url(), None));
    let base_url = format!("https://pcc.example:{}", front.address.port());
    let gateway =
        gateway::gateway().server("default_timeout = \"3s\"").fixed("sft", &base_url, &lines);
    let gateway = gateway.start().await;
    assert_eq!(gateway.get("SP_1").await.unwrap().display_name, "N");
    let reads = upstream.count(double::GET);
    let failed = failure(gateway.delete("SP_1").await);
    assert_eq!(failed.reason, "UPSTREAM_CONTRACT_VIOLATION", "{failed:#?}");
    let told = (failed.meta("upstream_status"), failed.meta("connection_fault"));
    assert_eq!(told, ("407", ""), "{failed:#?}");
    assert_eq!(upstream.count(double::DELETE), 1);
    assert!(upstream.count(double::GET) > reads, "it is read back");
}

#[tokio::test]
async fn the_password_for_the_proxy_is_not_repeated_by_an_upstream() {
    assert!(PASSWORD.contains(SECRET));
    let upstream = double::double().await;
    let echo = bodies::result_with("9999", "1", &format!("who is {PASSWORD}?"));
    upstream.always(double::GET, double::json(echo));
    let serves = proxy(Does::ServeOnly(WHO)).await;
    let gateway = reaching(&upstream.base_url, &through(&serves.url(), Some(PASSWORD))).await;
    // `fails` looks for secrets of the kit.
    fails(gateway.get("SP_1").await, Code::Unknown, "UPSTREAM_FAILURE");
}
