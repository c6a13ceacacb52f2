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
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING},
};
use tokio::time::Instant;
use url::Url;

use super::{
    base_url::{below, named},
    body::{self, Arriving, NoMemory},
    cause::{Cause, Failure},
    coding::{self, Undecodable},
    connection::{Handshakes, Progress, Resolver, causes, chain},
    message::{Reply, Request, Safety},
    settings::UpstreamSettings,
    unsent::{At, unsent},
    watched::WatchedBody,
};
use crate::{
    caller::Held,
    error::{DEADLINE_PASSED, Effect, Error, Kind, Reason, Result},
    resources::{Share, off_thread},
};

/// How many headers a reply may have. Gateways and tracing add dozens.
const MAX_HEADERS: usize = 512;
/// About how many headers a request has, with those that the client adds.
const HEADERS: usize = 8;
/// How long a connection for reads may be idle.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// An HTTP client for one backend.
pub(super) struct Transport {
    reads: reqwest::Client,
    /// Takes a new connection for each request: on an idle one, which the upstream may be closing,
    /// a write could get lost, and would not be sent again.
    writes: reqwest::Client,
    handshakes: Arc<Handshakes>,
    base_url: Url,
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
        let (handshakes, tls) = Handshakes::noting(&settings.tls)?;
        let name = settings.tls.server_name.as_deref();
        let (base_url, instead) = named(&settings.base_url, name).map_err(not_set_up)?;
        let resolver = Arc::new(Resolver { instead });
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                // The client itself does not retry, follow redirects or use a proxy.
                .retry(reqwest::retry::never())
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .dns_resolver(Arc::clone(&resolver))
                // What other clients read is read here too (RFC 9112, 5.1 and 5.2).
                .http1_allow_spaces_after_header_name_in_responses(true)
                .http1_allow_obsolete_multiline_headers_in_responses(true)
                .http1_ignore_invalid_headers_in_responses(true)
                .http1_max_headers(MAX_HEADERS)
                .connect_timeout(settings.connect_timeout)
                // Below the keep-alive of most servers (5 s); where it is not, a read is repeated.
                .pool_idle_timeout(POOL_IDLE)
                .tcp_nodelay(true)
                .user_agent(concat!("profile-gateway/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            reads: builder().build().map_err(not_set_up)?,
            writes: builder().pool_max_idle_per_host(0).build().map_err(not_set_up)?,
            handshakes,
            base_url,
            connect_timeout: settings.connect_timeout,
            header_timeout: settings.header_timeout,
            body_timeout: settings.body_timeout,
            request_timeout: settings.request_timeout,
            max_response_bytes: settings.max_response_bytes,
            decoding,
        })
    }

    /// Sends the request with the given credentials and reads the complete reply.
    pub(super) async fn send(
        &self,
        request: &Request,
        credentials: &[(HeaderName, HeaderValue)],
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let time = Time {
            request,
            deadline,
            end: Instant::now() + self.request_timeout,
            limit: self.request_timeout,
        };
        let url = below(&self.base_url, &request.path);
        let client = match request.safety {
            Safety::Read => &self.reads,
            Safety::Write => &self.writes,
        };
        let mut sending = reqwest::Request::new(request.method.clone(), url);
        let mut headers = HeaderMap::with_capacity(HEADERS);
        for (name, value) in request.headers.iter().chain(credentials) {
            headers.append(name, value.clone());
        }
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static(coding::ACCEPTED));
        *sending.headers_mut() = headers;
        let begun = Arc::new(AtomicBool::new(false));
        if let Some(rest) = request.body.clone() {
            let body = WatchedBody { rest, begun: Arc::clone(&begun) };
            *sending.body_mut() = Some(reqwest::Body::wrap(body));
        }
        let asked = self.handshakes.asked();
        let sending = client.execute(sending);
        let sent = time.bound(sending, self.header_timeout, "did not start answering");
        let mut response = sent.await?.map_err(|error| {
            let progress = match (error.is_connect(), begun.load(Ordering::Acquire)) {
                (true, _) => Progress::Connecting,
                (false, false) => Progress::Connected,
                (false, true) => Progress::Begun,
            };
            let at = At {
                progress,
                wants_certificate: self.handshakes.want_certificate(asked),
                is_certified: self.handshakes.is_certified(),
                speaks_tls: self.base_url.scheme() == "https",
                connect_timeout: self.connect_timeout,
            };
            unsent(request, &error, &at)
        })?;
        self.handshakes.answered();
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

fn not_set_up(why: impl std::fmt::Display) -> Error {
    Error::new(Reason::GatewayInternal, "the HTTP client could not be set up").with_internal(why)
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
