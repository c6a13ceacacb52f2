//! The file: defaults, types, bounds, unknown keys, all mistakes at once.

use std::time::Duration;

use super::*;
use crate::{
    cache::CacheSettings, server::ServerSettings, telemetry::logs::Format, upstream::Thresholds,
};

const EVERYTHING: &str = r#"
listen = "0.0.0.0:50051"
admin_listen = "[::1]:9091"
page_token_key = "sixteen bytes or"

[log]
format = "json"
level = "info,profile_gateway[{call=\"x\"}]=debug"

[server]
default_timeout = "10s"
max_timeout = "1m 30s"
max_request_bytes = 65_536
max_response_bytes = "1 GiB"
max_concurrent_calls = 0x10
max_connections = 1_000_000
max_connection_age = "off"
max_connection_age_grace = "0s"
drain_grace = "0s"
drain_timeout = "1ms"
grpc_web = true

[backends.sft-emea]
dialect = "bics-sft"
base_url = "https://sft.example:8443/rest//"
display_name = "SFT, Éire"
username = "ops"
password = "hunter2"
connect_timeout = "250ms"
header_timeout = "20s"
body_timeout = "2s"
request_timeout = "1h"
max_response_bytes = "512kib"
max_concurrent_calls = 1
max_queued_calls = 0
max_attempts = 1
circuit_failures = 3
circuit_failure_percent = 100
circuit_min_calls = 7
circuit_window = "1m"
circuit_open = "100ms"
circuit_max_open = "100ms"
requests_per_second = 7
cache = { enabled = false, ttl = "1m", services_ttl = "0s", negative_ttl = "1s", stale_while_revalidate = "2s", stale_if_error = "24h", max_bytes = "64KiB" }

[backends.policy]
dialect = "pcc"
tenant = "acme"
base_url = "http://localhost:1234"
circuit_breaker = "off"
"#;

#[test]
fn everything_can_be_set() {
    let config = read(EVERYTHING, &[]).unwrap();
    assert_eq!(config.addresses.listen.to_string(), "0.0.0.0:50051");
    assert_eq!(config.addresses.admin_listen.to_string(), "[::1]:9091");
    assert_eq!(config.redacted()["page_token_key"], "[redacted]");
    assert_eq!(config.log.format, Format::Json);
    assert_eq!(config.log.level, "info,profile_gateway[{call=\"x\"}]=debug");
    let expected = ServerSettings {
        default_timeout: Duration::from_secs(10),
        max_timeout: Duration::from_secs(90),
        max_request_bytes: 65_536,
        max_response_bytes: 1 << 30,
        max_concurrent_calls: 16,
        max_connections: 1_000_000,
        max_connection_age: None,
        max_connection_age_grace: Duration::ZERO,
        drain_grace: Duration::ZERO,
        drain_timeout: Duration::from_millis(1),
        grpc_web: true,
    };
    assert_eq!(config.server, expected);
    let sft = &config.backends["sft-emea"];
    assert_eq!(sft.name, "sft-emea");
    assert_eq!(sft.label.display_name.as_deref(), Some("SFT, Éire"));
    assert_eq!(sft.dialect, "bics-sft");
    assert_eq!(sft.upstream.base_url.as_str(), "https://sft.example:8443/rest");
    assert_eq!(sft.upstream.connect_timeout, Duration::from_millis(250));
    assert_eq!(sft.upstream.request_timeout, Duration::from_secs(3600));
    assert_eq!(sft.upstream.max_response_bytes, 512 * 1024);
    assert_eq!((sft.upstream.max_concurrent_calls, sft.upstream.requests_per_second), (1, Some(7)));
    assert_eq!((sft.upstream.max_queued_calls, sft.upstream.max_attempts), (0, 1));
    assert_eq!(
        (sft.upstream.header_timeout.as_secs(), sft.upstream.body_timeout.as_secs()),
        (20, 2)
    );
    assert_eq!(sft.origin, "gateway.toml:23");
    assert_eq!(config.backends["policy"].origin, "gateway.toml:46");
    assert!(config.warnings.is_empty());
}

