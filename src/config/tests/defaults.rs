//! What is in force where the file says nothing.

use super::*;

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

fn default_tls() -> serde_json::Value {
    serde_json::json!({
        "ca_file": null,
        "roots": "system",
        "cert": null,
        "key": null,
        "server_name": null,
        "min_version": "1.2",
    })
}

fn default_server() -> serde_json::Value {
    serde_json::json!({
        "default_timeout": "45s",
        "max_timeout": "5m",
        "max_request_bytes": 262_144,
        "max_response_bytes": 16_777_216,
        "min_compressed_bytes": 8192,
        "max_request_metadata_bytes": 16_384,
        "max_response_metadata_bytes": 3000,
        "max_concurrent_calls": 1024,
        "max_connections": 4096,
        "max_connection_age": "30m",
        "max_connection_age_grace": "1m",
        "drain_grace": "3s",
        "drain_timeout": "25s",
        "stream_keep_alive": "20s",
        "grpc_web": false,
        "max_streams_per_connection": 100,
        "max_probe_streams": 256,
        "message_timeout": "10s",
        "liveness_timeout": "30s",
        "max_connections_per_peer": 1024,
        "first_request_timeout": "10s",
        "max_connection_idle": "5m",
        "write_timeout": "30s",
        "tls": {
            "cert": null,
            "key": null,
            "client_ca": null,
            "client_auth": null,
            "client_crl": null,
            "trust_domain": null,
            "min_version": "1.2",
            "max_handshakes": 256,
            "handshake_timeout": "10s",
        },
    })
}

fn default_backend() -> serde_json::Value {
    serde_json::json!({
        "display_name": null,
        "dialect": "bics-sft",
        "base_url": "https://sft.example",
        "allow_plain_http": false,
        "connect_timeout": "5s",
        "max_connection_age": "5m",
        "proxy": "none",
        "proxy_username": null,
        "proxy_password": null,
        "header_timeout": "35s",
        "body_timeout": "10s",
        "request_timeout": "40s",
        "max_response_bytes": 8_388_608,
        "max_concurrent_calls": 64,
        "max_queued_calls": 256,
        "max_attempts": 3,
        "requests_per_second": "vendor",
        "request_limit": "vendor",
        "monthly_request_limit": "vendor",
        "login_limit": "vendor",
        "settle_time": "5s",
        "confirm_deletions": false,
        "watch_interval": "30s",
        "cache": default_cache(),
        "tls": default_tls(),
        "circuit_breaker": "on",
        "circuit_failures": 10,
        "circuit_failure_percent": 50,
        "circuit_min_calls": 20,
        "circuit_window": "30s",
        "circuit_open": "5s",
        "circuit_max_open": "1m",
        "max_pause": "1m",
        "origin": "gateway.toml:2",
    })
}

#[test]
fn defaults_are_those_of_the_manual() {
    let config = with_backend("").unwrap();
    let shown = config.redacted();
    let expected = serde_json::json!({
        "listen": "127.0.0.1:50051",
        "admin_listen": "127.0.0.1:9090",
        "probe_listen": "off",
        "admin_token": null,
        "admin_hosts": null,
        "max_admin_connections": 64,
        "max_admin_connections_per_peer": 16,
        "strict_permissions": false,
        "page_token_key": null,
        "max_page_bytes": 3_145_728,
        "log": { "format": "auto", "level": "info", "buffer_bytes": 1_048_576 },
        "audit": { "file": null, "stream": "stderr", "sync": true, "buffer_bytes": 2_097_152 },
        "reload": { "interval": "10s" },
        "request_ids": { "kept_for": "1day", "max_entries": 100_000, "max_bytes": 67_108_864 },
        "store": { "kind": "file", "path": "/var/lib/gateway" },
        "memory": {
            "budget_bytes": "auto",
            "requests_percent": 10,
            "answers_percent": 15,
            "decoding_percent": 20,
            "loads_percent": 15,
            "cache_percent": 20,
            "request_ids_percent": 5,
            "watch_history_percent": 5,
        },
        "server": default_server(),
        "operators": {},
        "auth": {
            "mode": "off",
            "allow_unauthenticated": false,
            "reflection": "authenticated",
            "fresh": "ignore",
            "xfcc_from": null,
            "jwt": {},
            "roles": {},
            "callers": {},
        },
        "callers": {
            "ipv4_prefix_bits": 32,
            "ipv6_prefix_bits": 64,
            "share_percent": 50,
            "log_lines_per_second": 1000,
        },
        "backends": { "sft": default_backend() },
        "warnings": [crate::config::read::NO_PAGE_TOKEN_KEY],
    });
    assert_eq!(shown, expected);
}
