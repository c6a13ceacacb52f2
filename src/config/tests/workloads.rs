//! Callers and proxies that certificates prove, against what the gateway sees of certificates.

use super::*;

const TLS: &str = "[server.tls]\ncert = \"tests/fixtures/tls/cert.pem\"\n\
                   key = \"tests/fixtures/tls/key.pem\"\n";
const CLIENTS: &str = "client_ca = \"tests/fixtures/tls/cert.pem\"\n";
const ROLE: &str = "[auth.roles.reader]\nrights = \"read\"\nbackends = \"*\"\n";
const CALLER: &str =
    "[auth.callers.app]\nroles = \"reader\"\nspiffe = \"spiffe://example.org/ns/a/*\"\n";

/// What is told of these sections, where callers have to prove who they are.
fn told(sections: &[&str]) -> String {
    let required = "[auth]\nmode = \"required\"\n";
    let text = sections.concat();
    let text = match text.contains("[auth]\n") {
        true => text.replace("[auth]\n", required),
        false => text + required,
    };
    let callers = if text.contains(CALLER) { String::new() } else { format!("{ROLE}{CALLER}") };
    let read = with_backend(&format!("{text}{callers}"));
    read.err().map(|errors| errors.to_string()).unwrap_or_default()
}

#[test]
fn a_caller_needs_someone_who_shows_its_certificate() {
    let unproved = "`auth.callers.app.spiffe` can be proved by no one: set `client_ca`";
    for tls in ["", TLS, &format!("{TLS}client_auth = \"off\"\n")] {
        let told = told(&[tls, ROLE, CALLER]);
        assert!(told.contains(unproved) && told.lines().count() == 1, "{tls}: {told}");
    }
    let domain = |name: &str| format!("{CLIENTS}trust_domain = \"{name}\"\n");
    for tls in [CLIENTS, &format!("{CLIENTS}client_auth = \"optional\"\n"), &domain("example.org")]
    {
        assert_eq!(told(&[TLS, tls, ROLE, CALLER]), "", "{tls}");
    }
    for other in ["example.com", "ample.org", "example.org.evil"] {
        let told = told(&[TLS, &domain(other), ROLE, CALLER]);
        assert!(told.contains("`auth.callers.app.spiffe` is not of `server.tls.trust_domain`"));
    }
    // A proxy may tell of any domain.
    let proxy = "[auth]\nxfcc_from = \"127.0.0.1\"\n";
    assert_eq!(told(&[proxy, ROLE, CALLER]), "");
    assert_eq!(told(&[TLS, &domain("example.com"), proxy, ROLE, CALLER]), "");
    // What is wrong with the files is told alone.
    let missing = TLS.replace("cert.pem", "none.pem");
    let told = told(&[&missing, CLIENTS, ROLE, CALLER]);
    assert!(told.contains("does not exist") && !told.contains("proved"), "{told}");
}

#[test]
fn a_proxy_has_to_be_one_that_can_connect() {
    let from = |proxies: &str| format!("[auth]\nxfcc_from = \"{proxies}\"\n");
    let socket = "listen = \"unix:/run/gateway.sock\"\n";
    let other = &format!("{TLS}{CLIENTS}trust_domain = \"example.com\"\n");
    let shown = &format!("{TLS}{CLIENTS}");
    let named = from("spiffe://example.org/ns/ingress/sa/envoy");
    for (before, proxies, expected) in [
        ("", &named, "clients are not asked for one: set `client_ca` in `[server.tls]`"),
        (TLS, &named, "clients are not asked for one"),
        (other, &named, "is not of `server.tls.trust_domain`"),
        ("", &from("uid:1337"), "has `uid:1337`, which is a user of this machine"),
        (socket, &from("10.0.0.0/8"), "has `10.0.0.0/8`, which is an address"),
    ] {
        let told = told(&[before, proxies]);
        assert!(told.contains(expected), "{before} {proxies}: {told}");
        assert!(told.contains("`auth.xfcc_from` has `"), "{told}");
    }
    for (before, proxies) in [
        (shown.as_str(), &named),
        (shown, &from("10.0.0.0/8, spiffe://example.org/*")),
        (socket, &from("uid:1337")),
    ] {
        assert_eq!(told(&[before, proxies]), "", "{before} {proxies}");
    }
    for wrong in ["uid:me", "spiffe://example.org", "envoy"] {
        assert!(told(&[&from(wrong)]).contains("`auth.xfcc_from` must be addresses"), "{wrong}");
    }
}
