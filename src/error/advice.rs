//! What people do about each reason: one table, which `profile-gateway explain` and the runbooks
//! show.
//!
//! What a reason means is in the proto, and what callers may conclude is in [`super::facts`]. Here
//! is only what comes after that: who acts, what to look at first, and what to do then.

mod request;
mod row;
mod service;

pub use self::row::{Advice, Who};
use crate::error::reason::Reason;

/// What people do about a reason; `None` for the one that is never sent.
#[must_use]
pub fn advice(reason: Reason) -> Option<&'static Advice> {
    all().find(|advice| advice.reason == reason)
}

/// All of it, with what the request is at fault for first.
pub fn all() -> impl Iterator<Item = &'static Advice> {
    request::ROWS.iter().chain(service::ROWS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::facts::{FACTS, facts};

    #[test]
    fn every_reason_that_is_sent_has_advice_once() {
        for facts in FACTS.iter().filter(|facts| facts.reason != Reason::Unspecified) {
            let rows = all().filter(|advice| advice.reason == facts.reason).count();
            assert_eq!(rows, 1, "{}", facts.name());
        }
        assert!(advice(Reason::Unspecified).is_none());
    }

    #[test]
    fn advice_is_sentences_and_does_not_repeat_the_remedy() {
        for Advice { reason, look, steps, .. } in all() {
            assert!(!steps.is_empty() && steps.len() <= 4, "{reason:?}");
            for text in steps.iter().chain([look]) {
                assert!(text.ends_with('.') && !text.contains('|'), "{text}");
                assert_ne!(*text, facts(*reason).remedy, "{reason:?}");
            }
        }
    }
}