#[test]
fn circuits_and_caches_can_be_set() {
    let config = read(EVERYTHING, &[]).unwrap();
    let sft = &config.backends["sft-emea"];
    let circuit = Thresholds {
        failures: 3,
        percent: 100,
        min_calls: 7,
        window: Duration::from_secs(60),
        open: Duration::from_millis(100),
        max_open: Duration::from_millis(100),
    };
    assert_eq!(sft.upstream.circuit, Some(circuit));
    assert_eq!(config.backends["policy"].upstream.circuit, None);
    assert_eq!(config.redacted()["backends"]["policy"]["circuit_breaker"], "off");
    let cache = CacheSettings {
        enabled: false,
        ttl: Duration::from_secs(60),
        services_ttl: Duration::ZERO,
        negative_ttl: Duration::from_secs(1),
        stale_while_revalidate: Duration::from_secs(2),
        stale_if_error: Duration::from_secs(24 * 3600),
        max_bytes: 65_536,
    };
    assert_eq!(sft.cache, cache);
    assert_eq!(config.backends["policy"].cache, CacheSettings::default());
}

fn default_cache() -> serde_json::Value {
    serde_json::json!({
        "enabled": true,
        "ttl": "30s",
        "services_ttl": "10m",
        "negative_ttl": "5s",
        "stale_while_revalidate": "30s",
        "stale_if_error": "10m",
        "max_bytes": 67_108_864,
    })
}

#[test]
fn defaults_are_those_of_the_manual() {
    let config = with_backend("").unwrap();
    let shown = config.redacted();
    let expected = serde_json::json!({
        "listen": "127.0.0.1:50051",
        "admin_listen": "127.0.0.1:9090",
        "page_token_key": null,
        "log": { "format": "auto", "level": "info" },
        "server": {
            "default_timeout": "45s",
            "max_timeout": "5m",
            "max_request_bytes": 4_194_304,
            "max_response_bytes": 16_777_216,
            "max_concurrent_calls": 1024,
            "max_connections": 4096,
            "max_connection_age": "30m",
            "max_connection_age_grace": "1m",
            "drain_grace": "3s",
            "drain_timeout": "30s",
            "grpc_web": false,
        },
        "backends": { "sft": {
            "display_name": null,
            "dialect": "bics-sft",
            "base_url": "https://sft.example",
            "connect_timeout": "5s",
            "header_timeout": "35s",
            "body_timeout": "10s",
            "request_timeout": "40s",
            "max_response_bytes": 8_388_608,
            "max_concurrent_calls": 64,
            "max_queued_calls": 256,
            "max_attempts": 3,
            "requests_per_second": null,
            "watch_interval": "30s",
            "cache": default_cache(),
            "circuit_breaker": "on",
            "circuit_failures": 10,
            "circuit_failure_percent": 50,
            "circuit_min_calls": 20,
            "circuit_window": "30s",
            "circuit_open": "5s",
            "circuit_max_open": "1m",
            "origin": "gateway.toml:2",
        }},
        "warnings": [],
    });
    assert_eq!(shown, expected);
}

