//! Variables that look as if they configured the gateway and do not. A typo there would otherwise
//! start it as if nothing had been said.

use std::collections::BTreeSet;

use super::{
    overlay::PREFIX,
    read::{SECTIONS, root_rows},
};
use crate::{
    settings::{Env, Errors, Origin},
    text,
};

/// The variable that names the file. The program reads it, and nothing else begins like this.
pub const FILE_VARIABLE: &str = "PROFILE_GATEWAY_CONFIG";

const NAME: &str = "PROFILE_GATEWAY";

/// Reports each of them.
pub(super) fn check(env: &Env, errors: &mut Errors) {
    let unread: BTreeSet<&str> =
        env.iter().map(|(name, _)| name.as_str()).filter(|name| is_unread(name)).collect();
    for name in unread {
        let message = format!(
            "looks like a setting and is not read: settings begin with {PREFIX}, in capital \
             letters and with two underscores, and so does each part after it"
        );
        errors.push(&Origin::Env(name.to_owned()), message);
    }
}

fn is_unread(name: &str) -> bool {
    if name.starts_with(PREFIX) || name == FILE_VARIABLE || is_of_a_service(name) {
        return false;
    }
    let upper = name.to_uppercase().replace('-', "_");
    if let Some((before, _)) = upper.split_once("__")
        && text::closest(before, [NAME]).is_some()
    {
        return true;
    }
    let Some(rest) = upper.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('_')) else {
        return false;
    };
    let rest = rest.to_lowercase();
    let keys = root_rows();
    let known = SECTIONS.iter().copied().chain(keys.iter().map(|row| row.key));
    known.into_iter().any(|known| {
        rest.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    })
}

/// Whether Kubernetes sets it for a Service, whose name may begin like the gateway's.
fn is_of_a_service(name: &str) -> bool {
    let is_port = |text: &str| {
        let mut parts = text.split('_');
        parts.next().is_some_and(|port| port.parse::<u16>().is_ok())
            && parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| is_port(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_setting_is_told_from_what_others_set() {
        for stray in [
            "PROFILE_GATEWAY_BACKENDS__SFT__DIALECT",
            "PROFILE_GATEWAY_BACKENDS_SFT_DIALECT",
            "PROFILE_GATEWAY_LISTEN",
            "PROFILE_GATEWAY_LOG_LEVEL",
            "profile_gateway__listen",
            "Profile_Gateway__Listen",
            "PROFILE-GATEWAY__LISTEN",
            "PROFILEGATEWAY__LISTEN",
            "PROFIL_GATEWAY__LISTEN",
            "PROFILE_GATWEAY__BACKENDS__SFT__DIALECT",
            "PROFILE_GATEWAY___LISTEN",
        ] {
            let is_read = stray.starts_with(PREFIX);
            assert!(is_unread(stray) || is_read, "{stray}");
        }
        for other in [
            "PROFILE_GATEWAY__LISTEN",
            "PROFILE_GATEWAY_CONFIG",
            "PROFILE_GATEWAY_IMAGE",
            "PROFILE_GATEWAY_VERSION",
            "PROFILE_GATEWAY_SERVICE_HOST",
            "PROFILE_GATEWAY_SERVICE_PORT_GRPC",
            "PROFILE_GATEWAY_PORT",
            "PROFILE_GATEWAY_PORT_50051_TCP_ADDR",
            "PROFILE_GATEWAY_SERVER_SERVICE_HOST",
            "PROFILE_GATEWAY_STORE_PORT_6379_TCP",
            "PATH",
            "MY__LISTEN",
        ] {
            assert!(!is_unread(other), "{other}");
        }
    }
}
