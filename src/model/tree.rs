//! JSON as a tree of values, if it is short enough.

/// The longest JSON text that is built as a tree of values, which takes up to fifty times as much
/// memory. The most services that a profile can have take a third of that.
const MAX_BUILT_BYTES: usize = 1024 * 1024;

/// Whether a text may be built.
pub(super) fn is_short(json: &[u8]) -> bool {
    json.len() <= MAX_BUILT_BYTES
}

/// A JSON value; `None` if it is something else, or too long to be built.
#[must_use]
pub fn built(json: &[u8]) -> Option<serde_json::Value> {
    is_short(json).then(|| serde_json::from_slice(json).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_not_built() {
        let spaced = |bytes: usize| format!("[{}]", " ".repeat(bytes - 2)).into_bytes();
        assert_eq!(built(&spaced(MAX_BUILT_BYTES)), Some(serde_json::json!([])));
        assert_eq!(built(&spaced(MAX_BUILT_BYTES + 1)), None);
        assert_eq!(built(b"["), None);
    }
}
