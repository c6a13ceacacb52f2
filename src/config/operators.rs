//! `[operators.NAME]`: who uses the admin port by a name, held against each other.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};

use super::auth::tables;
use crate::{
    caller::Name,
    server::{ADMIN, AdminSettings, OperatorSettings, Operators},
    settings::{Section, Settings, quoted},
};

/// The table of them.
pub(super) const OPERATORS: &str = "operators";

/// All of them. No two, and not `admin_token` either, may have the same token: the audit log would
/// name the wrong one.
pub(super) fn read(root: &mut Section<'_>, admin: &AdminSettings) -> Operators {
    let operators: BTreeMap<Name, OperatorSettings> =
        tables(root.child(OPERATORS), one).into_values().collect();
    let shared = admin.admin_token.iter().map(|token| ("admin_token".to_owned(), token));
    let own = operators.iter().filter_map(|(name, operator)| {
        Some((format!("{OPERATORS}.{name}.token"), operator.token.as_ref()?))
    });
    let all: Vec<(String, &SecretString)> = shared.chain(own).collect();
    for (at, (later, theirs)) in all.iter().enumerate() {
        let same =
            |(_, own): &&(String, &SecretString)| own.expose_secret() == theirs.expose_secret();
        if let Some((earlier, _)) = all.iter().take(at).find(same) {
            root.fault(format!(
                "{} and {} are the same: give each operator a token of its own",
                quoted(earlier),
                quoted(later)
            ));
        }
    }
    operators
}

fn one(name: &str, section: &mut Section<'_>) -> Option<(Name, OperatorSettings)> {
    section.require("token", "a secret, such as { file = \"PATH\" }");
    let settings = OperatorSettings::read(section);
    match name.parse() {
        Ok(_) if name == ADMIN => {
            let path = quoted(section.path());
            section.fault(format!(
                "the name of {path} is that of who sends `admin_token`: use another one"
            ));
            None
        }
        Ok(name) => Some((name, settings)),
        Err(why) => {
            let message = format!("the name of {} {why}", quoted(section.path()));
            section.fault(message);
            None
        }
    }
}
