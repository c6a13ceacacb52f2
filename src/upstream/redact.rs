//! Finds secrets in the text of an upstream, however it spelled them, and replaces them.
//!
//! An upstream may repeat a secret in another case, escaped for a URL, for HTML or for JSON, broken
//! by white space, in full-width or otherwise compatible letters, or inside a base64 text such as
//! that of HTTP Basic. The gateway or the upstream may have cut the text within it, or left out
//! what is in its middle.

use std::ops::Range;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use icu_normalizer::DecomposingNormalizerBorrowed;

use super::escapes::{ESCAPES, escape};
use crate::text;

/// What replaces a secret.
const REPLACEMENT: &str = "[redacted]";
/// Replacing a shorter secret would remove ordinary words.
const MIN_BYTES: usize = 4;
/// An encoded form of fewer characters would be found in ordinary words.
const MIN_ENCODED: usize = 6;
/// Where a cut text ends, or goes on after a gap.
const CUTS: [&[u8]; 2] = [b"...", b"***"];
/// What may stand around such a mark.
const AROUND: &[u8] = b"[]()<>{}";
/// The longest escape that a cut may have broken, without its last character.
const BROKEN_ESCAPE: usize = 7;

/// The text without secrets of these [`patterns`]; `None` if it contains none.
pub(super) fn redacted(text: &str, patterns: &[Vec<u8>]) -> Option<String> {
    let letters = letters(text);
    let plain: Vec<u8> = letters.iter().map(|letter| letter.byte).collect();
    let mut found: Vec<Range<usize>> = Vec::new();
    for pattern in patterns {
        let hits = all(&plain, pattern).into_iter().chain(cut(&plain, pattern));
        found.extend(hits.filter_map(|hit| {
            Some(letters.get(hit.start)?.at.start..letters.get(hit.end - 1)?.at.end)
        }));
    }
    if found.is_empty() {
        return None;
    }
    found.sort_unstable_by_key(|range| range.start);
    let (mut clean, mut end) = (String::new(), 0);
    for range in found {
        // Overlapping ones become one.
        if range.start >= end {
            clean.push_str(text.get(end..range.start).unwrap_or_default());
            clean.push_str(REPLACEMENT);
        }
        end = end.max(range.end);
    }
    clean.push_str(text.get(end..).unwrap_or_default());
    Some(clean)
}

/// A byte as it is compared, and where in the text it comes from.
struct Letter {
    byte: u8,
    at: Range<usize>,
}

/// The text as it is compared: unescaped, [`plain`], and in lower case.
fn letters(text: &str) -> Vec<Letter> {
    let each = text.bytes().enumerate().map(|(at, byte)| Letter { byte, at: at..at + 1 });
    let mut letters = seen(&each.collect::<Vec<_>>());
    for _ in 0..ESCAPES {
        let before = letters.len();
        // Everything may have been escaped, white space too.
        letters = seen(&unescaped(letters));
        if letters.len() == before {
            break;
        }
    }
    letters.iter_mut().for_each(|letter| letter.byte.make_ascii_lowercase());
    letters
}

/// The letters as far as they are [`plain`]. What is not UTF-8 stays as it is.
fn seen(letters: &[Letter]) -> Vec<Letter> {
    let bytes: Vec<u8> = letters.iter().map(|letter| letter.byte).collect();
    let mut at = 0;
    let mut result = Vec::with_capacity(letters.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let (from, to) = (at, at + c.len_utf8());
            at = to;
            let first = letters.get(from).map_or(0, |letter| letter.at.start);
            let last = letters.get(to - 1).map_or(first, |letter| letter.at.end);
            plain(c, &mut |byte| result.push(Letter { byte, at: first..last }));
        }
        for byte in chunk.invalid() {
            let known = letters.get(at).map(|letter| letter.at.clone());
            result.push(Letter { byte: *byte, at: known.unwrap_or_default() });
            at += 1;
        }
    }
    result
}

/// Gives the bytes of a character in the spelling that texts are compared in: full-width letters
/// and the like as the plain ones, accents on their own, nothing of what is not seen.
fn plain(c: char, to: &mut impl FnMut(u8)) {
    if c.is_ascii() {
        // Decomposing each by itself would take most of the time that an error costs.
        if c.is_ascii_graphic() {
            to(c as u8);
        }
        return;
    }
    let is_seen = |c: &char| !(c.is_whitespace() || c.is_control() || text::is_invisible(*c));
    let decomposed = DecomposingNormalizerBorrowed::new_nfkd();
    for c in decomposed.normalize(c.encode_utf8(&mut [0; 4])).chars().filter(is_seen) {
        c.encode_utf8(&mut [0; 4]).bytes().for_each(&mut *to);
    }
}

