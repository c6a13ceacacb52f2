//! The gRPC services, one file each. They translate messages and call the gateway, which decides
//! everything else.

mod backend_service;
pub(crate) mod compression;
pub mod details;
mod omit;
mod profile_service;
pub mod request;
pub mod servers;
pub mod status;

use std::{future::Future, pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AGE, CACHE_CONTROL},
};
use tokio::task::yield_now;
use tonic::{
    Extensions, Request, Response, Status, codec::SingleMessageCompressionOverride as Override,
};
use tracing::Level;

pub use backend_service::BackendRpc;
pub use profile_service::ProfileRpc;

use crate::{
    cache::Control,
    call::{Admitted, Call, CallRecord},
    error::{Error, Reason, Result, metadata},
    model::method::Method,
    resources::Share,
};

/// Request metadata: how messages are compressed.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// Response metadata: how the cache was used.
const PROFILE_CACHE: HeaderName = HeaderName::from_static("x-profile-cache");
/// Response metadata of a write: the fields that were left out because they are too large.
const PROFILE_OMITTED: HeaderName = HeaderName::from_static("x-profile-omitted");

/// Size limits of messages, in bytes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest request.
    pub request_bytes: usize,
    /// Largest response.
    pub response_bytes: usize,
    /// Least response that is compressed; `None` for no compression.
    pub min_compressed_bytes: Option<usize>,
    /// The memory for all responses.
    pub answers: Share,
}

/// A response of many messages.
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Runs one unary method: takes the call out of the request, returns the response or the status.
async fn unary<Q, T, F>(
    rpc: Method,
    request: Request<Q>,
    limits: &Limits,
    method: impl FnOnce(Call, Q) -> F,
) -> Result<Response<T>, Status>
where
    Q: prost::Message,
    T: prost::Message,
    F: Future<Output = Result<T>>,
{
    let (metadata, extensions, message) = request.into_parts();
    let metadata = metadata.into_headers();
    let admitted = admitted(&extensions).map_err(|error| refusal(rpc, None, error))?;
    let record = Arc::clone(&admitted.record);
    decompressed(&metadata, &record, &message)
        .map_err(|error| refusal(rpc, Some(&record), error))?;
    // How the caller wants the cache to be used.
    let asked = metadata.get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes);
    let is_compressible = compression::is_accepted(&metadata);
    let answer = match Control::parse(asked) {
        Ok(control) => method(admitted.into_call(control), message).await,
        Err(error) => Err(error),
    };
    match answer.and_then(|answer| within_limit(rpc, answer, limits, &record)) {
        Ok(answer) => {
            let size = is_compressible.then(|| answer.encoded_len());
            let mut response = Response::new(answer);
            say_cache(&record, response.metadata_mut().as_mut());
            say_omitted(&record, response.metadata_mut().as_mut());
            match size.zip(limits.min_compressed_bytes) {
                // The stream is compressed once the message is taken from here. In a task of its
                // own, which a call that waits gets, the others of its connection go on meanwhile.
                Some((size, least)) if size >= least => yield_now().await,
                Some(_) => drop(response.extensions_mut().insert(Override::Disable)),
                None => {}
            }
            Ok(response)
        }
        Err(error) => {
            // This is an answer of a read too; after any other failure nothing was read.
            let answered = error.reason() == Reason::ProfileNotFound;
            let mut status = refusal(rpc, Some(&record), error);
            if answered {
                say_cache(&record, status.metadata_mut().as_mut());
            }
            Err(status)
        }
    }
}

/// Starts one method that responds with a stream.
async fn streaming<Q, T, F, S>(
    rpc: Method,
    request: Request<Q>,
    limits: &Limits,
    method: impl FnOnce(Call, Q) -> F,
) -> Result<Response<Streamed<T>>, Status>
where
    Q: prost::Message,
    T: prost::Message,
    F: Future<Output = Result<S>>,
    S: Stream<Item = Result<T>> + Send + 'static,
{
    let (metadata, extensions, message) = request.into_parts();
    let metadata = metadata.into_headers();
    let admitted = admitted(&extensions).map_err(|error| refusal(rpc, None, error))?;
    let record = Arc::clone(&admitted.record);
    decompressed(&metadata, &record, &message)
        .map_err(|error| refusal(rpc, Some(&record), error))?;
    let answers = method(admitted.into_call(Control::default()), message).await;
    let answers = answers.map_err(|error| refusal(rpc, Some(&record), error))?;
    // The stream may go on for hours; its request was small, and is gone.
    if let Some(taken) = record.request() {
        taken.resize(request::PER_CALL).map_err(|full| refusal(rpc, Some(&record), full.into()))?;
    }
    let limits = limits.clone();
    let answers = answers.map(move |answer| {
        let answer = answer.and_then(|answer| within_limit(rpc, answer, &limits, &record));
        answer.map_err(|error| refusal(rpc, Some(&record), error))
    });
    Ok(Response::new(Box::pin(answers)))
}

