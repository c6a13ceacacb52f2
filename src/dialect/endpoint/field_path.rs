//! Translates the vendor's complaints about fields to violations with our own paths.
//!
//! There is no structured field: messages are `"{Object} - {field} is required"` and the like, with
//! ids in apostrophes (page "Errors").

use super::wire::Fault;
use crate::{
    error::violation::{Violation, Violations},
    text,
};

/// More than the model has fields.
const MAX: usize = 32;

/// Upstream members and the objects that they refer to, in lower case without punctuation.
const FIELD_PATHS: [(&str, &str); 24] = [
    ("name", "profile.display_name"),
    ("description", "profile.description"),
    ("allowed3g", "profile.radio_access"),
    ("allowed4g", "profile.radio_access"),
    ("allowednbiot", "profile.radio_access"),
    ("allowednbiotgeo", "profile.radio_access"),
    ("applyquota", "profile.quotas.data"),
    ("applydataquota", "profile.quotas.data"),
    ("applysmsquota", "profile.quotas.sms"),
    ("retail", "profile.retail"),
    ("smsp2pint", "profile.sms.p2p_internal"),
    ("smsp2pext", "profile.sms.p2p_external"),
    ("esmeinterfacetype", "profile.sms.esme_interface"),
    ("esmeinterface", "profile.sms.esme_interface"),
    ("prepaid", "profile.payment_type"),
    ("nipdp", "profile.network.network_initiated_pdp"),
    ("breakoutregion", "profile.network.breakout_region"),
    ("dns", "profile.network.dns"),
    ("apicallback", "profile.callbacks.api"),
    ("apisecret", "profile.callbacks.api_secret"),
    ("moccallback", "profile.callbacks.moc"),
    ("service", "profile.services"),
    ("trafficlimit", "profile.services"),
    ("usedcount", "profile.endpoint_count"),
];

/// Whether a profile member has this name, in [`subject`]'s spelling.
pub(super) fn is_member(name: &str) -> bool {
    FIELD_PATHS.iter().any(|(known, _)| *known == name)
}

/// The violations in an error; at least one, at `fallback` if no field is known.
pub(super) fn violations(fault: &Fault, fallback: &str) -> Vec<Violation> {
    let each = if fault.errors.is_empty() { std::slice::from_ref(fault) } else { &fault.errors };
    let mut found = Violations::default();
    for error in each.iter().take(MAX) {
        let words = error.message.as_deref().unwrap_or_default();
        let field = field_path(words).unwrap_or(fallback);
        let description = text::presentable(words);
        let description =
            description.unwrap_or_else(|| "is not accepted by the upstream".to_owned());
        found.add(field, description);
    }
    found.into_vec()
}

/// Our path for the subject of a message.
fn field_path(words: &str) -> Option<&'static str> {
    let by_name = |name: &str| {
        let name = spell(name);
        FIELD_PATHS.iter().find(|(known, _)| *known == name).map(|(_, path)| *path)
    };
    // `{Object} - {field} is required`, `{Object} - {field} has invalid format: …`. The field may
    // be a path of its own: `api_callback.id`.
    let field = words.split_once(" - ").and_then(|(_, rest)| rest.split_whitespace().next());
    let field = field.and_then(|field| field.split(['.', '[']).next());
    if let Some(path) = field.and_then(by_name) {
        return Some(path);
    }
    // `Invalid reference to {resource} with id {id}`, `{Resource} with Id '{id}' not found.`
    by_name(&subject(words))
}

/// The object that a message is about, in lower case without punctuation; empty without one.
pub(super) fn subject(words: &str) -> String {
    let lower = words.to_ascii_lowercase();
    let lower = lower.trim_start_matches("invalid reference to ");
    lower.split_once(" with id").map(|(subject, _)| spell(subject)).unwrap_or_default()
}

fn spell(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
