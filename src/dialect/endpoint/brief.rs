//! What a list itself shows of its profiles.

use super::decode::{id, profile};
use crate::{
    dialect::{
        adapter::Item,
        listed::{Listed, PROFILES},
    },
    upstream::{Reply, Unread},
};

/// The paths of the fields that the vendor documents of a list, and the members that hold each. Of
/// two spellings of one member, either will do.
const FIELDS: [(&str, &[&[&str]]); 9] = [
    ("name", &[]),
    ("dialect", &[]),
    ("display_name", &[&["name"]]),
    ("description", &[&["description"]]),
    ("radio_access", &[&["allowed_3g"], &["allowed_4g"]]),
    ("quotas", &[&["apply_data_quota", "apply_quota"], &["apply_sms_quota"]]),
    ("quotas.data", &[&["apply_data_quota", "apply_quota"]]),
    ("quotas.sms", &[&["apply_sms_quota"]]),
    ("endpoint_count", &[&["used_count"]]),
];

/// The paths of these fields.
pub(super) fn fields() -> Vec<&'static str> {
    FIELDS.iter().map(|(path, _)| *path).collect()
}

/// What a list itself shows of its profiles, and the paths of the fields that it shows of all of
/// them. A member that one profile lacks does not mean that the profile lacks it.
pub(super) fn read(reply: &Reply) -> Result<(Listed<Item>, Vec<&'static str>), Unread> {
    let mut shown = FIELDS.to_vec();
    let listed = Listed::read(&reply.body, PROFILES, |raw| {
        let id = raw.text("id").and_then(id)?;
        let has = |keys: &&[&str]| keys.iter().any(|key| raw.text(key).is_some());
        shown.retain(|(_, members)| members.iter().all(has));
        let profile = profile(raw).unwrap_or_else(|_| {
            shown.clear();
            Default::default()
        });
        Some((id.clone(), Item { id, profile }))
    })?;
    Ok((listed, shown.into_iter().map(|(path, _)| path).collect()))
}
