//! Writes in doubt, for people: which there are, what can be done about each, and the end that
//! someone gives one by hand. What the gateway does about them by itself is in `write`.

mod check;
mod close;
mod describe;
mod list;

use std::sync::Arc;

pub(crate) use self::check::Asked;
pub use self::describe::{describe, to_json};
use super::{
    idempotency::{Doubt, IdempotencyStore},
    write::doubts::Doubts as Ends,
};
use crate::{call::Writes, pb::DoubtfulWrite};

/// The writes in doubt of all callers.
pub(crate) struct Doubts {
    ends: Ends,
    writes: Writes,
}

impl Doubts {
    pub(crate) fn new(ends: Ends, writes: Writes) -> Self {
        Self { ends, writes }
    }

    pub(crate) fn store(&self) -> &Arc<dyn IdempotencyStore> {
        &self.ends.store
    }

    fn describe(&self, doubt: &Doubt) -> DoubtfulWrite {
        describe(doubt, Some(self.store().kept_for()))
    }
}
