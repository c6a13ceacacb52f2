//! Bounds how many calls run at once. Queues nothing: a caller that is told at once can go elsewhere.

use std::{pin::Pin, sync::Arc, task::Context};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http_body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    body::{Polled, Step, wrap},
    methods::Method,
    reply,
};
use crate::{error::Reason, telemetry::metrics::Metrics};

/// What the layer needs.
#[derive(Debug, Clone)]
pub(super) struct Shed {
    permits: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Shed {
    pub(super) fn new(max_concurrent_calls: usize, metrics: Arc<Metrics>) -> Self {
        let permits = max_concurrent_calls.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(permits)), metrics }
    }
}

/// Turns a call away when as many are running as may.
///
/// Health and reflection pass: they cost nothing, and a probe that is turned away would have a busy
/// process killed, which makes the others busier.
pub(super) async fn layer(State(shed): State<Shed>, request: Request, next: Next) -> Response {
    let method = Method::of(&request);
    if method.probe {
        return next.run(request).await;
    }
    let Ok(permit) = Arc::clone(&shed.permits).try_acquire_owned() else {
        shed.metrics.call_shed();
        let message = "the gateway is busy with as many calls as it may take at once";
        return reply::refuse(&reply::error(&method, Reason::Overloaded, message));
    };
    wrap(next.run(request).await, Held { _permit: permit })
}

/// Keeps the place until the answer has left or was dropped.
struct Held {
    _permit: OwnedSemaphorePermit,
}

impl Step for Held {
    fn poll(&mut self, body: Pin<&mut Body>, cx: &mut Context<'_>) -> Polled {
        body.poll_frame(cx)
    }
}
