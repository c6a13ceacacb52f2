//! What each simulated vendor implements, and the requests and outcomes that it works with.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use serde_json::Value;

use super::{answer::Answer, fault_kind::FaultKind};

/// One simulated vendor. Its methods neither wait nor use the network: faults happen around them.
pub(super) trait Simulator: Send + Sync {
    /// Its name in the control API.
    fn name(&self) -> &'static str;
    /// The names of all operations, as its documents spell them.
    fn operations(&self) -> &'static [&'static str];
    /// Whether requests to this path belong to this vendor, even those that match no operation.
    fn owns(&self, path: &str) -> bool;
    /// Which operation this is. `Err` is the answer to a request that matches no operation.
    fn operation(&self, call: &Call) -> Result<&'static str, Box<Answer>>;
    /// Carries out the request.
    fn serve(&self, operation: &'static str, call: &Call) -> Outcome {
        self.carry(operation, call, Carry::Out)
    }
    /// The same, in the given way.
    fn carry(&self, operation: &'static str, call: &Call, carry: Carry) -> Outcome;
    /// The vendor's answer with this result code, for any request.
    fn result(&self, code: &str, description: Option<&str>, outer: Option<&str>) -> Answer;
    /// Refuses a fault that can have no effect on this vendor.
    ///
    /// # Errors
    ///
    /// Says what is allowed.
    fn check_fault(&self, _fault: &FaultKind) -> Result<(), String> {
        Ok(())
    }
    /// Applies the distortions that depend on what members mean.
    fn distort(&self, fault: &FaultKind, body: &mut Value);
    /// Restores the initial state.
    fn reset(&self);
}

/// How a request is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carry {
    /// As usual.
    Out,
    /// Its answer is as usual, and nothing changes.
    Pretended,
    /// As usual, but for this time reads show the state before it.
    OutUnseen(Duration),
}

/// A request, read completely.
#[derive(Clone)]
pub(super) struct Call {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The outcome of a request.
pub(super) struct Outcome {
    pub answer: Answer,
    /// The vendor's own code in the answer.
    pub code: Option<String>,
    /// What changed, in the form of `Entry::effect`.
    pub effect: Option<Value>,
}
