//! What a list itself shows of its profiles.

use super::decode::{id, profile};
use crate::{
    dialect::{
        adapter::Item,
        listed::{Listed, PROFILES},
    },
    upstream::{Reply, Unread},
};

/// The fields that the vendor documents of a list.
pub(super) const FIELDS: [&str; 9] = [
    "name",
    "dialect",
    "display_name",
    "description",
    "radio_access",
    "quotas",
    "quotas.data",
    "quotas.sms",
    "endpoint_count",
];

/// The members that hold these fields. Of two spellings of one member, either will do.
const MEMBERS: [&[&str]; 8] = [
    &["id"],
    &["name"],
    &["description"],
    &["allowed_3g"],
    &["allowed_4g"],
    &["apply_data_quota", "apply_quota"],
    &["apply_sms_quota"],
    &["used_count"],
];

/// What a list itself shows of its profiles; `None` if any of them lacks one of the members, which
/// then does not mean that the profile lacks it.
pub(super) fn read(reply: &Reply) -> Result<Option<Listed<Item>>, Unread> {
    let mut says_all = true;
    let listed = Listed::read(&reply.body, PROFILES, |raw| {
        let has = |keys: &&[&str]| keys.iter().any(|key| raw.text(key).is_some());
        says_all &= MEMBERS.iter().all(has);
        let id = raw.text("id").and_then(id)?;
        let profile = profile(raw).ok().filter(|_| says_all);
        says_all &= profile.is_some();
        Some((id.clone(), Item { id, profile: profile.unwrap_or_default() }))
    })?;
    Ok(says_all.then_some(listed))
}
