//! A request on its way through the layers, with what they say to each other of it.

use std::sync::Arc;

use http::Request;
use tokio::time::Instant;

use super::methods::Method;
use crate::call::CallRecord;

/// A request as it came in.
pub(crate) struct Arrived<B> {
    pub request: Request<B>,
    /// Who is at the other end of the connection, as the log has it.
    pub peer: Option<Arc<str>>,
}

/// A request below the access layer.
pub(crate) struct Passing<B> {
    pub request: Request<B>,
    pub method: Arc<Method>,
    pub record: Arc<CallRecord>,
    pub started: Instant,
}