/// What is above a valid backend, and the whole report.
const MISTAKES: &[(&str, &str)] = &[
    ("listen = 5", "gateway.toml:1: `listen` must be a string, got an integer"),
    (
        "listen = \"localhost:1\"",
        "gateway.toml:1: `listen` must be an IP address and a port such as `127.0.0.1:50051`, got `localhost:1`",
    ),
    ("listen = \"\"", "gateway.toml:1: `listen` must not be empty"),
    ("listen = \"a\\nb\"", "gateway.toml:1: `listen` must not contain control characters"),
    (
        "page_token_key = \"fifteen bytes .\"",
        "gateway.toml:1: `page_token_key` must have at least 16 bytes",
    ),
    (
        "\nadmin_listen = \"127.0.0.1:50051\"",
        "gateway.toml:2: `admin_listen` (127.0.0.1:50051) must not share its port with `listen` (127.0.0.1:50051)",
    ),
    (
        "listen = \"0.0.0.0:9090\"",
        "gateway.toml:1: `admin_listen` (127.0.0.1:9090) must not share its port with `listen` (0.0.0.0:9090)",
    ),
    (
        "listen = \"[::]:9090\"",
        "gateway.toml:1: `admin_listen` (127.0.0.1:9090) must not share its port with `listen` ([::]:9090)",
    ),
    ("log = 3", "gateway.toml:1: `log` must be a section, got an integer"),
    ("[[log]]", "gateway.toml:1: `log` must be a section, got an array"),
    (
        "[log]\nformat = \"xml\"",
        "gateway.toml:2: `log.format` must be `auto`, `json` or `text`, got `xml`",
    ),
    (
        "[log]\nlevel = \" \"",
        "gateway.toml:2: `log.level` must be a log filter such as `info` or `info,hyper=warn`, in ASCII",
    ),
    (
        "[log]\nlevel = \"é\"",
        "gateway.toml:2: `log.level` must be a log filter such as `info` or `info,hyper=warn`, in ASCII",
    ),
    (
        "[server]\n\ndefault_timeout = 45",
        "gateway.toml:3: `server.default_timeout` needs a unit, write `\"45s\"` for seconds",
    ),
    (
        "[server]\ndefault_timeout = \"45\"",
        "gateway.toml:2: `server.default_timeout` needs a unit, write `\"45s\"` for seconds",
    ),
    (
        "[server]\ndefault_timeout = \"soon\"",
        "gateway.toml:2: `server.default_timeout` must be a duration such as `500ms`, `45s` or `1m 30s`, got `soon`",
    ),
    (
        "[server]\ndefault_timeout = true",
        "gateway.toml:2: `server.default_timeout` must be a duration such as `45s`, got a boolean",
    ),
    (
        "[server]\ndefault_timeout = \"0s\"",
        "gateway.toml:2: `server.default_timeout` must be between 1ms and 1h, got 0s",
    ),
    (
        "[server]\nmax_timeout = \"61m\"",
        "gateway.toml:2: `server.max_timeout` must be between 1ms and 1h, got 1h 1m",
    ),
    (
        "[server]\nmax_timeout = \"44s\"",
        "gateway.toml:2: `server.max_timeout` (44s) must not be below `server.default_timeout` (45s)",
    ),
    (
        "[server]\ndefault_timeout = \"6m\"",
        "gateway.toml:2: `server.max_timeout` (5m) must not be below `server.default_timeout` (6m)",
    ),
    (
        "[server]\nmax_request_bytes = 1023",
        "gateway.toml:2: `server.max_request_bytes` must be between 1KiB and 1GiB, got 1023",
    ),
    (
        "[server]\nmax_request_bytes = -1",
        "gateway.toml:2: `server.max_request_bytes` must be between 1KiB and 1GiB, got -1",
    ),
    (
        "[server]\nmax_request_bytes = \"2GiB\"",
        "gateway.toml:2: `server.max_request_bytes` must be between 1KiB and 1GiB, got 2GiB",
    ),
    (
        "[server]\nmax_request_bytes = \"8MB\"",
        "gateway.toml:2: `server.max_request_bytes` must be a number of bytes such as 4096, `512KiB` or `8MiB`, got `8MB`",
    ),
    (
        "[server]\nmax_request_bytes = \"1.5MiB\"",
        "gateway.toml:2: `server.max_request_bytes` must be a number of bytes such as 4096, `512KiB` or `8MiB`, got `1.5MiB`",
    ),
    (
        "[server]\nmax_request_bytes = 1.5",
        "gateway.toml:2: `server.max_request_bytes` must be a number of bytes such as `8MiB`, got a float",
    ),
    (
        "[server]\nmax_connections = 0",
        "gateway.toml:2: `server.max_connections` must be between 1 and 1000000, got 0",
    ),
    (
        "[server]\nmax_connections = \"7\"",
        "gateway.toml:2: `server.max_connections` must be a whole number, got a string",
    ),
    (
        "[server]\nmax_connections = 1000001",
        "gateway.toml:2: `server.max_connections` must be between 1 and 1000000, got 1000001",
    ),
    (
        "[server]\nmax_connection_age = \"never\"",
        "gateway.toml:2: `server.max_connection_age` must be a duration such as `500ms`, `45s` or `1m 30s`, got `never` (`off` disables it)",
    ),
    (
        "[server]\nmax_connection_age = \"25h\"",
        "gateway.toml:2: `server.max_connection_age` must be between 1s and 1day, got 1day 1h (`off` disables it)",
    ),
    (
        "[server]\ndrain_grace = \"off\"",
        "gateway.toml:2: `server.drain_grace` must be a duration such as `500ms`, `45s` or `1m 30s`, got `off`",
    ),
];

