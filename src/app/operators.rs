//! What operators see and do at the admin port.

use std::sync::Arc;

use super::{reload::Reloads, replicas};
use crate::{
    cache::BackgroundTasks,
    config::Config,
    levers::{LeverMetrics, Levers},
    server::{Admin, EndPause, Shows},
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

/// The admin port over the gateway that these reload.
pub(super) fn admin(config: &Config, metrics: Registry, reloads: &Arc<Reloads>) -> Admin {
    let (gateway, levers) = (reloads.gateway(), reloads.levers());
    let (pauses, shown, latest) = (Arc::clone(&gateway), Arc::clone(reloads), Arc::clone(reloads));
    let end_pause: EndPause = Arc::new(move |backend| {
        let (pauses, backend) = (Arc::clone(&pauses), backend.to_owned());
        Box::pin(async move { pauses.end_pause(&backend).await })
    });
    let backends = Arc::new(move || gateway.backend_names());
    let replicas = reloads.conditions();
    Admin {
        metrics: Arc::new(metrics),
        config: Arc::new(move || shown.shown()),
        reload: Arc::new(move || latest.latest()),
        shared_store: replicas
            .map(|replicas| Arc::new(move || replicas::shown(&replicas.now())) as Shows),
        settings: config.admin.clone(),
        operators: config.operators.clone(),
        end_pause,
        levers,
        backends,
    }
}
