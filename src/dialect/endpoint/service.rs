//! Services and traffic limits, and how a request specifies them.
//!
//! The platform's services are read-only objects of a catalog, and so are the limits of each.

use std::collections::HashMap;

use crate::{
    pb::{Period, Service, ServiceType, TrafficLimit},
    text,
};

/// Ids from the platform's own catalog, as its public clients list them. Only used for a service
/// without a description, because other installations may have other ids.
const KNOWN_IDS: [(&str, ServiceType); 5] = [
    ("0", ServiceType::Ussd),
    ("3", ServiceType::Voice),
    ("6", ServiceType::SmsMt),
    ("32", ServiceType::SmsMo),
    ("38", ServiceType::Data),
];

/// The type of a service according to its description, compared without case, spaces, `-` and `_`.
pub(super) fn kind(id: &str, description: Option<&str>) -> ServiceType {
    let Some(description) = description else {
        let known = KNOWN_IDS.iter().find(|(known, _)| *known == id);
        return known.map_or(ServiceType::Unspecified, |(_, kind)| *kind);
    };
    let word: String = description
        .chars()
        .filter(|c| !matches!(c, '-' | '_') && !c.is_whitespace())
        .map(|c| c.to_ascii_uppercase())
        .collect();
    match word.as_str() {
        "DATA" => ServiceType::Data,
        "SMS" => ServiceType::Sms,
        "SMSMO" | "MOSMS" => ServiceType::SmsMo,
        "SMSMT" | "MTSMS" => ServiceType::SmsMt,
        "VOICE" => ServiceType::Voice,
        "USSD" => ServiceType::Ussd,
        _ => ServiceType::Unspecified,
    }
}

/// Whether a service is the one that a request specifies by id, by type or by both.
fn is_meant(there: &Service, wanted: &Service) -> bool {
    let by_id = wanted.id.is_empty() || wanted.id == there.id;
    let by_kind = wanted.r#type == 0 || wanted.r#type == there.r#type;
    by_id && by_kind && !(wanted.id.is_empty() && wanted.r#type == 0)
}

/// The services that are there, each found by its id at once.
pub(super) struct Found<'a> {
    services: &'a [Service],
    by_id: HashMap<&'a str, &'a Service>,
}

impl<'a> Found<'a> {
    pub(super) fn new(services: &'a [Service]) -> Self {
        let by_id = services.iter().map(|service| (service.id.as_str(), service)).collect();
        Self { services, by_id }
    }

    /// See [`find`].
    pub(super) fn find(&self, wanted: &Service) -> Result<Option<&'a Service>, String> {
        if wanted.id.is_empty() {
            return find(self.services, wanted);
        }
        match self.by_id.get(wanted.id.as_str()) {
            Some(there) => find(std::slice::from_ref(*there), wanted),
            None => Ok(None),
        }
    }
}

/// The service among these that a request specifies; `None` if no service matches, and an error if
/// the request's id and type contradict each other or its type is ambiguous.
pub(super) fn find<'a>(
    services: &'a [Service],
    wanted: &Service,
) -> Result<Option<&'a Service>, String> {
    let mut fitting = services.iter().filter(|there| is_meant(there, wanted));
    match (fitting.next(), fitting.next()) {
        (None, _) => match services.iter().find(|there| there.id == wanted.id) {
            Some(there) => {
                let mut of_type = Service { id: String::new(), ..wanted.clone() };
                of_type.traffic_limits.clear();
                let (there, wanted) = (describe(there), describe(&of_type));
                Err(format!("{there} is not of type {wanted}"))
            }
            None => Ok(None),
        },
        (Some(one), None) => Ok(Some(one)),
        (Some(one), Some(other)) => Err(format!(
            "{} matches id {} and id {}; specify an id",
            describe(wanted),
            one.id,
            other.id
        )),
    }
}

/// Whether a limit is the one that a request specifies by id, by volume and period, or by all of
/// them.
pub(super) fn is_meant_limit(there: &TrafficLimit, wanted: &TrafficLimit) -> bool {
    let by_id = wanted.id.is_empty() || wanted.id == there.id;
    let by_volume = wanted.volume.is_none() || wanted.volume == there.volume;
    let by_period = match (&wanted.period, &there.period) {
        (None, _) => true,
        (Some(wanted), Some(there)) => is_meant_period(there, wanted),
        (Some(_), None) => false,
    };
    by_id && by_volume && by_period
}

fn is_meant_period(there: &Period, wanted: &Period) -> bool {
    let same_unit = |wanted: &String| {
        there.unit.as_ref().is_some_and(|there| there.eq_ignore_ascii_case(wanted))
    };
    (wanted.id.is_empty() || wanted.id == there.id)
        && (wanted.time_units.is_none() || wanted.time_units == there.time_units)
        && wanted.unit.as_ref().is_none_or(same_unit)
}

/// A service for messages.
pub(super) fn describe(service: &Service) -> String {
    let kind = ServiceType::try_from(service.r#type).unwrap_or(ServiceType::Unspecified);
    let kind = kind.as_str_name().trim_start_matches("SERVICE_TYPE_");
    match (service.id.is_empty(), service.r#type == 0) {
        (true, _) => kind.to_owned(),
        (false, true) => format!("id {}", text::cut(&service.id, 64)),
        (false, false) => format!("id {} ({kind})", text::cut(&service.id, 64)),
    }
}

/// A limit for messages.
pub(super) fn describe_limit(limit: &TrafficLimit) -> String {
    if !limit.id.is_empty() {
        return format!("id {}", text::cut(&limit.id, 64));
    }
    let period = limit.period.clone().unwrap_or_default();
    let volume = limit.volume.unwrap_or_default();
    match (period.time_units, &period.unit) {
        (Some(units), Some(unit)) => format!("{volume} per {units} {}", text::cut(unit, 32)),
        _ => format!("{volume} per period {}", text::cut(&period.id, 64)),
    }
}
