//! The profile's fields by path, over the generated descriptors.

use std::sync::LazyLock;

use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MessageDescriptor, SerializeOptions, Value,
};

use crate::{
    error::{Error, Reason, Result},
    pb::{DESCRIPTOR_SET, Profile},
};

/// Fields that a caller may set, each as one unit. The messages among them are references to an
/// upstream object, of which a write takes the `id`.
pub const SETTABLE: &[&str] = &[
    "display_name",
    "description",
    "state",
    "category",
    "default_profile",
    "radio_access",
    "services",
    "payment_type",
    "quotas.data",
    "quotas.sms",
    "retail",
    "sms.p2p_internal",
    "sms.p2p_external",
    "sms.esme_interface",
    "network.network_initiated_pdp",
    "network.breakout_region",
    "network.dns",
    "callbacks.api",
    "callbacks.api_secret",
    "callbacks.moc",
    "subscriber.initial_core_plan",
    "subscriber.subscriber_class",
    "subscriber.locale",
    "notifications.dps_enabled",
    "notifications.dps",
    "notifications.eos",
    "notifications.payg",
];

/// Fields that no caller sets.
pub const OUTPUT_ONLY: &[&str] =
    &["name", "dialect", "endpoint_count", "data_limits", "etag", "unmapped"];

/// Output-only fields that identify the profile or are derived from its other fields. The rest of
/// [`OUTPUT_ONLY`] is content of the upstream's.
const IDENTITY: &[&str] = &["name", "dialect", "etag"];

/// Output-only fields that say something about the profile, beyond which one it is.
pub fn output_only_content() -> impl Iterator<Item = &'static str> {
    OUTPUT_ONLY.iter().copied().filter(|path| !IDENTITY.contains(path))
}

/// The path of this text, if a profile can have changed there.
#[must_use]
pub fn known(path: &str) -> Option<&'static str> {
    SETTABLE.iter().copied().chain(output_only_content()).find(|known| *known == path)
}

static PROFILE: LazyLock<Option<MessageDescriptor>> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTOR_SET)
        .ok()
        .and_then(|pool| pool.get_message_by_name("profilegateway.v1.Profile"))
});

/// A profile whose fields can be reached by path.
#[derive(Debug, Clone)]
pub struct Fields(DynamicMessage);

impl Fields {
    /// An empty profile.
    pub fn empty() -> Result<Self> {
        Ok(Self(DynamicMessage::new(descriptor()?)))
    }

    /// The fields of a profile.
    pub fn of(profile: &Profile) -> Result<Self> {
        let mut fields = Self::empty()?;
        fields.0.transcode_from(profile).map_err(|e| internal(&e))?;
        Ok(fields)
    }

    /// The profile with these fields.
    pub fn into_profile(self) -> Result<Profile> {
        self.0.transcode_to().map_err(|e| internal(&e))
    }

    /// The fields that are set, as JSON with the names of the proto.
    pub fn to_json(&self) -> Result<serde_json::Value> {
        let options =
            SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
        let json = self.0.serialize_with_options(serde_json::value::Serializer, &options);
        json.map_err(|e| internal(&e))
    }

    /// The value at a path, if it is populated.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Value> {
        get(&self.0, path)
    }

    /// Clears the fields that no caller sets.
    pub fn clear_output_only(&mut self) {
        for path in OUTPUT_ONLY {
            set(&mut self.0, path, None);
        }
    }

    /// Copies the value at `path` from `from`; clears it if it is not populated there.
    pub fn copy(&mut self, path: &str, from: &Self) {
        set(&mut self.0, path, from.get(path));
    }
}

fn get(message: &DynamicMessage, path: &str) -> Option<Value> {
    let (head, rest) = split(path);
    if !message.has_field_by_name(head) {
        return None;
    }
    let value = message.get_field_by_name(head)?;
    match rest {
        None => Some(value.into_owned()),
        Some(rest) => get(value.as_message()?, rest),
    }
}

fn set(message: &mut DynamicMessage, path: &str, value: Option<Value>) {
    match (split(path), value) {
        ((head, None), Some(value)) => message.set_field_by_name(head, value),
        ((head, None), None) => message.clear_field_by_name(head),
        ((head, Some(_)), None) if !message.has_field_by_name(head) => {}
        ((head, Some(rest)), value) => {
            if let Some(Value::Message(inner)) = message.get_field_by_name_mut(head) {
                set(inner, rest, value);
            }
        }
    }
}