#[test]
fn one_mistake_one_line() {
    for &(text, expected) in MISTAKES {
        assert_eq!(report(with_backend(text)), expected, "{text}");
    }
}

#[test]
fn unknown_keys_are_refused_with_a_guess() {
    let cases = [
        (
            "Listen = \"x\"",
            "gateway.toml:1: unknown key `Listen`, did you mean `listen`? known here: listen, admin_listen, page_token_key, log, server, backends",
        ),
        (
            "zebra = \"x\"",
            "gateway.toml:1: unknown key `zebra`, known here: listen, admin_listen, page_token_key, log, server, backends",
        ),
        (
            "[sever]\nx = 1",
            "gateway.toml:1: unknown section `sever`, did you mean `server`? known here: listen, admin_listen, page_token_key, log, server, backends",
        ),
        (
            "[log]\nfromat = \"json\"",
            "gateway.toml:2: unknown key `fromat` in `[log]`, did you mean `format`? known here: format, level",
        ),
        ("[log.level]\nx = 1", "gateway.toml:1: `log.level` must be a string, got a table"),
        (
            "\"a\\u0007b\" = 1",
            "gateway.toml:1: unknown key `a\u{fffd}b`, known here: listen, admin_listen, page_token_key, log, server, backends",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(report(with_backend(text)), expected, "{text}");
    }
    let whole = report(with_backend("[server]\nmax_conections = 5"));
    assert!(whole.starts_with("gateway.toml:2: unknown key `max_conections` in `[server]`, did you mean `max_connections`? "), "{whole}");
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_lines() {
    let text = "listen = 1\nnope = 2\n[backends.B]\ndialect = \"bics\"\nmax_concurrent_calls = 0\n[server]\ndrain_timeout = 1\n[log]\nformat = \"x\"\n";
    let env = [("PROFILE_GATEWAY__SERVER__MAX_TIMEOUT", "2h"), ("PROFILE_GATEWAY__A__B", "")];
    let whole = report(read(text, &env));
    let origins: Vec<&str> = whole.lines().map(|line| line.split(": ").next().unwrap()).collect();
    let expected = [
        "gateway.toml:1",
        "gateway.toml:2",
        "gateway.toml:3", // name
        "gateway.toml:3", // base_url is missing
        "gateway.toml:4",
        "gateway.toml:5",
        "gateway.toml:7",
        "gateway.toml:9",
        "PROFILE_GATEWAY__A__B",
        "PROFILE_GATEWAY__SERVER__MAX_TIMEOUT",
    ];
    assert_eq!(origins, expected, "{whole}");
}

#[test]
fn syntax_errors_name_line_and_column_but_not_the_text() {
    let cases = [
        ("[backends.sft]\npassword = \"hunter2", "gateway.toml:2: not valid TOML at column "),
        ("[backends.sft]\npassword = hunter2", "gateway.toml:2: not valid TOML at column "),
        ("a = 1\na = 2", "gateway.toml:2: not valid TOML at column 1: duplicate key"),
        ("[a]\n[a]", "gateway.toml:2: not valid TOML at column 2: duplicate key"),
        ("é = 1", "gateway.toml:1: not valid TOML at column 1: "),
        ("x = \"é\" hunter2", "gateway.toml:1: not valid TOML at column 9: "),
        ("x = \"\0hunter2\"", "gateway.toml:1: not valid TOML at column "),
    ];
    for (text, expected) in cases {
        let whole = report(read(text, &[]));
        assert!(whole.starts_with(expected), "{text}: {whole}");
        assert!(!whole.contains("hunter2") && !whole.contains('\n'), "{whole}");
    }
}
