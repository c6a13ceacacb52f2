//! The proxy of a backend: what cannot be one, where it is said, and that its password stays in.

use super::*;

/// The proxy that is in force, with who the gateway is there.
fn in_force(lines: &str, env: &[(&str, &str)]) -> Option<(String, Option<String>)> {
    let config = in_backend(lines, env).unwrap();
    let upstream = &config.backends["sft"].upstream;
    let proxy = upstream.proxy.in_force(upstream.base_url.as_str()).unwrap()?;
    Some(proxy.shown())
}

#[test]
fn what_cannot_be_a_proxy_is_refused_without_showing_it() {
    for (lines, expected) in [
        ("proxy = 5", "must be a string, got an integer, must be an http or https URL"),
        ("proxy = \"proxy.example:3128\"", "must be an http or https URL"),
        ("proxy = \"socks5://proxy.example\"", "must be an http or https URL"),
        ("proxy = \"http://proxy.example/path\"", "without a path"),
        ("proxy = \"http://proxy.example?hunter2\"", "without a path"),
        ("proxy = \"http://ops:hunter2@proxy.example\"", "write them as `proxy_username` and"),
        ("proxy = \"environ\"", "must be an http or https URL"),
        ("proxy_username = \"ops\"", "is not used, because `backends.sft.proxy` is not a URL"),
        (
            "proxy_username = \"ops\"\nproxy = \"environment\"",
            "is not used, because `backends.sft.proxy` is not a URL",
        ),
        (
            "proxy_password = \"hunter2\"\nproxy = \"http://proxy.example\"",
            "`backends.sft.proxy_password` needs `backends.sft.proxy_username`",
        ),
        ("proxy_username = \"ops:hunter2\"\nproxy = \"http://proxy.example\"", "must not contain"),
        (
            "proxy = \"http://proxy.example\"\ntls.server_name = \"sft.example\"",
            "asks for the server's own name: write it in `base_url`",
        ),
    ] {
        let whole = report(in_backend(lines, &[]));
        assert!(whole.starts_with("gateway.toml:4: `backends.sft.proxy"), "{lines}: {whole}");
        assert!(whole.contains(expected), "{lines}: {whole}");
        assert!(!whole.contains("hunter2"), "{lines}: {whole}");
    }
}

#[test]
fn a_proxy_is_said_in_the_configuration() {
    assert_eq!(in_force("", &[("HTTPS_PROXY", "http://proxy.example")]), None);
    assert_eq!(in_force("proxy = \"none\"", &[("HTTPS_PROXY", "http://proxy.example")]), None);
    let url = "http://proxy.example:3128/".to_owned();
    let lines = "proxy = \"http://proxy.example:3128\"";
    assert_eq!(in_force(lines, &[]), Some((url.clone(), None)));
    let lines = format!("{lines}\nproxy_username = \"ops\"\nproxy_password = \"hunter2\"");
    let shown = Some("Basic b3BzOmh1bnRlcjI=".to_owned());
    assert_eq!(in_force(&lines, &[]), Some((url, shown)));
    let config = in_backend(&lines, &[]).unwrap();
    let redacted = &config.redacted()["backends"]["sft"];
    assert_eq!(redacted["proxy_password"], "[redacted]");
    assert_eq!(redacted["proxy"], "http://proxy.example:3128");
    for secret in ["hunter2", "b3BzOmh1bnRlcjI"] {
        assert!(!format!("{config:?}{redacted}").contains(secret), "{config:?}");
    }
}

#[test]
fn the_environment_counts_where_it_is_asked_for() {
    const PROXY: (&str, &str) = ("HTTPS_PROXY", "http://ops:hunter%32@proxy.example:3128");
    let lines = "proxy = \"environment\"";
    let asked = |env: &[(&str, &str)]| in_force(lines, env).map(|(url, _)| url);
    let proxy = Some("http://proxy.example:3128/".to_owned());
    assert_eq!(asked(&[]), None);
    assert_eq!(asked(&[PROXY]), proxy);
    assert_eq!(asked(&[("https_proxy", PROXY.1)]), proxy);
    assert_eq!(asked(&[("ALL_PROXY", PROXY.1)]), proxy);
    // What is called is https.
    assert_eq!(asked(&[("HTTP_PROXY", PROXY.1)]), None);
    assert_eq!(asked(&[PROXY, ("NO_PROXY", "other.example")]), proxy);
    for without in ["sft.example", ".example", "a.test, sft.example", "*"] {
        assert_eq!(asked(&[PROXY, ("NO_PROXY", without)]), None, "{without}");
    }
    let (_, shown) = in_force(lines, &[PROXY]).unwrap();
    assert_eq!(shown.as_deref(), Some("Basic b3BzOmh1bnRlcjI="));
    let config = in_backend(lines, &[PROXY]).unwrap();
    let redacted = config.redacted();
    assert_eq!(redacted["backends"]["sft"]["proxy"], "environment");
    assert!(!format!("{config:?}{redacted}").contains("hunter"), "{config:?}");
    for wrong in ["socks5://proxy.example", "http://", "hunter2 hunter2"] {
        let whole = report(in_backend(lines, &[("HTTPS_PROXY", wrong)]));
        let expected = "gateway.toml:4: `backends.sft.proxy` is `environment`, and the variable \
                        `HTTPS_PROXY` is not an http or https URL";
        assert_eq!(whole, expected, "{wrong}");
    }
}
