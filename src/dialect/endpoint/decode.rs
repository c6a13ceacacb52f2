//! Answer → model.

use std::collections::HashSet;

use http::header::LOCATION;
use serde_json::{Map, Value};

use super::{
    encode, radio, service,
    wire::{self, Reader},
};
use crate::{
    dialect::{
        adapter::Item,
        listed::{self, CATALOG, DATA_LIMITS, Listed, PARTS, PROFILES},
    },
    model::{etag::id_order, json, number, object::Object},
    pb::{
        ApiSecret, BreakoutRegion, Callback, Callbacks, DataLimit, Dns, EsmeInterface,
        NetworkSettings, PaymentType, Period, Profile, Quotas, RadioAccess, Service, SmsSettings,
        TrafficLimit, TrafficType,
    },
    upstream::{Bound, Reply, Unread},
};

/// An entry of a list: only a part of the profile, of which only this is used.
pub(super) struct Short {
    pub(super) id: String,
    /// `None` if it is absent or not a string.
    pub(super) name: Option<String>,
}

/// The profiles of a list.
pub(super) fn list(reply: &Reply) -> Result<Listed<Short>, Unread> {
    Listed::read(&reply.body, PROFILES, |raw| {
        let id = raw.text("id").and_then(id)?;
        let name = raw.value("name").and_then(|name| Some(name.as_str()?.to_owned()));
        Some((id.clone(), Short { id, name }))
    })
}

/// The id of a profile, which is a whole number in any spelling.
pub(super) fn id(json: &str) -> Option<String> {
    number::whole(json).filter(|id| wire::is_id(id))
}

/// The profile with this id in the reply to a get.
pub(super) fn one(reply: &Reply, id: &str) -> Result<Item, Unread> {
    let raw = match Object::read(&reply.body) {
        Some(raw) => raw,
        // The vendor's example of a full profile is in a list.
        None => match <[Object<'_>; 1]>::try_from(objects(reply, PROFILES)?) {
            Ok([raw]) => raw,
            Err(_) => return Err(Unread::NotTheDialect),
        },
    };
    if raw.text("id").and_then(self::id).as_deref() != Some(id) {
        return Err(Unread::NotTheDialect);
    }
    Ok(Item { id: id.to_owned(), profile: profile(&raw)? })
}

/// The services of the catalog.
pub(super) fn services(reply: &Reply) -> Result<Listed<Service>, Unread> {
    Listed::read(&reply.body, CATALOG, |raw| {
        let (service, _) = service(&parsed(raw).0)?;
        Some((service.id.clone(), service))
    })
}

/// The limits that a service of the catalog can have.
pub(super) fn limits(reply: &Reply) -> Result<Listed<TrafficLimit>, Unread> {
    Listed::read(&reply.body, CATALOG, |raw| {
        let (limit, _) = limit(&parsed(raw).0)?;
        Some((limit.id.clone(), limit))
    })
}

/// The data limits of a profile. One without an id limits all the same.
pub(super) fn data_limits(reply: &Reply) -> Result<Vec<DataLimit>, Unread> {
    let mut limits: Vec<DataLimit> =
        objects(reply, DATA_LIMITS)?.iter().map(|raw| data_limit(&parsed(raw).0)).collect();
    limits.sort_by(|a, b| id_order(&a.id).cmp(&id_order(&b.id)));
    Ok(limits)
}

/// The id in the reply to a create: the last segment of `Location`, after the collection's own
/// path; after another path it is the id of something else. Recorded URLs have another host than
/// the white label's, so the URL itself is not used.
pub(super) fn created_id(reply: &Reply) -> Option<String> {
    let location = reply.headers.get(LOCATION)?.to_str().ok()?;
    let path = location.split(['?', '#']).next()?.trim_end_matches('/');
    let (collection, id) = path.rsplit_once('/')?;
    (collection.ends_with(encode::COLLECTION) && wire::is_id(id)).then(|| id.to_owned())
}

/// The members as far as they can be parsed, and the keys of those that are not complete.
fn parsed(raw: &Object<'_>) -> (Map<String, Value>, Vec<String>) {
    let (mut members, mut odd) = (Map::new(), Vec::new());
    for (key, text) in raw.iter() {
        let Some((value, whole)) = json::lenient(text) else { continue };
        members.insert(key.to_owned(), value);
        if !whole {
            odd.push(key.to_owned());
        }
    }
    (members, odd)
}

