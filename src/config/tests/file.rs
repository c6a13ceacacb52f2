//! The file: every key.

use std::time::Duration;

use super::*;
use crate::{
    cache::CacheSettings,
    caller::CallerSettings,
    resources::MemorySettings,
    server::{ConnectionSettings, ServerSettings},
    telemetry::logs::Format,
    upstream::{Chosen, Thresholds, WindowLimit},
};

const EVERYTHING: &str = r#"
listen = "0.0.0.0:50051"
admin_listen = "[::1]:9091"
probe_listen = "0.0.0.0:9092"
admin_token = "sixteen bytes too"
admin_hosts = "gateway.ops.example, Metrics"
max_admin_connections = 8
max_admin_connections_per_peer = 2
strict_permissions = true
page_token_key = "sixteen bytes or"
max_page_bytes = "1MiB"

[log]
format = "json"
level = "info,profile_gateway[{call=\"x\"}]=debug"
buffer_bytes = "64KiB"

[audit]
file = "/var/log/gateway/audit.log"
stream = "stderr"
sync = false
buffer_bytes = "1MiB"

[reload]
interval = "off"

[request_ids]
kept_for = "1h"
max_entries = 5
max_bytes = "1MiB"

[store]
kind = "file"
path = "/var/lib/gateway"

[memory]
budget_bytes = "64GiB"
requests_percent = 11
answers_percent = 12
decoding_percent = 13
loads_percent = 14
cache_percent = 15
request_ids_percent = 16
watch_history_percent = 17

[server]
default_timeout = "10s"
max_timeout = "1m 30s"
max_request_bytes = 65_536
max_response_bytes = "1 GiB"
min_compressed_bytes = "off"
max_request_metadata_bytes = "8KiB"
max_response_metadata_bytes = 7000
max_concurrent_calls = 0x10
max_connections = 1_000_000
max_connections_per_peer = 1000
first_request_timeout = "2s"
max_connection_idle = "off"
write_timeout = "1m"
liveness_timeout = "1s"
max_connection_age = "off"
max_connection_age_grace = "0s"
drain_grace = "0s"
drain_timeout = "1ms"
stream_keep_alive = "5s"
grpc_web = true
max_streams_per_connection = 7
max_probe_streams = 5
message_timeout = "3s"

[operators.jane]
token = "of one person alone"

[auth]
mode = "required"
allow_unauthenticated = false
reflection = "open"
fresh = "deny"
xfcc_from = "127.0.0.1, 192.0.2.0/24"

[auth.jwt.idp]
issuer = "https://idp.example"
audience = "profile-gateway, other"
jwks_file = "tests/fixtures/jwks/rfc7515.json"
algorithms = "ES256, PS384"
leeway = "1m"
max_lifetime = "off"

[auth.jwt.cloud]
issuer = "https://cloud.example"
audience = "profile-gateway"
jwks_url = "https://cloud.example/keys"
ca_file = "tests/fixtures/tls/cert.pem"
jwks_refresh = "10m"
jwks_min_refresh = "1m"
jwks_max_stale = "2h"

[auth.roles.reader]
rights = "read, fresh"
backends = "*"

[auth.roles.writer]
rights = "write,delete"
backends = "sft-emea"

[auth.callers.billing]
roles = "reader"
spiffe = "spiffe://example.org/ns/billing/*"

[auth.callers.ops]
roles = "reader, writer"
issuer = "https://idp.example"
subject = "svc-ops"
claims = "groups=iot-ops, env = prod"
[auth.callers.ops.quota]
calls = 64
rate = "200/s"
upstream_rate = "50/m"
streams = 16
request_ids = 20_000
bytes = "64MiB"

[callers]
ipv4_prefix_bits = 24
ipv6_prefix_bits = 48
share_percent = 100
log_lines_per_second = "off"

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
max_pause = "5m"
requests_per_second = 7
request_limit = "10/1m"
monthly_request_limit = "off"
login_limit = "vendor"
cache.enabled = false
cache.ttl = "1m"
cache.services_ttl = "0s"
cache.negative_ttl = "1s"
cache.stale_while_revalidate = "2s"
cache.stale_if_error = "24h"
cache.max_bytes = "64KiB"

