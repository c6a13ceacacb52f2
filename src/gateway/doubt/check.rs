//! Checks what someone says of a write in doubt.

use crate::{
    error::{Result, violation::Violations},
    model::name::{DoubtName, ProfileName},
    pb::{CloseDoubtfulWriteRequest, DoubtOutcome},
    text,
};

/// The longest note: as much as is shown of any text that comes from outside.
const MAX_NOTE_BYTES: usize = text::UPSTREAM_MESSAGE_BYTES;

/// A checked request to close a write.
pub(crate) struct Asked {
    pub(crate) name: DoubtName,
    pub(super) outcome: Outcome,
    pub(super) note: String,
}

/// How the write ended.
pub(super) enum Outcome {
    /// With the profile that a creation has made, if it is named.
    TookEffect(Option<ProfileName>),
    HadNoEffect,
}

impl Outcome {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::TookEffect(_) => "TOOK_EFFECT",
            Self::HadNoEffect => "HAD_NO_EFFECT",
        }
    }

    pub(super) fn profile(&self) -> Option<&ProfileName> {
        match self {
            Self::TookEffect(profile) => profile.as_ref(),
            Self::HadNoEffect => None,
        }
    }
}

impl Asked {
    /// Checks a request by itself, and reports everything that is wrong with it.
    pub(crate) fn check(request: &CloseDoubtfulWriteRequest) -> Result<Self> {
        let mut violations = Violations::default();
        let name = violations.collect(DoubtName::parse("name", &request.name));
        let profile = match request.profile.as_str() {
            "" => Ok(None),
            profile => violations.collect(ProfileName::parse("profile", profile)).map(Some),
        };
        let outcome = outcome(request, &mut violations);
        let note = note(&request.note, &mut violations);
        if let (Ok(name), Ok(Some(profile))) = (&name, &profile)
            && name.backend() != profile.backend()
        {
            violations.add("profile", format!("must be a profile of {}", name.backend()));
        }
        if outcome == DoubtOutcome::HadNoEffect && !request.profile.is_empty() {
            violations.add("profile", "must be empty for a write that had no effect");
        }
        violations.into_result()?;
        let outcome = match outcome {
            DoubtOutcome::HadNoEffect => Outcome::HadNoEffect,
            DoubtOutcome::TookEffect | DoubtOutcome::Unspecified => Outcome::TookEffect(profile?),
        };
        Ok(Self { name: name?, outcome, note })
    }
}

fn outcome(request: &CloseDoubtfulWriteRequest, violations: &mut Violations) -> DoubtOutcome {
    let wrong = match DoubtOutcome::try_from(request.outcome) {
        Ok(DoubtOutcome::Unspecified) => "is required",
        Ok(outcome) => return outcome,
        Err(_) => "has a number that the enum does not define",
    };
    let outcomes = "DOUBT_OUTCOME_TOOK_EFFECT or DOUBT_OUTCOME_HAD_NO_EFFECT";
    violations.add("outcome", format!("{wrong}: {outcomes}"));
    DoubtOutcome::Unspecified
}

/// The note as it can be shown. What looks like markup is a person's text, and stays.
fn note(note: &str, violations: &mut Violations) -> String {
    if note.len() > MAX_NOTE_BYTES {
        let length = note.len();
        violations.add("note", format!("is {length} bytes long; the limit is {MAX_NOTE_BYTES}"));
        return String::new();
    }
    let plain = note.replace('<', "‹").replace('>', "›");
    text::presentable(&plain).unwrap_or_else(|| {
        violations.add("note", "is required: how the outcome was found out, as plain text");
        String::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> CloseDoubtfulWriteRequest {
        CloseDoubtfulWriteRequest {
            name: "backends/a/doubtfulWrites/7".to_owned(),
            outcome: DoubtOutcome::TookEffect.into(),
            note: "seen in the portal".to_owned(),
            profile: "backends/a/profiles/1".to_owned(),
        }
    }

    #[test]
    fn all_that_is_wrong_is_reported_at_once() {
        let bad = CloseDoubtfulWriteRequest {
            name: "backends/-/doubtfulWrites/7".to_owned(),
            outcome: 77,
            note: "x".repeat(257),
            profile: "profiles/1".to_owned(),
        };
        let none = CloseDoubtfulWriteRequest::default();
        let fields = |request: &CloseDoubtfulWriteRequest| {
            let Err(error) = Asked::check(request) else { panic!("{request:?}") };
            let fields = error.violations().iter().map(|violation| violation.field.clone());
            fields.collect::<Vec<_>>()
        };
        assert_eq!(fields(&bad), ["name", "profile", "outcome", "note"]);
        assert_eq!(fields(&none), ["name", "outcome", "note"]);
        for request in [&bad, &none] {
            let Err(error) = Asked::check(request) else { panic!("{request:?}") };
            let outcome = error.violations().iter().find(|violation| violation.field == "outcome");
            for value in ["DOUBT_OUTCOME_TOOK_EFFECT", "DOUBT_OUTCOME_HAD_NO_EFFECT"] {
                assert!(outcome.unwrap().description.contains(value), "{error}");
            }
        }
        let elsewhere =
            CloseDoubtfulWriteRequest { profile: "backends/b/profiles/1".to_owned(), ..good() };
        assert_eq!(fields(&elsewhere), ["profile"]);
        let outcome = DoubtOutcome::HadNoEffect.into();
        assert_eq!(fields(&CloseDoubtfulWriteRequest { outcome, ..good() }), ["profile"]);
        let note = "\u{200b}\n\t".to_owned();
        assert_eq!(fields(&CloseDoubtfulWriteRequest { note, ..good() }), ["note"]);
    }

    #[test]
    fn a_note_is_made_presentable() {
        let note = "seen\nby me, Bearer abc.def\u{202e}".to_owned();
        let asked = Asked::check(&CloseDoubtfulWriteRequest { note, ..good() }).unwrap();
        assert_eq!(asked.note, "seen by me, Bearer [redacted]");
        assert_eq!(asked.outcome.profile().unwrap().to_string(), good().profile);
        for (note, shown) in [
            ("INC-123 <checked by bob>", "INC-123 ‹checked by bob›"),
            ("<b>portal</b> shows it", "‹b›portal‹/b› shows it"),
            ("a < b", "a ‹ b"),
        ] {
            let asked = CloseDoubtfulWriteRequest { note: note.to_owned(), ..good() };
            assert_eq!(Asked::check(&asked).unwrap().note, shown);
        }
    }
}
