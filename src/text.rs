//! Text from outside, made safe to show: cut, without control characters, markup and credentials.
//! Also suggests what a mistyped word was meant to be.

mod invisible;
mod markup;

use std::borrow::Cow;

pub use invisible::is_invisible;

/// How much of an upstream's message a caller sees, in bytes.
pub const UPSTREAM_MESSAGE_BYTES: usize = 256;

/// Cuts the text to at most `limit` bytes, on a character boundary, and marks the cut with `…`.
#[must_use]
pub fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let mark = '…';
    let mut end = limit.saturating_sub(mark.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (head, _) = text.split_at(end);
    Cow::Owned(format!("{head}{mark}"))
}

/// An upstream's text as a caller may see it; `None` when nothing presentable is left.
///
/// A page is dropped (it has nothing that a caller can use), and so are tags and comments of HTML
/// in other text. Control characters become spaces, invisible characters and those that change the
/// direction of text are left out, and anything that looks like a credential is replaced.
#[must_use]
pub fn presentable(text: &str) -> Option<String> {
    // Bounds the work below however long the upstream's text is.
    let head = cut(text.trim_start(), 4 * UPSTREAM_MESSAGE_BYTES);
    let head = markup::without(&head)?;
    let words: Vec<Cow<'_, str>> = head
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .scan(false, |after_scheme, word| {
            let secret = *after_scheme || looks_like_token(word);
            *after_scheme = ["bearer", "basic"].contains(&word.to_ascii_lowercase().as_str());
            Some(if secret { Cow::Borrowed("[redacted]") } else { Cow::Borrowed(word) })
        })
        .collect();
    let shown = cut(&words.join(" "), UPSTREAM_MESSAGE_BYTES).into_owned();
    (!shown.is_empty()).then_some(shown)
}

/// A JSON Web Token (RFC 7519) anywhere in a word: its header always begins with `{"`,
/// which is `eyJ` in base64url.
fn looks_like_token(word: &str) -> bool {
    word.find("eyJ").is_some_and(|at| {
        let (_, token) = word.split_at(at);
        token.len() > 20 && token.contains('.')
    })
}

/// Longer words are not compared: nothing known is that long, and comparing costs length times
/// length.
const MAX_COMPARED_BYTES: usize = 64;

/// The known word that `word` was probably meant to be; case and underscores do not count.
#[must_use]
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > MAX_COMPARED_BYTES {
        return None;
    }
    let plain = |word: &str| -> String {
        word.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
    };
    let word = plain(word);
    let alike = known.into_iter().filter_map(|known| {
        let candidate = plain(known);
        // Swapping two neighbors is one edit, as it is the most common typo.
        let distance = strsim::osa_distance(&word, &candidate);
        // One typo per three letters, at most three: beyond that a guess misleads.
        (distance <= (candidate.len() / 3).clamp(1, 3)).then_some((distance, known))
    });
    alike.min().map(|(_, known)| known)
}

/// A value from a request, quoted and short enough to repeat in a message.
#[must_use]
pub fn quoted(value: &str) -> String {
    format!("{:?}", cut(value, 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_on_character_boundaries() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcdef", 5), "ab…");
        assert_eq!(cut("ééé", 5), "é…");
        assert!(cut(&"é".repeat(500), 256).len() <= 256);
    }

    #[test]
    fn finds_the_word_that_was_meant() {
        let known = ["display_name", "state", "quotas.data", "log"];
        for (word, meant) in [
            ("displayName", Some("display_name")),
            ("satte", Some("state")),
            ("State", Some("state")),
            ("quota.data", Some("quotas.data")),
            ("lgo", Some("log")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), meant, "{word}");
        }
        assert_eq!(closest(&"x".repeat(100_000), known), None);
    }

    #[test]
    fn drops_markup_and_credentials() {
        assert_eq!(presentable("<html><body>x</body></html>"), None);
        assert_eq!(presentable("  \n "), None);
        assert_eq!(presentable("a\0b\nc"), Some("a b c".into()));
        assert_eq!(
            presentable(
                "token Bearer abc.def and eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig refused"
            ),
            Some("token Bearer [redacted] and [redacted] refused".into())
        );
        assert_eq!(presentable("volume < 5 GB"), Some("volume < 5 GB".into()));
        assert_eq!(presentable("a\u{202e}b\u{2066}c\u{200b}d\u{feff}"), Some("abcd".into()));
        assert_eq!(presentable("\u{200b}\u{202e}"), None);
    }
}
