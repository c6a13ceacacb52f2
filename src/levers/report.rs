//! What the log and the audit log say of levers.

use super::lever::{InForce, Operator};
use crate::telemetry::{AuditLog, Record};

/// What has happened to a lever.
#[derive(Clone, Copy)]
pub(super) enum Happened<'o> {
    /// This operator has set it.
    Set(&'o Operator),
    /// This operator has ended it.
    Ended(&'o Operator),
    /// Its time is over.
    Expired,
}

impl<'o> Happened<'o> {
    fn operator(self) -> Option<&'o Operator> {
        match self {
            Self::Set(operator) | Self::Ended(operator) => Some(operator),
            Self::Expired => None,
        }
    }

    /// What the audit log calls it.
    fn method(self) -> &'static str {
        match self {
            Self::Set(_) => "SetLever",
            Self::Ended(_) => "EndLever",
            Self::Expired => "ExpireLever",
        }
    }
}

/// Writes the lines.
pub(super) struct Report {
    audit: AuditLog,
}

impl Report {
    pub(super) fn new(audit: AuditLog) -> Self {
        Self { audit }
    }

    /// Reports what has happened to a lever, and which one it replaces.
    pub(super) fn lever(&self, how: Happened<'_>, lever: &InForce, replaced: Option<&InForce>) {
        log(how, lever, replaced);
        let InForce { backend, filter, note, .. } = lever;
        // The one that has set it, where no one has ended it.
        let principal = how.operator().map_or(&lever.operator, |operator| &operator.name);
        let record = self.record(how.method(), principal, how.operator());
        let record = record
            .text("lever", lever.lever.name())
            .maybe("backend", backend.as_deref())
            .maybe("filter", filter.as_deref())
            .text("until", &lever.until())
            .text("note", note)
            .maybe("replaced", replaced.map(|replaced| replaced.lever.name()));
        // A lever is for when things go wrong, so a log that takes no lines stops none.
        self.audit.audit(record.text("outcome", "OK"));
    }

    /// Reports that an operator has ended the pause of a backend.
    pub(super) fn ended_pause(&self, backend: &str, operator: &Operator) {
        tracing::warn!(
            target: "gateway", backend, operator = &*operator.name,
            "an operator ended this backend's pause"
        );
        let record = self.record("EndPause", &operator.name, Some(operator));
        self.audit.audit(record.text("backend", backend).text("outcome", "OK"));
    }

    fn record(&self, method: &str, principal: &str, operator: Option<&Operator>) -> Record {
        let peer = operator.and_then(|operator| operator.peer.as_deref());
        let record = self.audit.record("audit").text("message", "an act of an operator");
        record.text("method", method).text("principal", principal).maybe("peer", peer)
    }
}

fn log(how: Happened<'_>, lever: &InForce, replaced: Option<&InForce>) {
    let InForce { backend, filter, note, .. } = lever;
    let (name, backend, filter) = (lever.lever.name(), backend.as_deref(), filter.as_deref());
    let operator = how.operator().map(|operator| &*operator.name);
    let until = lever.until();
    match how {
        Happened::Set(_) => tracing::warn!(
            target: "gateway", lever = name, backend, filter, operator, until, note,
            replaced = replaced.map(|replaced| replaced.lever.name()),
            "an operator has set a lever"
        ),
        Happened::Ended(_) => tracing::warn!(
            target: "gateway", lever = name, backend, filter, operator, set_by = &*lever.operator,
            "an operator has ended a lever"
        ),
        Happened::Expired => tracing::warn!(
            target: "gateway", lever = name, backend, filter, set_by = &*lever.operator,
            "a lever has ended by itself"
        ),
    }
}
