//! What a dialect has read of a list, with what it had to leave out.

/// The profiles of a list.
pub(super) struct Listed<T> {
    /// Those that can be named.
    pub(super) items: Vec<T>,
    /// How many have no id. Such a profile cannot be named, so it cannot be listed; failing the
    /// others for it would help no caller.
    pub(super) without_id: usize,
}

impl<T> Listed<T> {
    /// The profiles, once the log has what was left out.
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
