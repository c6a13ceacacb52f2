//! Who else on this machine can read or change what the program is configured with.

use std::{fs::Metadata, os::unix::fs::PermissionsExt as _};

use crate::settings::{Errors, Origin, flag, settings};

/// Read by others than the owner and the group.
const READABLE: u32 = 0o004;
/// Written by them.
const WRITABLE: u32 = 0o002;

settings! {
    /// How strictly the permissions of files are taken.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PermissionSettings {
        /// Whether the program refuses to start when everyone on the machine can change its
        /// configuration or the file of a secret, or read a secret that the configuration itself
        /// holds. Otherwise it warns.
        strict_permissions: bool = false, flag();
    }
}

/// What is wrong with the permissions: errors if they are taken strictly, warnings otherwise.
/// `file` is the configuration, if it is a file.
pub(super) fn check(
    settings: &PermissionSettings,
    file: Option<&Metadata>,
    whole: &Origin,
    errors: &mut Errors,
) -> Vec<String> {
    let mode = file.map_or(0, |file| file.permissions().mode());
    let mut lax = errors.take_lax();
    if mode & WRITABLE != 0 {
        lax.push((whole.clone(), "everyone on this machine can write the file".to_owned()));
    }
    for (origin, key) in errors.take_literal() {
        if mode & READABLE != 0 {
            let message = format!(
                "{key} is written in a file that everyone on this machine can read; take the \
                 permission away, or use {{ file = \"PATH\" }}"
            );
            lax.push((origin, message));
        }
    }
    if settings.strict_permissions {
        lax.iter().for_each(|(origin, message)| errors.push(origin, message));
        return Vec::new();
    }
    lax.into_iter().map(|(origin, message)| format!("{origin}: {message}")).collect()
}
