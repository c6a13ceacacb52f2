//! The gRPC services: one file each. They translate messages and hand over to the gateway; what a call
//! means is decided there.

mod backend_service;
pub mod details;
mod profile_service;
pub mod status;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::Instant;
use tonic::{
    Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
};

pub use backend_service::BackendRpc;
pub use profile_service::ProfileRpc;

use crate::{
    cache::Control,
    error::{Error, Reason, Result},
    gateway::{Call, Record},
};

/// Deadline of a call that came through no deadline layer; only a test can make one.
const NO_LAYER_DEADLINE: Duration = Duration::from_secs(45);

/// Request metadata: what the caller asks of the cache.
const CACHE_CONTROL: &str = "cache-control";
/// Answer metadata: how the cache served it.
const PROFILE_CACHE: &str = "x-profile-cache";
/// Answer metadata: how old the answer is, in seconds.
const AGE: &str = "age";

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
    let (metadata, extensions, message) = request.into_parts();
    let mut call = extensions.get::<Call>().cloned().unwrap_or_else(|| Call {
        deadline: Instant::now() + NO_LAYER_DEADLINE,
        cache_control: Control::default(),
        record: Arc::new(Record::default()),
    });
    let record = Arc::clone(&call.record);
    let asked = metadata.get_all(CACHE_CONTROL).iter().map(MetadataValue::as_bytes);
    let answer = match Control::parse(asked) {
        Ok(control) => {
            call.cache_control = control;
            method(call, message).await
        }
        Err(error) => Err(error),
    };
    let answer = answer.and_then(|answer| match answer.encoded_len() {
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
        Ok(answer) => {
            let mut response = Response::new(answer);
            say_cache(&record, response.metadata_mut());
            Ok(response)
        }
        Err(error) => {
            // For the errors that arose before a backend was found, which says the same.
            let error = error.with_metadata("operation", operation);
            if let Some(detail) = error.internal() {
                tracing::warn!(target: "rpc", %error, detail, "a call failed");
            }
            let mut status = status::status(&error);
            say_cache(&record, status.metadata_mut());
            Err(status)
        }
    }
}

/// Says in the metadata of an answer how the cache served it.
fn say_cache(record: &Record, metadata: &mut MetadataMap) {
    let Some(served) = record.cache() else { return };
    metadata.insert(PROFILE_CACHE, MetadataValue::from_static(served.outcome.name()));
    if let Some(age) = served.age {
        metadata.insert(AGE, MetadataValue::from(age.as_secs()));
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
