//! `[backends.NAME.tls]`: files that cannot be used, and keys that do not fit together.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use tempfile::TempDir;

use super::*;

/// A certificate of its own authority, its key, and another key, as openssl makes them.
const CERT: &str = include_str!("../../../tests/fixtures/tls/cert.pem");
const KEY: &str = include_str!("../../../tests/fixtures/tls/key.pem");
const OTHER: &str = include_str!("../../../tests/fixtures/tls/other.pem");

/// A directory with these, and what is neither.
fn files() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("cert", CERT);
    write("key", KEY);
    write("other", OTHER);
    write("empty", "");
    write("text", "hunter2");
    write("cut", &CERT[..CERT.len() - 30]);
    write("no-der", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    write("large", &"#".repeat(1024 * 1024 + 1));
    folder
}

/// Loads a backend with these lines in its section, the first of which is on line 5. `@` is the
/// directory.
fn with_tls(folder: &Path, lines: &str) -> Result<Config, ConfigErrors> {
    let lines = lines.replace('@', folder.to_str().unwrap());
    in_backend(&format!("[backends.sft.tls]\n{lines}"), &[])
}

#[test]
fn what_does_not_fit_is_told_with_its_line() {
    let folder = files();
    for (lines, line, expected) in [
        ("ca_file = \"@/none\"\nroots = \"file\"", 5, "it does not exist"),
        ("ca_file = \"@\"\nroots = \"file\"", 5, "it is not a regular file"),
        ("ca_file = \"@/large\"\nroots = \"file\"", 5, "it has more than 1024 KiB"),
        ("ca_file = \"@/empty\"\nroots = \"file\"", 5, "it has no certificate"),
        ("ca_file = \"@/key\"\nroots = \"file\"", 5, "it has no certificate"),
        ("ca_file = \"@/cut\"\nroots = \"file\"", 5, "cannot be read from the file"),
        ("ca_file = \"@/no-der\"\nroots = \"file\"", 5, "certificate 1 of the file"),
        ("\nca_file = \"@/cert\"", 6, "is not used while `backends.sft.tls.roots` is `system`"),
        ("roots = \"both\"", 5, "`backends.sft.tls.roots` needs `backends.sft.tls.ca_file`"),
        ("roots = \"all\"", 5, "must be `system`, `file` or `both`, got `all`"),
        ("cert = \"@/cert\"", 5, "`backends.sft.tls.cert` and `backends.sft.tls.key` need each"),
        ("key = \"@/key\"", 5, "`backends.sft.tls.cert` and `backends.sft.tls.key` need each"),
        ("cert = \"@/cert\"\nkey = \"@/text\"", 6, "it has no private key as PEM"),
        ("cert = \"@/cert\"\nkey = \"@/cert\"", 6, "it has no private key as PEM"),
        ("cert = \"@/cert\"\nkey = \"@/other\"", 6, "is not the key of the first certificate of"),
        ("cert = \"@/no-der\"\nkey = \"@/key\"", 5, "cannot be used"),
        ("server_name = \"127.0.0.1\"", 5, "must be the name of a host"),
        ("server_name = \"a b\"", 5, "must be the name of a host"),
        ("min_version = \"1.1\"", 5, "must be `1.2` or `1.3`, got `1.1`"),
    ] {
        let whole = report(with_tls(folder.path(), lines));
        assert!(whole.starts_with(&format!("gateway.toml:{line}: ")), "{lines}: {whole}");
        assert!(whole.contains(expected), "{lines}: {whole}");
        assert!(!whole.contains("hunter2") && !whole.contains("PRIVATE KEY-----M"), "{whole}");
        assert_eq!(whole.lines().count(), 1, "{lines}: {whole}");
    }
}

#[test]
fn plain_http_has_no_tls() {
    let text = BACKEND.replace("https://sft.example", "http://localhost");
    let whole = report(read(&format!("{text}[backends.sft.tls]\nmin_version = \"1.3\""), &[]));
    let expected = "gateway.toml:4: `backends.sft.tls` has no use, because `base_url` begins with \
                    http:";
    assert_eq!(whole, expected);
}

#[test]
fn what_fits_is_shown_without_the_key() {
    let folder = files();
    let lines = "ca_file = \"@/cert\"\nroots = \"both\"\ncert = \"@/cert\"\nkey = \"@/key\"\n\
                 server_name = \"pcc.example\"\nmin_version = \"1.3\"";
    let config = with_tls(folder.path(), lines).unwrap();
    let shown = config.redacted()["backends"]["sft"]["tls"].clone();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expected = serde_json::json!({
        "ca_file": path("cert"),
        "roots": "both",
        "cert": path("cert"),
        "key": path("key"),
        "server_name": "pcc.example",
        "min_version": "1.3",
    });
    assert_eq!(shown, expected);
    let key = fs::read_to_string(folder.path().join("key")).unwrap();
    let body = key.lines().nth(1).unwrap();
    assert!(!format!("{config:?}").contains(body), "{config:?}");
    // The same from the environment.
    let env = [
        ("PROFILE_GATEWAY__BACKENDS__SFT__TLS__CA_FILE", path("cert")),
        ("PROFILE_GATEWAY__BACKENDS__SFT__TLS__ROOTS", "file".to_owned()),
    ];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let config = in_backend("", &env).unwrap();
    assert_eq!(config.redacted()["backends"]["sft"]["tls"]["ca_file"], path("cert"));
}

#[test]
fn a_key_that_everyone_can_write_or_read_is_a_warning_or_an_error() {
    let folder = files();
    let lines = "cert = \"@/cert\"\nkey = \"@/key\"";
    let key = folder.path().join("key");
    let allow = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o640);
    assert_eq!(with_tls(folder.path(), lines).unwrap().warnings.len(), 1);
    for (mode, can) in [(0o666, "write"), (0o642, "write"), (0o644, "read")] {
        allow(mode);
        let told = format!(
            "gateway.toml:6: `backends.sft.tls.key` is read from `{}`, which everyone on this \
             machine can {can}",
            key.display()
        );
        assert_eq!(with_tls(folder.path(), lines).unwrap().warnings[0], told);
        let lines = lines.replace('@', folder.path().to_str().unwrap());
        let backend = BACKEND.trim_start();
        let strict = format!("strict_permissions = true\n{backend}[backends.sft.tls]\n{lines}");
        assert_eq!(report(read(&strict, &[])), told.replace(":6:", ":7:"));
    }
}

#[test]
fn authorities_that_everyone_can_write_are_a_warning_or_an_error() {
    let folder = files();
    let lines = "ca_file = \"@/cert\"\nroots = \"file\"";
    assert_eq!(with_tls(folder.path(), lines).unwrap().warnings.len(), 1);
    let cert = folder.path().join("cert");
    fs::set_permissions(&cert, fs::Permissions::from_mode(0o666)).unwrap();
    let told = "`backends.sft.tls.ca_file` is read from `";
    assert!(with_tls(folder.path(), lines).unwrap().warnings[0].contains(told));
}
