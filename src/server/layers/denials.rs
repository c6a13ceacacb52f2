//! The lines of the audit log about calls that were denied.
//!
//! They are samples: one each second for each caller, or for each peer that has not proved who it
//! is, with the number of those that were left out before. So a flood of such calls is no flood of
//! lines, and takes no room from the lines about writes.

use super::methods::Method;
use crate::{
    auth::Right,
    call::{CallRecord, Denial},
    error::Reason,
    telemetry::{AuditLog, Record},
};

/// Writes the line about a call that failed for this reason, if it was denied and may have one.
pub(super) fn audit(log: &AuditLog, call: &CallRecord, method: &Method, reason: &str) {
    let of_denials = [Reason::CallerUnauthenticated, Reason::CallerNotAllowed];
    let Some(denial) = call.denied() else { return };
    if !of_denials.iter().any(|known| known.name() == reason) {
        return;
    }
    let Some(left_out) = call.caller().may_audit_denial() else { return };
    let record = said(log.record("audit"), call, denial)
        .text("call_id", call.id().shown().as_str())
        .maybe("caller_request_id", call.caller_ids().request_id())
        .maybe("trace_id", call.caller_ids().trace_id())
        .text("method", if method.name.is_empty() { &method.label } else { &method.name })
        .text("outcome", reason)
        .number("left_out", left_out);
    if !log.audit_denial(record) {
        call.caller().left_out_denial(left_out);
    }
}

/// Adds who calls, and what was decided.
fn said(record: Record, call: &CallRecord, denial: &Denial) -> Record {
    let identity = call.identity();
    let record = match identity {
        Some(identity) => identity.describe(record),
        None => record,
    };
    let record = record.maybe("peer", call.peer());
    match denial {
        Denial::Unproved(unproved) => record
            .text("decision", "unauthenticated")
            .text("why", unproved.why.name())
            .text("cause", &unproved.cause),
        Denial::NotAllowed { right, backend } => record
            .text("role", &identity.map_or_else(String::new, |identity| identity.roles(None)))
            .text("right", Right::name(*right))
            .text("decision", "denied")
            .maybe("backend", backend.as_deref()),
    }
}
