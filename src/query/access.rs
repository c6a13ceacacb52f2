//! From the path of a field to its values in a profile.
//!
//! A path is resolved once, into closures that read the generated struct, so that going over a list
//! neither compares names nor converts profiles. The descriptors know whether a path exists and
//! which type it has (`query::field`); a test there fails when a field of the proto is missing
//! here.

use prost_types::Struct;

use crate::pb;

/// A value that is set. Enums are their numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'p> {
    Text(&'p str),
    Number(i64),
    Flag(bool),
    /// A message other than a Struct; a filter can only ask whether it is set.
    Message,
    Struct(&'p Struct),
    /// A member of a Struct.
    Member(&'p prost_types::Value),
}

/// Takes values one by one until it returns `true`.
pub(super) type See<'s, 'p> = &'s mut (dyn FnMut(Value<'p>) -> bool + 's);

/// Passes on the values at a path that are set, in order, until one is accepted; returns whether
/// one was.
pub(super) type Access<T> = Box<dyn for<'p> Fn(&'p T, See<'_, 'p>) -> bool + Send + Sync>;

/// The values at a path of the profile; `None` when there is no such path.
pub(super) fn access(path: &[&str]) -> Option<Access<pb::Profile>> {
    pb::Profile::populated(path)
}

/// A type whose values are always set.
trait Populated: Sized + 'static {
    fn populated(path: &[&str]) -> Option<Access<Self>>;
}

/// A type as a field of a message has it, where it may be unset.
trait Field: Sized + 'static {
    fn access(path: &[&str]) -> Option<Access<Self>>;
}

impl<T: Populated> Field for Option<T> {
    fn access(path: &[&str]) -> Option<Access<Self>> {
        let inner = T::populated(path)?;
        Some(Box::new(move |value, see| value.as_ref().is_some_and(|value| inner(value, see))))
    }
}

impl<T: Populated> Field for Vec<T> {
    fn access(path: &[&str]) -> Option<Access<Self>> {
        let inner = T::populated(path)?;
        Some(Box::new(move |values, see| values.iter().any(|value| inner(value, see))))
    }
}

/// Without `optional`, proto3 cannot tell an empty string from an unset one.
impl Field for String {
    fn access(path: &[&str]) -> Option<Access<Self>> {
        let inner = Self::populated(path)?;
        Some(Box::new(move |value, see| !value.is_empty() && inner(value, see)))
    }
}

/// An enum: the only numbers in the model that are not `optional`. Zero is unset.
impl Field for i32 {
    fn access(path: &[&str]) -> Option<Access<Self>> {
        let inner = Self::populated(path)?;
        Some(Box::new(move |value, see| *value != 0 && inner(value, see)))
    }
}

macro_rules! scalar {
    ($type:ty, $inner:ident => $value:expr) => {
        impl Populated for $type {
            fn populated(path: &[&str]) -> Option<Access<Self>> {
                if !path.is_empty() {
                    return None;
                }
                Some(Box::new(|$inner, see| see($value)))
            }
        }
    };
}

scalar!(String, text => Value::Text(text));
scalar!(i32, number => Value::Number(i64::from(*number)));
scalar!(i64, number => Value::Number(*number));
scalar!(bool, flag => Value::Flag(*flag));
scalar!(Struct, members => Value::Struct(members));

macro_rules! message {
    ($message:ident { $($field:ident),* $(,)? }) => {
        impl Populated for pb::$message {
            fn populated(path: &[&str]) -> Option<Access<Self>> {
                let Some((head, rest)) = path.split_first() else {
                    return Some(Box::new(|_, see| see(Value::Message)));
                };
                match *head {
                    $(head if head == name(stringify!($field)) => {
                        within(rest, |message: &Self| &message.$field)
                    })*
                    _ => None,
                }
            }
        }
    };
}

/// The proto's name of a field that Rust had to escape.
fn name(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

fn within<M: 'static, F: Field>(path: &[&str], get: fn(&M) -> &F) -> Option<Access<M>> {
    let inner = F::access(path)?;
    Some(Box::new(move |message, see| inner(get(message), see)))
}

message!(Profile {
    name,
    display_name,
    description,
    dialect,
    state,
    category,
    default_profile,
    radio_access,
    services,
    payment_type,
    quotas,
    retail,
    sms,
    network,
    callbacks,
    subscriber,
    notifications,
    endpoint_count,
    etag,
    unmapped,
    data_limits,
});
message!(Service {
    id,
    r#type,
    description,
    teleservice_code,
    used_with_vlr,
    used_with_sgsn,
    traffic_type,
    traffic_limits,
    name,
});
message!(TrafficType { id, description, unit });
message!(TrafficLimit { id, volume, period, name });
message!(DataLimit { id, service_id, volume_bytes, period, satellite_only, warning_percent });
message!(Period { id, time_units, unit });
message!(Quotas { data, sms });
message!(SmsSettings { p2p_internal, p2p_external, esme_interface });
message!(EsmeInterface { id, description });
message!(NetworkSettings { network_initiated_pdp, breakout_region, dns });
message!(BreakoutRegion { id, display_name, ip_address });
message!(Dns { id, primary, secondary, ip_version });
message!(Callbacks { api, api_secret, moc });
message!(Callback { id, url, purpose, create_time_text });
message!(ApiSecret { id, purpose });
message!(SubscriberDefaults { initial_core_plan, subscriber_class, locale });
message!(Notifications { dps_enabled, dps, eos, payg });