/// The objects of a list that has nothing else.
fn objects(reply: &Reply, bound: Bound) -> Result<Vec<Object<'_>>, Unread> {
    let elements = listed::elements(&reply.body, bound)?;
    let objects: Option<Vec<_>> = elements.into_iter().map(Object::of).collect();
    objects.ok_or(Unread::NotTheDialect)
}

/// Whether a profile has more services, or limits of them together, than any has.
fn has_too_many(members: &Map<String, Value>) -> bool {
    let count = |value: Option<&Value>| value.and_then(Value::as_array).map_or(0, Vec::len);
    let services = members.get("service");
    let each = services.and_then(Value::as_array).into_iter().flatten();
    let limits: usize = each.map(|service| count(service.get("traffic_limit"))).sum();
    count(services).max(limits) > PARTS.most
}

/// One profile. A member that the model cannot express completely is also kept verbatim in
/// `unmapped`.
pub(super) fn profile(raw: &Object<'_>) -> Result<Profile, Unread> {
    let (members, odd) = parsed(raw);
    if has_too_many(&members) {
        return Err(Unread::TooMany(PARTS));
    }
    let mut reader = Reader::without(&members, &odd);
    let r = &mut reader;
    // It is the profile's name in the model.
    let _ = r.id("id");
    let mut profile = Profile {
        display_name: r.text("name").unwrap_or_default(),
        description: r.text("description"),
        radio_access: radio_access(r),
        services: r.part("service", nested(service)).unwrap_or_default(),
        payment_type: match r.flag("prepaid") {
            Some(true) => PaymentType::Prepaid,
            Some(false) => PaymentType::Postpaid,
            None => PaymentType::Unspecified,
        }
        .into(),
        quotas: if_set(Quotas { data: data_quota(r), sms: r.flag("apply_sms_quota") }),
        retail: r.flag("retail"),
        sms: if_set(SmsSettings {
            p2p_internal: r.flag("sms_p2p_int"),
            p2p_external: r.flag("sms_p2p_ext"),
            esme_interface: r.part("esme_interface_type", esme_interface),
        }),
        network: if_set(NetworkSettings {
            network_initiated_pdp: r.flag("nipdp"),
            breakout_region: r.part("breakout_region", breakout_region),
            dns: r.part("dns", dns),
        }),
        callbacks: if_set(Callbacks {
            api: r.part("api_callback", callback),
            api_secret: r.part("api_secret", api_secret),
            moc: r.part("moc_callback", callback),
        }),
        endpoint_count: r.int("used_count"),
        ..Profile::default()
    };
    let cleared = |key: &str| members.get(key).is_some_and(|value| is_cleared(key, value));
    let mut unmapped = json::Unmapped::default();
    for (key, text) in raw.iter().filter(|(key, _)| !reader.is_mapped(key) && !cleared(key)) {
        unmapped.add(key, text);
    }
    profile.unmapped = unmapped.into_struct();
    Ok(profile)
}

/// A group of fields, unless it is empty.
fn if_set<T: Default + PartialEq>(group: T) -> Option<T> {
    (group != T::default()).then_some(group)
}

fn radio_access(r: &mut Reader<'_>) -> Vec<i32> {
    let mut set = vec![i32::from(RadioAccess::RadioAccess2g)];
    for (key, kind) in radio::SWITCHES {
        if r.flag(key) == Some(true) {
            set.push(kind.into());
        }
    }
    set
}

/// `apply_quota` is the deprecated name of `apply_data_quota` and is only used without it. If they
/// differ, it is kept as an unmapped member.
fn data_quota(r: &mut Reader<'_>) -> Option<bool> {
    let data = r.flag("apply_data_quota");
    let old = r.part("apply_quota", |value| {
        let old = value.as_bool()?;
        Some((old, data.is_none_or(|data| data == old)))
    });
    data.or(old)
}

/// `{"id": null}` is how a reference is cleared, and means nothing in a reply.
fn is_cleared(key: &str, value: &Value) -> bool {
    const REFERENCES: [&str; 6] = [
        "api_callback",
        "api_secret",
        "moc_callback",
        "esme_interface_type",
        "breakout_region",
        "dns",
    ];
    REFERENCES.contains(&key)
        && value.as_object().is_some_and(|members| {
            members.contains_key("id") && members.values().all(Value::is_null)
        })
}

fn callback(value: &Value) -> Option<(Callback, bool)> {
    let mut r = Reader::new(value.as_object()?);
    let callback = Callback {
        id: r.id("id")?,
        url: r.text("url"),
        purpose: r.text("purpose"),
        create_time_text: r.text("created"),
    };
    Some((callback, r.is_whole()))
}

