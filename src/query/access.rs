//! From the path of a field to its values in a profile.
//!
//! A path is resolved once, into calls that read the generated struct: going over a list then neither
//! compares names nor converts profiles. Whether a path exists and what type it has is said by the
//! descriptors (`query::field`); a test there fails when a field of the proto is missing here.

use prost_types::Struct;

use crate::pb;

/// A value that an upstream said. Enums are their numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'p> {
    Text(&'p str),
    Number(i64),
    Flag(bool),
    /// A message other than a Struct, of which only its being there can be asked.
    Message,
    Struct(&'p Struct),
    /// A member of a Struct.
    Member(&'p prost_types::Value),
}

/// Takes values one by one until it says `true`.
pub(super) type See<'s, 'p> = &'s mut (dyn FnMut(Value<'p>) -> bool + 's);

/// Shows all values at a path, in order, none when nothing is said there; gives whether one was
/// accepted.
pub(super) type Access<T> = Box<dyn for<'p> Fn(&'p T, See<'_, 'p>) -> bool + Send + Sync>;

/// The values at a path of the profile; `None` when there is no such path.
pub(super) fn access(path: &[&str]) -> Option<Access<pb::Profile>> {
    pb::Profile::said(path)
}

/// A value that is said because it is there.
trait Said: Sized + 'static {
    fn said(path: &[&str]) -> Option<Access<Self>>;
}

/// A value as it stands in a message, where it may be unsaid.
trait Field: Sized + 'static {
    fn access(path: &[&str]) -> Option<Access<Self>>;
}

impl<T: Said> Field for Option<T> {
    fn access(path: &[&str]) -> Option<Access<Self>> {
        let inner = T::said(path)?;
        Some(Box::new(move |value, see| value.as_ref().is_some_and(|value| inner(value, see))))
    }
}

impl<T: Said> Field for Vec<T> {
    fn access(path: &[&str]) -> Option<Access<Self>> {
        let inner = T::said(path)?;
        Some(Box::new(move |values, see| values.iter().any(|value| inner(value, see))))
    }
}

/// Without `optional`, proto3 cannot tell an empty text from an unsaid one.
impl Field for String {
    fn access(path: &[&str]) -> Option<Access<Self>> {
        let inner = Self::said(path)?;
        Some(Box::new(move |value, see| !value.is_empty() && inner(value, see)))
    }
}

/// An enum: all that is not `optional` and a number. Zero is "not said".
impl Field for i32 {
    fn access(path: &[&str]) -> Option<Access<Self>> {
        let inner = Self::said(path)?;
        Some(Box::new(move |value, see| *value != 0 && inner(value, see)))
    }
}

macro_rules! scalar {
    ($type:ty, $inner:ident => $value:expr) => {
        impl Said for $type {
            fn said(path: &[&str]) -> Option<Access<Self>> {
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
        impl Said for pb::$message {
            fn said(path: &[&str]) -> Option<Access<Self>> {
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
