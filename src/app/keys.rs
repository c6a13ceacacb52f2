//! Keeps the keys of issuers that have them at a URL up to date.

use std::{future::pending, sync::Arc};

use crate::{auth::InForce, cache::BackgroundTasks, server::Health};

/// Begins to fetch them. The process is not ready before the first fetch of each that it starts
/// with. When the rules are replaced, those of the new ones are fetched.
pub(super) fn keep(rules: &Arc<InForce>, background: &BackgroundTasks, health: Health) {
    let at_start = rules.now();
    if at_start.is_required() {
        health.await_all(at_start.unread().iter().map(|issuer| name(issuer)));
    }
    background.spawn(fetch(Arc::clone(rules), health));
}

async fn fetch(rules: Arc<InForce>, health: Health) {
    let mut changes = rules.changes();
    loop {
        let replaced = changes.borrow_and_update().rules;
        let now = rules.for_long();
        let fetched = |issuer: &str| {
            health.has(&name(issuer));
            rules.keys_changed();
        };
        let fetching = async {
            if now.is_required() {
                now.fetch_keys(fetched).await;
            }
            // There is nothing to fetch.
            pending::<()>().await;
        };
        tokio::select! {
            () = fetching => {}
            // The sender lives as long as the rules, which this holds.
            _ = changes.wait_for(|changes| changes.rules != replaced) => {}
        }
    }
}

/// What `/readyz` calls the keys of an issuer.
fn name(issuer: &str) -> String {
    format!("keys of auth.jwt.{issuer}")
}
