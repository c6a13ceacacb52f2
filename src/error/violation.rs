//! What is wrong with one field of a request.

use std::fmt;

use crate::{error::reason::Reason, text};

/// One broken rule. The field is a path in the request's message, such as `profile.radio_access`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path in the request message.
    pub field: String,
    /// What is wrong, phrased so that it says what would be right.
    pub description: String,
    /// `VALIDATION_FAILED`, `FIELD_NOT_SUPPORTED` or `FIELD_IMMUTABLE`.
    pub reason: Reason,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.description)
    }
}

/// Collects all violations of a request, so that a caller sees them all at once.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Adds a violation.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.push(field.into(), description.into(), Reason::ValidationFailed);
    }

    /// Adds a field that the dialect cannot set.
    pub fn not_supported(&mut self, field: impl Into<String>, dialect: &str) {
        let description = format!("dialect {dialect} has no such field");
        self.push(field.into(), description, Reason::FieldNotSupported);
    }

    /// Adds a field that cannot change.
    pub fn immutable(&mut self, field: impl Into<String>) {
        let description = "cannot be changed after creation".to_owned();
        self.push(field.into(), description, Reason::FieldImmutable);
    }

    pub(super) fn push(&mut self, field: String, description: String, reason: Reason) {
        let field = text::cut(&field, 128).into_owned();
        // One violation for each field: the first is the most basic.
        if !self.0.iter().any(|v| v.field == field) {
            self.0.push(Violation { field, description, reason });
        }
    }

    /// Whether there are no violations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order in which they were found.
    #[must_use]
    pub fn into_vec(self) -> Vec<Violation> {
        self.0
    }
}
