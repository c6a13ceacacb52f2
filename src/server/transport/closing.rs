//! What the calls of a connection learn about its end.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{connections::Connections, pulse::Pulse};
use crate::{
    auth::{Unproved, Why},
    server::{
        metrics::Closed,
        tls::{Acceptance, Lapse},
    },
};

/// How many calls of a connection may be of no one.
const MAX_UNPROVED: u32 = 100;

/// The end of one connection, in three stages. A call belongs to one of them and responds when it
/// comes; after that, the connection has no calls and ends.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// The client is asked to leave: streams end.
    pub leave: CancellationToken,
    /// The grace for calls in flight is over: reads end, and no write begins.
    pub over: CancellationToken,
    /// The process is about to end: writes end.
    pub cut: CancellationToken,
    /// The writes under way, which the connection waits for. Closed when it waits for no more.
    pub writes: TaskTracker,
    /// Whether anything moves.
    pub pulse: Pulse,
    /// Too many of its calls were of no one.
    pub unwelcome: CancellationToken,
    unproved: AtomicU32,
    /// By what the client was accepted, over TLS.
    acceptance: OnceLock<Acceptance>,
    /// Why what the client has proved by its certificate does not count any more.
    lapse: OnceLock<Lapse>,
}

impl Closing {
    /// The end of one of these connections, which comes with theirs or before it.
    pub(crate) fn of(connections: &Connections) -> Self {
        Self {
            leave: connections.goaway.child_token(),
            over: connections.cut.child_token(),
            cut: connections.cut.clone(),
            writes: TaskTracker::new(),
            pulse: Pulse::default(),
            unwelcome: CancellationToken::new(),
            unproved: AtomicU32::new(0),
            acceptance: OnceLock::new(),
            lapse: OnceLock::new(),
        }
    }

    /// A call did not prove who it is of. After so many, the client has to connect again: to verify
    /// what is forged costs more than to send it.
    pub(crate) fn unproved(&self) {
        if self.unproved.fetch_add(1, Ordering::Relaxed) + 1 == MAX_UNPROVED {
            self.unwelcome.cancel();
        }
    }

    /// Whether so many of its calls were of no one that no other one is looked at.
    pub(crate) fn is_unwelcome(&self) -> bool {
        self.unproved.load(Ordering::Relaxed) >= MAX_UNPROVED
    }

    /// The client has made its handshake. Says why it is not accepted any more, if so.
    pub(crate) fn accept(&self, acceptance: Acceptance) -> Option<Lapse> {
        let _ = self.acceptance.set(acceptance);
        self.find_lapse()
    }

    /// Notes why what the client has proved by its certificate does not count any more.
    pub(crate) fn lapse(&self, lapse: Lapse) -> Lapse {
        *self.lapse.get_or_init(|| lapse)
    }

    fn find_lapse(&self) -> Option<Lapse> {
        self.lapse.get().copied().or_else(|| Some(self.lapse(self.acceptance.get()?.refusal()?)))
    }

    /// Waits until what the client has proved does not count any more, and notes it. Calls learn of
    /// it before the client is asked to leave, which may go on to call until it has read that.
    pub(super) async fn lapses(&self) -> Lapse {
        match self.acceptance.get() {
            Some(acceptance) => self.lapse(acceptance.lapse(|| self.find_lapse()).await),
            None => std::future::pending().await,
        }
    }

    /// Why what the client has proved by its certificate does not count any more, if so. Ask after
    /// the rules of the call were taken: then it is not older than they are.
    pub(crate) fn lapsed(&self) -> Option<Unproved> {
        let (why, cause) = match self.find_lapse()? {
            Lapse::Expired => (Why::Expired, "the certificate has run out"),
            Lapse::Refused => (Why::Invalid, "the certificate is not accepted any more"),
            Lapse::Missing => (Why::Missing, "the connection began when no certificate was needed"),
        };
        Some(Unproved { why, cause: cause.into() })
    }
}

impl From<Lapse> for Closed {
    fn from(lapse: Lapse) -> Self {
        match lapse {
            Lapse::Expired => Self::Certificate,
            Lapse::Refused | Lapse::Missing => Self::CertificateRefused,
        }
    }
}
