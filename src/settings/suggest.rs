//! "Did you mean": the known word closest to a mistyped one.
//!
//! Does no formatting of whole messages.

/// Longer words are not compared: no key is that long, and the comparison costs length times
/// length.
const MAX_LENGTH: usize = 64;

/// The known word that `word` was probably meant to be.
pub(crate) fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > MAX_LENGTH {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        // Swapping two neighbors is one edit, as it is the most common typo.
        .map(|candidate| (strsim::osa_distance(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed(candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

/// One typo per three letters, at most three: beyond that a guess misleads.
fn allowed(candidate: &str) -> usize {
    (candidate.len() / 3).clamp(1, 3)
}
