//! A [`Port`] for unit tests that gives scripted answers and records requests.

use std::{collections::VecDeque, sync::Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::{
    error::Result,
    upstream::{Port, Reply, Request},
};

/// Makes an answer to a request.
type Respond = Box<dyn Fn(&Request) -> Result<Reply> + Send + Sync>;

/// Gives its answers in order, then those that it makes; panics when it runs out.
#[derive(Default)]
pub(super) struct Recorder {
    answers: Mutex<VecDeque<Result<Reply>>>,
    respond: Option<Respond>,
    requests: Mutex<Vec<Request>>,
}

/// An answer without headers.
pub(super) fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    Reply::new(status, HeaderMap::new(), body.into())
}

impl Recorder {
    /// Answers HTTP 200 with these bodies.
    pub(super) fn answering(answers: impl IntoIterator<Item = Value>) -> Self {
        let recorder = Self::default();
        for answer in answers {
            recorder.push(200, answer.to_string().into_bytes());
        }
        recorder
    }

    /// Makes its answers from the requests.
    pub(super) fn responding(
        respond: impl Fn(&Request) -> Result<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self { respond: Some(Box::new(respond)), ..Self::default() }
    }

    /// Adds an answer.
    pub(super) fn push(&self, status: u16, body: impl Into<Bytes>) {
        self.push_with(status, &[], body);
    }

    /// Adds an answer with headers.
    pub(super) fn push_with(
        &self,
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: impl Into<Bytes>,
    ) {
        let mut reply = reply(status, body);
        for (name, value) in headers {
            reply.headers.append(*name, http::HeaderValue::from_static(value));
        }
        self.push_result(Ok(reply));
    }

    /// Adds an answer or an error.
    pub(super) fn push_result(&self, result: Result<Reply>) {
        self.answers.lock().unwrap().push_back(result);
    }

    /// The requests so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The JSON bodies of the requests so far that have one.
    pub(super) fn bodies(&self) -> Vec<Value> {
        let requests = self.requests();
        let bodies = requests.iter().filter_map(|request| request.body.as_ref());
        bodies.map(|body| serde_json::from_slice(body).unwrap()).collect()
    }
}

#[async_trait]
impl Port for Recorder {
    async fn send(&self, request: Request) -> Result<Reply> {
        self.requests.lock().unwrap().push(request.clone());
        let answer = self.answers.lock().unwrap().pop_front();
        match (answer, &self.respond) {
            (Some(answer), _) => answer,
            (None, Some(respond)) => respond(&request),
            (None, None) => panic!("no answer is left for {} {}", request.method, request.path),
        }
    }

    fn redact(&self, _: &str) -> Option<String> {
        None
    }

    async fn repeats_secret(&self, _: &Bytes) -> bool {
        false
    }
}

/// The result of a future that never waits, so that no runtime is needed.
pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing waits")
}

/// A vendor's example, `tests/fixtures/{name}.json`.
pub(super) fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
