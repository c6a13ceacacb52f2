//! The members of the upstream's object that have a field in the model: one table for both
//! directions.
//!
//! Names and types are from the vendor's "Provisioning profile type descriptions".

use serde_json::{Value, json};

use crate::{
    model::number,
    pb::{Notifications, PaymentType, Profile, SubscriberDefaults},
};

/// The upstream's own id, which request bodies do not contain.
pub(super) const ID: &str = "id";
/// The member that holds the display name.
pub(super) const NAME: &str = "name";

/// One member of the upstream's object, and its field in the model.
pub(super) struct Member {
    /// The upstream's key.
    pub(super) key: &'static str,
    /// Path of the field.
    pub(super) path: &'static str,
    /// The value as the upstream accepts it; `None` if the field is unset.
    pub(super) get: fn(&Profile) -> Option<Value>,
    /// Sets the field; false if the model cannot express the value.
    pub(super) set: fn(&mut Profile, &Value) -> bool,
}

/// All members, in the order of the vendor's example.
pub(super) const MEMBERS: [Member; 10] = [
    Member {
        key: NAME,
        path: "display_name",
        get: |p| Some(&p.display_name).filter(|name| !name.is_empty()).map(|name| json!(name)),
        set: |p, value| put(text(value), |name| p.display_name = name),
    },
    Member {
        key: "defaultProfile",
        path: "default_profile",
        get: |p| p.default_profile.map(Value::Bool),
        set: |p, value| put(value.as_bool(), |flag| p.default_profile = Some(flag)),
    },
    Member {
        key: "locale",
        path: "subscriber.locale",
        get: |p| p.subscriber.as_ref()?.locale.as_ref().map(|text| json!(text)),
        set: |p, value| put(text(value), |text| subscriber(p).locale = Some(text)),
    },
    Member {
        key: "initialCorePlanName",
        path: "subscriber.initial_core_plan",
        get: |p| p.subscriber.as_ref()?.initial_core_plan.as_ref().map(|text| json!(text)),
        set: |p, value| put(text(value), |text| subscriber(p).initial_core_plan = Some(text)),
    },
    Member {
        key: "subscriberClass",
        path: "subscriber.subscriber_class",
        get: |p| p.subscriber.as_ref()?.subscriber_class.as_ref().map(|text| json!(text)),
        set: |p, value| put(text(value), |text| subscriber(p).subscriber_class = Some(text)),
    },
    Member {
        key: "subscriberType",
        path: "payment_type",
        get: |p| {
            PAYMENT_TYPES.iter().find(|(_, t)| p.payment_type == *t as i32).map(|t| json!(t.0))
        },
        set: |p, value| put(payment_type(value), |found| p.payment_type = found.into()),
    },
    Member {
        key: "dpsEnabled",
        path: "notifications.dps_enabled",
        get: |p| p.notifications.as_ref()?.dps_enabled.map(Value::Bool),
        set: |p, value| put(value.as_bool(), |flag| notifications(p).dps_enabled = Some(flag)),
    },
    Member {
        key: "dpsNotification",
        path: "notifications.dps",
        get: |p| p.notifications.as_ref()?.dps.map(Value::Bool),
        set: |p, value| put(value.as_bool(), |flag| notifications(p).dps = Some(flag)),
    },
    Member {
        key: "eosNotification",
        path: "notifications.eos",
        get: |p| p.notifications.as_ref()?.eos.map(Value::Bool),
        set: |p, value| put(value.as_bool(), |flag| notifications(p).eos = Some(flag)),
    },
    Member {
        key: "paygNotification",
        path: "notifications.payg",
        get: |p| p.notifications.as_ref()?.payg.map(Value::Bool),
        set: |p, value| put(value.as_bool(), |flag| notifications(p).payg = Some(flag)),
    },
];

/// The vendor's text says "typically prepaid or postpaid" and its examples are in upper case. So
/// reads accept any case, writes use upper case, and another word is not an error.
const PAYMENT_TYPES: [(&str, PaymentType); 2] =
    [("PREPAID", PaymentType::Prepaid), ("POSTPAID", PaymentType::Postpaid)];

/// The member with this key.
pub(super) fn by_key(key: &str) -> Option<&'static Member> {
    const { &MEMBERS }.iter().find(|member| member.key == key)
}

fn payment_type(value: &Value) -> Option<PaymentType> {
    let word = value.as_str()?;
    PAYMENT_TYPES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(word))
        .map(|(_, found)| *found)
}

/// A string, or an integer in place of a string of digits.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        value => number::whole(&value.to_string()).filter(|digits| !digits.starts_with('-')),
    }
}

fn put<T>(value: Option<T>, set: impl FnOnce(T)) -> bool {
    value.map(set).is_some()
}

fn subscriber(profile: &mut Profile) -> &mut SubscriberDefaults {
    profile.subscriber.get_or_insert_default()
}

fn notifications(profile: &mut Profile) -> &mut Notifications {
    profile.notifications.get_or_insert_default()
}
