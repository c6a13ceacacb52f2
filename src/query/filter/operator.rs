//! How a filter compares values.

use std::cmp::Ordering;

use crate::query::filter::pattern::Pattern;

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Has,
}

impl Operator {
    /// Whether a value that compares to the operand in this way satisfies the operator.
    pub(super) fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal | Self::Has => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }

    pub(super) fn orders(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual | Self::Has)
    }
}

/// Compares a string. Nothing is less or greater than a pattern with wildcards; such filters are
/// rejected.
pub(super) fn text_holds(operator: Operator, text: &str, pattern: &Pattern) -> bool {
    match operator {
        Operator::Equal | Operator::Has => pattern.matches(text),
        Operator::NotEqual => !pattern.matches(text),
        _ => pattern.plain().is_some_and(|plain| operator.holds(text.cmp(plain))),
    }
}
