//! Looks for secrets in a whole answer, in any spelling that `redact` knows but one that was cut,
//! and keeps those spellings: it takes longer to make them than to look for them.
//!
//! Every answer passes here, so it costs one pass over its bytes. Only texts that hold an escape or
//! a character beyond ASCII cost a few more.

use std::{collections::BTreeSet, fmt, sync::Arc};

use aho_corasick::AhoCorasick;
use icu_normalizer::DecomposingNormalizerBorrowed;
use secrecy::{ExposeSecret, SecretString};

use super::{
    escapes::{ESCAPES, escape},
    redact::{patterns, redacted},
};
use crate::text;

/// Shorter secrets, and shorter forms of them, occur by chance.
const MIN_BYTES: usize = 8;
/// So do shorter words, and shorter numbers.
const MIN_PLAIN: usize = 12;
/// So much of the end of a form tells it. The beginnings of many tokens are the same.
const TELLING: usize = 32;
/// So many bytes are compared at a time.
const PART: usize = 16 * 1024;
/// So many bytes of a text are read at a time: in plain letters, it may be ten times as long.
const PIECE: usize = 64 * 1024;
/// So many of those before are read again, so that no secret is cut: a hundred for each letter.
const OVERLAP: usize = 100 * TELLING;

/// What secrets look like.
pub(super) struct Needles {
    all: Vec<Vec<u8>>,
    /// Those that do not occur in an answer by chance.
    telling: Option<AhoCorasick>,
}

/// What the secrets look like that were asked for last, with the generations of the tokens among
/// them: they hardly ever change, and each answer is searched for them.
#[derive(Debug, Default)]
pub(super) struct LatestNeedles(Option<(Vec<u64>, Arc<Needles>)>);

impl LatestNeedles {
    /// Those of these generations of tokens, which come in any order, and more than once.
    pub(super) fn of<'s, S: Iterator<Item = &'s SecretString>>(
        &mut self,
        generations: impl Iterator<Item = u64> + Clone,
        secrets: impl FnOnce() -> S,
    ) -> Arc<Needles> {
        if let Some((known, needles)) = &self.0
            && generations.clone().all(|generation| known.contains(&generation))
            && known.iter().all(|known| generations.clone().any(|generation| generation == *known))
        {
            return Arc::clone(needles);
        }
        let needles = Arc::new(Needles::of(secrets()));
        self.0 = Some((generations.collect(), Arc::clone(&needles)));
        needles
    }
}

impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Needles").finish_non_exhaustive()
    }
}

impl Needles {
    pub(super) fn of<'s>(secrets: impl Iterator<Item = &'s SecretString>) -> Self {
        let (mut all, mut forms) = (Vec::new(), BTreeSet::new());
        let distinct: BTreeSet<&str> = secrets.map(ExposeSecret::expose_secret).collect();
        for secret in distinct {
            let patterns = patterns(secret);
            if is_telling(secret) {
                let long = patterns.iter().filter(|form| form.len() >= MIN_BYTES);
                forms.extend(long.filter_map(|form| {
                    Some(form.get(form.len().saturating_sub(TELLING)..)?.to_vec())
                }));
            }
            all.extend(patterns);
        }
        // It fails only for more forms than memory has room for.
        let telling = (!forms.is_empty()).then(|| AhoCorasick::new(forms).ok()).flatten();
        Self { all, telling }
    }

    /// The text without the secrets; `None` if it contains none.
    pub(super) fn redacted(&self, text: &str) -> Option<String> {
        redacted(text, &self.all)
    }

    /// Whether an answer has any of them.
    pub(super) fn are_in(&self, body: &[u8]) -> bool {
        let Some(forms) = &self.telling else { return false };
        let has_any = |text: &[u8]| {
            // In parts, so that no copy of the whole is made; each begins with the end of the last.
            let mut plain = Vec::with_capacity(text.len().min(PART) + TELLING);
            text.chunks(PART).any(|part| {
                plain.drain(..plain.len().saturating_sub(TELLING - 1));
                plain
                    .extend(part.iter().filter(|byte| is_seen(**byte)).map(u8::to_ascii_lowercase));
                forms.is_match(&plain)
            })
        };
        has_any(body)
            || texts(body)
                .flat_map(pieces)
                .filter(|text| text.iter().any(|byte| is_odd(*byte)))
                .any(|text| has_any(&read(text)))
    }
}

