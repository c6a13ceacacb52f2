//! Ends a stream when its caller may no longer have it: the proof of the caller runs out, the key
//! that it was signed with is taken away, or a reload of the configuration takes a right away.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use http_body::Frame;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    body::{Answer, Polled, Step},
    methods::{Method, Needed},
    reply,
};
use crate::{
    auth::{Changes, Identity, InForce, Kept, Right, Why, not_allowed},
    call::CallRecord,
    error::{Error, Kind, Reason, Retry, metadata},
};

/// When keys that are being fetched may be there.
const SOON: Duration = Duration::from_secs(1);

/// The rules that a stream was opened by.
pub(super) struct Opened {
    rules: Arc<InForce>,
    changes: watch::Receiver<Changes>,
    /// How often what proves callers had changed until then.
    proofs: u64,
}

/// What ends a stream.
pub(crate) struct Lasting(Pin<Box<dyn Future<Output = Error> + Send>>);

impl Opened {
    /// To be called before the rules are asked: what changes later is noticed.
    pub(super) fn by(rules: &Arc<InForce>) -> Self {
        let changes = rules.changes();
        let proofs = changes.borrow().proofs;
        Self { rules: Arc::clone(rules), changes, proofs }
    }

    /// What ends a stream of this method that these rules have let pass.
    pub(super) fn lasts(self, method: &Arc<Method>, record: &Arc<CallRecord>) -> Lasting {
        let (method, record) = (Arc::clone(method), Arc::clone(record));
        Lasting(Box::pin(async move { self.end(&method, &record).await }))
    }

    async fn end(mut self, method: &Method, record: &CallRecord) -> Error {
        let identity = record.identity().cloned();
        let over = expires(identity.as_deref());
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return unauthenticated(method, Why::Expired),
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        pending::<()>().await;
                    }
                    let proofs_changed = self.changes.borrow().proofs != self.proofs;
                    let end = self.lost(method, record, identity.as_deref(), proofs_changed);
                    if let Some(error) = end {
                        return error;
                    }
                }
            }
        }
    }

    /// What ends the stream under the rules of now.
    fn lost(
        &self,
        method: &Method,
        record: &CallRecord,
        identity: Option<&Identity>,
        proofs_changed: bool,
    ) -> Option<Error> {
        let rules = self.rules.now();
        if !rules.is_required() {
            return None;
        }
        let Some(identity) = identity else {
            let is_open = method.needed == Needed::Nothing
                || (method.needed == Needed::ProofUnlessOpened && rules.opens_reflection());
            return (!is_open).then(|| unauthenticated(method, Why::Missing));
        };
        let backend = record.backend().filter(|backend| *backend != "-");
        match rules.keeps(identity, Right::Read, backend) {
            Kept::No => Some(reply::known(method, not_allowed(Right::Read, backend))),
            Kept::Yes if rules.has_revoked(identity) => Some(unauthenticated(method, Why::Invalid)),
            Kept::Yes if proofs_changed => {
                let message = "what proves callers has changed in the configuration of the \
                               gateway; open the stream again";
                Some(reply::error(method, Reason::Overloaded, message))
            }
            Kept::Yes => None,
        }
    }
}

/// The error for a call that nothing proves to be of anyone.
pub(super) fn unauthenticated(method: &Method, why: Why) -> Error {
    let message = match why {
        Why::Missing => "the call has no credentials, and this gateway demands them",
        Why::Expired => "the credentials of the call have expired",
        Why::Invalid => "the credentials of the call are not valid",
        Why::Unavailable => {
            "the gateway does not have the keys that verify the credentials of the call; try again"
        }
    };
    let error = reply::error(method, Reason::CallerUnauthenticated, message);
    let error = match why {
        // The credentials may be good, so a client is not to get others.
        Why::Unavailable => error.with_kind(Kind::Unavailable).with_retry(Retry::After(Some(SOON))),
        _ => error,
    };
    error.with_metadata(metadata::WHY, why.name())
}

/// Waits until the proof of a caller runs out.
async fn expires(identity: Option<&Identity>) {
    let until = identity.and_then(Identity::until);
    let left = until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
    match left.and_then(|left| Instant::now().checked_add(left)) {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

impl Step for Lasting {
    fn poll<A: Answer>(&mut self, body: Pin<&mut A>, cx: &mut Context<'_>) -> Polled {
        if let Poll::Ready(error) = self.0.as_mut().poll(cx) {
            return Poll::Ready(Some(Ok(Frame::trailers(reply::trailers(&error)))));
        }
        body.poll_frame(cx)
    }
}
