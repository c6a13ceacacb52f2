//! One vendor request from arrival to answer: read, match a fault, let the simulator act, record,
//! answer.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    answer::{Answer, Content},
    fault_kind::{Commit, DelayCommit, FaultKind, MAX_WAIT_MS, ResultCommit},
    journal::{self, Entry},
    respell,
    server::Wire,
    simulator::{Call, Carry, Simulator},
    world::World,
};

/// Longest request body.
const MAX_BODY: usize = 1024 * 1024;
/// How long a client may take over its request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers a vendor request.
pub(super) async fn handle(
    world: Arc<World>,
    simulator: Arc<dyn Simulator>,
    request: Request<Body>,
) -> Response<Body> {
    let wire = request.extensions().get::<Wire>().cloned();
    let call = match read(request).await {
        Ok(call) => call,
        Err(status) => return Answer::page(status).into_response(None),
    };
    // Taken before the fault, so that a reset between the two also ends what the fault starts.
    let epoch = world.epoch();
    let operation = simulator.operation(&call);
    let fault = match &operation {
        Ok(operation) => world.faults.take(simulator.name(), operation),
        Err(_) => None,
    };
    let name = operation.as_ref().ok().copied();
    let exchange = Arc::new(Exchange { world, simulator, call, operation: name, fault, epoch });
    match operation {
        Ok(operation) => exchange.run(operation, &wire.unwrap_or_default()).await,
        Err(answer) => {
            exchange.record(Some(answer.status), None, None);
            answer.into_response(None)
        }
    }
}

async fn read(request: Request<Body>) -> Result<Call, StatusCode> {
    let (parts, body) = request.into_parts();
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect())
        .await
        .map_err(|_| StatusCode::REQUEST_TIMEOUT)?
        .map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?
        .to_bytes();
    Ok(Call { method: parts.method, uri: parts.uri, headers: parts.headers, body })
}

/// A request with everything that decides its answer.
struct Exchange {
    world: Arc<World>,
    simulator: Arc<dyn Simulator>,
    call: Call,
    operation: Option<&'static str>,
    fault: Option<FaultKind>,
    epoch: CancellationToken,
}

impl Exchange {
    async fn run(self: Arc<Self>, operation: &'static str, wire: &Wire) -> Response<Body> {
        let Some(fault) = &self.fault else {
            return self.usual(operation);
        };
        match fault {
            FaultKind::Delay { ms, commit } => {
                let wait = Duration::from_millis(*ms);
                let delayed = Arc::clone(&self).delayed(operation, wait, *commit);
                self.whatever_the_client_does(delayed, wire).await
            }
            FaultKind::Drop { commit } => {
                self.unanswered(operation, *commit);
                self.cut(wire)
            }
            FaultKind::Hang { commit } => {
                self.unanswered(operation, *commit);
                self.wait(Duration::from_millis(MAX_WAIT_MS)).await;
                self.cut(wire)
            }
            FaultKind::Reset { commit } => self.without_http(operation, *commit, Wire::reset, wire),
            FaultKind::Respell { how, lost } => {
                let outcome =
                    self.simulator.serve(operation, &respell::respelled(&self.call, *how));
                let status = (!lost).then_some(outcome.answer.status);
                self.record(status, outcome.code, outcome.effect);
                if *lost { self.cut(wire) } else { outcome.answer.into_response(None) }
            }
            FaultKind::BadHead { commit } => {
                self.without_http(operation, *commit, Wire::garble, wire)
            }
            FaultKind::Ignore {} => self.answered(operation, Carry::Pretended),
            FaultKind::Lag { ms } => {
                self.answered(operation, Carry::OutUnseen(Duration::from_millis(*ms)))
            }
            FaultKind::Status { late_ms, .. } if *late_ms > 0 => {
                Arc::clone(&self).late(operation, Duration::from_millis(*late_ms))
            }
            FaultKind::Result { commit: ResultCommit::Late, late_ms, .. } => {
                Arc::clone(&self).late(operation, Duration::from_millis(*late_ms))
            }
            _ => match self.replacement() {
                Some((commit, answer, code)) => {
                    let effect = self.effect(operation, commit);
                    self.record(Some(answer.status), code, effect);
                    answer.into_response(None)
                }
                None => self.usual(operation),
            },
        }
    }

    /// Runs in its own task, so that the effect does not depend on the client's patience.
    async fn whatever_the_client_does(
        &self,
        delayed: impl Future<Output = Option<Response<Body>>> + Send + 'static,
        wire: &Wire,
    ) -> Response<Body> {
        match self.world.spawn_detached("sandbox delay", delayed) {
            Some(task) => match task.await.ok().flatten() {
                Some(response) => response,
                None => self.cut(wire),
            },
            None => Answer::page(StatusCode::SERVICE_UNAVAILABLE).into_response(None),
        }
    }

    /// The vendor's answer, distorted if the fault says so.
    fn usual(&self, operation: &'static str) -> Response<Body> {
        let mut outcome = self.simulator.serve(operation, &self.call);
        self.record(Some(outcome.answer.status), outcome.code, outcome.effect);
        if let (Some(fault), Content::Json(body)) = (&self.fault, &mut outcome.answer.content) {
            self.simulator.distort(fault, body);
        }
        outcome.answer.into_response(self.fault.as_ref())
    }

