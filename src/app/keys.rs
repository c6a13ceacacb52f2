//! Keeps the keys of issuers up to date.

use std::{sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::sleep};

use crate::{auth::Authenticator, cache::BackgroundTasks, server::Health};

/// How often the keys in files are read again.
const FILES_EVERY: Duration = Duration::from_secs(10);

/// Begins to read and fetch them. The process is not ready before the first fetch of each.
pub(super) fn keep(
    authenticator: Arc<Authenticator>,
    background: &BackgroundTasks,
    health: Health,
) {
    if !authenticator.is_required() {
        return;
    }
    if authenticator.has_files() {
        background.spawn(keep_files(Arc::clone(&authenticator)));
    }
    health.await_all(authenticator.unread().iter().map(|issuer| name(issuer)));
    let fetching =
        async move { authenticator.fetch_keys(|issuer| health.has(&name(issuer))).await };
    background.spawn(fetching);
}

/// What `/readyz` calls the keys of an issuer.
fn name(issuer: &str) -> String {
    format!("keys of auth.jwt.{issuer}")
}

/// Reads the keys in files from time to time, apart from the threads that serve calls.
async fn keep_files(authenticator: Arc<Authenticator>) {
    loop {
        sleep(FILES_EVERY).await;
        let theirs = Arc::clone(&authenticator);
        // It waits for the disk. A panic in it leaves the keys as they are.
        let _ = spawn_blocking(move || theirs.read_files_again()).await;
    }
}
