//! The gRPC services: one file each. They translate messages and hand over to the gateway; what a call
//! means is decided there.

mod backend_service;
pub mod details;
mod profile_service;
pub mod status;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _};
use tokio::time::Instant;
use tonic::{
    Extensions, Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
};

pub use backend_service::BackendRpc;
pub use profile_service::ProfileRpc;

use crate::{
    cache::Control,
    call::{Call, CallRecord},
    error::{Error, Reason, Result},
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

/// An answer of many messages.
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

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
    let mut call = called(&extensions);
    let record = Arc::clone(&call.record);
    let asked = metadata.get_all(CACHE_CONTROL).iter().map(MetadataValue::as_bytes);
    let answer = match Control::parse(asked) {
        Ok(control) => {
            call.cache_control = control;
            method(call, message).await
        }
        Err(error) => Err(error),
    };
    match answer.and_then(|answer| fitting(answer, limits)) {
        Ok(answer) => {
            let mut response = Response::new(answer);
            say_cache(&record, response.metadata_mut());
            Ok(response)
        }
        Err(error) => {
            let mut status = refusal(operation, error);
            say_cache(&record, status.metadata_mut());
            Err(status)
        }
    }
}

/// Begins one method that answers with a stream.
async fn streaming<Q, T, F, S>(
    operation: &'static str,
    request: Request<Q>,
    limits: Limits,
    method: impl FnOnce(Call, Q) -> F,
) -> Result<Response<Streamed<T>>, Status>
where
    T: prost::Message,
    F: Future<Output = Result<S>>,
    S: Stream<Item = Result<T>> + Send + 'static,
{
    let (_, extensions, message) = request.into_parts();
    let answers = method(called(&extensions), message).await;
    let answers = answers.map_err(|error| refusal(operation, error))?;
    let answers = answers.map(move |answer| {
        let answer = answer.and_then(|answer| fitting(answer, limits));
        answer.map_err(|error| refusal(operation, error))
    });
    Ok(Response::new(Box::pin(answers)))
}

/// The call as the deadline layer has made it.
fn called(extensions: &Extensions) -> Call {
    extensions.get::<Call>().cloned().unwrap_or_else(|| Call {
        deadline: Instant::now() + NO_LAYER_DEADLINE,
        cache_control: Control::default(),
        record: Arc::new(CallRecord::default()),
    })
}

/// The answer, if it is not too large.
fn fitting<T: prost::Message>(answer: T, limits: Limits) -> Result<T> {
    match answer.encoded_len() {
        size if size > limits.response_bytes => Err(Error::new(
            Reason::MessageTooLarge,
            format!(
                "the answer has {size} bytes, over the limit of {}; ask for a smaller page or fewer \
                 fields",
                limits.response_bytes
            ),
        )),
        _ => Ok(answer),
    }
}

fn refusal(operation: &'static str, error: Error) -> Status {
    // For the errors that arose before a backend was found, which says the same.
    let error = error.with_metadata("operation", operation);
    if let Some(detail) = error.internal() {
        tracing::warn!(target: "rpc", %error, detail, "a call failed");
    }
    status::status(&error)
}

/// Says in the metadata of an answer how the cache served it.
fn say_cache(record: &CallRecord, metadata: &mut MetadataMap) {
    let Some(served) = record.cache() else { return };
    metadata.insert(PROFILE_CACHE, MetadataValue::from_static(served.outcome.name()));
    if let Some(age) = served.age {
        metadata.insert(AGE, MetadataValue::from(age.as_secs()));
    }
}