/// The call as the deadline layer admitted it.
fn admitted(extensions: &Extensions) -> Result<Admitted> {
    extensions.get::<Admitted>().cloned().ok_or_else(|| {
        Error::new(Reason::GatewayInternal, "internal gateway error")
            .with_internal("the call did not pass the deadline layer")
    })
}

/// Takes memory for a request that was compressed: until now, only its length on the wire counted.
fn decompressed(
    metadata: &HeaderMap,
    record: &CallRecord,
    message: &impl prost::Message,
) -> Result<()> {
    match record.request().filter(|_| metadata.contains_key(ENCODING)) {
        Some(taken) => Ok(taken.resize(request::weight(message.encoded_len()))?),
        None => Ok(()),
    }
}

/// The response, if it is not too large, and there is memory for it. What a write has done is told
/// always.
fn within_limit<T: prost::Message>(
    rpc: Method,
    answer: T,
    limits: &Limits,
    record: &CallRecord,
) -> Result<T> {
    let (size, limit) = (answer.encoded_len(), limits.response_bytes);
    if size <= limit {
        if size > request::PER_CALL {
            let (answers, caller) = (&limits.answers, record.caller());
            record.hold_answer(match rpc.writes() {
                true => answers.take_anyway_for(caller, size),
                false => answers.take_for(caller, size)?,
            });
        }
        return Ok(answer);
    }
    let message = format!(
        "the response message has {size} bytes, which is larger than the limit of {limit} bytes; \
         ask for less at a time or for fewer fields"
    );
    Err(Error::new(Reason::MessageTooLarge, message))
}

fn refusal(rpc: Method, record: Option<&CallRecord>, error: Error) -> Status {
    // For errors from before a backend was found; a backend adds the same.
    let error = error.with_metadata(metadata::OPERATION, rpc.name());
    if let Some((record, resource)) = record.zip(error.subject()) {
        record.set_failed(resource);
    }
    if let Some(detail) = error.internal()
        && tracing::enabled!(target: "rpc", Level::WARN)
        && record.is_none_or(|record| record.caller().may_log())
    {
        tracing::warn!(
            target: "rpc", call_id = record.map(|record| record.id().to_string()),
            method = rpc.name(), backend = error.metadatum(metadata::BACKEND),
            resource = error.resource(), %error, detail, "a call failed"
        );
    }
    let Some(record) = record else { return status::status(&error) };
    if status::repeats(&error) {
        let status = status::bare(&error);
        record.set_told(error);
        return status;
    }
    let (status, has_id) = status::with_call(status::status(&error), record.id());
    if has_id {
        record.set_told(error);
    }
    status
}

/// Adds how the cache was used to the metadata of a response.
fn say_cache(record: &CallRecord, metadata: &mut HeaderMap) {
    let Some(served) = record.cache() else { return };
    metadata.insert(PROFILE_CACHE, HeaderValue::from_static(served.outcome.name()));
    if let Some(age) = served.age {
        // In seconds.
        metadata.insert(AGE, HeaderValue::from(age.as_secs()));
    }
}

/// Adds what a write left out of its response to the metadata.
fn say_omitted(record: &CallRecord, metadata: &mut HeaderMap) {
    if let Some(Ok(fields)) = record.omitted().map(HeaderValue::try_from) {
        metadata.insert(PROFILE_OMITTED, fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{caller::Resource, pb::Profile};

    #[test]
    fn what_a_write_has_done_is_told_also_without_memory_for_it() {
        let answers = Share::limited(Resource::AnswerBytes, request::PER_CALL);
        let limits = Limits {
            request_bytes: usize::MAX,
            response_bytes: usize::MAX,
            min_compressed_bytes: None,
            answers: answers.clone(),
        };
        let answer = |rpc| {
            let profile = Profile { display_name: "x".repeat(10_000), ..Profile::default() };
            let record = CallRecord::default();
            within_limit(rpc, profile, &limits, &record).map(|_| (answers.used(), record))
        };
        assert_eq!(answer(Method::GetProfile).unwrap_err().reason(), Reason::Overloaded);
        let (used, record) = answer(Method::CreateProfile).unwrap();
        assert!(used > 10_000, "it is counted: {used}");
        drop(record);
        assert_eq!(answers.used(), 0);
    }
}