/// Whether a byte is neither white space nor a control.
fn is_seen(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

fn is_telling(secret: &str) -> bool {
    let least = match () {
        () if secret.chars().all(char::is_alphabetic) => MIN_PLAIN,
        () if secret.bytes().all(|byte| byte.is_ascii_digit()) => MIN_PLAIN,
        () => MIN_BYTES,
    };
    secret.len() >= least
}

/// Whether a text with this byte may stand for another text.
fn is_odd(byte: u8) -> bool {
    matches!(byte, b'%' | b'&' | b'\\') || !byte.is_ascii()
}

/// What is between the quotes of a JSON text, and what is around them.
fn texts(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut escaped = false;
    body.split(move |byte| {
        let is_end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        is_end
    })
}

/// The parts of a text that are read one after another.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = (0..text.len()).step_by(PIECE);
    starts.filter_map(|start| {
        text.get(start.saturating_sub(OVERLAP)..text.len().min(start.saturating_add(PIECE)))
    })
}

/// A text with its escapes undone, in plain letters.
fn read(text: &[u8]) -> Vec<u8> {
    let mut text = plain(text);
    for _ in 0..ESCAPES {
        let before = text.len();
        text = plain(&unescaped(&text));
        if text.len() == before {
            break;
        }
    }
    text
}

/// Full-width letters and the like as the plain ones, accents on their own, nothing of what is not
/// seen. What is not UTF-8 stays as it is.
fn plain(text: &[u8]) -> Vec<u8> {
    let decomposed = DecomposingNormalizerBorrowed::new_nfkd();
    let is_seen = |c: &char| !(c.is_whitespace() || c.is_control() || text::is_invisible(*c));
    let (mut result, mut utf8) = (Vec::with_capacity(text.len()), [0; 4]);
    for chunk in text.utf8_chunks() {
        for c in decomposed.normalize_iter(chunk.valid().chars()).filter(is_seen) {
            result.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
        }
        result.extend_from_slice(chunk.invalid());
    }
    result
}

