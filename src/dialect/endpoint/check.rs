//! Checks of a request that need no upstream.

use std::collections::HashSet;

use super::{
    capabilities::{CAPABILITIES, PREPAID, UNDOCUMENTED, VOICE},
    radio, service, wire,
};
use crate::{
    dialect::adapter::Edit,
    error::{Result, violation::Violations},
    model::{fields::Fields, note::Notes},
    pb::{Profile, Service, ServiceType, TrafficLimit},
};

/// References to other objects, which are written by id, and whether the vendor documents how to
/// clear them.
const REFERENCES: [(&str, bool); 6] = [
    ("callbacks.api", true),
    ("callbacks.api_secret", true),
    ("callbacks.moc", true),
    ("sms.esme_interface", false),
    ("network.breakout_region", false),
    ("network.dns", false),
];

/// Flags, which the upstream always has as true or false.
const SWITCHES: [&str; 7] = [
    "quotas.data",
    "quotas.sms",
    "retail",
    "sms.p2p_internal",
    "sms.p2p_external",
    "network.network_initiated_pdp",
    "payment_type",
];

/// Checks the touched fields of a request on their own.
pub(super) fn request(
    request: &Profile,
    touched: &(dyn Fn(&str) -> bool + Sync),
    violations: &mut Violations,
) {
    if touched("display_name") && request.display_name.is_empty() {
        violations.add("profile.display_name", "is required");
    }
    if touched("radio_access") {
        radio::check(&request.radio_access, violations);
    }
    if touched("services") {
        services("profile.services", &request.services, violations);
    }
    for (path, id) in references(request) {
        if touched(path) && !wire::is_id(&id) {
            violations.add(format!("profile.{path}.id"), NOT_AN_ID);
        }
    }
}

const NOT_AN_ID: &str = "must be the upstream's id, a whole number such as 38";

fn references(profile: &Profile) -> Vec<(&'static str, String)> {
    let callbacks = profile.callbacks.clone().unwrap_or_default();
    let network = profile.network.clone().unwrap_or_default();
    let sms = profile.sms.clone().unwrap_or_default();
    [
        ("callbacks.api", callbacks.api.map(|c| c.id)),
        ("callbacks.api_secret", callbacks.api_secret.map(|s| s.id)),
        ("callbacks.moc", callbacks.moc.map(|c| c.id)),
        ("sms.esme_interface", sms.esme_interface.map(|e| e.id)),
        ("network.breakout_region", network.breakout_region.map(|b| b.id)),
        ("network.dns", network.dns.map(|d| d.id)),
    ]
    .into_iter()
    .filter_map(|(path, id)| Some((path, id?)))
    .collect()
}

/// Checks the services in a request, with their limits.
pub(super) fn services(field: &str, services: &[Service], violations: &mut Violations) {
    let mut seen = HashSet::new();
    for service in services {
        if service.id.is_empty() && service.r#type == 0 {
            violations.add(field, "each service must have an id or a type");
        } else if !service.id.is_empty() && !wire::is_id(&service.id) {
            violations.add(field, format!("each id {NOT_AN_ID}"));
        } else if !seen.insert((&service.id, service.id.is_empty().then_some(service.r#type))) {
            violations.add(field, "must not contain a service twice");
        }
        let field = format!("{field}.traffic_limits");
        let mut seen = HashSet::new();
        for limit in &service.traffic_limits {
            self::limit(&field, limit, violations);
            if !limit.id.is_empty() && !seen.insert(&limit.id) {
                violations.add(&field, "must not contain a limit twice");
            }
        }
    }
}

/// Checks the service or limit of an edit.
pub(super) fn edit(edit: &Edit) -> Result<()> {
    let mut violations = Violations::default();
    let (Edit::AttachService(service)
    | Edit::DetachService(service)
    | Edit::AttachTrafficLimit(service, _)
    | Edit::DetachTrafficLimit(service, _)) = edit;
    // It only specifies the service; a catalog entry has all limits that exist.
    let named = Service { traffic_limits: Vec::new(), ..service.clone() };
    services("service", &[named], &mut violations);
    match edit {
        Edit::AttachService(service) if !service.traffic_limits.is_empty() => {
            violations.add("service.traffic_limits", "must be empty; use AttachTrafficLimit");
        }
        Edit::AttachTrafficLimit(_, limit) | Edit::DetachTrafficLimit(_, limit) => {
            self::limit("traffic_limit", limit, &mut violations);
        }
        Edit::AttachService(_) | Edit::DetachService(_) => {}
    }
    violations.into_result()
}

/// Checks a limit in a request.
pub(super) fn limit(field: &str, limit: &TrafficLimit, violations: &mut Violations) {
    let says_period = |limit: &TrafficLimit| {
        limit.period.as_ref().is_some_and(|period| {
            !period.id.is_empty() || (period.time_units.is_some() && period.unit.is_some())
        })
    };
    if !limit.id.is_empty() {
        if !wire::is_id(&limit.id) {
            violations.add(field, format!("each id {NOT_AN_ID}"));
        }
    } else if limit.volume.is_none() || !says_period(limit) {
        violations.add(
            field,
            "each limit must have an id, or a volume and a period with id or with time_units and \
             unit",
        );
    }
}

/// Notes what the vendor accepts, but advises against or does not carry out.
pub(super) fn caution(current: Option<&Profile>, desired: &Profile, notes: &mut Notes) {
    let had = current.map(|current| current.payment_type).unwrap_or_default();
    if desired.payment_type != had && desired.payment_type != 0 {
        notes.caution("payment_type", PREPAID);
    }
    let is_voice = |there: &Service| match there.r#type() {
        ServiceType::Unspecified => {
            service::kind(&there.id, there.description.as_deref()) == ServiceType::Voice
        }
        kind => kind == ServiceType::Voice,
    };
    let has_voice = |profile: &Profile| profile.services.iter().any(is_voice);
    if has_voice(desired) && !current.is_some_and(has_voice) {
        notes.caution("services", VOICE);
    }
}

/// Fields that `current` has, `desired` leaves unset, and the upstream cannot clear. The vendor
/// documents `{"id": null}` for callbacks and secrets only, and a flag is always true or false.
pub(super) fn unclearable(current: &Profile, desired: &Profile) -> Vec<(&'static str, String)> {
    let (Ok(before), Ok(after)) = (Fields::of(current), Fields::of(desired)) else {
        return Vec::new();
    };
    let unset = |path: &str| before.get(path).is_some() && after.get(path).is_none();
    let mut found: Vec<(&'static str, String)> = SWITCHES
        .into_iter()
        .filter(|path| unset(path))
        .map(|path| {
            let default = CAPABILITIES.field(path).and_then(|field| field.default);
            let default = default.unwrap_or(UNDOCUMENTED);
            (path, format!("cannot be unset; specify a value (a new profile gets {default})"))
        })
        .collect();
    if unset("radio_access") {
        found.push(("radio_access", "cannot be unset; 2G is always on".to_owned()));
    }
    let (had, has) = (references(current), references(desired));
    let has_id = |references: &[(&str, String)], path: &str| {
        references.iter().any(|(p, id)| *p == path && !id.is_empty())
    };
    for (path, _) in REFERENCES.into_iter().filter(|(_, clearable)| !clearable) {
        if has_id(&had, path) && !has_id(&has, path) {
            found.push((path, "cannot be cleared upstream, only replaced".to_owned()));
        }
    }
    found
}