[backends.policy]
dialect = "pcc"
tenant = "acme"
base_url = "http://localhost:1234"
allow_plain_http = true
max_connection_age = "off"
circuit_breaker = "off"
"#;

fn every_memory_setting() -> MemorySettings {
    MemorySettings {
        budget_bytes: Some(1 << 36),
        requests_percent: 11,
        answers_percent: 12,
        decoding_percent: 13,
        loads_percent: 14,
        cache_percent: 15,
        request_ids_percent: 16,
        watch_history_percent: 17,
    }
}

fn every_server_setting() -> ServerSettings {
    ServerSettings {
        default_timeout: Duration::from_secs(10),
        max_timeout: Duration::from_secs(90),
        max_request_bytes: 65_536,
        max_response_bytes: 1 << 30,
        min_compressed_bytes: None,
        max_request_metadata_bytes: 8192,
        max_response_metadata_bytes: 7000,
        max_concurrent_calls: 16,
        max_connections: 1_000_000,
        max_connection_age: None,
        max_connection_age_grace: Duration::ZERO,
        drain_grace: Duration::ZERO,
        drain_timeout: Duration::from_millis(1),
        stream_keep_alive: Some(Duration::from_secs(5)),
        grpc_web: true,
        max_streams_per_connection: 7,
        max_probe_streams: 5,
        message_timeout: Duration::from_secs(3),
        liveness_timeout: Duration::from_secs(1),
        connections: ConnectionSettings {
            max_connections_per_peer: 1000,
            first_request_timeout: Duration::from_secs(2),
            max_connection_idle: None,
            write_timeout: Duration::from_secs(60),
        },
    }
}

