//! The result of a list, and how many entries were left out.

/// The profiles of a list.
pub(super) struct Listed<T> {
    /// The profiles with an id.
    pub(super) items: Vec<T>,
    /// How many have no id. Such a profile cannot be addressed, so it is not listed. Failing the
    /// whole list for it would help no caller.
    pub(super) without_id: usize,
}

impl<T> Listed<T> {
    /// The profiles. Logs what was left out.
    pub(super) fn or_logged(self, dialect: &'static str) -> Vec<T> {
        let Self { items, without_id } = self;
        if without_id > 0 {
            tracing::warn!(
                target: "upstream", dialect, without_id,
                "profiles without an id were left out of a list"
            );
        }
        items
    }
}
