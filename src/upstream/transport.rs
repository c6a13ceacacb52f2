//! One HTTP exchange with reqwest: sends, reads a bounded body, and reports how far a failure got.

use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING},
};
use secrecy::SecretString;
use tokio::time::Instant;

use super::{
    base_url::below,
    body::{self, Arriving, NoMemory},
    cause::{Cause, Failure},
    clients::Clients,
    coding::{self, Undecodable},
    connection::{Progress, causes, chain},
    message::{Reply, Request, Safety},
    settings::UpstreamSettings,
    unsent::{At, refused_by, unsent},
    watched::WatchedBody,
};
use crate::{
    caller::Held,
    error::{DEADLINE_PASSED, Effect, Error, Kind, Reason, Result},
    resources::{Share, off_thread},
};

/// About how many headers a request has, with those that the client adds.
const HEADERS: usize = 8;

/// An HTTP client for one backend.
pub(super) struct Transport {
    clients: Clients,
    connect_timeout: Duration,
    header_timeout: Duration,
    body_timeout: Duration,
    request_timeout: Duration,
    max_response_bytes: usize,
    /// The memory for answers.
    decoding: Share,
}

impl Transport {
    pub(super) fn new(settings: &UpstreamSettings, decoding: Share) -> Result<Self> {
        Ok(Self {
            clients: Clients::new(settings)?,
            connect_timeout: settings.connect_timeout,
            header_timeout: settings.header_timeout,
            body_timeout: settings.body_timeout,
            request_timeout: settings.request_timeout,
            max_response_bytes: settings.max_response_bytes,
            decoding,
        })
    }

    /// The same with other settings, and the same memory.
    pub(super) fn renewed(&self, settings: &UpstreamSettings) -> Result<Self> {
        Self::new(settings, self.decoding.clone())
    }

    /// Secrets that no text may show.
    pub(super) fn secrets(&self) -> &[SecretString] {
        self.clients.secrets()
    }

    /// Sends the request with the given credentials and reads the complete reply.
    pub(super) async fn send(
        &self,
        request: &Request,
        credentials: &[(HeaderName, HeaderValue)],
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let now = Instant::now();
        let time = Time {
            request,
            deadline,
            end: now + self.request_timeout,
            limit: self.request_timeout,
        };
        let client = match request.safety {
            Safety::Read => self.clients.reads(now),
            Safety::Write => self.clients.writes(),
        };
        let begun = Arc::new(AtomicBool::new(false));
        let sending = self.outgoing(request, credentials, &begun);
        let handshakes = self.clients.handshakes();
        let asked = handshakes.asked();
        let sending = client.execute(sending);
        let sent = time.bound(sending, self.header_timeout, "did not start answering");
        let mut response = sent.await?.map_err(|error| {
            let progress = Progress::of(error.is_connect(), begun.load(Ordering::Acquire));
            let at = At {
                progress,
                wants_certificate: handshakes.want_certificate(asked),
                is_certified: handshakes.is_certified(),
                speaks_tls: self.clients.speaks_tls(),
                proxy: self.clients.proxy(),
                connect_timeout: self.connect_timeout,
            };
            unsent(request, &error, &at)
        })?;
        // Behind a tunnel, only the upstream can answer; its 407 says nothing of what it did.
        if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            && !self.clients.speaks_tls()
            && let Some(proxy) = self.clients.proxy()
        {
            return Err(refused_by(proxy, request));
        }
        handshakes.answered();
        let (status, headers) = (response.status(), mem::take(response.headers_mut()));
        let length = coding::length_beside_identity(&headers);
        let (body, taken) = self.body(&time, response, length).await?;
        let decode = || coding::decoded(&headers, body, self.max_response_bytes);
        let body = match headers.contains_key(CONTENT_ENCODING) {
            // A few bytes may become thousands of times as many.
            true => off_thread(decode),
            false => decode(),
        };
        let body = body.map_err(|why| self.undecodable(request, why))?;
        let body = body::readable(body, taken).map_err(|why| no_memory(request, why))?;
        Ok(Reply::new(status, headers, body))
    }