#[test]
fn everything_can_be_set() {
    let config = read(EVERYTHING, &[]).unwrap();
    assert_eq!(config.addresses.listen.to_string(), "0.0.0.0:50051");
    assert_eq!(config.addresses.admin_listen.to_string(), "[::1]:9091");
    assert_eq!(config.addresses.probe_listen.as_ref().unwrap().to_string(), "0.0.0.0:9092");
    assert_eq!(config.redacted()["page_token_key"], "[redacted]");
    assert_eq!(config.redacted()["admin_token"], "[redacted]");
    assert_eq!(config.redacted()["operators"]["jane"]["token"], "[redacted]");
    assert_eq!(config.admin.admin_hosts.unwrap(), ["gateway.ops.example", "metrics"]);
    assert_eq!(config.admin.max_admin_connections, 8);
    assert!(config.permissions.strict_permissions);
    assert_eq!(config.admin.max_admin_connections_per_peer, 2);
    assert_eq!(config.page_tokens.max_page_bytes, 1 << 20);
    assert_eq!(config.log.format, Format::Json);
    assert_eq!(config.log.level, "info,profile_gateway[{call=\"x\"}]=debug");
    assert_eq!(config.memory, every_memory_setting());
    assert_eq!(config.server, every_server_setting());
    let callers = CallerSettings {
        ipv4_prefix_bits: 24,
        ipv6_prefix_bits: 48,
        share_percent: 100,
        log_lines_per_second: None,
    };
    assert_eq!(config.audit.file.as_deref(), Some("/var/log/gateway/audit.log"));
    assert_eq!((config.audit.sync, config.request_ids.max_entries), (false, 5));
    assert_eq!(config.reload.interval, None);
    assert_eq!(config.store.path.as_deref(), Some("/var/lib/gateway"));
    assert_eq!(config.callers, callers);
    let sft = &config.backends["sft-emea"];
    assert_eq!((sft.name.as_str(), sft.dialect), ("sft-emea", "bics-sft"));
    assert_eq!(sft.label.display_name.as_deref(), Some("SFT, Éire"));
    assert_eq!(sft.upstream.base_url.as_str(), "https://sft.example:8443/rest");
    assert_eq!(sft.upstream.connect_timeout, Duration::from_millis(250));
    assert_eq!(sft.upstream.request_timeout, Duration::from_secs(3600));
    assert_eq!(sft.upstream.max_response_bytes, 512 * 1024);
    assert_eq!(
        (sft.upstream.max_concurrent_calls, sft.upstream.requests_per_second),
        (1, Chosen::Own(7))
    );
    let own = WindowLimit { requests: 10, length: Duration::from_secs(60) };
    assert_eq!(sft.upstream.request_limit, Chosen::Own(own));
    let others = (sft.upstream.monthly_request_limit, sft.upstream.login_limit);
    assert_eq!(others, (Chosen::Off, Chosen::Vendor));
    assert_eq!((sft.upstream.max_queued_calls, sft.upstream.max_attempts), (0, 1));
    assert_eq!(
        (sft.upstream.header_timeout.as_secs(), sft.upstream.body_timeout.as_secs()),
        (20, 2)
    );
    assert_eq!(sft.origin, "gateway.toml:129");
    assert_eq!(config.backends["policy"].origin, "gateway.toml:162");
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn callers_and_their_rights_can_be_set() {
    let config = read(EVERYTHING, &[]).unwrap();
    let shown = config.redacted();
    let auth = &shown["auth"];
    let own: Vec<_> = ["mode", "allow_unauthenticated", "reflection", "fresh", "xfcc_from"]
        .map(|key| auth[key].clone())
        .into();
    let xfcc_from = "127.0.0.1, 192.0.2.0/24";
    let expected = serde_json::json!(["required", false, "open", "deny", xfcc_from]);
    assert_eq!(serde_json::json!(own), expected);
    assert_eq!(
        auth["roles"],
        serde_json::json!({
            "reader": {"rights": "read, fresh", "backends": "*"},
            "writer": {"rights": "write, delete", "backends": "sft-emea"},
        })
    );
    assert_eq!(auth["callers"]["billing"]["spiffe"], "spiffe://example.org/ns/billing/*");
    assert!(auth["callers"]["billing"]["quota"].as_object().unwrap().values().all(|v| v.is_null()));
    assert_eq!(
        auth["callers"]["ops"],
        serde_json::json!({
            "roles": "reader, writer",
            "spiffe": null,
            "issuer": "https://idp.example",
            "subject": "svc-ops",
            "claims": "groups=iot-ops, env=prod",
            "quota": {
                "calls": 64,
                "rate": "200/s",
                "upstream_rate": "50/m",
                "streams": 16,
                "request_ids": 20_000,
                "bytes": 64 * 1024 * 1024,
            },
        })
    );
    assert_eq!(
        shown["access"],
        serde_json::json!({
            "billing": {"policy": "read, fresh", "sft-emea": "read, fresh"},
            "ops": {"policy": "read, fresh", "sft-emea": "read, fresh, write, delete"},
        })
    );
    assert_eq!(config.access_of("someone"), None);
}

#[test]
fn issuers_can_be_set() {
    let config = read(EVERYTHING, &[]).unwrap();
    assert_eq!(
        config.redacted()["auth"]["jwt"],
        serde_json::json!({
            "cloud": {
                "issuer": "https://cloud.example",
                "audience": "profile-gateway",
                "jwks_file": null,
                "jwks_url": "https://cloud.example/keys",
                "ca_file": "tests/fixtures/tls/cert.pem",
                "jwks_refresh": "10m",
                "jwks_min_refresh": "1m",
                "jwks_max_stale": "2h",
                "algorithms": "RS256, ES256",
                "leeway": "30s",
                "max_lifetime": "1h",
            },
            "idp": {
                "issuer": "https://idp.example",
                "audience": "profile-gateway, other",
                "jwks_file": "tests/fixtures/jwks/rfc7515.json",
                "jwks_url": null,
                "ca_file": null,
                "jwks_refresh": "5m",
                "jwks_min_refresh": "30s",
                "jwks_max_stale": "1day",
                "algorithms": "ES256, PS384",
                "leeway": "1m",
                "max_lifetime": "off",
            },
        })
    );
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
    assert!(config.backends["policy"].upstream.allow_plain_http);
    assert_eq!(config.backends["policy"].upstream.max_connection_age, None);
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
