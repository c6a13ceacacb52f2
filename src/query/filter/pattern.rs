//! Strings with wildcards.

/// A string in which each `*` matches any characters, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The parts between the wildcards, so one more than there are wildcards.
    pieces: Vec<String>,
}

impl Pattern {
    /// A pattern of the parts between wildcards.
    pub(super) fn new(pieces: Vec<String>) -> Self {
        Self { pieces }
    }

    /// The string, if it has no wildcard.
    pub(super) fn plain(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether it is a single wildcard.
    pub(super) fn is_star(&self) -> bool {
        matches!(self.pieces.as_slice(), [before, after] if before.is_empty() && after.is_empty())
    }

    /// The pattern that matches anywhere in a lower-case text.
    pub(super) fn anywhere(mut self) -> Self {
        self.pieces.iter_mut().for_each(|piece| *piece = piece.to_lowercase());
        self.pieces.insert(0, String::new());
        self.pieces.push(String::new());
        self
    }

    /// Whether the whole text matches.
    ///
    /// Each piece is searched for once and taken where it first occurs, which leaves the most text
    /// for the rest. It never backtracks, so it takes time in proportion to the text.
    pub(super) fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.pieces.as_slice() else {
            return self.plain() == Some(text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for piece in middle {
            match rest.split_once(piece.as_str()) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text.split('*').map(str::to_owned).collect())
    }

    #[test]
    fn matches_as_people_expect() {
        for (form, yes, no) in [
            ("abc", &["abc"][..], &["", "ab", "abcd", "ABC"][..]),
            ("", &[""], &["a"]),
            ("*", &["", "a", "é"], &[]),
            ("ab*", &["ab", "abc"], &["a", "xab"]),
            ("*ab", &["ab", "xab", "abab"], &["aba"]),
            ("*ab*", &["ab", "xabx"], &["a-b"]),
            ("a*a", &["aa", "aba"], &["a", "ab"]),
            ("a*b*c", &["abc", "axbxc", "abcbc"], &["acb", "ab"]),
            ("**a**", &["a", "bab"], &["b"]),
        ] {
            yes.iter().for_each(|text| assert!(pattern(form).matches(text), "{form} {text}"));
            no.iter().for_each(|text| assert!(!pattern(form).matches(text), "{form} {text}"));
        }
    }

    /// The definition, however slow.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], text) => text.is_empty(),
            (['*', rest @ ..], text) => (0..=text.len()).any(|n| slow(rest, &text[n..])),
            ([p, rest @ ..], [t, text @ ..]) => p == t && slow(rest, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(form in "[ab*]{0,6}", text in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(pattern(&form).matches(&text), slow(&chars(&form), &chars(&text)));
        }
    }
}
