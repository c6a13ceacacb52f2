//! What is wrong with a filter or an `order_by`, and where.

use crate::error::Error;

/// A mistake at a position in the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where it begins, in bytes.
    at: usize,
    message: String,
}

/// The result of parsing a part of the text.
pub(super) type Read<T> = Result<T, Fault>;

impl Fault {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    /// The error for the field of the request that has the text.
    pub(super) fn refuse(self, field: &str, text: &str) -> Error {
        // People count characters from 1, not bytes from 0.
        let column = text.char_indices().take_while(|(at, _)| *at < self.at).count() + 1;
        Error::invalid_field(field, format!("at column {column}: {}", self.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    #[test]
    fn columns_count_characters() {
        for (at, expected) in [(0, 1), (2, 2), (3, 3), (4, 4), (99, 4)] {
            let error = Fault::new(at, "no").refuse("filter", "éab");
            let violation = &error.violations()[0];
            assert_eq!(violation.description, format!("at column {expected}: no"));
            assert_eq!((&*violation.field, violation.reason), ("filter", Reason::ValidationFailed));
        }
    }
}
