//! What is added to a promise while it cannot be kept.

use std::{borrow::Cow, sync::OnceLock};

use crate::shared::Conditions;

/// How this replica does among the others, if it shares a store with them.
#[derive(Debug, Default)]
pub(super) struct Remarks(OnceLock<Conditions>);

impl Remarks {
    /// Has them tell of this. The process has one store.
    pub(super) fn tell_of(&self, conditions: Conditions) {
        let _ = self.0.set(conditions);
    }

    /// What a `request_id` guarantees, with what keeps writes from being sent now.
    pub(super) fn added_to<'g>(&self, guarantee: &'g str) -> Cow<'g, str> {
        match self.0.get().and_then(|conditions| conditions.now().remark()) {
            Some(remark) => format!("{guarantee}; {remark}").into(),
            None => guarantee.into(),
        }
    }
}
