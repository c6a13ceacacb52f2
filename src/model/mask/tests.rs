//! What masks keep and change, and what is wrong with them.

use super::*;
use crate::{
    error::Reason,
    model::capability::Field,
    pb::{Category, Quotas, State},
};

#[test]
fn unknown_paths_get_the_one_that_was_meant() {
    for (path, expected) in [
        ("displayName", Some("display_name")),
        ("DisplayName", Some("display_name")),
        ("network.breakoutRegion.id", Some("network.breakout_region.id")),
        ("radioAccess", Some("radio_access")),
        ("displayname", Some("display_name")),
        ("stat", Some("state")),
        ("xyzzy", None),
    ] {
        assert_eq!(meant(path).as_deref(), expected, "{path}");
    }
}

const CAPABILITIES: Capabilities = Capabilities {
    methods: &[],
    fields: &[
        Field::read_write("display_name"),
        Field::read_write("state"),
        Field::create_only("category"),
        Field::read_write("quotas.data"),
    ],
};

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|p| (*p).to_owned()).collect() }
}

fn current() -> Profile {
    Profile {
        name: "backends/a/profiles/1".into(),
        display_name: "old".into(),
        state: State::Active.into(),
        category: Category::Base.into(),
        quotas: Some(Quotas { data: Some(true), sms: None }),
        ..Profile::default()
    }
}

fn update(mask: Option<FieldMask>, request: &Profile) -> Result<Profile> {
    let mut violations = Violations::default();
    let update = Update::parse(mask.as_ref(), request, &CAPABILITIES, "test", &mut violations)?;
    let desired = update.apply(&current(), request, &CAPABILITIES, &mut violations)?;
    violations.into_result()?;
    Ok(desired)
}

#[test]
fn an_absent_mask_changes_what_is_populated() {
    let request = Profile { display_name: "new".into(), ..Profile::default() };
    let expected = Profile { display_name: "new".into(), ..current() };
    assert_eq!(update(None, &request).unwrap(), expected);
    assert_eq!(update(Some(mask(&[])), &request).unwrap(), expected);
    let more = Profile { state: State::Inactive.into(), ..request };
    assert_eq!(update(Some(mask(&["display_name"])), &more).unwrap(), expected);
}

#[test]
fn a_read_profile_goes_back_as_it_is() {
    assert_eq!(update(None, &current()).unwrap(), current());
    assert_eq!(update(Some(mask(&["*"])), &current()).unwrap(), current());
}

#[test]
fn a_star_replaces_all_that_can_change() {
    let request = Profile { display_name: "new".into(), ..Profile::default() };
    let expected = Profile {
        display_name: "new".into(),
        state: 0,
        quotas: Some(Quotas::default()),
        ..current()
    };
    assert_eq!(update(Some(mask(&["*"])), &request).unwrap(), expected);
}

#[test]
fn output_only_paths_are_ignored() {
    let request = Profile { name: "x".into(), etag: "y".into(), ..Profile::default() };
    let paths = mask(&["name", "etag", "endpoint_count", "unmapped.a"]);
    assert_eq!(update(Some(paths), &request).unwrap(), current());
}

#[test]
fn each_violation_has_its_field_and_reason() {
    let renamed = Profile {
        category: Category::Addon.into(),
        retail: Some(true),
        quotas: Some(Quotas { data: None, sms: Some(true) }),
        ..Profile::default()
    };
    for (paths, reason, fields) in [
        (&["retail"][..], Reason::FieldNotSupported, &["profile.retail"][..]),
        (&["category"], Reason::FieldImmutable, &["profile.category"]),
        (&["nonsense"], Reason::ValidationFailed, &["update_mask.nonsense"]),
        (&["state.x"], Reason::ValidationFailed, &["update_mask.state.x"]),
        (&["quotas"], Reason::FieldNotSupported, &["profile.quotas.sms"]),
        (&["callbacks"], Reason::FieldNotSupported, &["profile.callbacks"]),
        (
            &["category", "nonsense", "*"],
            Reason::FieldNotSupported,
            &["update_mask.nonsense", "profile.quotas.sms", "profile.retail", "profile.category"],
        ),
    ] {
        let error = update(Some(mask(paths)), &renamed).unwrap_err();
        let mut found: Vec<&str> = error.violations().iter().map(|v| v.field.as_str()).collect();
        let mut fields = fields.to_vec();
        found.sort_unstable();
        fields.sort_unstable();
        assert_eq!((error.reason(), found), (reason, fields), "{paths:?}");
    }
}

#[test]
fn read_masks_keep_what_they_name() {
    let read = ReadMask::parse(Some(&mask(&["display_name", "quotas.data"]))).unwrap();
    let expected = Profile {
        display_name: "old".into(),
        quotas: Some(Quotas { data: Some(true), sms: None }),
        ..Profile::default()
    };
    assert_eq!(read.apply(current()).unwrap(), expected);
    assert!(ReadMask::parse(Some(&mask(&["services.id"]))).is_err());
    let repeated = ["display_name", "unmapped.a", "display_name", "unmapped.a"];
    let ReadMask(Some(once)) = ReadMask::parse(Some(&mask(&repeated))).unwrap() else {
        panic!("everything")
    };
    assert_eq!((once.fields.len(), once.members.len()), (1, 1));
    assert_eq!(ReadMask::parse(Some(&mask(&["*"]))).unwrap().apply(current()).unwrap(), current());
}
