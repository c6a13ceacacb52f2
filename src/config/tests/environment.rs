//! `PROFILE_GATEWAY__SECTION__KEY`.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::*;
use crate::telemetry::logs::Format;

fn secret(config: &Config, backend: &str, key: &str) -> String {
    match &config.backends[backend].options[key] {
        OptionValue::Secret(secret) => secret.expose_secret().to_owned(),
        OptionValue::Plain(_) | OptionValue::Switch(_) => panic!("{key} is not kept as a secret"),
    }
}

#[test]
fn every_kind_of_value_can_be_overridden() {
    let text = r#"listen = "127.0.0.1:1"
[backends.sft-emea]
dialect = "bics-sft"
base_url = "https://a"
password = { file = "/nowhere" }
"#;
    let env = [
        ("PROFILE_GATEWAY__LISTEN", "127.0.0.1:2"),
        ("PROFILE_GATEWAY__LOG__FORMAT", "text"),
        ("PROFILE_GATEWAY__SERVER__DEFAULT_TIMEOUT", "10s"),
        ("PROFILE_GATEWAY__SERVER__MAX_CONNECTION_AGE", "off"),
        ("PROFILE_GATEWAY__SERVER__MAX_CONNECTIONS", "12"),
        ("PROFILE_GATEWAY__SERVER__MAX_REQUEST_BYTES", "65536"),
        ("PROFILE_GATEWAY__SERVER__MAX_RESPONSE_BYTES", "1MiB"),
        ("PROFILE_GATEWAY__SERVER__GRPC_WEB", "true"),
        ("PROFILE_GATEWAY__BACKENDS__SFT_EMEA__BASE_URL", "https://b"),
        ("PROFILE_GATEWAY__BACKENDS__SFT_EMEA__USERNAME", "12345"),
        ("PROFILE_GATEWAY__BACKENDS__SFT_EMEA__PASSWORD", "hunter2"),
        ("PATH", "/bin"),
    ];
    let config = read(text, &env).unwrap();
    assert_eq!(config.addresses.listen.dial().unwrap().port(), 2);
    assert_eq!(config.log.format, Format::Text);
    assert_eq!(config.server.default_timeout, Duration::from_secs(10));
    assert_eq!(config.server.max_connection_age, None);
    assert_eq!(config.server.max_connections, 12);
    assert_eq!(config.server.max_request_bytes, 65_536);
    assert_eq!(config.server.max_response_bytes, 1 << 20);
    assert!(config.server.grpc_web);
    assert_eq!(config.backends.len(), 1);
    let backend = &config.backends["sft-emea"];
    assert_eq!(backend.upstream.base_url.as_str(), "https://b");
    assert_eq!(backend.origin, "gateway.toml:2");
    assert!(matches!(&backend.options["username"], OptionValue::Plain(name) if name == "12345"));
    assert_eq!(secret(&config, "sft-emea", "password"), "hunter2");
}

#[test]
fn the_environment_alone_is_enough() {
    let env = [
        ("PROFILE_GATEWAY__BACKENDS__SFT_EMEA__BASE_URL", "https://b"),
        ("PROFILE_GATEWAY__BACKENDS__SFT_EMEA__DIALECT", "bics-sft"),
        ("PROFILE_GATEWAY__BACKENDS__SFT_EMEA__PASSWORD__ENV", "SFT_PASSWORD"),
        ("PROFILE_GATEWAY__STORE__PATH", "/var/lib/gateway"),
        ("SFT_PASSWORD", "hunter2"),
    ];
    let config = load_with(None, &vars(&env), DIALECTS).unwrap();
    assert_eq!(secret(&config, "sft-emea", "password"), "hunter2");
    assert_eq!(config.backends["sft-emea"].origin, "PROFILE_GATEWAY__BACKENDS__SFT_EMEA__BASE_URL");
}

