//! A request on its way through the layers, with what they tell each other about it.

use std::sync::Arc;

use http::Request;
use tokio::time::Instant;

use super::methods::Method;
use crate::{
    auth::{Certificate, Peer},
    call::CallRecord,
    caller::Caller,
    server::transport::closing::Closing,
};

/// Why a body broke off.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is known of the other end of a connection, whatever it sends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    /// Where it is.
    pub peer: Option<Peer>,
    /// The certificate that it has shown.
    pub certificate: Option<Arc<Certificate>>,
}

/// A request as it arrived.
pub(crate) struct Arrived<B> {
    pub request: Request<B>,
    /// It came as gRPC-Web, and so does its response leave.
    pub web: bool,
    /// The other end of the connection, as the log shows it.
    pub peer: Option<Arc<str>>,
    /// To whom the call is counted, unless it proves that it is of someone else.
    pub caller: Arc<Caller>,
    pub origin: Origin,
    /// The end of the connection.
    pub closing: Arc<Closing>,
}

/// A request below the access layer.
pub(crate) struct Passing<B> {
    pub request: Request<B>,
    /// It came as gRPC-Web.
    pub web: bool,
    pub method: Arc<Method>,
    pub record: Arc<CallRecord>,
    pub started: Instant,
    pub origin: Origin,
    /// The end of the connection.
    pub closing: Arc<Closing>,
}
