//! The fields that filters and sort orders may name: their types, their values, and suggestions for
//! a mistyped name.

use std::sync::LazyLock;

use prost_reflect::{EnumDescriptor, Kind as ProtoKind, MessageDescriptor};

use crate::{
    model::fields,
    pb::Profile,
    query::access::{self, Access},
    text,
};

/// How many paths an error suggests at most.
const MAX_SUGGESTIONS: usize = 3;

/// The type of a field's values.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    Enum(EnumDescriptor),
    Message,
    /// `unmapped`, whose members are up to the upstream.
    Struct,
}

/// A field of the profile.
pub(super) struct Field {
    pub kind: Kind,
    /// Whether a profile can have several values there.
    pub repeated: bool,
    pub access: Access<Profile>,
    /// How many segments of the path lead to the field; the rest names members of a Struct.
    pub length: usize,
}

/// The field at a path, or a message that says why the path does not exist.
pub(super) fn resolve(path: &[&str]) -> Result<Field, String> {
    let unknown = || unknown(&path.join("."));
    let mut message = fields::descriptor().map_err(|error| error.message().to_owned())?;
    let (mut repeated, mut length) = (false, 0);
    loop {
        let segment = path.get(length).ok_or_else(unknown)?;
        let field = message.get_field_by_name(segment).ok_or_else(unknown)?;
        repeated |= field.is_list();
        length += 1;
        let kind = kind(field.kind());
        let leaf = path.len() == length || matches!(kind, Some(Kind::Struct));
        match (field.kind(), kind) {
            (ProtoKind::Message(inner), _) if !leaf => message = inner,
            (_, Some(kind)) if leaf => {
                let access = path.get(..length).and_then(access::access).ok_or_else(unknown)?;
                return Ok(Field { kind, repeated, access, length });
            }
            _ => return Err(unknown()),
        }
    }
}

/// Whether a path is that of a field, or of something within it.
pub(super) fn is_within(path: &str, field: &str) -> bool {
    path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn kind(kind: ProtoKind) -> Option<Kind> {
    Some(match kind {
        ProtoKind::String => Kind::Text,
        ProtoKind::Int32 | ProtoKind::Int64 => Kind::Number,
        ProtoKind::Bool => Kind::Flag,
        ProtoKind::Enum(values) => Kind::Enum(values),
        ProtoKind::Message(inner) if is_struct(&inner) => Kind::Struct,
        ProtoKind::Message(_) => Kind::Message,
        _ => return None,
    })
}

fn is_struct(message: &MessageDescriptor) -> bool {
    message.full_name() == "google.protobuf.Struct"
}

/// All paths of the profile.
pub(super) static PATHS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut paths = Vec::new();
    if let Ok(profile) = fields::descriptor() {
        collect(&profile, "", &mut paths);
    }
    paths
});

fn collect(message: &MessageDescriptor, before: &str, paths: &mut Vec<String>) {
    for field in message.fields() {
        let path = format!("{before}{}", field.name());
        paths.push(path.clone());
        if let ProtoKind::Message(inner) = field.kind()
            && !is_struct(&inner)
        {
            collect(&inner, &format!("{path}."), paths);
        }
    }
}

fn unknown(path: &str) -> String {
    let near = near(path);
    let hint = match near.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", near.join(" or ")),
    };
    format!("{} is not a field of a profile{hint}", text::quoted(path))
}

/// The paths that were probably meant: the closest one (`displayName`, `stat`), or else those that
/// end in this one (`breakout_region.id`).
fn near(path: &str) -> Vec<&'static str> {
    if let Some(closest) = text::closest(path, PATHS.iter().map(String::as_str)) {
        return vec![closest];
    }
    let ends = |known: &&str| known.strip_suffix(path).is_some_and(|before| before.ends_with('.'));
    PATHS.iter().map(String::as_str).filter(ends).take(MAX_SUGGESTIONS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_profile_has_an_accessor() {
        assert!(PATHS.len() > 70);
        for path in PATHS.iter() {
            let segments: Vec<&str> = path.split('.').collect();
            let field = resolve(&segments).unwrap_or_else(|message| panic!("{message}"));
            assert_eq!(field.length, segments.len(), "{path}");
            let through = ["services", "radio_access", "data_limits"].contains(&segments[0]);
            assert_eq!(field.repeated, through, "{path}");
        }
    }

    #[test]
    fn members_of_a_struct_are_not_fields() {
        let field = resolve(&["unmapped", "a", "b"]).unwrap_or_else(|m| panic!("{m}"));
        assert_eq!(field.length, 1);
        assert!(matches!(field.kind, Kind::Struct));
    }

    #[test]
    fn unknown_fields_get_near_names() {
        for (path, near) in [
            ("displayName", "; did you mean display_name?"),
            ("stat", "; did you mean state?"),
            ("breakout_region.id", "; did you mean network.breakout_region.id?"),
            ("services.typ", "; did you mean services.type?"),
            ("volume", "; did you mean services.traffic_limits.volume?"),
            ("name.x", ""),
            ("xyzzy", ""),
            ("", ""),
        ] {
            let segments: Vec<&str> = path.split('.').collect();
            let Err(message) = resolve(&segments) else { panic!("{path}") };
            assert_eq!(message, format!("{path:?} is not a field of a profile{near}"));
        }
        assert!(resolve(&["x".repeat(100_000).as_str()]).is_err_and(|m| m.len() < 200));
        assert!(resolve(&[]).is_err());
    }
}
