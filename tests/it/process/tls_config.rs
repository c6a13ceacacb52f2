//! Configurations of TLS: what is refused before anything listens, and what `check` says.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use super::child::{Ended, File, file, run, sft};
use crate::kit::certificates::{Authority, Leaf};

/// The names of a server on this machine.
fn server() -> Leaf {
    Leaf::server(&["localhost", "127.0.0.1"])
}

/// The configuration of a certificate, with more lines, and a backend.
fn config(cert: &str, key: &str, more: &str) -> File {
    let backend = sft("http://127.0.0.1:9", "ops", "x");
    file(&format!("[server.tls]\ncert = {cert:?}\nkey = {key:?}\n{more}\n{backend}"))
}

async fn check(cert: &str, key: &str, more: &str) -> Ended {
    run(&["check", "--json", "--config", &config(cert, key, more).path], &[]).await
}

/// The configuration cannot be used, for this reason, which has nothing of its files.
async fn refuses(cert: &str, key: &str, more: &str, expected: &str) {
    let ended = check(cert, key, more).await;
    assert_eq!(ended.code(), Some(64), "{expected}: {}", ended.output());
    assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
    assert!(!ended.output().contains("hunter2"), "{}", ended.output());
}

const NO_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";

#[tokio::test]
async fn a_certificate_that_cannot_work_is_said_at_its_key_before_anything_listens() {
    let authority = Authority::new();
    let own = authority.issue(&server());
    let another = authority.issue(&server());
    let expired = authority.issue(&server().valid(-100, -50));
    let early = authority.issue(&server().valid(1000, 2000));
    let garbage = authority.write("garbage.pem", "hunter2 is no PEM");
    let cut = authority.write("cut.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n");
    let wrong = authority.write("wrong.pem", NO_CERTIFICATE);
    let missing = authority.file("missing.pem");
    for (cert, key, expected) in [
        (&missing, &own.key, ":2: `server.tls.cert` cannot be read from the file"),
        (&own.certificate, &missing, ":3: `server.tls.key` cannot be read from the file"),
        (&garbage, &own.key, "it has no certificate, which begins with"),
        (&cut, &own.key, "it is not valid PEM: a section does not end"),
        (&wrong, &own.key, "its first certificate cannot be parsed"),
        (&own.certificate, &garbage, "it has no private key as PEM"),
        (&own.certificate, &own.certificate, "it has no private key as PEM"),
        (&own.key, &own.key, "it has no certificate, which begins with"),
        (&own.certificate, &another.key, ":3: `server.tls.key` is not the key of"),
        (&expired.certificate, &expired.key, "expired at 20"),
        (&early.certificate, &early.key, "is valid from 20"),
    ] {
        refuses(cert, key, "", expected).await;
    }
}

#[tokio::test]
async fn files_about_clients_that_cannot_work_are_said_at_their_keys() {
    let authority = Authority::new();
    let own = authority.issue(&server());
    let wrong = authority.write("wrong.pem", NO_CERTIFICATE);
    let no_list = NO_CERTIFICATE.replace("CERTIFICATE", "X509 CRL");
    let no_list = authority.write("list.pem", &no_list);
    let (missing, list) = (authority.file("missing.pem"), authority.revoke(&[]));
    let ca = authority.file("ca.pem");
    let with_ca = |more: &str| format!("client_ca = {ca:?}\n{more}");
    for (more, expected) in [
        (
            format!("client_ca = {missing:?}"),
            ":4: `server.tls.client_ca` cannot be read from the file",
        ),
        (
            format!("client_ca = {wrong:?}"),
            ":4: `server.tls.client_ca` cannot be read from the file",
        ),
        (
            with_ca(&format!("client_crl = {ca:?}")),
            "it has no revocation list, which begins with `-----BEGIN X509 CRL-----`",
        ),
        (
            with_ca(&format!("client_crl = {no_list:?}")),
            ":5: `server.tls.client_crl` names a file with a revocation list that is not valid",
        ),
        (
            with_ca(&format!("client_crl = {list:?}\nclient_auth = \"off\"")),
            "is about client certificates",
        ),
    ] {
        refuses(&own.certificate, &own.key, &more, expected).await;
    }
}