    /// The request as it is sent. `begun` is set when the connection asks for its body.
    fn outgoing(
        &self,
        request: &Request,
        credentials: &[(HeaderName, HeaderValue)],
        begun: &Arc<AtomicBool>,
    ) -> reqwest::Request {
        let url = below(self.clients.base_url(), &request.path);
        let mut sending = reqwest::Request::new(request.method.clone(), url);
        let mut headers = HeaderMap::with_capacity(HEADERS);
        for (name, value) in request.headers.iter().chain(credentials) {
            headers.append(name, value.clone());
        }
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static(coding::ACCEPTED));
        *sending.headers_mut() = headers;
        if let Some(rest) = request.body.clone() {
            let body = WatchedBody { rest, begun: Arc::clone(begun) };
            *sending.body_mut() = Some(reqwest::Body::wrap(body));
        }
        sending
    }

    /// Reads the body to its end, or to the given length, with the memory that it takes.
    async fn body(
        &self,
        time: &Time<'_>,
        mut response: reqwest::Response,
        length: Option<usize>,
    ) -> Result<(Bytes, Held), Failure> {
        let request = time.request;
        let limit = self.max_response_bytes;
        let mut body = Arriving::new(&self.decoding).map_err(|why| no_memory(request, why))?;
        loop {
            if let Some(length) = length.filter(|length| body.len() >= *length) {
                return Ok(body.whole(Some(length)));
            }
            let next =
                time.bound(response.chunk(), self.body_timeout, "sent no more of its answer to");
            let chunk = next.await?.map_err(|e| broken_body(request, &e))?;
            let Some(chunk) = chunk else {
                return match length {
                    Some(_) => Err(cut(request, false)),
                    None => Ok(body.whole(None)),
                };
            };
            if body.len() + chunk.len() > limit {
                return Err(self.undecodable(request, Undecodable::TooLarge));
            }
            body.push(&chunk).map_err(|why| no_memory(request, why))?;
        }
    }

    /// The complete reply came, but its body cannot be read within the limit.
    fn undecodable(&self, request: &Request, why: Undecodable) -> Failure {
        let (cause, what) = match why {
            Undecodable::TooLarge => {
                (Cause::TooLarge, format!("exceeds {} bytes", self.max_response_bytes))
            }
            Undecodable::Unknown => {
                let what = "has a content coding other than gzip, deflate and identity";
                (Cause::Malformed, what.to_owned())
            }
            Undecodable::Broken => {
                let what = "is not in the content coding that its header names";
                (Cause::Malformed, what.to_owned())
            }
        };
        let message = format!("the upstream's answer to {} {what}", request.operation);
        let error = Error::new(Reason::UpstreamContractViolation, message)
            .with_effect(request.safety.effect(Effect::Unknown));
        Failure::new(cause, error)
    }
}

/// There is no memory for the answer.
fn no_memory(request: &Request, why: NoMemory) -> Failure {
    let error = match why {
        NoMemory::Now(error) => error,
        // As one beyond `max_response_bytes`: it would be so the next time.
        NoMemory::Ever { needed, most } => {
            let message = format!(
                "the upstream's answer to {} takes {needed} bytes of memory or more, and those of \
                 one backend have {most} at most; ask for less at a time, or raise \
                 `memory.budget_bytes` or `memory.decoding_percent`",
                request.operation
            );
            Error::new(Reason::UpstreamContractViolation, message)
        }
    };
    Failure::new(Cause::TooLarge, error.with_effect(request.safety.effect(Effect::Unknown)))
}

/// How long one exchange may take.
struct Time<'r> {
    request: &'r Request,
    /// The caller's.
    deadline: Instant,
    /// The upstream's limit for the whole exchange, `limit` after it began.
    end: Instant,
    limit: Duration,
}

impl Time<'_> {
    /// Waits for a part of the exchange, which has its own time limit within the total.
    async fn bound<T>(
        &self,
        part: impl Future<Output = T>,
        limit: Duration,
        otherwise: &str,
    ) -> Result<T, Failure> {
        // One timer for all three limits; which of them was first is found out later.
        let first = (Instant::now() + limit).min(self.end).min(self.deadline);
        tokio::time::timeout_at(first, part).await.map_err(|_| {
            if first == self.deadline {
                Failure::new(Cause::Deadline, deadline_passed(self.request.safety))
            } else if first == self.end {
                slow(self.request, "did not finish answering", self.limit)
            } else {
                slow(self.request, otherwise, limit)
            }
        })
    }
}

/// The upstream took too long for a part of its reply.
fn slow(request: &Request, what: &str, limit: Duration) -> Failure {
    let (operation, limit) = (request.operation, humantime::format_duration(limit));
    let message = format!("the upstream {what} {operation} within {limit}");
    let error = Error::new(Reason::UpstreamUnavailable, message)
        .with_effect(request.safety.effect(Effect::Unknown));
    Failure::new(Cause::Slow, error)
}

/// The caller's deadline ended an exchange.
pub(super) fn deadline_passed(safety: Safety) -> Error {
    match safety {
        Safety::Read => Error::new(Reason::DeadlineExceeded, DEADLINE_PASSED),
        Safety::Write => Error::new(Reason::WriteOutcomeUnknown, DEADLINE_PASSED)
            .with_kind(Kind::DeadlineExceeded)
            .with_effect(Effect::Unknown),
    }
}

/// The reply began but did not end: it was truncated, or the connection was reset.
fn broken_body(request: &Request, error: &reqwest::Error) -> Failure {
    let reset = causes(error).any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionReset)
    });
    let failed = cut(request, reset);
    Failure { error: failed.error.with_internal(chain(error)), ..failed }
}

fn cut(request: &Request, reset: bool) -> Failure {
    let operation = request.operation;
    let failed = if reset {
        let message = format!("the upstream reset the connection while answering {operation}");
        Error::new(Reason::UpstreamUnavailable, message)
    } else {
        let message = format!("the upstream's answer to {operation} was truncated or malformed");
        Error::new(Reason::UpstreamContractViolation, message)
    };
    let effect = request.safety.effect(Effect::Unknown);
    Failure::new(Cause::Cut, failed.with_effect(effect))
}
