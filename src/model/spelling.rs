//! Texts that differ only in spelling: what an upstream may make of a text that it stores.
//!
//! Upstreams trim texts, collapse blanks, normalize Unicode, escape for HTML, cut, fold case, and
//! replace characters that they do not have. None of them documents it, so a text that comes back
//! in another spelling must not be taken for another text.

use std::borrow::Cow;

use icu_normalizer::{
    ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed,
    properties::CanonicalCombiningClassMapBorrowed,
};

use crate::{
    error::Result,
    model::fields::{Fields, SETTABLE},
    pb::Profile,
};

/// How much of one text another one keeps. Ordered: the first is the closest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// The same characters.
    Same,
    /// The same text to a reader: only blanks, escapes or the Unicode form differ.
    Respelled,
    /// What is left of the text after a loss: it is cut, or case, accents or characters are gone.
    /// Another text may look the same.
    Reduced,
}

/// The fewest characters that an upstream keeps of a text that it cuts. Shorter beginnings are
/// taken for texts of their own, such as `Fleet 1` beside `Fleet 12`.
const LEAST_KEPT: usize = 12;
/// How often a text may have been escaped.
const MAX_ESCAPES: usize = 3;
/// The names of characters that HTML escapes.
const ESCAPES: [(&str, char); 6] =
    [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\''), ("nbsp", ' ')];

/// A text that was sent, to compare others with.
#[derive(Debug)]
pub struct Sent<'a> {
    text: &'a str,
    canonical: String,
    bare: String,
    lower: String,
    plain: String,
}

impl<'a> Sent<'a> {
    /// The text as it was sent.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let canonical = canonical(text);
        let (bare, lower) = (bare(&canonical), canonical.to_lowercase());
        Self { text, canonical, bare, lower, plain: plain(text) }
    }

    /// How alike a text is to this one; `None` if it is another text.
    #[must_use]
    pub fn likeness(&self, found: &str) -> Option<Likeness> {
        if self.text == found {
            return Some(Likeness::Same);
        }
        if self.is_outgrown_by(found) {
            return None;
        }
        let found = canonical(found);
        if self.canonical == found {
            return Some(Likeness::Respelled);
        }
        let bare_found = bare(&found);
        let reduced = self.bare == bare_found
            || is_cut(&self.bare, &bare_found)
            || has_gaps(&self.lower, &found.to_lowercase());
        reduced.then_some(Likeness::Reduced)
    }

    /// Whether a text may be all that is left of this one, whatever the upstream has taken away:
    /// its beginning, however short, or only those of its letters and digits that are ASCII.
    /// Mostly it is a text of its own.
    #[must_use]
    pub fn may_leave(&self, found: &str) -> bool {
        if self.is_outgrown_by(found) {
            return false;
        }
        let rest = plain(found);
        kept(&self.bare, &bare(&canonical(found))).is_some()
            || (!rest.is_empty() && self.plain.starts_with(&rest))
    }

    fn is_outgrown_by(&self, found: &str) -> bool {
        // Each escape makes a character at most six times as long; blanks and forms do less.
        found.len() > 64 + self.text.len() * 6 * MAX_ESCAPES
    }
}

/// How alike a text is to the one that was sent; `None` if it is another text.
#[must_use]
pub fn likeness(sent: &str, found: &str) -> Option<Likeness> {
    match sent == found {
        true => Some(Likeness::Same),
        false => Sent::new(sent).likeness(found),
    }
}

/// A key that is the same for texts that differ only in spelling, unless one of them is cut.
#[must_use]
pub fn key(text: &str) -> String {
    bare(&canonical(text))
}

/// The profile in the spelling in which the upstream stores it: each text that `found` has in
/// another spelling is taken from there.
pub fn as_stored(sent: &Profile, found: &Profile) -> Result<Profile> {
    in_spelling_of(sent, found, |_, _| true)
}

