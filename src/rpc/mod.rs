//! The gRPC services: one file each. They translate messages and hand over to the gateway; what a call
//! means is decided there.

mod backend_service;
pub mod details;
mod profile_service;
pub mod status;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::Instant;
use tonic::{Request, Response, Status};

pub use backend_service::BackendRpc;
pub use profile_service::ProfileRpc;

use crate::{
    error::{Error, Reason, Result},
    gateway::{Call, Record},
};

/// Deadline of a call that came through no deadline layer; only a test can make one.
const NO_LAYER_DEADLINE: Duration = Duration::from_secs(45);

/// Sizes of messages, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest request.
    pub request_bytes: usize,
    /// Largest answer.
    pub response_bytes: usize,
}

/// Runs one unary method: takes the call out of the request, makes the answer or the status.
async fn unary<Q, T, F>(
    operation: &'static str,
    request: Request<Q>,
    limits: Limits,
    method: impl FnOnce(Call, Q) -> F,
) -> Result<Response<T>, Status>
where
    T: prost::Message,
    F: Future<Output = Result<T>>,
{
    let (_, extensions, message) = request.into_parts();
    let call = extensions.get::<Call>().cloned().unwrap_or_else(|| Call {
        deadline: Instant::now() + NO_LAYER_DEADLINE,
        record: Arc::new(Record::default()),
    });
    let answer = method(call, message).await.and_then(|answer| match answer.encoded_len() {
        size if size > limits.response_bytes => Err(Error::new(
            Reason::MessageTooLarge,
            format!(
                "the answer has {size} bytes, over the limit of {}; ask for a smaller page or fewer \
                 fields",
                limits.response_bytes
            ),
        )),
        _ => Ok(answer),
    });
    match answer {
        Ok(answer) => Ok(Response::new(answer)),
        Err(error) => {
            // For the errors that arose before a backend was found, which says the same.
            let error = error.with_metadata("operation", operation);
            if let Some(detail) = error.internal() {
                tracing::warn!(target: "rpc", %error, detail, "a call failed");
            }
            Err(status::status(&error))
        }
    }
}

/// The error of a method of the contract that this release does not have yet.
fn later(method: &str) -> Error {
    Error::new(
        Reason::OperationNotSupported,
        format!("{method} is not supported by this release of the gateway"),
    )
    .with_metadata("operation", method)
}
