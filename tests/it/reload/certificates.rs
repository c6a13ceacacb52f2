//! The certificate that the gateway shows to its clients.

use std::{fs, time::SystemTime};

use serde_json::{Value, json};

use super::secured::{Secured, read, section};
use crate::kit::{
    certificates::{Authority, Leaf},
    gateway::gateway,
    model,
    reloading::{Files, reloading},
    sandbox::sandbox,
    until,
};

const EXPIRY: &str = "tls_certificate_expiry_timestamp_seconds";

fn server() -> Leaf {
    Leaf::server(&["localhost"])
}

/// A backend that is never called, with these lines.
fn backend(lines: &str) -> String {
    gateway().fixed("sft", "http://127.0.0.1:9", lines).sections()
}

/// When what is shown ends, as `/config` has it, in seconds since 1970.
async fn end(secured: &Secured) -> f64 {
    let shown = config(secured).await;
    let end = shown["server"]["tls"]["certificate"]["not_after"].as_str().unwrap();
    let end = humantime::parse_rfc3339(end).unwrap().duration_since(SystemTime::UNIX_EPOCH);
    end.unwrap().as_secs_f64()
}

async fn config(secured: &Secured) -> Value {
    serde_json::from_str(&secured.reloading.gateway.admin("/config").await).unwrap()
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_the_next_client_and_ends_no_connection() {
    let upstream = sandbox().await;
    let secured = Secured::started(
        &upstream.config(),
        "client_ca = \"@/ca\"\nclient_auth = \
        \"optional\"",
    )
    .await;
    let gateway = &secured.reloading.gateway;
    let client = secured.client_of(super::secured::APP);
    let (mut with, mut without) = (secured.client(Some(&client)).await, secured.client(None).await);
    assert_eq!(secured.shown().await, read(&secured.own));
    let before = gateway.metric(EXPIRY, "port=\"grpc\"").await;
    assert_eq!(before, end(&secured).await);

    let next = secured.authority.issue(&server().valid(-100, 40 * 24 * 60 * 60));
    secured.put_own(&next);
    secured.applied(&["cert", "key"]).await;
    assert_eq!(secured.shown().await, read(&next));
    let after = gateway.metric(EXPIRY, "port=\"grpc\"").await;
    assert_eq!(after, end(&secured).await);
    assert!(after < before);
    for client in [&mut with, &mut without] {
        client.get_profile(model::get("SP_2")).await.unwrap();
    }
    assert_eq!(secured.closed("").await, 0.0);
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing() {
    let keys = "client_ca = \"@/ca\"\nclient_crl = \"@/crl\"\nclient_auth = \"optional\"";
    let secured = Secured::started(&backend(""), keys).await;
    let gateway = &secured.reloading.gateway;
    let files = secured.reloading.files();
    let (authority, before) = (&secured.authority, gateway.metric(EXPIRY, "").await);
    let own = |leaf: &Leaf| fs::read(authority.issue(leaf).certificate).unwrap();
    let garbage = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n".to_vec();
    let whole = fs::read(files.path("cert")).unwrap();
    for (name, bad, told) in [
        ("cert", own(&server()), "`server.tls.key` is not the key of the certificate in"),
        ("cert", own(&server().valid(-100, -50)), "expired at"),
        ("cert", own(&server().valid(1000, 2000)), "is valid from"),
        ("cert", whole[..whole.len() / 2].to_vec(), "a section does not end"),
        ("cert", Vec::new(), "it has no certificate"),
        ("ca", fs::read(files.path("key")).unwrap(), "`server.tls.client_ca` cannot be read"),
        ("crl", garbage, "`server.tls.client_crl` names a file with a revocation list"),
    ] {
        let good = fs::read(files.path(name)).unwrap();
        files.put(name, bad);
        // What is good beside it waits, too.
        let renamed = secured.config(keys).text().replace("sft]\n", "sft]\ndisplay_name = \"x\"\n");
        let latest = secured.reloading.change_to(&renamed).await;
        assert_eq!(latest["latest"]["outcome"], "refused", "{told}: {latest}");
        assert!(latest["latest"]["errors"].to_string().contains(told), "{told}: {latest}");
        assert_eq!(config(&secured).await["backends"]["sft"]["display_name"], Value::Null);
        assert_eq!(gateway.metric("config_last_reload_successful", "").await, 0.0);
        assert_eq!(secured.shown().await, read(&secured.own), "{told}");
        assert_eq!(gateway.metric(EXPIRY, "").await, before);
        files.put(name, good);
    }
    // The key comes after the certificate.
    let next = authority.issue(&server());
    secured.put("cert", &next.certificate);
    assert_eq!(secured.change(keys).await["latest"]["outcome"], "refused");
    secured.put("key", &next.key);
    secured.applied(&["cert", "key"]).await;
    assert_eq!(secured.shown().await, read(&next));
}

#[tokio::test]
async fn an_expired_certificate_in_force_holds_nothing_else_up() {
    let secured = Secured::looking("off", &backend(""), "", server().valid(-100, 15)).await;
    let said = async || config(&secured).await["warnings"].to_string();
    until("the end of the certificate", async || {
        assert_eq!(secured.reloading.reload().await["latest"]["outcome"], "unchanged");
        said().await.contains("expired at")
    })
    .await;
    let renamed = secured.config("").text().replace("sft]\n", "sft]\ndisplay_name = \"x\"\n");
    let latest = secured.reloading.change_to(&renamed).await;
    assert_eq!(latest["latest"]["changed"], json!(["backends.sft.display_name"]), "{latest}");
    assert_eq!(latest["latest"]["outcome"], "applied");
    // Another one that has expired is a mistake.
    secured.put_own(&secured.authority.issue(&server().valid(-100, -50)));
    let latest = secured.reloading.reload().await;
    assert!(latest["latest"]["errors"].to_string().contains("expired at"), "{latest}");
    let next = secured.authority.issue(&server());
    secured.put_own(&next);
    secured.applied(&["cert", "key"]).await;
    assert_eq!(secured.shown().await, read(&next));
    assert!(!said().await.contains("expire"), "{}", said().await);
}

#[tokio::test]
async fn certificates_are_found_without_being_asked_however_they_are_written() {
    let secured = Secured::looking("1s", &backend(""), "", server()).await;
    let shows = async |next| {
        until("another certificate", async || secured.shown().await == read(next)).await;
    };
    let moved = secured.authority.issue(&server());
    secured.put_own(&moved);
    shows(&moved).await;
    let written = secured.authority.issue(&server());
    for (name, from) in [("cert", &written.certificate), ("key", &written.key)] {
        fs::write(secured.reloading.files().path(name), fs::read(from).unwrap()).unwrap();
    }
    shows(&written).await;
}

#[tokio::test]
async fn the_oldest_version_of_tls_changes_for_the_next_client() {
    use crate::kit::certificates::{TLS_12, TLS_13};

    let secured = Secured::started(&backend(""), "").await;
    let old = || secured.authority.client(None).versions(TLS_12);
    secured.channel_of(old()).await.unwrap();
    let latest = secured.change("min_version = \"1.3\"").await;
    assert_eq!(latest["latest"]["changed"], json!(["server.tls.min_version"]), "{latest}");
    secured.channel_of(old()).await.unwrap_err();
    secured.channel_of(secured.authority.client(None).versions(TLS_13)).await.unwrap();
    assert_eq!(secured.closed("certificate").await, 0.0);
}

#[tokio::test]
async fn limits_of_handshakes_need_a_restart_and_so_does_the_end_of_tls() {
    let secured = Secured::started(&backend(""), "").await;
    let latest = secured.change("max_handshakes = 7\nhandshake_timeout = \"9s\"").await;
    let names = ["server.tls.max_handshakes", "server.tls.handshake_timeout"];
    assert_eq!(latest["needs_restart"], json!(names), "{latest}");
    let shown = config(&secured).await["server"]["tls"].clone();
    assert_eq!(shown["max_handshakes"], 256);

    let whole = secured.config("").text();
    let begin = whole.find("[server.tls]").unwrap();
    let store = whole[begin..].find("[store]").map_or(whole.len(), |at| begin + at);
    let plain = format!("{}{}", &whole[..begin], &whole[store..]);
    let latest = secured.reloading.change_to(&plain).await;
    assert_eq!(latest["needs_restart"], json!(["server.tls.cert", "server.tls.key"]), "{latest}");
    assert_eq!(secured.shown().await, read(&secured.own));
    // What comes back is what is in force, and changes as before.
    let next = secured.authority.issue(&server());
    secured.put_own(&next);
    let latest = secured.change("").await;
    assert_eq!(latest["needs_restart"], json!([]), "{latest}");
    assert_eq!(secured.shown().await, read(&next));
}

/// Callers that only certificates prove would be shut out until the restart.
#[tokio::test]
async fn rules_wait_for_the_restart_that_turns_tls_on() {
    let (upstream, authority) = (sandbox().await, Authority::new());
    let plain = || gateway().section(&upstream.config());
    let reloading = reloading(Files::new(), plain()).await;
    let own = authority.issue(&server());
    let files = reloading.files();
    files.put("cert", fs::read(&own.certificate).unwrap());
    files.put("key", fs::read(&own.key).unwrap());
    let rules = "[auth]\nmode = \"required\"\n[auth.roles.all]\nrights = \"read\"\n\
        backends = \"*\"\n[auth.callers.app]\nroles = \"all\"\n\
        spiffe = \"spiffe://example.org/ns/a/sa/app\"\n";
    let ca = format!("client_ca = {:?}", authority.path("ca.pem"));
    let both = plain().section(&section(files, &ca)).section(rules);
    let latest = reloading.change(both).await;
    let waiting = latest["needs_restart"].as_array().unwrap();
    for key in ["server.tls.cert", "server.tls.client_ca", "auth.mode", "auth.callers.app"] {
        assert!(waiting.contains(&key.into()), "{key}: {latest}");
    }
    reloading.gateway.get("SP_2").await.unwrap();
    // Rules that need no TLS come into force.
    let latest = reloading.change(plain().section("[auth]\nreflection = \"off\"\n")).await;
    assert_eq!(latest["needs_restart"], json!([]), "{latest}");
    assert_eq!(latest["latest"]["changed"], json!(["auth.reflection"]));
}
