//! The reference: each document is made of what the code declares.

use profile_gateway::{app, config, gateway::idempotency, rpc};

use super::generated::hold;

#[test]
fn configuration() {
    hold("docs/reference/configuration.md", "keys", &config::reference());
}

#[test]
fn metrics() {
    hold("docs/reference/metrics.md", "metrics", &app::metrics_reference());
}

#[test]
fn promises() {
    hold("docs/operations.md", "promises", &idempotency::promises());
}

#[test]
fn bounds_of_requests() {
    hold("docs/clients.md", "bounds", &rpc::request::reference());
}
