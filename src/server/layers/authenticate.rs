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
};

use futures_util::future::Either;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use hyper::service::Service;
use pin_project_lite::pin_project;

use super::{
    body::{Answer, Stepped, bare, wrap},
    cut,
    lasting::{Lasting, Opened, unauthenticated},
    methods::{Method, Needed},
    passing::Passing,
    reply,
};
use crate::{
    auth::{Authenticator, InForce, NotIdentified, Proofs, Sent, Unproved, Why, not_allowed},
    call::{Denial, Proof},
    error::{Error, Reason},
};

const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Puts the identity of each call into its record.
pub(crate) struct Authenticate<S> {
    pub inner: S,
    pub authenticator: Arc<InForce>,
}

impl<S, B, A> Service<Passing<B>> for Authenticate<S>
where
    S: Service<Passing<B>, Response = Response<A>, Error = Infallible>,
    A: Answer,
{
    type Response = Response<Stepped<Lasting, A>>;
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
    ) -> Result<Option<Lasting>, Error> {
        let opened = passing.method.streaming.then(|| Opened::by(&self.authenticator));
        // The rules of one moment, for the whole of this call.
        let rules = self.authenticator.now();
        // After that: no client of before a reload has what the rules give to others since.
        may_begin(passing)?;
        let lasts = || opened.map(|opened| opened.lasts(&passing.method, &passing.record));
        if passing.method.needed == Needed::ProofUnlessOpened && rules.closes_reflection() {
            let message = "reflection is off in this gateway (`reflection` in its `[auth]`)";
            let reason = Reason::OperationNotSupported;
            return Err(reply::error(&passing.method, reason, message));
        }
        if !rules.is_required() {
            passing.record.set_proof(Proof::NotDemanded);
            return Ok(lasts());
        }
        let (method, origin) = (&passing.method, &passing.origin);
        let proofs = Proofs {
            authorization: authorization.sent(),
            forwarded: forwarded.sent(),
            peer: origin.peer,
            certificate: origin.certificate.as_deref(),
            caller: Some(passing.record.caller()),
        };
        let identity = match rules.identify(&proofs) {
            Ok(identity) => identity,
            // What could not be looked at is no reason to take the call for one of no one: a stream
            // would be shown what that may see for as long as it lasts.
            Err(NotIdentified::Unproved(Unproved { why, .. }))
                if why != Why::Unavailable && is_open(method, &rules) =>
            {
                passing.record.set_proof(Proof::Nothing);
                return Ok(lasts());
            }
            Err(NotIdentified::Unproved(unproved)) => {
                // A proxy has the calls of many on one connection.
                if unproved.why != Why::Unavailable && !rules.believes(&proofs) {
                    passing.closing.unproved();
                }
                return Err(refused(passing, unproved));
            }
            Err(NotIdentified::Refused(error)) => return Err(reply::known(method, *error)),
        };
        passing.record.set_proof(Proof::Of(Arc::clone(&identity)));
        if let Needed::Rights(enough) = &method.needed
            && !enough.iter().any(|right| identity.may_somewhere(*right))
            && let Some(right) = enough.first()
        {
            passing.record.deny(Denial::of(*right, None));
            return Err(reply::known(method, not_allowed(*right, None)));
        }
        if !method.probe {
            let allowed = passing.record.caller().begin_call();
            allowed.map_err(|error| reply::known(method, error))?;
        }
        Ok(lasts())
    }
}

/// Refuses a call whose client lost what its connection proves, or whose connection has no time.
fn may_begin<B>(passing: &Passing<B>) -> Result<(), Error> {
    if let Some(unproved) = passing.closing.lapsed() {
        return Err(refused(passing, unproved));
    }
    cut::too_late(&passing.closing, &passing.method).map_or(Ok(()), Err)
}

/// Whether a call to this method needs no proof.
fn is_open(method: &Method, rules: &Authenticator) -> bool {
    match method.needed {
        Needed::Nothing => true,
        Needed::Proof => false,
        Needed::ProofUnlessOpened => rules.opens_reflection(),
        Needed::Rights(_) => false,
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

pin_project! {
    /// A call of someone.
    pub(crate) struct Identified<F> {
        #[pin]
        inner: F,
        // Taken for the response.
        expires: Option<Lasting>,
    }
}

impl<F, A> Future for Identified<F>
where
    F: Future<Output = Result<Response<A>, Infallible>>,
    A: Answer,
{
    type Output = Result<Response<Stepped<Lasting, A>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.inner.poll(cx));
        Poll::Ready(Ok(match this.expires.take() {
            Some(expires) => wrap(response, expires),
            None => bare(response),
        }))
    }
}
