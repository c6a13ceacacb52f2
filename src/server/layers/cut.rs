//! Ends a call whose connection ends, with a status that says what happened.
//!
//! Streams end when the client is asked to leave, reads after the grace, and writes only with the
//! process. Without this, the connection would break under them: a client would get UNAVAILABLE
//! from its own library for a write that may have taken effect.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::task_tracker::TaskTrackerToken,
};

use super::{lasting::unauthenticated, methods::Method, reply};
use crate::{
    call::CallRecord,
    error::{Effect, Error, Reason},
    server::transport::closing::Closing,
};

/// The end of a call's connection.
pub(crate) struct Cut {
    closing: Arc<Closing>,
    // Made when something has to wait for it: most calls end before.
    wait: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    // The connection waits for a write until this is dropped.
    _write: Option<TaskTrackerToken>,
}

impl Cut {
    pub(crate) fn new(closing: Arc<Closing>, method: &Method) -> Self {
        let write = is_write(method).then(|| closing.writes.token());
        Self { closing, wait: None, _write: write }
    }

    /// Sets when what is not sent of the response is dropped, over HTTP/1.
    pub(crate) fn answer_until(&self, end: Option<Instant>) {
        self.closing.pulse.answer_until(end);
    }

    /// The error that ends the call, once its connection ends.
    pub(crate) fn poll(
        &mut self,
        method: &Method,
        record: &CallRecord,
        cx: &mut Context<'_>,
    ) -> Poll<Error> {
        let stage = stage(&self.closing, method);
        let wait = self.wait.get_or_insert_with(|| Box::pin(stage.clone().cancelled_owned()));
        wait.as_mut().poll(cx).map(|()| error(&self.closing, method, record))
    }
}

/// What a call is told that its connection has cut off, or `None` if it has not.
pub(crate) fn cut_off(closing: &Closing, method: &Method, record: &CallRecord) -> Option<Error> {
    stage(closing, method).is_cancelled().then(|| error(closing, method, record))
}

/// The error of a call that arrives when its connection has no time left for it. Reads learn it
/// from `Cut`, because they may have begun before.
pub(crate) fn too_late(closing: &Closing, method: &Method) -> Option<Error> {
    let is_late = closing.is_unwelcome() || (is_write(method) && closing.writes.is_closed());
    is_late.then(|| unfinished(method))
}

/// The error of a call whose connection ends before its message is here, so that nothing was done.
pub(crate) fn unfinished(method: &Method) -> Error {
    let message = "the gateway is closing the connection; retry the call";
    reply::error(method, Reason::Overloaded, message)
}

fn is_write(method: &Method) -> bool {
    !method.reads && !method.streaming
}

/// What ends a call of this method.
fn stage<'c>(closing: &'c Closing, method: &Method) -> &'c CancellationToken {
    match method {
        Method { streaming: true, .. } => &closing.leave,
        method if is_write(method) => &closing.cut,
        _ => &closing.over,
    }
}

fn error(closing: &Closing, method: &Method, record: &CallRecord) -> Error {
    if method.streaming {
        if let Some(unproved) = closing.lapsed() {
            return unauthenticated(method, unproved.why);
        }
        let message = "the gateway is closing the connection; open the stream again";
        return reply::error(method, Reason::Overloaded, message);
    }
    if !is_write(method) || !record.is_writing() {
        return unfinished(method);
    }
    let message = "the gateway is shutting down while the write is running, so it may have taken \
                   effect or may still do so; read before writing again";
    reply::error(method, Reason::WriteOutcomeUnknown, message).with_effect(Effect::Unknown)
}
