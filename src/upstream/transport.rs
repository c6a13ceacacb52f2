//! One HTTP exchange with reqwest: sends, reads a bounded body, and says how far a failure got.

use std::{error::Error as _, io, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};
use tokio::time::Instant;

use super::{Intent, Reply, Request, status::write_effect};
use crate::error::{Effect, Error, Kind, Reason, Result};

/// An HTTP client for one backend.
pub(super) struct Transport {
    client: reqwest::Client,
    base_url: String,
    request_timeout: Duration,
    max_response_bytes: usize,
}

impl Transport {
    pub(super) fn new(settings: &super::Settings) -> Result<Self> {
        let client = reqwest::Client::builder()
            // One place decides what is sent again, where it goes and through what: not the client.
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            // Below the keep-alive of common servers, so that idle connections end on our side.
            .pool_idle_timeout(Duration::from_secs(15))
            .tcp_nodelay(true)
            .user_agent(concat!("profile-gateway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| {
                Error::new(Reason::GatewayInternal, "the HTTP client could not be set up")
                    .with_internal(e)
            })?;
        Ok(Self {
            client,
            base_url: settings.base_url.clone(),
            request_timeout: settings.request_timeout,
            max_response_bytes: settings.max_response_bytes,
        })
    }

    /// Sends the request with the given credentials and reads the whole answer.
    pub(super) async fn send(
        &self,
        request: &Request,
        credentials: &[(HeaderName, HeaderValue)],
        deadline: Instant,
    ) -> Result<Reply> {
        let own_limit = Instant::now() + self.request_timeout;
        let exchange = self.exchange(request, credentials);
        match tokio::time::timeout_at(own_limit.min(deadline), exchange).await {
            Ok(result) => result,
            Err(_) if deadline <= own_limit => Err(deadline_passed(request.intent)),
            Err(_) => Err(Error::new(
                Reason::UpstreamUnavailable,
                format!(
                    "the upstream did not answer {} within {}",
                    request.operation,
                    humantime::format_duration(self.request_timeout)
                ),
            )
            .with_effect(write_effect(request.intent, Effect::Unknown))),
        }
    }

    async fn exchange(
        &self,
        request: &Request,
        credentials: &[(HeaderName, HeaderValue)],
    ) -> Result<Reply> {
        let url = format!("{}{}", self.base_url, request.path);
        let mut builder = self.client.request(request.method.clone(), url);
        for (name, value) in request.headers.iter().chain(credentials) {
            builder = builder.header(name, value);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        let response = builder.send().await.map_err(|e| unsent(request, &e))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.body(request, response).await?;
        Ok(Reply { status, headers, body })
    }

    async fn body(&self, request: &Request, mut response: reqwest::Response) -> Result<Bytes> {
        let limit = self.max_response_bytes;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| broken_body(request, &e))? {
            // The size is that after decompression, so a small bomb is caught too.
            if body.len() + chunk.len() > limit {
                return Err(Error::new(
                    Reason::UpstreamContractViolation,
                    format!("the upstream's answer to {} is over {limit} bytes", request.operation),
                )
                .with_effect(write_effect(request.intent, Effect::Unknown)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// The caller's deadline ended an exchange.
pub(super) fn deadline_passed(intent: Intent) -> Error {
    match intent {
        Intent::Read => Error::new(
            Reason::DeadlineExceeded,
            "the caller's deadline passed before the upstream answered",
        ),
        Intent::Write => Error::new(
            Reason::WriteOutcomeUnknown,
            "the caller's deadline passed before the upstream answered a write",
        )
        .with_kind(Kind::DeadlineExceeded)
        .with_effect(Effect::Unknown),
    }
}

/// No answer came. Only a failed connect surely sent nothing.
fn unsent(request: &Request, error: &reqwest::Error) -> Error {
    let operation = request.operation;
    let (what, effect) = if error.is_connect() {
        ("could not be reached for", Effect::None)
    } else if error.is_builder() {
        return Error::new(Reason::GatewayInternal, "the upstream request could not be built")
            .with_internal(chain(error));
    } else {
        ("closed the connection without answering", write_effect(request.intent, Effect::Unknown))
    };
    Error::new(Reason::UpstreamUnavailable, format!("the upstream {what} {operation}"))
        .with_effect(effect)
        .with_internal(chain(error))
}

/// The answer began and did not end: cut short, or the connection was reset.
fn broken_body(request: &Request, error: &reqwest::Error) -> Error {
    let operation = request.operation;
    let reset = causes(error).any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionReset)
    });
    let failed = if reset {
        let message = format!("the upstream reset the connection while answering {operation}");
        Error::new(Reason::UpstreamUnavailable, message)
    } else {
        let message = format!("the upstream's answer to {operation} was cut short or garbled");
        Error::new(Reason::UpstreamContractViolation, message)
    };
    failed.with_effect(write_effect(request.intent, Effect::Unknown)).with_internal(chain(error))
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&(dyn std::error::Error + 'static)| {
        std::error::Error::source(*cause)
    })
}

/// What the HTTP stack says, for the log. Its URL is left out: a query may hold an id.
fn chain(error: &reqwest::Error) -> String {
    let causes: Vec<String> = causes(error).map(ToString::to_string).collect();
    causes.join(": ")
}
