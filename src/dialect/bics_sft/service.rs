//! The four services of SFT: replies have names, requests have ids (page "06. Service Profile").
//!
//! NB-IoT is the fourth service on the wire and a radio access in the model, so it is not here.

use super::{capabilities::NAME, radio};
use crate::{
    error::{Error, Reason, Result, violation::Violations},
    pb::{Profile, Service, ServiceType},
    text,
};

/// A service of the static catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    /// How other pages of the vendor write it.
    other_name: &'static str,
    pub(super) kind: ServiceType,
}

/// In the order of the vendor's examples (`4|2|3`, `DATA|MO-SMS|MT-SMS`).
pub(super) const KNOWN: [Known; 3] = [
    Known { id: "4", name: "DATA", other_name: "DATA", kind: ServiceType::Data },
    Known { id: "2", name: "MO-SMS", other_name: "SMS-MO", kind: ServiceType::SmsMo },
    Known { id: "3", name: "MT-SMS", other_name: "SMS-MT", kind: ServiceType::SmsMt },
];

/// NB-IoT on the wire.
pub(super) const NB_IOT_ID: &str = "5";
const NB_IOT_NAME: &str = "NB-IOT";

impl From<Known> for Service {
    fn from(known: Known) -> Self {
        Self { id: known.id.to_owned(), r#type: known.kind.into(), ..Self::default() }
    }
}

/// The meaning of a service name in a reply.
pub(super) enum Named {
    Service(Known),
    NbIot,
    Unknown,
}

/// Reads a service name. Other pages of the vendor write `SMS_MO` and `SMS-MO` for `MO-SMS`, so
/// case, `-` and `_` are ignored.
pub(super) fn by_name(name: &str) -> Named {
    match KNOWN
        .into_iter()
        .find(|known| [known.name, known.other_name].iter().any(|n| same(name, n)))
    {
        Some(known) => Named::Service(known),
        None if same(name, NB_IOT_NAME) => Named::NbIot,
        None => Named::Unknown,
    }
}

fn same(one: &str, other: &str) -> bool {
    fn counted(name: &str) -> impl Iterator<Item = char> {
        name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).map(|c| c.to_ascii_uppercase())
    }
    one == other || counted(one).eq(counted(other))
}

/// The service that a request specifies by id, by type or by both.
fn resolve(service: &Service) -> Result<Known, String> {
    if service.id == NB_IOT_ID {
        return Err("NB-IoT is a radio access: set RADIO_ACCESS_NB_IOT in radio_access".to_owned());
    }
    let unspecified = i32::from(ServiceType::Unspecified);
    let found = KNOWN.into_iter().find(|known| {
        (service.id.is_empty() || service.id == known.id)
            && (service.r#type == unspecified || service.r#type == i32::from(known.kind))
    });
    match found {
        Some(known) if !(service.id.is_empty() && service.r#type == unspecified) => Ok(known),
        _ => Err(unknown(service)),
    }
}

/// What is wrong with a service that does not exist.
fn unknown(Service { id, r#type: number, .. }: &Service) -> String {
    let kind = || match ServiceType::try_from(*number) {
        Ok(kind) => kind.as_str_name().to_owned(),
        Err(_) => number.to_string(),
    };
    let id = (!id.is_empty()).then(|| format!("the id {}", text::quoted(id)));
    let kind = (*number != i32::from(ServiceType::Unspecified)).then(|| format!("type {}", kind()));
    match [id, kind].into_iter().flatten().collect::<Vec<_>>().join(" and ") {
        nothing if nothing.is_empty() => {
            "a service must have an id or a type, and this one has neither".to_owned()
        }
        named => format!("there is no service with {named}; see ListServices"),
    }
}

/// The service in a request to AttachService or DetachService.
pub(super) fn resolve_for_request(service: &Service) -> Result<Known> {
    resolve(service).map_err(|why| Error::invalid_field("service", why))
}

/// The ids of a profile's services; unknown services are left out.
pub(super) fn ids(services: &[Service]) -> impl Iterator<Item = &'static str> {
    KNOWN
        .into_iter()
        .filter(|known| services.iter().any(|s| resolve(s).is_ok_and(|found| found == *known)))
        .map(|known| known.id)
}

/// The list of service ids in the wire format; empty if the profile has none.
pub(super) fn on_wire(profile: &Profile) -> String {
    let nb_iot = radio::has_nb_iot(&profile.radio_access).then_some(NB_IOT_ID);
    ids(&profile.services).chain(nb_iot).collect::<Vec<_>>().join("|")
}

/// A profile's services as reads return them; unknown services are left out.
pub(super) fn known(services: &[Service]) -> Vec<Service> {
    let named = |known: &Known| services.iter().any(|s| resolve(s).is_ok_and(|s| s == *known));
    KNOWN.into_iter().filter(named).map(Into::into).collect()
}

/// Checks the services of a request on their own.
pub(super) fn check(services: &[Service], violations: &mut Violations) {
    for service in services {
        if let Err(why) = resolve(service) {
            violations.add("profile.services", why);
        }
        if !service.traffic_limits.is_empty() {
            violations.not_supported("profile.services.traffic_limits", NAME);
        }
    }
}

/// Rejects a change of services if the profile has unknown ones: a write replaces the whole list of
/// ids, so they would be dropped.
pub(super) fn refuse_loss(current: &Profile, desired: &Profile) -> Result<()> {
    let unknown = current.unmapped.as_ref().is_some_and(|u| u.fields.contains_key("serviceName"));
    if unknown && on_wire(current) != on_wire(desired) {
        return Err(Error::new(
            Reason::UnmappedValueAtRisk,
            "the profile has services that the gateway does not know (unmapped.serviceName), and \
             changing its services would drop them; nothing was sent",
        ));
    }
    Ok(())
}

/// The reply to ListServices.
pub(super) fn catalog() -> Vec<Service> {
    let mut services: Vec<Service> = KNOWN
        .into_iter()
        .map(|known| Service { description: Some(known.name.to_owned()), ..known.into() })
        .collect();
    services.sort_by(|a, b| a.id.cmp(&b.id));
    services
}
