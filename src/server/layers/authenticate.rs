//! Finds out who a call is of, where callers have to prove that, and refuses it if nothing does.
//!
//! Nothing is kept of a call that is refused here: it takes no place, and its message is not waited
//! for. The proofs are taken off the request, so that nothing below can show them.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use futures_util::future::Either;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::Frame;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    body::{Answer, Polled, Step, Stepped, bare, wrap},
    methods::{Method, Needed},
    passing::Passing,
    reply,
};
use crate::{
    auth::{Authenticator, Identity, Proofs, Sent, Unproved, Why, not_allowed},
    call::Denial,
    error::{Error, Kind, Reason, Retry, metadata},
};

/// When keys that are being fetched may be there.
const SOON: Duration = Duration::from_secs(1);

const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Puts the identity of each call into its record.
pub(crate) struct Authenticate<S> {
    pub inner: S,
    pub authenticator: Arc<Authenticator>,
}

impl<S, B, A> Service<Passing<B>> for Authenticate<S>
where
    S: Service<Passing<B>, Response = Response<A>, Error = Infallible>,
    A: Answer,
{
    type Response = Response<Stepped<Expiring, A>>;
    type Error = Infallible;
    type Future = Either<Identified<S::Future>, Ready<Result<Self::Response, Infallible>>>;

    fn call(&self, mut passing: Passing<B>) -> Self::Future {
        let headers = passing.request.headers_mut();
        let taken = [take(headers, &header::AUTHORIZATION), take(headers, &FORWARDED)];
        let expires = match self.admit(&passing, &taken) {
            Ok(expires) => expires,
            Err(error) => return Either::Right(ready(Ok(reply::refuse(&error)))),
        };
        Either::Left(Identified { inner: self.inner.call(passing), expires })
    }
}

impl<S> Authenticate<S> {
    /// Lets a call pass, if it may. Returns what ends its response.
    fn admit<B>(
        &self,
        passing: &Passing<B>,
        [authorization, forwarded]: &[Taken; 2],
    ) -> Result<Option<Expiring>, Error> {
        if passing.closing.has_expired() {
            return Err(refused(passing, Unproved::expired("the certificate has run out")));
        }
        if passing.method.needed == Needed::ProofUnlessOpened
            && self.authenticator.closes_reflection()
        {
            let message = "reflection is off in this gateway (`reflection` in its `[auth]`)";
            let reason = Reason::OperationNotSupported;
            return Err(reply::error(&passing.method, reason, message));
        }
        if !self.authenticator.is_required() {
            return Ok(None);
        }
        let (method, origin) = (&passing.method, &passing.origin);
        let proofs = Proofs {
            authorization: authorization.sent(),
            forwarded: forwarded.sent(),
            peer: origin.peer,
            certificate: origin.certificate.as_deref(),
        };
        let identity = match self.authenticator.identify(&proofs) {
            Ok(identity) => identity,
            Err(_) if self.is_open(method) => {
                passing.record.set_identity(None);
                return Ok(None);
            }
            Err(unproved) => {
                // A proxy has the calls of many on one connection.
                if unproved.why != Why::Unavailable && !self.authenticator.believes(&proofs) {
                    passing.closing.unproved();
                }
                return Err(refused(passing, unproved));
            }
        };
        if let Needed::Rights(enough) = &method.needed
            && !enough.iter().any(|right| identity.may_somewhere(*right))
            && let Some(right) = enough.first()
        {
            passing.record.set_identity(Some(identity));
            passing.record.deny(Denial::of(*right, None));
            return Err(reply::known(method, not_allowed(*right, None)));
        }
        let expires = method.streaming.then(|| Expiring::of(method, &identity)).flatten();
        passing.record.set_identity(Some(identity));
        if !method.probe {
            let allowed = passing.record.caller().begin_call();
            allowed.map_err(|error| reply::known(method, error))?;
        }
        Ok(expires)
    }

    /// Whether a call to this method needs no proof.
    fn is_open(&self, method: &Method) -> bool {
        match method.needed {
            Needed::Nothing => true,
            Needed::Proof => false,
            Needed::ProofUnlessOpened => self.authenticator.opens_reflection(),
            Needed::Rights(_) => false,
        }
    }
}

/// The values of a header that was taken off a request.
enum Taken {
    Nothing,
    One(HeaderValue),
    Several,
}

fn take(headers: &mut HeaderMap, name: &HeaderName) -> Taken {
    let count = headers.get_all(name).iter().take(2).count();
    match (headers.remove(name), count) {
        (Some(value), 1) => Taken::One(value),
        (Some(_), _) => Taken::Several,
        (None, _) => Taken::Nothing,
    }
}

impl Taken {
    fn sent(&self) -> Sent<'_> {
        match self {
            Self::Nothing => Sent::Nothing,
            Self::One(value) => Sent::One(value.as_bytes()),
            Self::Several => Sent::Several,
        }
    }
}

/// The error for a call that is of no one. The exact cause is for the log: who tries credentials
/// learns nothing of it.
fn refused<B>(passing: &Passing<B>, unproved: Unproved) -> Error {
    let Unproved { why, cause } = &unproved;
    let why = *why;
    if tracing::enabled!(target: "auth", tracing::Level::INFO) && passing.record.caller().may_log()
    {
        tracing::info!(
            target: "auth",
            call_id = passing.record.id().shown().as_str(),
            method = passing.method.label.as_str(),
            peer = passing.record.peer(),
            why = why.name(),
            cause = cause.as_ref(),
            "a call does not prove who it is of"
        );
    }
    passing.record.deny(Denial::Unproved(unproved));
    unauthenticated(&passing.method, why)
}

/// The error for a call whose caller is not proved, or not any more.
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

pin_project! {
    /// A call of someone.
    pub(crate) struct Identified<F> {
        #[pin]
        inner: F,
        // Taken for the response.
        expires: Option<Expiring>,
    }
}

impl<F, A> Future for Identified<F>
where
    F: Future<Output = Result<Response<A>, Infallible>>,
    A: Answer,
{
    type Output = Result<Response<Stepped<Expiring, A>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.inner.poll(cx));
        Poll::Ready(Ok(match this.expires.take() {
            Some(expires) => wrap(response, expires),
            None => bare(response),
        }))
    }
}

/// Ends a stream when the proof of its caller runs out.
pub(crate) struct Expiring {
    method: Arc<Method>,
    timer: Pin<Box<Sleep>>,
}

impl Expiring {
    fn of(method: &Arc<Method>, identity: &Identity) -> Option<Self> {
        let left = identity.until()?.duration_since(SystemTime::now()).unwrap_or_default();
        let at = Instant::now().checked_add(left)?;
        Some(Self { method: Arc::clone(method), timer: Box::pin(sleep_until(at)) })
    }
}

impl Step for Expiring {
    fn poll<A: Answer>(&mut self, body: Pin<&mut A>, cx: &mut Context<'_>) -> Polled {
        if self.timer.as_mut().poll(cx).is_ready() {
            let error = unauthenticated(&self.method, Why::Expired);
            return Poll::Ready(Some(Ok(Frame::trailers(reply::trailers(&error)))));
        }
        body.poll_frame(cx)
    }
}
