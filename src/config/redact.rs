//! The configuration as it may be shown: on `/config` and by `check`.
//!
//! Has the shape of the file, with defaults filled in, so that it can be compared with it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::types::{Backend, Cache, Circuit, Config, OptionValue, Server};

const REDACTED: &str = "[redacted]";

impl Config {
    /// Every value in force; secrets are `[redacted]`, durations are text with a unit, sizes are bytes.
    pub fn redacted(&self) -> Value {
        let backends: Map<String, Value> =
            self.backends.iter().map(|(name, each)| (name.clone(), backend(each))).collect();
        json!({
            "listen": self.listen.to_string(),
            "admin_listen": self.admin_listen.to_string(),
            "page_token_key": self.page_token_key.as_ref().map(|_| REDACTED),
            "log": { "format": self.log.format.as_str(), "level": self.log.level },
            "server": server(&self.server),
            "backends": backends,
            "warnings": self.warnings,
        })
    }
}

fn server(server: &Server) -> Value {
    json!({
        "default_timeout": duration(server.default_timeout),
        "max_timeout": duration(server.max_timeout),
        "max_request_bytes": server.max_request_bytes,
        "max_response_bytes": server.max_response_bytes,
        "max_concurrent_calls": server.max_concurrent_calls,
        "max_connections": server.max_connections,
        "max_connection_age": server.max_connection_age.map_or_else(|| "off".to_owned(), duration),
        "max_connection_age_grace": duration(server.max_connection_age_grace),
        "drain_grace": duration(server.drain_grace),
        "drain_timeout": duration(server.drain_timeout),
        "grpc_web": server.grpc_web,
    })
}

fn backend(backend: &Backend) -> Value {
    let mut shown = Map::new();
    for (key, value) in &backend.options {
        let value = match value {
            OptionValue::Plain(text) => text.as_str(),
            OptionValue::Secret(_) => REDACTED,
        };
        shown.insert(key.clone(), value.into());
    }
    // After the options, so that no dialect's key can stand in for a common one.
    shown.extend([
        ("display_name".to_owned(), json!(backend.display_name)),
        ("dialect".to_owned(), json!(backend.dialect)),
        ("base_url".to_owned(), json!(backend.base())),
        ("connect_timeout".to_owned(), json!(duration(backend.connect_timeout))),
        ("header_timeout".to_owned(), json!(duration(backend.header_timeout))),
        ("body_timeout".to_owned(), json!(duration(backend.body_timeout))),
        ("request_timeout".to_owned(), json!(duration(backend.request_timeout))),
        ("max_response_bytes".to_owned(), json!(backend.max_response_bytes)),
        ("max_concurrent_calls".to_owned(), json!(backend.max_concurrent_calls)),
        ("max_queued_calls".to_owned(), json!(backend.max_queued_calls)),
        ("max_attempts".to_owned(), json!(backend.max_attempts)),
        ("requests_per_second".to_owned(), json!(backend.requests_per_second)),
        ("watch_interval".to_owned(), json!(duration(backend.watch_interval))),
        ("cache".to_owned(), cache(&backend.cache)),
        ("origin".to_owned(), json!(backend.origin)),
    ]);
    shown.extend(circuit(backend.circuit));
    Value::Object(shown)
}

fn cache(cache: &Cache) -> Value {
    json!({
        "enabled": cache.enabled,
        "ttl": duration(cache.ttl),
        "services_ttl": duration(cache.services_ttl),
        "negative_ttl": duration(cache.negative_ttl),
        "stale_while_revalidate": duration(cache.stale_while_revalidate),
        "stale_if_error": duration(cache.stale_if_error),
        "max_bytes": cache.max_bytes,
    })
}

/// Without the thresholds when it is off: none is in force.
fn circuit(circuit: Option<Circuit>) -> Vec<(String, Value)> {
    let mut shown = vec![("circuit_breaker".to_owned(), json!(circuit.map_or("off", |_| "on")))];
    if let Some(circuit) = circuit {
        shown.extend([
            ("circuit_failures".to_owned(), json!(circuit.failures)),
            ("circuit_failure_percent".to_owned(), json!(circuit.failure_percent)),
            ("circuit_min_calls".to_owned(), json!(circuit.min_calls)),
            ("circuit_window".to_owned(), json!(duration(circuit.window))),
            ("circuit_open".to_owned(), json!(duration(circuit.open))),
            ("circuit_max_open".to_owned(), json!(duration(circuit.max_open))),
        ]);
    }
    shown
}

fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
