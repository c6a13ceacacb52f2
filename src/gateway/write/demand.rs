//! Whether anyone still wants a write that has sent nothing. As long as it sends nothing, it ends
//! with its caller, and when the process drains; what is sent goes on, because its outcome must be
//! found out.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Reason, Result};

/// Who wants a write, and whether it depends on that.
pub(crate) struct Demand {
    caller_left: CancellationToken,
    draining: CancellationToken,
    goes_on: AtomicBool,
}

impl Demand {
    /// Of a write that has sent nothing.
    pub(crate) fn new(caller_left: CancellationToken, draining: CancellationToken) -> Self {
        Self { caller_left, draining, goes_on: AtomicBool::new(false) }
    }

    /// From here on, the write goes on even if its caller leaves. Fails if it should have ended.
    pub(crate) fn goes_on(&self) -> Result<()> {
        self.check()?;
        self.goes_on.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether it has gone on without its caller.
    pub(crate) fn has_gone_on(&self) -> bool {
        self.goes_on.load(Ordering::Relaxed)
    }

    /// Nothing that was sent is open any more, so the write depends on its caller again.
    pub(crate) fn depends(&self) -> Result<()> {
        self.goes_on.store(false, Ordering::Relaxed);
        self.check()
    }

    /// Does the work of the write for as long as it is wanted.
    pub(crate) async fn bound<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            () = self.is_over() => {}
            result = &mut work => return result,
        }
        if !self.goes_on.load(Ordering::Relaxed) {
            self.check()?;
        }
        work.await
    }

    async fn is_over(&self) {
        tokio::select! {
            () = self.caller_left.cancelled() => {}
            () = self.draining.cancelled() => {}
        }
    }

    fn check(&self) -> Result<()> {
        if self.caller_left.is_cancelled() {
            let message = "the caller left before anything was sent";
            return Err(Error::new(Reason::CallerCancelled, message));
        }
        if self.draining.is_cancelled() {
            let message = "the gateway is shutting down, and nothing was sent; repeat the write";
            return Err(Error::new(Reason::Overloaded, message));
        }
        Ok(())
    }
}