/// The same after a change. A text that is still spelled as in `before` is not the changed one.
pub fn as_changed(before: &Profile, sent: &Profile, found: &Profile) -> Result<Profile> {
    let before = Fields::of(before)?;
    in_spelling_of(sent, found, |path, found| before.get(path).as_ref() != Some(found))
}

fn in_spelling_of(
    sent: &Profile,
    found: &Profile,
    counts: impl Fn(&str, &prost_reflect::Value) -> bool,
) -> Result<Profile> {
    let (mut fields, there) = (Fields::of(sent)?, Fields::of(found)?);
    for path in SETTABLE {
        let (Some(asked), Some(stored)) = (fields.get(path), there.get(path)) else { continue };
        if let (Some(asked), Some(text)) = (asked.as_str(), stored.as_str())
            && asked != text
            && likeness(asked, text).is_some()
            && counts(path, &stored)
        {
            fields.copy(path, &there);
        }
    }
    fields.into_profile()
}

/// Whether a display name must not begin or end with this character: upstreams may trim it, and no
/// reader sees it. A selector or tag at the end belongs to the emoji before it.
#[must_use]
pub fn is_blank(character: char) -> bool {
    let belongs_to_emoji = matches!(character, '\u{fe00}'..='\u{fe0f}' | '\u{e0020}'..='\u{e01ef}');
    character.is_whitespace() || (is_invisible(character) && !belongs_to_emoji)
}