/// Variable without its prefix, value, beginning of the message.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("LISTEN", "x", "`listen` must be an IP address"),
    ("LISTNE", "hunter2", "unknown key `listne`, did you mean `listen`?"),
    ("SERVER", "hunter2", "no such setting, expected PROFILE_GATEWAY__KEY, "),
    ("", "hunter2", "no such setting, "),
    ("SERVER____X", "hunter2", "no such setting, "),
    ("SERVER__DRAIN__GRACE", "hunter2", "no such setting, "),
    ("BACKENDS__SFT", "hunter2", "no such setting, "),
    ("BACKENDS__SFT__PASSWORD__HUNTER", "hunter2", "no such setting, "),
    ("SEVRER__MAX_TIMEOUT", "hunter2", "unknown section `sevrer`, did you mean `server`?"),
    (
        "ZEBRA__X",
        "hunter2",
        "unknown section `zebra`, expected log, audit, reload, server, operators, auth, callers, \
         memory, request_ids, store, backends",
    ),
    (
        "SERVER__MAX_TIMEOUTS",
        "hunter2",
        "unknown key `max_timeouts` in `[server]`, did you mean `max_timeout`?",
    ),
    ("SERVER__MAX_TIMEOUT", "45", "`server.max_timeout` needs a unit, write `45s` for seconds"),
    (
        "SERVER__MAX_TIMEOUT",
        "\"45s\"",
        "`server.max_timeout` must be a duration such as `500ms`, `45s` or `1m 30s`, got \
         `\"45s\"`; the value of a variable is written without quotes",
    ),
    (
        "SERVER__MAX_CONNECTIONS",
        "'12'",
        "`server.max_connections` must be a whole number, got `'12'`; the value of a variable is \
         written without quotes",
    ),
    (
        "SERVER__MAX_CONNECTIONS",
        "many",
        "`server.max_connections` must be a whole number, got `many`",
    ),
    ("SERVER__MAX_CONNECTIONS", "", "`server.max_connections` must be a whole number, got ``"),
    (
        "SERVER__MAX_CONNECTIONS",
        "-4",
        "`server.max_connections` must be between 1 and 1000000, got -4",
    ),
    (
        "BACKENDS__SFT__PASWORD",
        "hunter2",
        "unknown key `pasword` in `[backends.sft]`, did you mean `password`?",
    ),
    ("BACKENDS__SFT__PASSWORD", "", "`backends.sft.password` must not be empty"),
    (
        "BACKENDS__SFT__PASSWORD",
        "hunter2\n",
        "`backends.sft.password` must not contain control characters",
    ),
    (
        "BACKENDS__SFT__PASSWORD__ENV",
        "UNSET",
        "`backends.sft.password` needs the environment variable `UNSET`, which is not set",
    ),
    (
        "BACKENDS__SFT__PASSWORD__FILE",
        "/nowhere",
        "`backends.sft.password` cannot be read from the file `/nowhere`: it does not exist",
    ),
    (
        "BACKENDS__SFT__USERNAME__FILE",
        "/nowhere",
        "`backends.sft.username` must be a string, got a table",
    ),
    (
        "BACKENDS__SFT__BASE_URL",
        "https://a:hunter2@b",
        "`backends.sft.base_url` must not contain a user name or password",
    ),
];

#[test]
fn a_mistake_is_named_by_its_variable() {
    for (name, value, expected) in MISTAKES {
        let name = format!("PROFILE_GATEWAY__{name}");
        let whole = report(in_backend("", &[(&name, value)]));
        assert!(whole.starts_with(&format!("{name}: {expected}")), "{whole}");
        assert!(!whole.contains("hunter2") && !whole.contains('\n'), "{whole}");
    }
}

#[test]
fn a_misspelled_backend_name_is_reported() {
    let variable = |name: &str| format!("PROFILE_GATEWAY__BACKENDS__{name}__USERNAME");
    let reported = |name: &str| report(in_backend("", &[(&variable(name), "x")]));
    for name in ["STF", "SFTT", "SF"] {
        let (variable, path) = (variable(name), name.to_lowercase());
        let expected = format!(
            "{variable}: `backends.{path}` has neither `dialect` nor `base_url`, did you mean \
             `backends.sft`?"
        );
        assert_eq!(reported(name), expected);
    }
    // Not like any other: then it is a backend that lacks something.
    let whole = reported("ZEBRA");
    assert_eq!(whole.lines().count(), 2, "{whole}");
    let missing = format!("{}: `backends.zebra.dialect` is missing", variable("ZEBRA"));
    assert!(whole.starts_with(&missing), "{whole}");
}

#[test]
fn two_variables_for_one_value_are_refused() {
    let cases = [
        ("PROFILE_GATEWAY__LISTEN", "PROFILE_GATEWAY__Listen"),
        (
            "PROFILE_GATEWAY__BACKENDS__SFT__PASSWORD",
            "PROFILE_GATEWAY__BACKENDS__SFT__PASSWORD__ENV",
        ),
        (
            "PROFILE_GATEWAY__BACKENDS__SFT__PASSWORD__ENV",
            "PROFILE_GATEWAY__BACKENDS__SFT__PASSWORD__FILE",
        ),
        ("PROFILE_GATEWAY__BACKENDS__A-B__PASSWORD", "PROFILE_GATEWAY__BACKENDS__A_B__PASSWORD"),
    ];
    for (first, second) in cases {
        let whole = report(in_backend("", &[(second, "hunter2"), (first, "127.0.0.1:7")]));
        let expected = format!("{second}: sets the same key as `{first}`, keep only one of them");
        assert!(whole.lines().any(|line| line == expected), "{whole}");
    }
}

#[test]
fn a_file_that_has_a_value_where_a_section_belongs_is_reported_once() {
    let text = format!("server = 5\n{BACKEND}");
    let whole = report(read(&text, &[("PROFILE_GATEWAY__SERVER__MAX_TIMEOUT", "2h")]));
    assert_eq!(
        whole,
        "gateway.toml:1: `server` must be a section, got an integer\n\
         PROFILE_GATEWAY__SERVER__MAX_TIMEOUT: `server.max_timeout` must be between 1ms and 1h, \
         got 2h"
    );
}
