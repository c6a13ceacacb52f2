//! The statuses of refusals, kept while they repeat.
//!
//! A process that is offered more than it can do answers mostly with these, and they differ in
//! little: making each would cost more than the rest of a refusal.

use parking_lot::Mutex;
use tonic::Status;

use crate::error::{Error, Reason, Retry};

/// How many are kept.
const MOST: usize = 32;

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

/// Errors and their statuses, the latest one last.
struct Kept(Mutex<Vec<(Error, Status)>>);

/// The status of an error, made unless it is kept.
pub(super) fn status(error: &Error, make: impl FnOnce(&Error) -> Status) -> Status {
    if repeats(error) { KEPT.status(error, make) } else { make(error) }
}

/// Whether the same refusal comes again and again. What an upstream or a request says in an error
/// does not.
pub(super) fn repeats(error: &Error) -> bool {
    matches!(error.reason(), Reason::CallerQuotaExceeded | Reason::Overloaded)
        && error.retry() != Retry::No
        && error.upstream().is_none()
        && error.violations().is_empty()
}

impl Kept {
    fn status(&self, error: &Error, make: impl FnOnce(&Error) -> Status) -> Status {
        let mut kept = self.0.lock();
        if let Some((_, status)) = kept.iter().rev().find(|(other, _)| is_same(other, error)) {
            return status.clone();
        }
        let status = make(error);
        if kept.len() >= MOST {
            kept.remove(0);
        }
        kept.push((error.clone(), status.clone()));
        status
    }
}

/// Whether two errors have the same status: all of an error that a status shows.
fn is_same(one: &Error, other: &Error) -> bool {
    let facts = |error: &Error| (error.reason(), error.kind(), error.retry());
    facts(one) == facts(other)
        && one.message() == other.message()
        && one.resource() == other.resource()
        && one.metadata() == other.metadata()
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use tonic_types::StatusExt as _;

    use super::*;
    use crate::{
        error::{Kind, UpstreamFacts, violation::Violation},
        rpc::status::made,
    };

    #[test]
    fn a_status_is_made_once_for_each_error() {
        let (kept, times) = (Kept(Mutex::default()), Cell::new(0));
        let plain = || Error::new(Reason::Overloaded, "full");
        let errors = [
            plain(),
            Error::new(Reason::CallerQuotaExceeded, "full"),
            plain().with_message("full for now"),
            plain().with_kind(Kind::ResourceExhausted),
            plain().with_retry(Retry::After(Some(Duration::from_secs(7)))),
            plain().with_resource("backends/sft"),
            plain().with_metadata("backend", "sft"),
            plain().with_metadata("backend", "iot"),
        ];
        for _ in 0..3 {
            for error in &errors {
                let status = kept.status(error, |error| {
                    times.set(times.get() + 1);
                    made(error)
                });
                let made = made(error);
                assert_eq!((status.code(), status.message()), (made.code(), made.message()));
                let details = |status: &Status| {
                    format!("{:?}", {
                        let details = status.get_error_details();
                        let info = details.error_info().cloned().unwrap();
                        let mut metadata: Vec<_> = info.metadata.into_iter().collect();
                        metadata.sort();
                        let (retry, about) = (details.retry_info(), details.resource_info());
                        (info.reason, metadata, retry.cloned(), about.cloned())
                    })
                };
                assert_eq!(details(&status), details(&made));
            }
        }
        assert_eq!(times.get(), errors.len());
    }

    #[test]
    fn few_are_kept() {
        let kept = Kept(Mutex::default());
        for n in 0..1000 {
            kept.status(&Error::new(Reason::Overloaded, n.to_string()), made);
        }
        let messages: Vec<String> =
            kept.0.lock().iter().map(|(error, _)| error.message().to_owned()).collect();
        assert_eq!((messages.len(), &*messages[0], &*messages[31]), (MOST, "968", "999"));
    }

    #[test]
    fn only_refusals_are_kept() {
        let refusal = Error::new(Reason::Overloaded, "full");
        assert!(repeats(&refusal));
        assert!(repeats(&Error::new(Reason::CallerQuotaExceeded, "full")));
        assert!(!repeats(&Error::new(Reason::ProfileNotFound, "not there")));
        // It names what was asked for.
        assert!(!repeats(&refusal.clone().with_retry(Retry::No)));
        assert!(!repeats(&refusal.clone().with_upstream(UpstreamFacts::default())));
        let (field, description) = ("name".to_owned(), "is wrong".to_owned());
        let violation = Violation { field, description, reason: Reason::ValidationFailed };
        assert!(!repeats(&refusal.with_violation(violation)));
    }
}