/// Characters that show nothing: format controls, fillers, and those that Unicode lets a reader
/// ignore.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The text without escapes and invisible characters, with single blanks, in one Unicode form.
fn canonical(text: &str) -> String {
    let mut text = Cow::Borrowed(text);
    for _ in 0..MAX_ESCAPES {
        let Some(unescaped) = unescaped(&text) else { break };
        text = Cow::Owned(unescaped);
    }
    let composed = ComposingNormalizerBorrowed::new_nfkc().normalize(&text);
    let visible: String = composed.chars().filter(|c| !is_invisible(*c)).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A canonical text without case and accents.
fn bare(canonical: &str) -> String {
    let classes = CanonicalCombiningClassMapBorrowed::new();
    let decomposed = DecomposingNormalizerBorrowed::new_nfkd().normalize(canonical);
    let base = decomposed.chars().filter(|c| classes.get_u8(*c) == 0);
    base.flat_map(char::to_uppercase).collect::<String>().to_lowercase()
}

/// The letters and digits of a text that survive whatever character set it is stored in.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether a text is the beginning of another, perhaps with a mark, or with half an escape.
fn is_cut(whole: &str, found: &str) -> bool {
    kept(whole, found).is_some_and(|kept| kept >= LEAST_KEPT)
}

/// How many characters of a text another one keeps that may be its beginning.
fn kept(whole: &str, found: &str) -> Option<usize> {
    let found = found.trim_end_matches("...").trim_end();
    if whole.starts_with(found) {
        return Some(found.chars().count());
    }
    let (before, half) = found.rsplit_once('&')?;
    let next = whole.strip_prefix(before)?.chars().next()?;
    begins_escape(half, next).then(|| before.trim_end().chars().count())
}

/// Whether a lower-case text may be how an escape of this character begins, without its `&`. A
/// number may mean any character.
fn begins_escape(half: &str, character: char) -> bool {
    let of_number = |rest: &str| rest.len() <= 8 && rest.chars().all(|c| c.is_ascii_alphanumeric());
    half.strip_prefix('#').is_some_and(of_number)
        || half.is_empty()
        || ESCAPES.iter().any(|(name, of)| *of == character && name.starts_with(half))
}

/// Whether the texts differ only where the upstream has replaced characters that it does not have.
fn has_gaps(whole: &str, found: &str) -> bool {
    let pairs = || whole.chars().zip(found.chars());
    let is_gap = |sent: char, found: char| {
        !sent.is_ascii() && matches!(found, '?' | char::REPLACEMENT_CHARACTER)
    };
    whole.chars().count() == found.chars().count()
        && pairs().all(|(sent, found)| sent == found || is_gap(sent, found))
}

/// The text with the character references of HTML replaced; `None` if it has none.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut changed) = (text, false);
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        match reference(from) {
            Some((character, after)) => {
                out.push(character);
                (rest, changed) = (after, true);
            }
            None => {
                out.push('&');
                rest = from.strip_prefix('&').unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    changed.then_some(out)
}

/// The character that a text begins with as a reference, and what follows.
fn reference(text: &str) -> Option<(char, &str)> {
    let (name, after) = text.strip_prefix('&')?.split_once(';')?;
    if let Some((_, character)) = ESCAPES.iter().find(|(known, _)| *known == name) {
        return Some((*character, after));
    }
    let number = name.strip_prefix('#').filter(|number| number.len() <= 8)?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    Some((char::from_u32(code.ok()?)?, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Likeness::{Reduced, Respelled, Same};

    #[test]
    fn a_stored_text_is_recognized() {
        for (sent, found, expected) in [
            ("Fleet", "Fleet", Some(Same)),
            (" Fleet  one ", "Fleet one", Some(Respelled)),
            ("Fleet\u{a0}one", "Fleet one", Some(Respelled)),
            ("Fleet\u{200b}one", "Fleetone", Some(Respelled)),
            ("Cafe\u{301}", "Caf\u{e9}", Some(Respelled)),
            ("Caf\u{e9}", "Cafe\u{301}", Some(Respelled)),
            ("R&D <x>", "R&amp;D &lt;x&gt;", Some(Respelled)),
            ("R&D", "R&amp;amp;D", Some(Respelled)),
            ("it's", "it&#39;s", Some(Respelled)),
            ("it's", "it&#x27;s", Some(Respelled)),
            ("R&amp;D", "R&D", Some(Respelled)),
            ("\u{ff21}BC", "ABC", Some(Respelled)),
            ("Fleet One", "FLEET ONE", Some(Reduced)),
            ("Stra\u{df}e", "STRASSE", Some(Reduced)),
            ("Caf\u{e9} Paris", "cafe paris", Some(Reduced)),
            ("Caf\u{e9}", "Caf?", Some(Reduced)),
            ("Caf\u{e9}", "Caf\u{fffd}", Some(Reduced)),
            ("A name of 31 characters, exactly", "A name of 31 charact", Some(Reduced)),
            ("A name of 31 characters, exactly", "A name of 31", Some(Reduced)),
            ("A name of 31 characters, exactly", "A name of 31 charact\u{2026}", Some(Reduced)),
            ("Research & Development", "Research &am", None),
            ("Research and so on & Development", "Research and so on &am", Some(Reduced)),
            ("Fleet 12", "Fleet 1", None),
            ("Fleet", "Fleets", None),
            ("Fleet", "", None),
            ("", "Fleet", None),
            ("Cafe", "Caf?", None),
        ] {
            assert_eq!(likeness(sent, found), expected, "{sent:?} {found:?}");
        }
        assert_eq!(likeness("a", &"&amp;".repeat(1 << 20)), None);
        let sent = Sent::new("Fleet  One");
        let found = ["Fleet  One", "Fleet One", "FLEET ONE", "Fleet"];
        let found = found.map(|found| sent.likeness(found));
        assert_eq!(found, [Some(Same), Some(Respelled), Some(Reduced), None]);
    }

    // Regression: what follows the last `&` was taken for half an escape.
    #[test]
    fn a_cut_text_with_an_ampersand_is_recognized() {
        for (sent, found, expected) in [
            ("Research & Development fleet", "Research & Developme", Some(Reduced)),
            ("Research & Development fleet", "Research & D...", Some(Reduced)),
            ("Research & Development fleet", "Research &amp; Devel", Some(Reduced)),
            ("Research & Development fleet", "RESEARCH & DEVELOPME", Some(Reduced)),
            ("Research & Development fleet", "Research & Developed", None),
            ("Research & Development fleet", "Research & Dev &am", None),
            ("R&D laboratory of Lyon", "R&D laboratory of Ly", Some(Reduced)),
            ("The laboratory of R&D", "The laboratory of R&", Some(Reduced)),
            ("The laboratory of R&D", "The laboratory of R&am", Some(Reduced)),
            ("The laboratory of R&D", "The laboratory of R&am...", Some(Reduced)),
            ("The laboratory of R&D", "The laboratory of R&#3", Some(Reduced)),
            ("The laboratory of R&D", "The laboratory of R&l", None),
            ("The laboratory of R&Dev", "The laboratory of R&D", Some(Reduced)),
            ("The laboratory of R&D", "The laboratory of R&D&", None),
            ("The laboratory of Ren\u{e9}", "The laboratory of Ren&#23", Some(Reduced)),
            ("The laboratory <x>", "The laboratory &l", Some(Reduced)),
            ("The laboratory <x>", "The laboratory &amp;l", Some(Reduced)),
            ("<<A&B>> of all the trucks", "<<A&B>> of all the t", Some(Reduced)),
            ("<<A&B>> of all the trucks", "&lt;&lt;A&amp;B&gt;&gt; of all", Some(Reduced)),
            ("A & B & C & D & E & F", "A & B & C & D &", Some(Reduced)),
            ("A & B & C & D & E & F", "A & B & C & D & G", None),
        ] {
            assert_eq!(likeness(sent, found), expected, "{sent:?} {found:?}");
        }
    }

    #[test]
    fn whatever_is_left_of_a_text_may_be_left_of_it() {
        for (sent, found, expected) in [
            ("Fleet 12", "Fleet 1", true),
            ("Fleet 12", "F", true),
            ("Fleet 12", "FL...", true),
            ("Fleet 12", "fleet_1", true),
            ("Fleet 12", "", true),
            ("Research & Development", "Research &am", true),
            ("Caf\u{e9} Paris", "cafe", true),
            ("Fl\u{f6}tte", "Flotte", true),
            ("Fl\u{f6}tte", "Fltte", true),
            ("Fl\u{f6}tte", "Fl\u{c3}\u{b6}tte", true),
            ("\u{6771}\u{4eac}", "\u{6771}", true),
            ("Fleet 12", "Fleet 123", false),
            ("Fleet 12", "Fleet 2", false),
            ("Fleet 12", "leet 12", false),
            ("\u{6771}\u{4eac}", "\u{4eac}", false),
            ("\u{6771}\u{4eac}", "x", false),
        ] {
            assert_eq!(Sent::new(sent).may_leave(found), expected, "{sent:?} {found:?}");
        }
        assert!(!Sent::new("a").may_leave(&"&amp;".repeat(1 << 20)));
    }

    #[test]
    fn texts_that_differ_in_spelling_have_one_key() {
        for other in ["fleet  ONE", " Fleet one", "Fl\u{e9}et One", "Fleet\u{a0}One"] {
            assert_eq!(key(other), key("Fleet One"), "{other:?}");
        }
        assert_ne!(key("Fleet Two"), key("Fleet One"));
    }

    #[test]
    fn only_texts_are_taken_in_another_spelling() {
        let sent = Profile {
            display_name: "Fleet One".into(),
            description: Some("x & y".into()),
            retail: Some(true),
            ..Profile::default()
        };
        let found = Profile {
            display_name: "FLEET ONE".into(),
            description: Some("x &amp; y".into()),
            retail: Some(false),
            ..Profile::default()
        };
        let stored = as_stored(&sent, &found).unwrap();
        assert_eq!(stored, Profile { retail: Some(true), ..found.clone() });
        // The name was in capitals before the change, which was to undo that.
        let changed = as_changed(&found, &sent, &found).unwrap();
        assert_eq!(changed, sent);
    }

    #[test]
    fn what_no_reader_sees_is_blank() {
        for blank in [' ', '\t', '\u{a0}', '\u{3000}', '\u{200b}', '\u{feff}', '\u{2800}'] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for seen in ['a', '.', '\u{e9}', '\u{fe0f}', '\u{1f600}', '\u{e007f}'] {
            assert!(!is_blank(seen), "{seen:?}");
        }
    }
}
