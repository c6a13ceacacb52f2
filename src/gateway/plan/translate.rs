//! What a profile would be in another backend.
//!
//! The capability tables decide which fields carry over, the target's service catalog which
//! services, and the target's dialect the rest (`Dialect::coerce`). The upstream calls are those of
//! a preview.

use prost_reflect::Value;

use crate::{
    call::Call,
    error::{
        Error, Result,
        violation::{Violation, Violations},
    },
    gateway::{
        backend::Backend,
        door::{Allowed, Previews, Reads},
        plan::preview::{can_create, creation, unnamed},
        read::{cached, get},
        write::{check::new_profile, prepare},
    },
    model::{
        etag::normalize,
        fields::{Fields, SETTABLE, output_only_content},
        method::Method,
        name::ProfileName,
        note::Notes,
    },
    pb::{Profile, Service, ServiceType, TrafficLimit, TranslateProfileResponse, UpstreamCall},
    text,
};

const METHOD: Method = Method::TranslateProfile;

/// Shows what a profile would be in another backend, and what creating it there would send.
pub(crate) async fn profile(
    source: (&Allowed<Reads>, &ProfileName),
    target: &Allowed<Previews>,
    call: &Call,
) -> Result<TranslateProfileResponse> {
    target.require(Method::CreateProfile)?;
    let (source, name) = source;
    let profile = get::whole(source, call, METHOD, name).await?;
    let mut notes = Notes::default();
    let mut draft = carried(target, &profile, &mut notes)?;
    for (field, why) in source.dialect().not_read() {
        notes.not_read(field, *why);
    }
    if source.name() != target.name() {
        if can_create(target, "services") && !draft.services.is_empty() {
            let catalog = cached::services(target, call).await;
            let catalog = catalog.map_err(|error| target.decorate(METHOD, error))?;
            draft.services = translated(&draft.services, &catalog, &mut notes);
        }
        if profile.dialect == i32::from(target.dialect().kind()) {
            note_references(&draft, &mut notes)?;
        }
    }
    target.dialect().coerce(&mut draft, &mut notes);
    // The calls must be the ones that creating the profile as shown would send.
    normalize(&mut draft);
    let planned = plan(target, call, draft, &mut notes).await;
    let (upstream_calls, profile) = planned.map_err(|error| target.fail(METHOD, error))?;
    let profile = Some(profile);
    Ok(TranslateProfileResponse { profile, upstream_calls, notes: notes.into_vec() })
}

/// The profile with only the fields that the target has. Adds a note for each one that it lacks.
fn carried(target: &Backend, profile: &Profile, notes: &mut Notes) -> Result<Profile> {
    let (from, mut draft) = (Fields::of(profile)?, Fields::empty()?);
    for path in SETTABLE {
        if can_create(target, path) {
            draft.copy(path, &from);
        } else if from.get(path).is_some() {
            let why = format!("dialect {} has no such field", target.dialect().name());
            notes.lost(path, why);
        }
    }
    let described = output_only_content().filter(|path| *path != "unmapped");
    for path in described.filter(|path| from.get(path).is_some()) {
        notes.lost(path, "is output only: it describes the source profile, not a new one");
    }
    if !profile.data_limits.is_empty() {
        let limits = profile.data_limits.len();
        let why = format!("{limits} of the source profile; nothing limits a new profile so");
        notes.lost("data_limits", why);
    }
    if let Some(unmapped) = &profile.unmapped {
        let keys: Vec<&str> = unmapped.fields.keys().map(String::as_str).collect();
        let keys = keys.join(", ");
        let why = format!("upstream members that only the source has: {}", text::cut(&keys, 512));
        notes.lost("unmapped", why);
    }
    draft.into_profile()
}

/// Notes the references to upstream objects, which another account may not have.
fn note_references(draft: &Profile, notes: &mut Notes) -> Result<()> {
    let fields = Fields::of(draft)?;
    for path in SETTABLE {
        let Some(Value::Message(reference)) = fields.get(path) else { continue };
        if reference.get_field_by_name("id").is_some() {
            let why = "refers by id to an object of the source account; find the matching one in \
                       the target account";
            notes.narrowed(path, why);
        }
    }
    Ok(())
}

