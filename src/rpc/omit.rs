//! Makes the profile that a write returns fit into a response.
//!
//! The write is done, so a response that is too large must not look like a failure: a caller would
//! repeat it. The largest fields are left out, and the metadata of the response name them.

use prost::Message;

use crate::{
    call::Call,
    error::Result,
    model::fields::{Fields, OUTPUT_ONLY, SETTABLE},
    pb::Profile,
};

/// What identifies the profile and its state always stays.
const KEPT: [&str; 2] = ["name", "etag"];

/// The profile, without its largest fields if it would be larger than `limit` bytes.
pub(super) fn fitting(call: &Call, profile: Profile, limit: usize) -> Profile {
    if profile.encoded_len() <= limit {
        return profile;
    }
    let (name, etag) = (profile.name.clone(), profile.etag.clone());
    let (profile, omitted) = without_largest(profile, limit).unwrap_or_else(|_| {
        let bare = Profile { name, etag, ..Profile::default() };
        (bare, "*".to_owned())
    });
    call.record.set_omitted(omitted);
    profile
}

/// The profile without its largest fields, and their names.
fn without_largest(profile: Profile, limit: usize) -> Result<(Profile, String)> {
    let (whole, empty) = (Fields::of(&profile)?, Fields::empty()?);
    let heads = SETTABLE.iter().chain(OUTPUT_ONLY).filter_map(|path| path.split('.').next());
    let mut sizes = Vec::new();
    for head in heads.filter(|head| !KEPT.contains(head) && whole.get(head).is_some()) {
        let mut without = whole.clone();
        without.copy(head, &empty);
        sizes.push((without.into_profile()?.encoded_len(), head));
    }
    sizes.sort_unstable();
    sizes.dedup();
    let (mut fields, mut fitted, mut omitted) = (whole, profile, Vec::new());
    for (_, head) in sizes {
        if fitted.encoded_len() <= limit {
            break;
        }
        fields.copy(head, &empty);
        fitted = fields.clone().into_profile()?;
        omitted.push(head);
    }
    Ok((fitted, omitted.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{NetworkSettings, Service};

    #[test]
    fn only_the_largest_fields_are_left_out() {
        let services =
            vec![Service { description: Some("s".repeat(300)), ..Service::default() }; 10];
        let profile = Profile {
            name: "backends/a/profiles/1".into(),
            display_name: "n".repeat(100),
            description: Some("d".repeat(2000)),
            services,
            network: Some(NetworkSettings {
                network_initiated_pdp: Some(true),
                ..NetworkSettings::default()
            }),
            etag: "\"1\"".into(),
            ..Profile::default()
        };
        let without = |limit| {
            let (fitted, omitted) = without_largest(profile.clone(), limit).unwrap();
            assert!(fitted.encoded_len() <= limit, "{limit}");
            assert_eq!((&fitted.name, &fitted.etag), (&profile.name, &profile.etag));
            (fitted, omitted)
        };
        let (fitted, omitted) = without(2500);
        assert_eq!(omitted, "services");
        assert_eq!(fitted, Profile { services: Vec::new(), ..profile.clone() });
        assert_eq!(without(1024).1, "services,description");
        assert_eq!(without(40).1, "services,description,display_name");
    }
}