/// Undoes one level of escapes.
fn unescaped(letters: Vec<Letter>) -> Vec<Letter> {
    let plain: Vec<u8> = letters.iter().map(|letter| letter.byte).collect();
    let mut result = Vec::with_capacity(letters.len());
    let mut at = 0;
    while let Some(rest) = plain.get(at..).filter(|rest| !rest.is_empty()) {
        match escape(rest) {
            Some((c, length)) => {
                let first = letters.get(at).map_or(0, |letter| letter.at.start);
                let last = letters.get(at + length - 1).map_or(first, |letter| letter.at.end);
                result.extend(c.into_iter().map(|byte| Letter { byte, at: first..last }));
                at += length;
            }
            None => {
                let known = letters.get(at).map(|letter| letter.at.clone());
                let byte = rest.first().copied().unwrap_or_default();
                result.push(Letter { byte, at: known.unwrap_or_default() });
                at += 1;
            }
        }
    }
    result
}

/// The forms of a secret, as texts are compared.
pub(super) fn patterns(secret: &str) -> Vec<Vec<u8>> {
    if secret.len() < MIN_BYTES {
        return Vec::new();
    }
    // A base64 text keeps its meaning without the padding.
    let bare = secret.trim_end_matches('=');
    let mut forms =
        [secret, bare, &bare.replace(' ', "+"), &hex::encode(secret)].map(str::to_owned).to_vec();
    forms.extend(base64_forms(secret.as_bytes()));
    let mut patterns: Vec<Vec<u8>> = forms
        .into_iter()
        .map(|form| {
            let mut bytes = Vec::with_capacity(form.len());
            form.chars().for_each(|c| plain(c, &mut |byte| bytes.push(byte.to_ascii_lowercase())));
            bytes
        })
        .filter(|form| form.len() >= MIN_BYTES)
        .collect();
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

/// What a base64 text has of the secret, which may stand anywhere in what was encoded: for each
/// position within three bytes, the characters that depend on nothing else.
fn base64_forms(secret: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for (before, dependent) in [(0, 0), (1, 2), (2, 3)] {
        let encoded = STANDARD_NO_PAD.encode([&vec![0; before], secret].concat());
        let whole = (before + secret.len()) * 8 / 6;
        let Some(own) = encoded.get(dependent..whole).filter(|own| own.len() >= MIN_ENCODED) else {
            continue;
        };
        forms.extend([own.to_owned(), own.replace('+', "-").replace('/', "_")]);
    }
    forms
}

/// The range of a mark with the brackets around it.
fn without_brackets(text: &[u8], mark: &Range<usize>) -> (usize, usize) {
    let is_around = |byte: &&u8| AROUND.contains(byte);
    let before = text.get(..mark.start).unwrap_or_default().iter().rev();
    let after = text.get(mark.end..).unwrap_or_default().iter();
    let (before, after) =
        (before.take_while(is_around).count(), after.take_while(is_around).count());
    (mark.start - before, mark.end + after)
}

/// What follows a cut at `from`: the end of a pattern, or a part of it before another cut.
fn rest(text: &[u8], from: usize, pattern: &[u8]) -> Option<Range<usize>> {
    let after = text.get(from..)?;
    let longest = pattern.len().min(after.len());
    let is_end =
        |n: &usize| pattern.get(pattern.len() - n..).is_some_and(|end| after.starts_with(end));
    if let Some(length) = (MIN_BYTES..=longest).rev().find(is_end) {
        return Some(from..from + length);
    }
    let next = CUTS.iter().filter_map(|mark| all(after, mark).into_iter().next()).map(|m| m.start);
    let part = after.get(..next.min()?)?;
    let is_part = part.len() >= MIN_ENCODED && !all(pattern, part).is_empty();
    is_part.then(|| from..from + part.len())
}

fn all(text: &[u8], pattern: &[u8]) -> Vec<Range<usize>> {
    let windows = text.windows(pattern.len()).enumerate();
    let hits = windows.filter(|(_, window)| *window == pattern);
    hits.map(|(at, _)| at..at + pattern.len()).collect()
}

/// The beginnings of a pattern right before a cut, which may also have broken an escape, and what
/// follows the cut of the rest.
fn cut(text: &[u8], pattern: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for mark in CUTS {
        for at in all(text, mark) {
            let (start, end) = without_brackets(text, &at);
            found.extend(rest(text, end, pattern));
            let before = text.get(..start).unwrap_or_default();
            let tail = before.len().saturating_sub(BROKEN_ESCAPE);
            let broken = before.iter().skip(tail).position(|b| matches!(b, b'%' | b'&' | b'\\'));
            let ends = [Some(before.len()), broken.map(|n| tail + n)];
            for end in ends.into_iter().flatten() {
                let before = before.get(..end).unwrap_or_default();
                let longest = pattern.len().min(end);
                let length = (MIN_BYTES..=longest)
                    .rev()
                    .find(|n| pattern.get(..*n).is_some_and(|start| before.ends_with(start)));
                // The rest of a broken escape goes too.
                found.extend(length.map(|length| end - length..start));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ascii_is_as_the_library_would_have_it() {
        let decomposed = DecomposingNormalizerBorrowed::new_nfkd();
        for c in '\0'..='\u{7f}' {
            let mut bytes = Vec::new();
            plain(c, &mut |byte| bytes.push(byte));
            let unseen = c.is_whitespace() || c.is_control() || text::is_invisible(c);
            let expected = if unseen { String::new() } else { c.to_string() };
            assert_eq!(decomposed.normalize(&c.to_string()), c.to_string());
            assert_eq!(bytes, expected.as_bytes(), "{c:?}");
        }
    }

    const SECRET: &str = "opaqueTok002/abc+XYZ==";

    fn redact(text: &str, secret: &str) -> Option<String> {
        redacted(text, &patterns(secret))
    }

    #[test]
    fn a_secret_is_found_however_it_is_spelled() {
        let bare = "opaqueTok002/abc+XYZ";
        let html: String = SECRET.bytes().map(|b| format!("&#{b};")).collect();
        let hexed: String = SECRET.bytes().map(|b| format!("&#x{b:X};")).collect();
        let json: String = SECRET.bytes().map(|b| format!("\\u{b:04x}")).collect();
        let percent: String = SECRET.bytes().map(|b| format!("%{b:02x}")).collect();
        let percent_u: String = SECRET.bytes().map(|b| format!("%u{b:04x}")).collect();
        let braces: String = SECRET.bytes().map(|b| format!("\\u{{{b:x}}}")).collect();
        let wide = |b: u8| char::from_u32(u32::from(b) + 0xfee0).unwrap();
        let wide: String = SECRET.bytes().map(wide).collect();
        let spaced: String = SECRET.chars().flat_map(|c| [c, ' ']).collect();
        for spelled in [
            SECRET,
            bare,
            "OPAQUETOK002/ABC+xyz",
            "opaqueTok002%2Fabc%2BXYZ",
            "opaqueTok002%252Fabc%252BXYZ",
            "opaqueTok002&sol;abc&plus;XYZ",
            "opaqueTok002\\/abc+XYZ",
            "opaqueTok002/\u{200b}abc\n+XYZ",
            &html,
            &hexed,
            &json,
            &percent,
            &spaced,
            &hex::encode(SECRET),
            &percent_u,
            &braces,
            &wide,
            &wide.bytes().map(|b| format!("%{b:02x}")).collect::<String>(),
            "opaqueTok002％2Fabc％2BXYZ",
        ] {
            let told = redact(&format!("Token {spelled} is not valid"), SECRET);
            let told = told.unwrap_or_else(|| panic!("{spelled}"));
            assert!(told.starts_with("Token [redacted]"), "{spelled}: {told}");
            assert!(told.ends_with(" is not valid"), "{spelled}: {told}");
            assert!(told.len() < 40, "{spelled}: {told}");
        }
        assert_eq!(redact("Token opaque is not valid", SECRET), None);
        assert_eq!(redact("p%C3%A4sswort", "pässwort"), Some("[redacted]".into()));
        assert_eq!(redact("two+words", "two words"), Some("[redacted]".into()));
        // Accents on their own, and in one letter.
        assert_eq!(redact("pa\u{308}sswort", "pässwort"), Some("[redacted]".into()));
        assert_eq!(redact("PA%CC%88SSWORT", "pässwort"), Some("[redacted]".into()));
    }

    #[test]
    fn a_secret_within_base64_is_found() {
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        for around in ["", "a", "ab", "user:", "operator:", "x-y-z:"] {
            for after in ["", "!", "!!", "!!!"] {
                let whole = format!("{around}pass?word~1{after}");
                for encoded in [STANDARD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
                    let told = redact(&format!("Basic {encoded} refused"), "pass?word~1");
                    let told = told.unwrap_or_else(|| panic!("{whole} {encoded}"));
                    assert!(told.contains("[redacted]"), "{whole}: {told}");
                }
            }
        }
    }

    #[test]
    fn a_secret_that_was_cut_is_found() {
        for (text, expected) in [
            ("x opaqueTok0…", Some("x [redacted]…")),
            ("x OPAQ…", Some("x [redacted]…")),
            ("x opaqueTok002%2…", Some("x [redacted]…")),
            ("x opaqueTok002... is bad", Some("x [redacted]... is bad")),
            ("x opa…", None),
            // What follows the cut goes too.
            ("x opaq…bc+XYZ== is bad", Some("x [redacted]…[redacted] is bad")),
            ("x OPAQ...bc+xyz is bad", Some("x [redacted]...[redacted] is bad")),
            ("x …+XYZ is bad", Some("x …[redacted] is bad")),
            ("x opaqu[...]c+XYZ y", Some("x [redacted][...][redacted] y")),
            ("x opaqu***c+XYZ y", Some("x [redacted]***[redacted] y")),
            ("x …Tok002/…XYZ== y", Some("x …[redacted]…[redacted] y")),
            ("x …XYZ y", None),
            ("to be continued... or not", None),
        ] {
            assert_eq!(redact(text, SECRET).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn several_secrets_and_short_ones() {
        let secrets = ["hunter22", "hunter22-token", "abc"].map(patterns).concat();
        let told = redacted("a hunter22-token b abc hunter22 c", &secrets);
        assert_eq!(told.as_deref(), Some("a [redacted] b abc [redacted] c"));
        assert_eq!(redacted("", &secrets), None);
        assert_eq!(redact("x", &"x".repeat(100_000)), None);
    }
}
