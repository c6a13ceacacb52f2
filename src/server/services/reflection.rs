//! `grpc.reflection`, both versions: tells tools what this port serves.
//!
//! Written here because tonic-reflection's service ends the whole stream at the first question that
//! it has no answer to, where the protocol has an error response; and it knows no enum values,
//! extensions, or names with a leading dot.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use tokio::{task::coop, time::timeout};
use tonic::{Code, Request, Response, Status, Streaming, async_trait, codegen::BoxStream};

use super::symbols::{Found, Symbols};
use crate::{
    error::{Error, Reason, metadata},
    rpc::{self, compression::with_each},
    server::{layers::methods::MAX_PROBE_BYTES, routes::Routes},
    text,
};

/// How long a stream may be without a question. Tools ask one after another, or leave.
const IDLE: Duration = Duration::from_secs(60);
/// Most of a name that an error quotes, in bytes.
const MAX_QUOTED_BYTES: usize = 256;
/// Most questions on one stream. A tool that asks for each symbol one by one needs hundreds.
const MAX_QUESTIONS: usize = 100_000;

/// Adds both versions of the reflection service.
pub(crate) fn add(routes: Routes, descriptors: &[Vec<u8>]) -> Result<Routes, prost::DecodeError> {
    let reflection = Reflection(Arc::new(Symbols::new(descriptors)?));
    let (v1, v1alpha) = (
        v1::ServerReflectionServer::new(reflection.clone()),
        v1alpha::ServerReflectionServer::new(reflection),
    );
    // Clients that compress all their requests compress these too.
    let v1 = with_each(v1, v1::ServerReflectionServer::accept_compressed);
    let v1alpha = with_each(v1alpha, v1alpha::ServerReflectionServer::accept_compressed);
    Ok(routes
        .with(v1.max_decoding_message_size(MAX_PROBE_BYTES))
        .with(v1alpha.max_decoding_message_size(MAX_PROBE_BYTES)))
}

/// Answers questions about what this port serves.
#[derive(Debug, Clone)]
pub(crate) struct Reflection(Arc<Symbols>);