/// Undoes one level of escapes.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let (mut result, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((first, others)) = rest.split_first() {
        // JSON's own escapes of white space: what is not seen.
        if let [b'\\', b'b' | b'f' | b'n' | b'r' | b't', others @ ..] = rest {
            rest = others;
            continue;
        }
        match escape(rest) {
            Some((bytes, length)) => {
                result.extend(bytes);
                rest = rest.get(length..).unwrap_or_default();
            }
            None => {
                result.push(*first);
                rest = others;
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };

    use super::*;

    const SECRET: &str = "opaqueTok002/abc+XYZ==";

    fn finds(secret: &str, body: &str) -> bool {
        Needles::of([&SecretString::from(secret)].into_iter()).are_in(body.as_bytes())
    }

    /// Spellings of a secret in a JSON text.
    fn spellings(secret: &str) -> Vec<String> {
        let each = |form: &dyn Fn(u8) -> String| secret.bytes().map(form).collect::<String>();
        let wide = |b: u8| char::from_u32(u32::from(b) + 0xfee0).unwrap();
        vec![
            secret.to_owned(),
            secret.to_uppercase(),
            secret.to_lowercase(),
            secret.trim_end_matches('=').to_owned(),
            secret.replace('/', "\\/"),
            secret.replace('/', "%2F").replace('+', "%2B"),
            secret.replace('/', "%252F").replace('+', "%252B"),
            secret.replace('/', "&sol;").replace('+', "&plus;"),
            secret.replace('/', "/\\u200b"),
            secret.replace('/', "/\u{200b}"),
            secret.replace('/', "/\\n  "),
            each(&|b| format!("\\u{b:04x}")),
            each(&|b| format!("%{b:02x}")),
            each(&|b| format!("&#{b};")),
            each(&|b| format!("&#x{b:X};")),
            each(&|b| wide(b).to_string()),
            secret.chars().flat_map(|c| [c, ' ']).collect(),
            hex::encode(secret),
            STANDARD.encode(secret),
            STANDARD.encode(format!("operator:{secret}")),
            URL_SAFE_NO_PAD.encode(format!("op:{secret}")),
            STANDARD.encode(format!("u:{secret}")).replace('/', "\\/"),
        ]
    }

    #[test]
    fn a_secret_is_found_in_an_answer_however_it_is_spelled() {
        for spelled in spellings(SECRET) {
            let body = format!("[ {{ \"name\": \"é \\\"x\\\" {spelled} \", \"id\": 1 }} ]");
            assert!(finds(SECRET, &body), "{body}");
            assert!(!finds("another-Secret", &body), "{body}");
        }
        // Also as a key, and outside of texts.
        assert!(finds(SECRET, &format!("{{\"{SECRET}\": 1}}")));
        assert!(finds(SECRET, SECRET));
        assert!(finds("pässwort-1", "{\"a\": \"PA\u{308}SSWORT-1\"}"));
    }

    #[test]
    fn what_may_be_there_by_chance_is_not_looked_for() {
        for common in ["", "sandbox", "1234567", "profiles", "subscribe", "12345678901"] {
            assert!(!finds(common, &format!("{{\"a\": \"{common}\"}}")), "{common}");
        }
        for telling in ["p4ssword", "123456789012", "two words", "abcdefghijkl"] {
            assert!(finds(telling, &format!("{{\"a\": \"{telling}\"}}")), "{telling}");
        }
    }

    #[test]
    fn tokens_that_only_begin_alike_are_told_apart() {
        let head = URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\",\"typ\":\"JWT\"}");
        let own = format!("{head}.b3duIGNsYWltcw.{}", "q7".repeat(30));
        let other = format!("{head}.b3RoZXIgY2xhaW1z.{}", "Zx".repeat(30));
        assert!(finds(&own, &format!("[\"{own}\"]")));
        assert!(!finds(&own, &format!("[\"{other}\"]")));
    }

    #[test]
    fn a_secret_is_found_anywhere_in_a_long_answer() {
        let needles = Needles::of([&SecretString::from(SECRET)].into_iter());
        for before in (PART - 40..PART + 4).chain([0, 3 * PART - 10]) {
            let body = format!("{}{SECRET}{}", "x".repeat(before), "y".repeat(PART));
            assert!(needles.are_in(body.as_bytes()), "{before}");
        }
        assert!(!needles.are_in(&vec![b'x'; 5 * PART]));
    }

    #[test]
    fn a_secret_is_found_anywhere_in_a_long_text_in_any_spelling() {
        let needles = Needles::of([&SecretString::from(SECRET)].into_iter());
        let wide: String =
            SECRET.bytes().map(|b| format!("\\u{:04x}", 0xfee0 + u32::from(b))).collect();
        for before in (PIECE - wide.len()..=PIECE).step_by(40) {
            let body = format!("\"{}{wide}{}\"", "x".repeat(before), "y".repeat(PIECE));
            assert!(needles.are_in(body.as_bytes()), "{before}");
        }
    }

    /// What is kept of a text while it is read does not grow with it.
    #[test]
    fn a_long_text_is_read_in_parts_of_a_bounded_size() {
        // One character of three bytes that stands for fifteen of two.
        let text = "\u{fdfa}".repeat(PIECE / 2);
        assert!(pieces(text.as_bytes()).all(|piece| read(piece).len() <= 10 * (PIECE + OVERLAP)));
        let all: usize = pieces(text.as_bytes()).map(<[u8]>::len).sum();
        assert!((text.len()..text.len() / 10 * 11).contains(&all), "{all} of {}", text.len());
    }

    #[test]
    fn escapes_are_undone_a_bounded_number_of_times() {
        let deep = (0..50).fold("%41".to_owned(), |text, _| text.replace('%', "%25"));
        assert_eq!(plain(&unescaped(deep.as_bytes())).len(), deep.len() - 2);
        assert!(read(deep.as_bytes()).len() >= deep.len() - 2 * ESCAPES);
    }
}
