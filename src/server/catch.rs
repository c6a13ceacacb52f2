//! Turns a panic in a handler or in an answer's stream into INTERNAL, so that it ends one call and
//! not the calls beside it.
//!
//! Never shows or logs the panic's text: it may quote a request or a secret.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use futures_util::FutureExt;
use http_body::{Body as _, Frame};

use super::{
    body::{Polled, Step, wrap},
    methods::Method,
    reply,
};
use crate::{
    error::{Error, Reason},
    telemetry::panics,
};

/// Catches panics. What a handler shares with others must hold through one (locks that do not
/// poison, or none), which is why the assertion of unwind safety is made here.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let method = Method::of(&request);
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => wrap(response, Catching(method)),
        Err(payload) => reply::refuse(&panicked(&method, payload)),
    }
}

struct Catching(Arc<Method>);

impl Step for Catching {
    fn poll(&mut self, body: Pin<&mut Body>, cx: &mut Context<'_>) -> Polled {
        catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx))).unwrap_or_else(|payload| {
            let error = panicked(&self.0, payload);
            Poll::Ready(Some(Ok(Frame::trailers(reply::trailers(&error)))))
        })
    }
}

fn panicked(method: &Method, payload: Box<dyn Any + Send>) -> Error {
    drop(payload);
    let location = panics::take_location();
    tracing::error!(method = %method.label, location, "a call panicked");
    reply::error(method, Reason::GatewayInternal, "the gateway has a fault; please report it")
}