/// What a tool asks.
enum Question<'q> {
    File(&'q str),
    Symbol(&'q str),
    Extension(&'q str, i32),
    ExtensionNumbers(&'q str),
    Services,
    Nothing,
}

/// What it is told.
enum Told {
    Files(Vec<Vec<u8>>),
    ExtensionNumbers(String, Vec<i32>),
    Services(Vec<String>),
    Error(Code, String),
}

impl Reflection {
    /// Files among `sent` are not sent again unless the question is for them.
    fn answer(&self, question: &Question<'_>, sent: &mut BTreeSet<usize>) -> Told {
        let Self(symbols) = self;
        let mut files = |found: Option<Found<'_>>, what: &str, name: &str| match found {
            Some(found) => Told::Files(found.unsent(sent)),
            None => unknown(what, name),
        };
        match *question {
            Question::File(name) => files(symbols.file(name), "file", name),
            Question::Symbol(name) => files(symbols.declaring(name), "symbol", name),
            Question::Extension(message, number) => {
                let what = format!("extension {number} of");
                files(symbols.extending(message, number), &what, message)
            }
            Question::ExtensionNumbers(message) => match symbols.extensions(message) {
                Some(numbers) => Told::ExtensionNumbers(message.to_owned(), numbers),
                None => unknown("message", message),
            },
            Question::Services => Told::Services(symbols.services().cloned().collect()),
            Question::Nothing => {
                let message = "the request must ask for something: message_request is not set";
                Told::Error(Code::InvalidArgument, message.to_owned())
            }
        }
    }
}

fn unknown(what: &str, name: &str) -> Told {
    let name = text::cut(name, MAX_QUOTED_BYTES);
    Told::Error(Code::NotFound, format!("unknown {what} {name:?}"))
}

/// Ends a stream that never ends by itself.
fn too_many() -> Status {
    ended("too many requests on one stream; open another one")
}

/// Ends a stream that nothing is asked on: it would last as long as its connection.
fn idle() -> Status {
    ended("no request on this stream for 60 s; open another one")
}

fn ended(message: &str) -> Status {
    let error = Error::new(Reason::Overloaded, message);
    rpc::status::status(&error.with_metadata(metadata::OPERATION, "ServerReflectionInfo"))
}

/// The next question, which comes in time.
async fn next<T>(
    requests: &mut (impl Stream<Item = Result<T, Status>> + Unpin),
) -> Option<Result<T, Status>> {
    timeout(IDLE, requests.next()).await.unwrap_or_else(|_| Some(Err(idle())))
}

/// What one stream knows of its own past.
#[derive(Default)]
struct Talk {
    questions: usize,
    /// The files that were sent.
    sent: BTreeSet<usize>,
}

// The two versions differ in their package and in nothing else, but are types of their own.
macro_rules! serve {
    ($version:ident) => {
        mod $version {
            use api::{
                ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse,
                ListServiceResponse, ServerReflectionRequest, ServerReflectionResponse,
                ServiceResponse, server_reflection_request::MessageRequest as Asked,
                server_reflection_response::MessageResponse as Answer,
                server_reflection_server::ServerReflection,
            };
            use tonic_reflection::pb::$version as api;

            pub(super) use api::server_reflection_server::ServerReflectionServer;

            use super::{
                BoxStream, MAX_QUESTIONS, Question, Reflection, Request, Response, Status,
                StreamExt as _, Streaming, Talk, Told, async_trait, coop, next, stream, too_many,
            };

            #[async_trait]
            impl ServerReflection for Reflection {
                type ServerReflectionInfoStream = BoxStream<ServerReflectionResponse>;

                async fn server_reflection_info(
                    &self,
                    request: Request<Streaming<ServerReflectionRequest>>,
                ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
                    let begun = (self.clone(), request.into_inner(), Talk::default());
                    let answers = stream::unfold(Some(begun), async |state| {
                        let (reflection, mut requests, mut talk) = state?;
                        // A long series of questions must not monopolize the connection's thread.
                        coop::consume_budget().await;
                        let request = match next(&mut requests).await? {
                            Ok(request) if talk.questions < MAX_QUESTIONS => request,
                            Ok(_) => return Some((Err(too_many()), None)),
                            Err(status) => return Some((Err(status), None)),
                        };
                        talk.questions += 1;
                        let told = reflection.answer(&question(&request), &mut talk.sent);
                        let answer = response(request, told);
                        Some((Ok(answer), Some((reflection, requests, talk))))
                    });
                    Ok(Response::new(answers.boxed()))
                }
            }

            fn question(request: &ServerReflectionRequest) -> Question<'_> {
                match &request.message_request {
                    Some(Asked::FileByFilename(name)) => Question::File(name),
                    Some(Asked::FileContainingSymbol(symbol)) => Question::Symbol(symbol),
                    Some(Asked::FileContainingExtension(asked)) => {
                        Question::Extension(&asked.containing_type, asked.extension_number)
                    }
                    Some(Asked::AllExtensionNumbersOfType(message)) => {
                        Question::ExtensionNumbers(message)
                    }
                    Some(Asked::ListServices(_)) => Question::Services,
                    None => Question::Nothing,
                }
            }

            fn response(request: ServerReflectionRequest, told: Told) -> ServerReflectionResponse {
                let answer = match told {
                    Told::Files(file_descriptor_proto) => {
                        let files = FileDescriptorResponse { file_descriptor_proto };
                        Answer::FileDescriptorResponse(files)
                    }
                    Told::ExtensionNumbers(base_type_name, extension_number) => {
                        let numbers = ExtensionNumberResponse { base_type_name, extension_number };
                        Answer::AllExtensionNumbersResponse(numbers)
                    }
                    Told::Services(names) => {
                        let service =
                            names.into_iter().map(|name| ServiceResponse { name }).collect();
                        Answer::ListServicesResponse(ListServiceResponse { service })
                    }
                    Told::Error(code, error_message) => {
                        let error_code = code.into();
                        Answer::ErrorResponse(ErrorResponse { error_code, error_message })
                    }
                };
                ServerReflectionResponse {
                    valid_host: request.host.clone(),
                    original_request: Some(request),
                    message_response: Some(answer),
                }
            }
        }
    };
}

serve!(v1);
serve!(v1alpha);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_questions_ends_after_a_while() {
        let mut asked = Box::pin(stream::iter([Ok(1)]).chain(stream::pending()));
        assert_eq!(next(&mut asked).await.unwrap().unwrap(), 1);
        let begun = tokio::time::Instant::now();
        let ended = next(&mut asked).await.unwrap().unwrap_err();
        assert_eq!((ended.code(), begun.elapsed()), (Code::Unavailable, IDLE));
        assert!(next(&mut stream::empty::<Result<(), Status>>()).await.is_none());
    }
}