    /// The vendor's answer to a request that is carried out in an unusual way.
    fn answered(&self, operation: &'static str, carry: Carry) -> Response<Body> {
        let outcome = self.simulator.carry(operation, &self.call, carry);
        let effect = outcome.effect.filter(|_| carry != Carry::Pretended);
        self.record(Some(outcome.answer.status), outcome.code, effect);
        outcome.answer.into_response(None)
    }

    /// `None` if the sandbox was reset or stopped before the wait was over.
    async fn delayed(
        self: Arc<Self>,
        operation: &'static str,
        wait: Duration,
        commit: DelayCommit,
    ) -> Option<Response<Body>> {
        match commit {
            DelayCommit::Before => {
                let response = self.usual(operation);
                self.wait(wait).await.then_some(response)
            }
            DelayCommit::After => self.wait(wait).await.then(|| self.usual(operation)),
        }
    }

    /// The answer now, the effect after a wait.
    fn late(self: Arc<Self>, operation: &'static str, wait: Duration) -> Response<Body> {
        let Some((_, answer, code)) = self.replacement() else {
            return self.usual(operation);
        };
        let seq = self.record(Some(answer.status), code, None);
        let of_task = Arc::clone(&self);
        let spawned = self.world.spawn_detached("sandbox late effect", async move {
            if of_task.wait(wait).await {
                let outcome = of_task.simulator.serve(operation, &of_task.call);
                let mut entry = of_task.entry(None, outcome.code, outcome.effect);
                entry.late_of = Some(seq);
                of_task.world.journal.record(entry);
            }
        });
        if spawned.is_none() {
            tracing::warn!("too many late effects are pending in the sandbox; dropped one");
        }
        answer.into_response(None)
    }

    /// For faults that replace the vendor's answer: the replacement, with the vendor's code in it.
    fn replacement(&self) -> Option<(Commit, Answer, Option<String>)> {
        let (commit, answer) = match self.fault.as_ref()? {
            FaultKind::Html { status, commit } => (*commit, Answer::page(code(*status))),
            FaultKind::Empty { status, commit } => (*commit, Answer::empty(code(*status))),
            FaultKind::Status { status, retry_after_seconds, body, commit, .. } => {
                let answer = match body {
                    Some(body) if body.starts_with('{') => {
                        Answer::literal(code(*status), "application/json", body)
                    }
                    Some(body) => Answer::literal(code(*status), "text/html", body),
                    None => Answer::page(code(*status)),
                };
                (*commit, answer.with_retry_after(*retry_after_seconds))
            }
            FaultKind::Body { status, content_type, body, commit } => {
                (*commit, Answer::literal(code(*status), content_type, body))
            }
            FaultKind::Echo { code, commit } => {
                let words = format!("credentials {} are not valid", self.credentials());
                let answer = self.simulator.result(code, Some(&words), None);
                return Some((*commit, answer, Some(code.clone())));
            }
            FaultKind::Result { code, description, outer, commit, .. } => {
                let answer = self.simulator.result(code, description.as_deref(), outer.as_deref());
                let commit = match commit {
                    ResultCommit::Before => Commit::Before,
                    ResultCommit::None | ResultCommit::Late => Commit::None,
                };
                return Some((commit, answer, Some(code.clone())));
            }
            _ => return None,
        };
        Some((commit, answer, None))
    }

    /// What the request carries to prove who sends it.
    fn credentials(&self) -> String {
        let headers = ["authorization", "x-authorization"];
        let values = headers.iter().filter_map(|name| self.call.headers.get(*name)?.to_str().ok());
        let secrets = values.map(|value| value.rsplit(' ').next().unwrap_or(value));
        secrets.collect::<Vec<_>>().join(" ")
    }

    fn unanswered(&self, operation: &'static str, commit: Commit) {
        let effect = self.effect(operation, commit);
        self.record(None, None, effect);
    }

    /// What the request changes even though the client gets no answer, if the fault lets it.
    fn effect(&self, operation: &'static str, commit: Commit) -> Option<Value> {
        match commit {
            Commit::None => None,
            Commit::Before => self.simulator.serve(operation, &self.call).effect,
        }
    }

    /// False if the sandbox was reset or stopped first.
    async fn wait(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.epoch.cancelled() => false,
            () = tokio::time::sleep(time) => !self.epoch.is_cancelled(),
        }
    }

    /// Does to the connection what HTTP cannot express.
    fn without_http(
        &self,
        operation: &'static str,
        commit: Commit,
        act: fn(&Wire),
        wire: &Wire,
    ) -> Response<Body> {
        self.unanswered(operation, commit);
        act(wire);
        Response::default()
    }

    fn cut(&self, wire: &Wire) -> Response<Body> {
        wire.close_unanswered();
        Response::default()
    }

    fn record(
        &self,
        status: Option<StatusCode>,
        code: Option<String>,
        effect: Option<Value>,
    ) -> u64 {
        self.world.journal.record(self.entry(status, code, effect))
    }

    fn entry(
        &self,
        status: Option<StatusCode>,
        code: Option<String>,
        effect: Option<Value>,
    ) -> Entry {
        Entry {
            seq: 0,
            at_ms: 0,
            upstream: self.simulator.name(),
            operation: self.operation,
            method: self.call.method.to_string(),
            path: self.call.uri.to_string(),
            headers: journal::safe_headers(&self.call.headers),
            body: journal::safe_body(&self.call.body),
            status: status.map(|status| status.as_u16()),
            result_code: code,
            effect,
            fault: self.fault.as_ref().map(FaultKind::name),
            late_of: None,
        }
    }
}

/// `FaultKind::check` has already refused invalid statuses.
fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
