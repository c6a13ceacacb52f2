//! The one error type of the program.
//!
//! An error is typed where it arises and says who is to blame, whether trying again can help and
//! what an upstream answered. It knows neither gRPC nor HTTP: `rpc::status` alone turns it into a
//! status. Its message is for the caller: it names what was tried and never holds a credential.
//! What only an operator should see is in [`Error::internal`] and goes to the log.
//!
//! It has no `source()`: what other libraries report becomes text, of which `internal` keeps the
//! details.

pub mod advice;
pub mod explained;
pub mod facts;
pub mod metadata;
pub mod reason;
pub mod violation;

use std::{fmt, time::Duration};

use self::violation::{Violation, Violations};
pub use self::{
    facts::Facts,
    reason::{Blame, Kind, Reason, Retry, whole_seconds},
};
use crate::text;

/// The result of anything that can fail for a caller.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The message for a read, or for a write that was not sent, whichever part notices it.
pub const DEADLINE_PASSED: &str = "the deadline passed";
/// How the message begins for a write whose effect is not known, before the failure.
pub const OUTCOME_UNKNOWN: &str = "the write may or may not have taken effect";

/// What is known of a write's effect upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing was written, or there was nothing to write.
    None,
    /// The write may or may not have taken effect, or may still do so.
    Unknown,
    /// The upstream reported a failure, but only reading back can confirm it.
    Unconfirmed,
}

impl Effect {
    /// How long after its end a write of unknown effect can still take effect. SFT, the slowest to
    /// tell, gives up after 30 s and may finish later; this is twice that.
    pub const SETTLES_WITHIN: Duration = Duration::from_secs(60);
}

/// What an upstream answered, as far as a caller may see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamFacts {
    /// HTTP status code.
    pub status: Option<u16>,
    /// The upstream's own code.
    pub code: Option<String>,
    /// The upstream's own message, cleaned up (see [`text::presentable`]).
    pub message: Option<String>,
    /// The upstream's id of the transaction.
    pub request_id: Option<String>,
}

/// A failed call. Cheap to move: one pointer.
#[derive(Clone)]
pub struct Error(Box<Repr>);

#[derive(Clone)]
struct Repr {
    kind: Kind,
    reason: Reason,
    message: String,
    retry: Retry,
    effect: Effect,
    upstream: Option<UpstreamFacts>,
    violations: Vec<Violation>,
    resource: Option<String>,
    /// For the log only.
    subject: Option<String>,
    metadata: Vec<(&'static str, String)>,
    /// For the log only.
    internal: Option<String>,
}

impl Error {
    /// An error with the kind that its reason usually has. The message is for the caller.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let facts = facts::facts(reason);
        Self(Box::new(Repr {
            kind: facts.kind,
            reason,
            message: message.into(),
            retry: facts.retry,
            effect: Effect::None,
            upstream: None,
            violations: Vec::new(),
            resource: None,
            subject: None,
            metadata: Vec::new(),
            internal: None,
        }))
    }

    /// The error for an invalid request; names every violation.
    #[must_use]
    pub fn invalid(violations: Vec<Violation>) -> Self {
        // One reason represents all: the one with the most specific remedy.
        let reason = [Reason::FieldNotSupported, Reason::FieldImmutable]
            .into_iter()
            .find(|reason| violations.iter().any(|v| v.reason == *reason))
            .unwrap_or(Reason::ValidationFailed);
        let shown: Vec<String> = violations.iter().take(3).map(ToString::to_string).collect();
        let more = match violations.len().saturating_sub(shown.len()) {
            0 => String::new(),
            n => format!("; and {n} more"),
        };
        let mut error = Self::new(reason, format!("invalid request: {}{more}", shown.join("; ")));
        error.0.violations = violations;
        error
    }

    /// The error for a request with one invalid field.
    #[must_use]
    pub fn invalid_field(field: impl Into<String>, description: impl Into<String>) -> Self {
        let mut violations = Violations::default();
        violations.add(field, description);
        Self::invalid(violations.into_vec())
    }

