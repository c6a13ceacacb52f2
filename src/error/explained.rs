//! All that is known of a reason, for people: `profile-gateway explain REASON`, and the runbooks.
//!
//! What a reason means is the comment that it has in the proto; nothing here repeats it.

use std::fmt;

use prost::Message as _;
use prost_types::FileDescriptorSet;

use super::{
    advice::{Advice, advice},
    facts::{FACTS, Facts},
    reason::{Reason, Retry},
};
use crate::{pb::DESCRIPTOR_SET, text};

const FILE: &str = "profilegateway/v1/error_reason.proto";
/// Most names that are suggested for one that does not exist.
const MAX_SUGGESTIONS: usize = 5;

/// What is known of a reason that is sent.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// What the program does about it.
    pub facts: &'static Facts,
    /// What people do about it.
    pub advice: &'static Advice,
    /// The names of the gRPC codes that come with it.
    pub statuses: String,
    /// What it means: a sentence without its full stop, on one line.
    pub meaning: String,
}

impl Explanation {
    /// Whether the same request may be sent again.
    #[must_use]
    pub fn retry(&self) -> &'static str {
        match self.facts.retry {
            Retry::No => "no",
            Retry::After(_) => "after `RetryInfo`",
        }
    }
}

/// As a terminal shows it.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { facts, advice, statuses, meaning } = self;
        writeln!(f, "{}\n", facts.name())?;
        writeln!(f, "What it means: {meaning}.")?;
        writeln!(f, "Status: {statuses}")?;
        writeln!(f, "Retry as it is: {}", self.retry())?;
        writeln!(f, "Who acts: {}", advice.who)?;
        writeln!(f, "What to do: {}", facts.remedy)?;
        write!(f, "First look: {}", advice.look)?;
        for (number, step) in (1..).zip(advice.steps) {
            write!(f, "\n{number}. {step}")?;
        }
        Ok(())
    }
}

/// All reasons that are sent, in the order of the proto.
pub fn names() -> impl Iterator<Item = &'static str> {
    sent().map(Facts::name)
}

/// What is known of the reason of this name, in whichever case, with `-` or `_`.
#[must_use]
pub fn explanation(name: &str) -> Option<Explanation> {
    let name = spelled(name);
    let facts = sent().find(|facts| facts.name() == name)?;
    let comment = comment(facts.reason)?;
    let (statuses, meaning) = comment.split_once(": ")?;
    Some(Explanation {
        facts,
        advice: advice(facts.reason)?,
        statuses: statuses.to_owned(),
        meaning: meaning.trim_end_matches('.').to_owned(),
    })
}

/// The names that were probably meant: the closest one, or else those that have a word of it.
#[must_use]
pub fn nearest(name: &str) -> Vec<&'static str> {
    let name = spelled(name);
    if let Some(closest) = text::closest(&name, names()) {
        return vec![closest];
    }
    let words: Vec<&str> = name.split('_').filter(|word| word.len() > 2).collect();
    let shared = |known: &str| known.split('_').filter(|word| words.contains(word)).count();
    let mut near: Vec<_> = names().map(|known| (shared(known), known)).collect();
    near.retain(|(shared, _)| *shared > 0);
    near.sort_by_key(|(shared, _)| std::cmp::Reverse(*shared));
    near.into_iter().take(MAX_SUGGESTIONS).map(|(_, known)| known).collect()
}

fn sent() -> impl Iterator<Item = &'static Facts> {
    FACTS.iter().filter(|facts| facts.reason != Reason::Unspecified)
}

fn spelled(name: &str) -> String {
    let name = name.trim().to_uppercase().replace('-', "_");
    name.strip_prefix("ERROR_REASON_").map_or(name.clone(), str::to_owned)
}

/// The comment of a reason in the proto, on one line: the statuses, and what it means.
#[must_use]
pub fn comment(reason: Reason) -> Option<String> {
    // Paths of descriptor.proto: the first enum of the file, and a value of it.
    const ENUM: [i32; 2] = [5, 0];
    const VALUE: i32 = 2;
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).ok()?;
    let file = set.file.into_iter().find(|file| file.name() == FILE)?;
    let values = &file.enum_type.first()?.value;
    let at = values.iter().position(|value| value.number() == reason as i32)?;
    let path = [ENUM[0], ENUM[1], VALUE, i32::try_from(at).ok()?];
    let info = file.source_code_info?;
    let location = info.location.iter().find(|location| location.path == path)?;
    Some(location.leading_comments().split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_explained() {
        for name in names() {
            let explained = explanation(name).unwrap_or_else(|| panic!("{name}"));
            let shown = explained.to_string();
            for part in [name, explained.facts.remedy, explained.advice.look, "Who acts: the "] {
                assert!(shown.contains(part), "no {part} in {shown}");
            }
            assert!(!explained.meaning.is_empty() && !explained.statuses.is_empty(), "{shown}");
        }
        assert_eq!(names().count(), FACTS.len() - 1);
    }

    #[test]
    fn a_name_is_found_in_any_case() {
        for name in ["cache_miss", "Cache-Miss", "ERROR_REASON_CACHE_MISS", " CACHE_MISS\n"] {
            assert_eq!(explanation(name).map(|found| found.facts.name()), Some("CACHE_MISS"));
        }
        for name in ["", "UNSPECIFIED", "CACHE"] {
            assert!(explanation(name).is_none(), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_has_near_ones() {
        assert_eq!(nearest("cachemiss"), ["CACHE_MISS"]);
        assert_eq!(nearest("profile_was_not_found")[0], "PROFILE_NOT_FOUND");
        assert_eq!(nearest("locked"), ["UPSTREAM_ACCOUNT_LOCKED"]);
        assert!(nearest("upstream").len() <= MAX_SUGGESTIONS);
        assert!(nearest("xyzzy").is_empty() && nearest("").is_empty());
    }
}
