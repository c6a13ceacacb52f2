//! Radio access: a switch for each technology except 2G, which is always on.

use crate::{
    error::violation::Violations,
    pb::RadioAccess::{
        self, NbIot, NbIotNtn, RadioAccess2g as R2g, RadioAccess3g as R3g, RadioAccess4g as R4g,
        RadioAccess5g as R5g,
    },
};

/// NB-IoT over geostationary satellites, which the white label's own page does not have yet.
pub(super) const GEO: &str = "allowed_nb_iot_geo";

/// The members, in the order of the vendor's object, with the technologies that they enable.
pub(super) const SWITCHES: [(&str, RadioAccess); 4] =
    [("allowed_3g", R3g), ("allowed_4g", R4g), ("allowed_nb_iot", NbIot), (GEO, NbIotNtn)];

/// Checks the set of a request; an empty one is checked with the whole profile.
pub(super) fn check(radio_access: &[i32], violations: &mut Violations) {
    const FIELD: &str = "profile.radio_access";
    let has = |kind: RadioAccess| radio_access.contains(&kind.into());
    if has(R5g) {
        violations
            .add(FIELD, "must not contain RADIO_ACCESS_5G, which this upstream does not support");
    }
    if !radio_access.is_empty() && !has(R2g) {
        violations
            .add(FIELD, "must contain RADIO_ACCESS_2G, which this upstream cannot switch off");
    }
}
