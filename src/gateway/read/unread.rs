//! Requests that ask about fields at which the reads of a backend do not look. An answer would say
//! that there is nothing, although nothing was looked at.

use crate::{
    error::{Result, violation::Violations},
    gateway::backend::Backend,
};

/// A part of a request, and whether it names a field.
pub(crate) type Asks<'a> = (&'static str, &'a dyn Fn(&str) -> bool);

/// Refuses a request that asks about what is not read.
pub(crate) fn check(backend: &Backend, asks: &[Asks<'_>]) -> Result<()> {
    let mut violations = Violations::default();
    for (field, why) in backend.dialect().not_read() {
        for (part, _) in asks.iter().filter(|(_, names)| names(field)) {
            violations.add(*part, format!("names {field}, but {why}"));
        }
    }
    violations.into_result()
}