    /// Replaces the message where outer code knows more.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Replaces the kind where a reason has more than one.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Says what is known of the write's effect.
    #[must_use]
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.0.effect = effect;
        self
    }

    /// Says when the same request may be sent again.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Adds what the upstream answered.
    #[must_use]
    pub fn with_upstream(mut self, facts: UpstreamFacts) -> Self {
        self.0.upstream = Some(facts);
        self
    }

    /// Names the resource that the error is about, also at the beginning of the message.
    #[must_use]
    pub fn about(mut self, name: &str) -> Self {
        self.0.message = format!("{}: {}", text::cut(name, 200), self.0.message);
        self.with_resource(name)
    }

    /// Names the resource that the error is about.
    #[must_use]
    pub fn with_resource(mut self, name: impl Into<String>) -> Self {
        self.0.resource = Some(name.into());
        self
    }

    /// Names the profile that the call was about, for the log, also if the error is not about it.
    #[must_use]
    pub fn with_subject(mut self, name: impl Into<String>) -> Self {
        self.0.subject = Some(name.into());
        self
    }

    /// Adds violations, for an upstream that names fields.
    #[must_use]
    pub fn with_violation(mut self, violation: Violation) -> Self {
        self.0.violations.push(violation);
        self
    }

    /// Adds metadata for client programs; the keys are in [`metadata`]. A key that is already set
    /// keeps its value, so that the code nearest to the failure decides.
    #[must_use]
    pub fn with_metadata(mut self, key: &'static str, value: impl Into<String>) -> Self {
        if !self.0.metadata.iter().any(|(k, _)| *k == key) {
            self.0.metadata.push((key, value.into()));
        }
        self
    }

    /// Adds what only an operator should see.
    #[must_use]
    pub fn with_internal(mut self, detail: impl fmt::Display) -> Self {
        self.0.internal = Some(text::cut(&detail.to_string(), 1024).into_owned());
        self
    }

    /// Replaces each of the given secrets wherever an upstream echoed it.
    #[must_use]
    pub fn without_secrets(mut self, scrub: impl Fn(&str) -> Option<String>) -> Self {
        let mut clean = |text: &mut String| {
            if let Some(clean) = scrub(text) {
                *text = clean;
            }
        };
        clean(&mut self.0.message);
        if let Some(facts) = &mut self.0.upstream {
            [&mut facts.code, &mut facts.message, &mut facts.request_id]
                .into_iter()
                .flatten()
                .for_each(&mut clean);
        }
        for Violation { field, description, .. } in &mut self.0.violations {
            clean(field);
            clean(description);
        }
        [&mut self.0.resource, &mut self.0.subject].into_iter().flatten().for_each(&mut clean);
        self.0.metadata.iter_mut().for_each(|(_, value)| clean(value));
        self.0.internal.iter_mut().for_each(clean);
        self
    }

    /// What a caller may conclude.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What happened.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// What happened, as a message for the caller.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same request may be sent again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// What is known of the write's effect.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// What an upstream answered.
    #[must_use]
    pub fn upstream(&self) -> Option<&UpstreamFacts> {
        self.0.upstream.as_ref()
    }

    /// The fields at fault.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// The resource that the error is about.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.0.resource.as_deref()
    }

    /// What the call was about, for the log.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref().or(self.resource())
    }

    /// Metadata for client programs.
    #[must_use]
    pub fn metadata(&self) -> &[(&'static str, String)] {
        &self.0.metadata
    }

    /// The metadata of one key.
    #[must_use]
    pub fn metadatum(&self, key: &str) -> Option<&str> {
        let found = self.0.metadata.iter().find(|(other, _)| *other == key);
        found.map(|(_, value)| value.as_str())
    }

    /// What only an operator should see.
    #[must_use]
    pub fn internal(&self) -> Option<&str> {
        self.0.internal.as_deref()
    }

    /// Who has to act for the call to succeed.
    #[must_use]
    pub fn blame(&self) -> Blame {
        self.facts().blame
    }

    /// What is true of every error with this reason.
    #[must_use]
    pub fn facts(&self) -> &'static Facts {
        facts::facts(self.0.reason)
    }
}

impl Violations {
    /// The result of checking a part of the request, with its violations added to these.
    pub fn collect<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.add_all(error);
        }
        result
    }

    /// Adds the violations that an error names.
    pub fn add_all(&mut self, error: &Error) {
        for Violation { field, description, reason } in error.violations().iter().cloned() {
            self.push(field, description, reason);
        }
    }

    /// The error that names them all, if there are any.
    ///
    /// # Errors
    ///
    /// When there are any.
    pub fn into_result(self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(Error::invalid(self.into_vec())) }
    }
}

impl UpstreamFacts {
    /// The message, followed by the upstream's own code and message, if it sent any.
    #[must_use]
    pub fn appended_to(&self, message: &str) -> String {
        match (&self.code, &self.message) {
            (Some(code), Some(words)) => format!("{message} ({code}: {words})"),
            (Some(only), None) | (None, Some(only)) => format!("{message} ({only})"),
            (None, None) => message.to_owned(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("reason", &self.0.reason.name())
            .field("message", &self.0.message)
            .field("effect", &self.0.effect)
            .field("upstream", &self.0.upstream)
            .field("internal", &self.0.internal)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {}
