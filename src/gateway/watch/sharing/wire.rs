//! Profiles, changes, and errors as replicas tell them each other.

use crate::{
    error::{Error, Reason, facts::FACTS},
    gateway::watch::history::{ProfileEvent, Profiles, Run},
    model::fields,
    pb::{ChangeKind, Encoded},
    shared::history::{HistoryId, HistoryRun, SharedChange, SharedEntry},
};

/// The longest text of an error.
const LONGEST: usize = 1000;

/// A list.
pub(super) fn entries(profiles: &Profiles) -> Vec<SharedEntry> {
    let entry = |(position, profile): (&String, &Encoded<_>)| SharedEntry {
        position: position.clone(),
        value: profile.shared_bytes(),
    };
    profiles.iter().map(entry).collect()
}

pub(super) fn shared(change: &ProfileEvent) -> SharedChange {
    SharedChange {
        position: change.position.clone(),
        kind: match change.kind {
            ChangeKind::Added => 'a',
            ChangeKind::Removed => 'r',
            ChangeKind::Changed | ChangeKind::Unspecified => 'c',
        },
        fields: change.fields.join(","),
        value: change.profile.shared_bytes(),
    }
}

pub(super) fn event(change: SharedChange) -> ProfileEvent {
    ProfileEvent {
        kind: match change.kind {
            'a' => ChangeKind::Added,
            'r' => ChangeKind::Removed,
            _ => ChangeKind::Changed,
        },
        position: change.position,
        profile: Encoded::from_bytes(change.value),
        // One that this release does not have cannot be told.
        fields: change.fields.split(',').filter_map(fields::known).collect(),
    }
}

pub(super) fn shared_runs(runs: &[Run]) -> Vec<HistoryRun> {
    runs.iter().map(|run| HistoryRun { id: HistoryId(run.run), end: run.end }).collect()
}

pub(super) fn runs(runs: &[HistoryRun]) -> Vec<Run> {
    runs.iter().map(|run| Run { run: run.id.0, end: run.end }).collect()
}

/// Why a look has failed, which has no secret.
pub(super) fn error(error: &Error) -> String {
    let message: String = error.message().chars().take(LONGEST).collect();
    format!("{} {message}", error.facts().name())
}

/// The same error at another replica.
pub(super) fn read_error(text: &str) -> Error {
    let (name, message) = text.split_once(' ').unwrap_or((text, ""));
    // A reason of a later release.
    let unknown = Reason::UpstreamUnavailable;
    let known = FACTS.iter().find(|facts| facts.name() == name);
    Error::new(known.map_or(unknown, |facts| facts.reason), message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::Profile;

    #[test]
    fn what_is_told_is_the_same_at_another_replica() {
        let profile = Profile { name: "backends/a/profiles/b".into(), ..Profile::default() };
        let profile = Encoded::of(&profile);
        for (kind, fields) in [
            (ChangeKind::Added, vec![]),
            (ChangeKind::Removed, vec![]),
            (ChangeKind::Changed, vec!["display_name", "rats"]),
        ] {
            let fields = fields.into_iter().filter_map(fields::known).collect();
            let (position, profile) = ("a\0b".to_owned(), profile.clone());
            let change = ProfileEvent { position, kind, profile, fields };
            assert_eq!(event(shared(&change)), change);
        }
        let failed = Error::new(Reason::UpstreamThrottled, "try later");
        let read = read_error(&error(&failed));
        assert_eq!((read.reason(), read.message()), (failed.reason(), failed.message()));
        assert_eq!(read_error("OF_A_LATER_RELEASE x").reason(), Reason::UpstreamUnavailable);
    }
}