/// The services of the target that correspond to those of the source: each upstream numbers its
/// own.
fn translated(services: &[Service], catalog: &[Service], notes: &mut Notes) -> Vec<Service> {
    let mut found: Vec<Service> = Vec::new();
    for service in services {
        let there = equivalents(service, catalog);
        if there.is_empty() {
            notes.narrowed("services", format!("the target has no {} service", describe(service)));
        }
        for target in there {
            let traffic_limits = limits(service, target, notes);
            match found.iter_mut().find(|other| other.id == target.id) {
                Some(other) => other.traffic_limits.extend(traffic_limits),
                None => found.push(Service {
                    id: target.id.clone(),
                    r#type: target.r#type,
                    traffic_limits,
                    ..Service::default()
                }),
            }
        }
    }
    found
}

/// The target's service of this type; both SMS directions if the target has one service for each.
fn equivalents<'c>(service: &Service, catalog: &'c [Service]) -> Vec<&'c Service> {
    let of = |kind: ServiceType| catalog.iter().find(move |there| there.r#type() == kind);
    match (service.r#type(), of(service.r#type())) {
        (ServiceType::Unspecified, _) => Vec::new(),
        (_, Some(there)) => vec![there],
        (ServiceType::Sms, None) => {
            [ServiceType::SmsMo, ServiceType::SmsMt].into_iter().filter_map(of).collect()
        }
        (_, None) => Vec::new(),
    }
}

/// The limits of the target's service that allow the same volume as the source's.
fn limits(service: &Service, target: &Service, notes: &mut Notes) -> Vec<TrafficLimit> {
    let unit = |service: &Service| service.traffic_type.clone().and_then(|traffic| traffic.unit);
    let (from, to) = (unit(service), unit(target));
    let same_unit = from.is_some() && from == to;
    let mut found = Vec::new();
    for limit in &service.traffic_limits {
        let there = target.traffic_limits.iter().find(|there| same_unit && allows(there, limit));
        match there {
            Some(there) => {
                found.push(TrafficLimit { name: String::new(), ..there.clone() });
            }
            None => {
                let volume = limit.volume.map_or_else(|| "?".to_owned(), |v| v.to_string());
                let why = format!(
                    "the target has no limit of {volume} {} for {}; it would be unlimited there",
                    from.as_deref().unwrap_or("units"),
                    describe(service)
                );
                notes.narrowed("services", why);
            }
        }
    }
    found
}

fn allows(there: &TrafficLimit, limit: &TrafficLimit) -> bool {
    let period = |limit: &TrafficLimit| {
        let period = limit.period.clone().unwrap_or_default();
        Some((period.time_units?, period.unit?.to_lowercase()))
    };
    limit.volume.is_some()
        && there.volume == limit.volume
        && period(there).is_some()
        && period(there) == period(limit)
}

fn describe(service: &Service) -> String {
    match service.r#type() {
        ServiceType::Unspecified => format!("service {}", text::quoted(&service.id)),
        kind => kind.as_str_name().trim_start_matches("SERVICE_TYPE_").to_owned(),
    }
}

/// The calls that would create the draft. Adds a note for each violation that prevents it.
async fn plan(
    target: &Backend,
    call: &Call,
    draft: Profile,
    notes: &mut Notes,
) -> Result<(Vec<UpstreamCall>, Profile)> {
    let mut violations = Violations::default();
    let draft = new_profile(target, draft, &mut violations)?;
    let checked = match violations.into_result() {
        Ok(()) => prepare::creation(target, call, draft.clone()).await,
        Err(refused) => Err(refused),
    };
    let prepared = match checked {
        Ok(prepared) => prepared,
        Err(error) if !error.violations().is_empty() => {
            error.violations().iter().for_each(|violation| notes.refused(violation));
            return Ok((Vec::new(), unnamed(target, draft)));
        }
        Err(error) => return Err(error),
    };
    // The calls are shown anyway: the caller only has to choose another name.
    if let Err(error) = prepared.check_name(target) {
        notes.refused(&taken(&error));
    }
    creation(target, call, prepared.profile, notes).await
}

fn taken(error: &Error) -> Violation {
    Violation {
        field: "display_name".to_owned(),
        description: error.message().to_owned(),
        reason: error.reason(),
    }
}
