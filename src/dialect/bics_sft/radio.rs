//! Radio access of SFT: a code in requests, a name in replies (page "06. Service Profile").
//!
//! Codes are strings with a leading zero. Their numeric order means nothing (02 is less than 01).

use crate::{
    error::violation::Violations,
    pb::{Profile, RadioAccess},
};

use RadioAccess::{
    NbIot, RadioAccess2g as R2g, RadioAccess3g as R3g, RadioAccess4g as R4g, RadioAccess5g as R5g,
};

/// The sets that SFT supports, with their codes.
const CODES: [(&str, &[RadioAccess]); 4] =
    [("02", &[R2g]), ("01", &[R2g, R3g]), ("06", &[R2g, R3g, R4g]), ("10", &[R2g, R3g, R4g, R5g])];

const FOUR: &str = "must be {2G}, {2G,3G}, {2G,3G,4G} or {2G,3G,4G,5G}, with or without NB_IOT";

/// The set without NB-IoT, which is a service on the wire.
fn cellular(radio_access: &[i32]) -> Vec<i32> {
    let mut set: Vec<i32> =
        radio_access.iter().copied().filter(|r| *r != i32::from(NbIot)).collect();
    set.sort_unstable();
    set.dedup();
    set
}

pub(super) fn has_nb_iot(radio_access: &[i32]) -> bool {
    radio_access.contains(&NbIot.into())
}

/// The code of a set, if it has one.
pub(super) fn code(radio_access: &[i32]) -> Option<&'static str> {
    let set = cellular(radio_access);
    CODES
        .iter()
        .find(|(_, members)| set.iter().copied().eq(members.iter().map(|m| i32::from(*m))))
        .map(|(code, _)| *code)
}

/// The largest supported set within this one.
pub(super) fn within(radio_access: &[i32]) -> Vec<i32> {
    let fits = |members: &[RadioAccess]| {
        members.iter().all(|member| radio_access.contains(&i32::from(*member)))
    };
    let sets = CODES.iter().map(|(_, members)| *members).filter(|members| fits(members));
    let cellular = sets.max_by_key(|members| members.len()).unwrap_or_default();
    let nb_iot = has_nb_iot(radio_access).then_some(&NbIot);
    cellular.iter().chain(nb_iot).map(|access| i32::from(*access)).collect()
}

/// Reads `2G/3G/4G`; `None` for each part that the model does not have.
pub(super) fn by_name(name: &str) -> impl Iterator<Item = Option<RadioAccess>> {
    const NAMES: [(&str, RadioAccess); 4] = [("2G", R2g), ("3G", R3g), ("4G", R4g), ("5G", R5g)];
    name.split('/').map(|part| {
        let named = NAMES.iter().find(|(name, _)| part.trim().eq_ignore_ascii_case(name));
        named.map(|(_, access)| *access)
    })
}

/// Checks the radio access of a request on its own.
pub(super) fn check(radio_access: &[i32], violations: &mut Violations) {
    if !cellular(radio_access).is_empty() && code(radio_access).is_none() {
        violations.add("profile.radio_access", FOUR);
    }
}

/// Checks that radio access and services match: the code is required with DATA, SMS_MO and SMS_MT
/// and not allowed otherwise (the vendor answers 10111), and there must be at least one service.
pub(super) fn check_with_services(profile: &Profile, violations: &mut Violations) {
    check(&profile.radio_access, violations);
    let any_service = !profile.services.is_empty();
    let any_cellular = !cellular(&profile.radio_access).is_empty();
    if any_service && !any_cellular {
        violations.add("profile.radio_access", format!("is required with services, and {FOUR}"));
    }
    if !any_service && any_cellular {
        violations.add(
            "profile.radio_access",
            "can only be NB_IOT without DATA, SMS_MO or SMS_MT in services",
        );
    }
    if !any_service && !any_cellular && !has_nb_iot(&profile.radio_access) {
        violations.add("profile.services", "must not be empty, unless radio_access is NB_IOT");
    }
}
