//! The gRPC services: one file each. They translate messages and hand over to the gateway; what a call
//! means is decided there.

mod backend_service;
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

/// Runs one unary method: takes the call out of the request, makes the answer or the status.
async fn unary<Q, T, F>(
    request: Request<Q>,
    method: impl FnOnce(Call, Q) -> F,
) -> Result<Response<T>, Status>
where
    F: Future<Output = Result<T>>,
{
    let (_, extensions, message) = request.into_parts();
    let call = extensions.get::<Call>().cloned().unwrap_or_else(|| Call {
        deadline: Instant::now() + NO_LAYER_DEADLINE,
        record: Arc::new(Record::default()),
    });
    let record = Arc::clone(&call.record);
    match method(call, message).await {
        Ok(answer) => Ok(Response::new(answer)),
        Err(error) => {
            record.set_reason(error.reason());
            if let Some(detail) = error.internal() {
                tracing::warn!(target: "rpc", %error, detail, "a call failed");
            }
            Err(status::status(&error))
        }
    }
}

/// A method of the contract that this release does not have yet.
fn later<T>(call: &Call, method: &str) -> Result<T> {
    call.record.set_reason(Reason::OperationNotSupported);
    Err(Error::new(
        Reason::OperationNotSupported,
        format!("{method} is not supported by this release of the gateway"),
    ))
}