/// What a mask path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A field that only the gateway sets, or a part of an upstream object that writes do not take.
    OutputOnly,
    /// A settable field or the `id` within it.
    Settable(&'static str),
    /// A message that groups settable fields.
    Group(Vec<&'static str>),
}

/// What a mask path names; `None` when the profile has no such path.
pub fn target(path: &str) -> Result<Option<Target>> {
    if !exists(&descriptor()?, path) {
        return Ok(None);
    }
    if OUTPUT_ONLY.contains(&split(path).0) {
        return Ok(Some(Target::OutputOnly));
    }
    let within = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some(settable) = SETTABLE.iter().find(|settable| within(settable, path)) {
        let whole = path == *settable || path.ends_with(".id");
        return Ok(Some(if whole { Target::Settable(settable) } else { Target::OutputOnly }));
    }
    let group: Vec<&str> = SETTABLE.iter().copied().filter(|s| within(path, s)).collect();
    Ok((!group.is_empty()).then_some(Target::Group(group)))
}

/// Whether a path leads through single messages to a field. Below a Struct any key exists.
fn exists(message: &MessageDescriptor, path: &str) -> bool {
    let (head, rest) = split(path);
    let Some(field) = message.get_field_by_name(head) else {
        return false;
    };
    match (rest, field.kind()) {
        (None, _) => true,
        (Some(_), _) if field.is_list() || field.is_map() => false,
        (Some(rest), Kind::Message(inner)) => {
            inner.full_name() == "google.protobuf.Struct" || exists(&inner, rest)
        }
        (Some(_), _) => false,
    }
}

/// The path of the first enum field, at any depth, whose number the model does not define.
#[must_use]
pub fn undefined_enum(fields: &Fields) -> Option<String> {
    fn look(message: &DynamicMessage, at: &str) -> Option<String> {
        message.fields().find_map(|(field, value)| {
            let path = format!("{at}{}", field.name());
            let undefined = |value: &Value| match (value, field.kind()) {
                (Value::EnumNumber(n), Kind::Enum(e)) => {
                    e.get_value(*n).is_none().then(|| path.clone())
                }
                (Value::Message(inner), _) => look(inner, &format!("{path}.")),
                _ => None,
            };
            match value {
                Value::List(items) => items.iter().find_map(undefined),
                value => undefined(value),
            }
        })
    }
    look(&fields.0, "")
}

fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)))
}

/// The profile's descriptor.
pub fn descriptor() -> Result<MessageDescriptor> {
    PROFILE
        .clone()
        .ok_or_else(|| Error::new(Reason::GatewayInternal, "the profile's descriptor is missing"))
}

fn internal(source: &dyn std::fmt::Display) -> Error {
    Error::new(Reason::GatewayInternal, "failed to decode the profile").with_internal(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{EsmeInterface, SmsSettings};

    #[test]
    fn every_field_of_the_profile_is_in_one_table() {
        let descriptor = descriptor().unwrap();
        for field in descriptor.fields() {
            let name = field.name();
            let settable = SETTABLE.iter().any(|path| split(path).0 == name);
            assert_ne!(settable, OUTPUT_ONLY.contains(&name), "{name}");
        }
        for path in SETTABLE.iter().chain(OUTPUT_ONLY) {
            assert!(exists(&descriptor, path), "{path}");
        }
        let leaves: usize = descriptor
            .fields()
            .map(|field| match field.kind() {
                Kind::Message(m) if field.name() != "unmapped" && !field.is_list() => {
                    m.fields().len()
                }
                _ => 1,
            })
            .sum();
        assert_eq!(leaves, SETTABLE.len() + OUTPUT_ONLY.len());
    }

    #[test]
    fn resolves_mask_paths() {
        use Target::{Group, OutputOnly, Settable};
        for (path, expected) in [
            ("display_name", Some(Settable("display_name"))),
            ("sms.esme_interface", Some(Settable("sms.esme_interface"))),
            ("sms.esme_interface.id", Some(Settable("sms.esme_interface"))),
            ("sms.esme_interface.description", Some(OutputOnly)),
            ("quotas", Some(Group(vec!["quotas.data", "quotas.sms"]))),
            ("etag", Some(OutputOnly)),
            ("unmapped.anything.below", Some(OutputOnly)),
            ("services.type", None),
            ("name.x", None),
            ("displayName", None),
            ("sms.", None),
            ("", None),
            ("*", None),
        ] {
            assert_eq!(target(path).unwrap(), expected, "{path:?}");
        }
    }

    #[test]
    fn copies_and_clears_by_path() {
        let from = Profile {
            display_name: "new".into(),
            sms: Some(SmsSettings {
                p2p_internal: Some(false),
                esme_interface: Some(EsmeInterface { id: "3".into(), description: None }),
                ..SmsSettings::default()
            }),
            ..Profile::default()
        };
        let from = Fields::of(&from).unwrap();
        let mut to = Fields::of(&Profile { retail: Some(true), ..Profile::default() }).unwrap();
        for path in
            ["display_name", "sms.p2p_internal", "sms.esme_interface.id", "retail", "network.dns"]
        {
            to.copy(path, &from);
        }
        let to = to.into_profile().unwrap();
        assert_eq!(to.display_name, "new");
        assert_eq!((to.retail, to.network.is_some()), (None, false));
        let sms = to.sms.unwrap();
        assert_eq!(sms.p2p_internal, Some(false));
        assert_eq!(sms.esme_interface.unwrap().id, "3");
    }

    #[test]
    fn finds_undefined_enum_numbers() {
        let check = |profile: Profile| undefined_enum(&Fields::of(&profile).unwrap());
        assert_eq!(
            check(Profile { state: 1, radio_access: vec![1, 6], ..Profile::default() }),
            None
        );
        assert_eq!(check(Profile { state: 9, ..Profile::default() }), Some("state".into()));
        let radio = Profile { radio_access: vec![1, 77], ..Profile::default() };
        assert_eq!(check(radio), Some("radio_access".into()));
    }
}
