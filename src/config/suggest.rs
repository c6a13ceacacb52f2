//! "Did you mean": the known word closest to a mistyped one.
//!
//! Does no formatting of whole messages.

/// Longer words are not compared: no key is that long, and the comparison costs length times length.
const MAX_LENGTH: usize = 64;

/// The known word that `word` was probably meant to be.
pub(super) fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > MAX_LENGTH {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed(candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

/// One slip per three letters, at most three: beyond that a guess misleads.
fn allowed(candidate: &str) -> usize {
    (candidate.len() / 3).clamp(1, 3)
}

/// Edit distance in which swapping two neighbours is one edit, as it is the commonest slip of all.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(MAX_LENGTH * 2);
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_a = None;
    for (i, ca) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        let mut previous_b = None;
        for (j, &cb) in b.iter().enumerate() {
            let replaced = at(&last, j) + usize::from(ca != cb);
            let mut best = replaced.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if previous_a == Some(cb) && previous_b == Some(ca) {
                best = best.min(at(&before_last, j.saturating_sub(1)) + 1);
            }
            row.push(best);
            previous_b = Some(cb);
        }
        before_last = std::mem::replace(&mut last, row);
        previous_a = Some(ca);
    }
    at(&last, b.len())
}
