//! What operators see and do at the admin port.

use std::sync::Arc;

use crate::{
    cache::BackgroundTasks,
    config::Config,
    gateway::Gateway,
    levers::{LeverMetrics, Levers},
    server::Admin,
    telemetry::{AuditLog, Registry},
};

/// Levers, none of which is set. They end by themselves.
pub(super) fn levers(
    audit: &AuditLog,
    metrics: &LeverMetrics,
    registry: &mut Registry,
    background: &BackgroundTasks,
) -> Levers {
    let levers = Levers::new(audit.clone(), metrics.clone());
    let measured = levers.clone();
    registry.before_scrape(move || measured.measure());
    background.spawn(levers.clone().run());
    levers
}

/// The admin port over this gateway.
pub(super) fn admin(
    config: &Config,
    metrics: Registry,
    levers: Levers,
    gateway: &Arc<Gateway>,
) -> Admin {
    let (pauses, gateway) = (Arc::clone(gateway), Arc::clone(gateway));
    let end_pause = Arc::new(move |backend: &str| pauses.end_pause(backend));
    let backends = Arc::new(move || gateway.backend_names());
    Admin {
        metrics: Arc::new(metrics),
        config: config.redacted(),
        settings: config.admin.clone(),
        operators: config.operators.clone(),
        end_pause,
        levers,
        backends,
    }
}