#[tokio::test]
async fn keys_that_need_each_other_are_named() {
    let authority = Authority::new();
    let own = authority.issue(&server());
    let ca = authority.file("ca.pem");
    let (cert, key) = (&own.certificate, &own.key);
    let both = format!("cert = {cert:?}\nkey = {key:?}");
    for (lines, expected) in [
        (format!("cert = {cert:?}"), ":2: `server.tls.cert` needs `server.tls.key`"),
        (format!("key = {key:?}"), ":2: `server.tls.key` needs `server.tls.cert`"),
        (format!("client_ca = {ca:?}"), ":2: `server.tls.client_ca` has no effect without `cert`"),
        ("client_auth = \"off\"".to_owned(), ":2: `server.tls.client_auth` has no effect without"),
        (
            format!("{both}\nclient_auth = \"optional\""),
            ":4: `server.tls.client_auth` needs `client_ca`, unless it is `off`",
        ),
        (
            format!("{both}\ntrust_domain = \"example.org\""),
            ":4: `server.tls.trust_domain` is about client certificates",
        ),
    ] {
        let backend = sft("http://127.0.0.1:9", "ops", "x");
        let file = file(&format!("[server.tls]\n{lines}\n{backend}"));
        let ended = run(&["check", "--json", "--config", &file.path], &[]).await;
        assert_eq!(ended.code(), Some(64), "{expected}: {}", ended.output());
        assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn check_says_whom_the_certificate_is_for_and_until_when() {
    const DAY: i64 = 24 * 60 * 60;

    let authority = Authority::new();
    let shown = async |leaf: &Leaf| {
        let own = authority.issue(leaf);
        let ended = check(&own.certificate, &own.key, "").await;
        assert_eq!(ended.code(), Some(0), "{}", ended.output());
        let shown: Value = serde_json::from_str(&ended.stdout).unwrap();
        (shown["server"]["tls"]["certificate"].clone(), ended.stderr)
    };
    let (about, said) = shown(&server().valid(-DAY, 15 * DAY)).await;
    assert_eq!(about["names"], serde_json::json!(["localhost"]));
    assert!(about["not_after"].as_str().unwrap().ends_with('Z'), "{about}");
    assert!(!said.contains("server.tls"), "{said}");
    let (about, said) = shown(&server().valid(-DAY, 13 * DAY)).await;
    let end = about["not_after"].as_str().unwrap();
    let warning = format!("`server.tls.cert` is the file of a certificate that expires at {end}");
    assert!(said.contains(&warning), "{said}");
}

#[tokio::test]
async fn a_key_that_all_can_read_is_a_warning_or_an_error() {
    let authority = Authority::new();
    let own = authority.issue(&server());
    for (mode, told) in
        [(0o600, None), (0o640, None), (0o644, Some("read")), (0o602, Some("write"))]
    {
        fs::set_permissions(&own.key, fs::Permissions::from_mode(mode)).unwrap();
        let ended = check(&own.certificate, &own.key, "").await;
        assert_eq!(ended.code(), Some(0), "{mode:o}: {}", ended.output());
        let warning = told.map(|can| format!("which everyone on this machine can {can}"));
        match &warning {
            Some(warning) => assert!(ended.stderr.contains(warning), "{mode:o}: {}", ended.stderr),
            None => assert!(!ended.stderr.contains("server.tls"), "{mode:o}: {}", ended.stderr),
        }
        let file = config(&own.certificate, &own.key, "");
        let strict = [("PROFILE_GATEWAY__STRICT_PERMISSIONS", "true")];
        let ended = run(&["check", "--config", &file.path], &strict).await;
        let refused = ended.stderr.contains(":3: `server.tls.key` is read from");
        assert_eq!(refused, told.is_some(), "{mode:o}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn what_says_which_clients_are_trusted_and_all_can_write_is_a_warning() {
    let authority = Authority::new();
    let own = authority.issue(&server());
    let (ca, list) = (authority.file("ca.pem"), authority.revoke(&[]));
    let more = format!("client_ca = {ca:?}\nclient_crl = {list:?}");
    for (path, told) in
        [(&ca, ":4: `server.tls.client_ca` is"), (&list, ":5: `server.tls.client_crl` is")]
    {
        for (mode, is_told) in [(0o644, false), (0o646, true), (0o644, false)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            let ended = check(&own.certificate, &own.key, &more).await;
            assert_eq!(ended.code(), Some(0), "{mode:o}: {}", ended.output());
            assert_eq!(ended.stderr.contains(told), is_told, "{mode:o}: {}", ended.stderr);
        }
    }
}
