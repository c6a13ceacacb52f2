//! The signals that the program heeds.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ReloadRequests;

/// SIGTERM and SIGINT, which end the program. While this is there, they do nothing else.
pub struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    /// Listens for them.
    ///
    /// # Errors
    ///
    /// When the system does not let the process do that.
    pub fn listen() -> io::Result<Self> {
        let (terminate, interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    /// The next one.
    pub async fn next(&mut self) {
        tokio::select! { _ = self.terminate.recv() => {}, _ = self.interrupt.recv() => {} }
    }
}

/// Has SIGHUP reload the configuration, and keeps the signals that have no meaning here from ending
/// the process, which they would do at once, in the middle of writes.
///
/// # Errors
///
/// When the system does not let the process listen for them.
pub fn heed_other_signals(reloads: &ReloadRequests) -> io::Result<()> {
    let (mut hangups, reloads) = (signal(SignalKind::hangup())?, reloads.clone());
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            reloads.ask();
        }
    });
    let kinds =
        [(SignalKind::user_defined1(), "SIGUSR1"), (SignalKind::user_defined2(), "SIGUSR2")];
    for (kind, name) in kinds {
        let mut signals = signal(kind)?;
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                tracing::warn!(
                    signal = name,
                    "ignored a signal: SIGHUP reloads the configuration, and only SIGTERM and \
                     SIGINT end the gateway"
                );
            }
        });
    }
    Ok(())
}