fn api_secret(value: &Value) -> Option<(ApiSecret, bool)> {
    let mut r = Reader::new(value.as_object()?);
    let secret = ApiSecret { id: r.id("id")?, purpose: r.text("purpose") };
    Some((secret, r.is_whole()))
}

fn esme_interface(value: &Value) -> Option<(EsmeInterface, bool)> {
    let mut r = Reader::new(value.as_object()?);
    let interface = EsmeInterface { id: r.id("id")?, description: r.text("description") };
    Some((interface, r.is_whole()))
}

fn breakout_region(value: &Value) -> Option<(BreakoutRegion, bool)> {
    let mut r = Reader::new(value.as_object()?);
    let region = BreakoutRegion {
        id: r.id("id")?,
        display_name: r.text("name"),
        ip_address: r.text("ip_address"),
    };
    Some((region, r.is_whole()))
}

fn dns(value: &Value) -> Option<(Dns, bool)> {
    let mut r = Reader::new(value.as_object()?);
    let dns = Dns {
        id: r.id("id")?,
        primary: r.text("primary"),
        secondary: r.text("secondary"),
        ip_version: r.small_int("ip_address_version"),
    };
    Some((dns, r.is_whole()))
}

/// Reads a nested collection. An entry without an id, or with a duplicate id, cannot be addressed
/// and is left to `unmapped`.
pub(super) fn nested<T: Identified>(
    item: impl Fn(&Map<String, Value>) -> Option<(T, bool)>,
) -> impl FnOnce(&Value) -> Option<(Vec<T>, bool)> {
    move |value| {
        let (mut found, mut ids, mut whole) = (Vec::new(), HashSet::new(), true);
        for value in value.as_array()? {
            match value.as_object().and_then(&item) {
                Some((item, part)) if ids.insert(item.id().to_owned()) => {
                    whole &= part;
                    found.push(item);
                }
                _ => whole = false,
            }
        }
        Some((found, whole))
    }
}

pub(super) trait Identified {
    fn id(&self) -> &str;
}

impl Identified for Service {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for TrafficLimit {
    fn id(&self) -> &str {
        &self.id
    }
}

fn service(members: &Map<String, Value>) -> Option<(Service, bool)> {
    let mut r = Reader::new(members);
    let (id, description) = (r.id("id")?, r.text("description"));
    let service = Service {
        r#type: service::kind(&id, description.as_deref()).into(),
        id,
        description,
        teleservice_code: r.int("teleservice_code"),
        used_with_vlr: r.flag("used_with_vlr"),
        used_with_sgsn: r.flag("used_with_sgsn"),
        traffic_type: r.part("traffic_type", traffic_type),
        traffic_limits: r.part("traffic_limit", nested(limit)).unwrap_or_default(),
        name: String::new(),
    };
    Some((service, r.is_whole()))
}

fn traffic_type(value: &Value) -> Option<(TrafficType, bool)> {
    let mut r = Reader::new(value.as_object()?);
    let traffic_type = TrafficType {
        id: r.id("id").unwrap_or_default(),
        description: r.text("description"),
        unit: r.text("unit"),
    };
    Some((traffic_type, r.is_whole()))
}

fn limit(members: &Map<String, Value>) -> Option<(TrafficLimit, bool)> {
    let mut r = Reader::new(members);
    let limit = TrafficLimit {
        id: r.id("id")?,
        volume: r.int("volume"),
        period: r.part("period", period),
        name: String::new(),
    };
    Some((limit, r.is_whole()))
}

fn data_limit(members: &Map<String, Value>) -> DataLimit {
    let mut r = Reader::new(members);
    let service = |value: &Value| Some((wire::id(value.get("id")?)?, true));
    DataLimit {
        id: r.id("id").unwrap_or_default(),
        service_id: r.part("service", service).unwrap_or_default(),
        volume_bytes: r.int("volume"),
        period: r.part("period", period),
        satellite_only: r.flag("satellite_only"),
        warning_percent: r.small_int("warning_percent"),
    }
}

fn period(value: &Value) -> Option<(Period, bool)> {
    let mut r = Reader::new(value.as_object()?);
    let period = Period {
        id: r.id("id").unwrap_or_default(),
        time_units: r.small_int("time_units"),
        unit: r.text("unit"),
    };
    Some((period, r.is_whole()))
}
