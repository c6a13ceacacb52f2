//! The checks of a profile that all dialects share: required and supported fields, valid values.

use crate::{
    error::{Result, violation::Violations},
    model::{
        capability::{Capabilities, Support},
        fields::{self, Fields, SETTABLE},
        spelling::is_blank,
    },
    pb::{Profile, RadioAccess, Service, TrafficLimit},
};

/// Longest display name, in bytes. No upstream documents its limit; this one only stops abuse.
pub const MAX_DISPLAY_NAME_BYTES: usize = 1024;
/// Longest other text, in bytes.
const MAX_TEXT_BYTES: usize = 4096;
/// Most services of a profile; no catalog has as many.
const MAX_SERVICES: usize = 64;
/// Most traffic limits of all services of a profile together.
const MAX_TRAFFIC_LIMITS: usize = 1000;

/// Checks a profile to create: unsupported fields, missing ones, and [`values`].
pub fn create(
    profile: &Profile,
    capabilities: &Capabilities,
    dialect: &str,
    violations: &mut Violations,
) -> Result<()> {
    let fields = Fields::of(profile)?;
    for path in SETTABLE {
        let populated = fields.get(path).is_some();
        let at = format!("profile.{path}");
        if populated && capabilities.support(path) == Support::No {
            violations.not_supported(at, dialect);
        } else if !populated && capabilities.field(path).is_some_and(|f| f.required) {
            violations.add(at, "is required");
        }
    }
    display_name(profile, violations);
    values(profile, violations)
}

/// Checks a display name that is to be written: it must not be blank, nor begin or end with what an
/// upstream may trim. A profile that exists may have such a name.
pub fn display_name(profile: &Profile, violations: &mut Violations) {
    const FIELD: &str = "profile.display_name";
    let name = profile.display_name.as_str();
    if name.is_empty() {
        return;
    }
    if name.chars().all(is_blank) {
        violations.add(FIELD, "must not be blank");
    } else if name.starts_with(is_blank) || name.ends_with(is_blank) {
        violations.add(FIELD, "must not begin or end with a blank or an invisible character");
    }
}

/// Checks for values that are wrong in any dialect: undefined enum numbers, strings that are too
/// long, control characters.
pub fn values(profile: &Profile, violations: &mut Violations) -> Result<()> {
    let fields = Fields::of(profile)?;
    if let Some(path) = fields::undefined_enum(&fields) {
        violations.add(format!("profile.{path}"), "has a number that the enum does not define");
    }
    if profile.radio_access.contains(&RadioAccess::Unspecified.into()) {
        violations.add("profile.radio_access", "must not contain RADIO_ACCESS_UNSPECIFIED");
    }
    if profile.services.len() > MAX_SERVICES {
        violations
            .add("profile.services", format!("must not have more than {MAX_SERVICES} entries"));
    }
    let limits: usize = profile.services.iter().map(|service| service.traffic_limits.len()).sum();
    if limits > MAX_TRAFFIC_LIMITS {
        violations.add(
            "profile.services.traffic_limits",
            format!("must not have more than {MAX_TRAFFIC_LIMITS} entries together"),
        );
    }
    text("profile.display_name", &profile.display_name, MAX_DISPLAY_NAME_BYTES, violations);
    for path in SETTABLE {
        let value = fields.get(path);
        if let Some(value) = value.as_ref().and_then(|v| v.as_str()) {
            text(&format!("profile.{path}"), value, MAX_TEXT_BYTES, violations);
        }
        let id =
            value.as_ref().and_then(|v| v.as_message()).and_then(|m| m.get_field_by_name("id"));
        if let Some(id) = id.as_deref().and_then(|id| id.as_str()) {
            text(&format!("profile.{path}.id"), id, 128, violations);
        }
    }
    Ok(())
}

/// Checks that a service in a request has an id or a type.
pub fn service(field: &str, service: &Service, violations: &mut Violations) {
    if service.id.is_empty() && service.r#type == 0 {
        violations.add(field, "is required; set its id or type");
    }
    text(&format!("{field}.id"), &service.id, 128, violations);
}

/// Checks that a traffic limit in a request has an id, or a volume and a period.
pub fn traffic_limit(field: &str, limit: &TrafficLimit, violations: &mut Violations) {
    if limit.id.is_empty() && (limit.volume.is_none() || limit.period.is_none()) {
        violations.add(field, "is required; set its id, or its volume and period");
    }
    text(&format!("{field}.id"), &limit.id, 128, violations);
}

/// Checks that a request id, if any, is a UUID (RFC 9562), and not that of all zeros (AIP-155).
pub fn request_id(id: &str, violations: &mut Violations) {
    match uuid::Uuid::try_parse(id) {
        _ if id.is_empty() => {}
        Ok(id) if !id.is_nil() => {}
        Ok(_) => violations.add("request_id", "must not be the UUID of all zeros"),
        Err(_) => violations
            .add("request_id", "must be a UUID, such as 123e4567-e89b-12d3-a456-426614174000"),
    }
}

fn text(field: &str, value: &str, limit: usize, violations: &mut Violations) {
    if value.len() > limit {
        violations.add(field, format!("is {} bytes long; the limit is {limit}", value.len()));
    } else if value.chars().any(char::is_control) {
        violations.add(field, "must not contain control characters");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::capability::Field;

    #[test]
    fn a_display_name_must_not_be_blank_nor_have_blanks_around_it() {
        for (name, wrong) in [
            (" ", true),
            ("\u{3000}\u{a0}", true),
            ("\u{200b}", true),
            ("", false),
            ("a b", false),
            ("a\u{200d}b", false),
            (" a", true),
            ("a\u{a0}", true),
            ("\u{feff}a", true),
            ("a\u{2060}", true),
        ] {
            let profile = Profile { display_name: name.into(), ..Profile::default() };
            let mut violations = Violations::default();
            display_name(&profile, &mut violations);
            assert_eq!(violations.into_result().is_err(), wrong, "{name:?}");
        }
    }

    #[test]
    fn all_violations_are_reported_at_once() {
        const CAPABILITIES: Capabilities = Capabilities {
            methods: &[],
            fields: &[Field::read_write("display_name"), Field::read_write("state").required()],
        };
        let profile = Profile {
            display_name: "a\0".into(),
            description: Some("b".into()),
            radio_access: vec![0],
            ..Profile::default()
        };
        let mut violations = Violations::default();
        create(&profile, &CAPABILITIES, "test", &mut violations).unwrap();
        let error = violations.into_result().unwrap_err();
        let mut fields: Vec<&str> = error.violations().iter().map(|v| v.field.as_str()).collect();
        fields.sort_unstable();
        let expected = [
            "profile.description",
            "profile.display_name",
            "profile.radio_access",
            "profile.state",
        ];
        assert_eq!(fields, expected);
    }
}
