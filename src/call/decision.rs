//! What was decided about a call: which right let it pass, or why it was denied.

use std::sync::OnceLock;

use crate::{
    auth::{Right, Unproved},
    text,
};

/// The longest part of a backend's name, as a caller wrote it, in a line of a log.
const MAX_BACKEND_BYTES: usize = 64;

/// Why a call was denied.
#[derive(Debug)]
pub enum Denial {
    /// Nothing proves who it is of.
    Unproved(Unproved),
    /// Its caller does not have a right.
    NotAllowed {
        /// The right that it needs.
        right: Right,
        /// The backend as its caller wrote it; `None` if the caller may do it in none.
        backend: Option<String>,
    },
}

impl Denial {
    /// Of a caller that does not have this right, in this backend or in any.
    #[must_use]
    pub fn of(right: Right, backend: Option<&str>) -> Self {
        let backend = backend.map(|id| text::cut(id, MAX_BACKEND_BYTES).into_owned());
        Self::NotAllowed { right, backend }
    }
}

/// What was decided about one call.
#[derive(Debug, Default)]
pub(super) struct Decision {
    allowed: OnceLock<Right>,
    denied: OnceLock<Box<Denial>>,
}

impl Decision {
    /// The first one stays: it is about the backend that the call names.
    pub(super) fn allow(&self, right: Right) {
        let _ = self.allowed.set(right);
    }

    /// The first one stays: it is what the call fails with.
    pub(super) fn deny(&self, denial: Denial) {
        let _ = self.denied.set(Box::new(denial));
    }

    pub(super) fn allowed(&self) -> Option<Right> {
        self.allowed.get().copied()
    }

    pub(super) fn denied(&self) -> Option<&Denial> {
        self.denied.get().map(|denial| &**denial)
    }
}
