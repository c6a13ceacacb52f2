//! What can be configured of the store: `[store]`.

use crate::settings::{Kind as _, Section, one_of, plain_text, settings};

settings! {
    /// Where the gateway keeps what has to outlive its process.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct StoreSettings {
        /// `file`: a database in the directory `path`, which outlives the process, however it ends.
        /// `memory`: nothing does. Without it, `file` if there is a `path`.
        kind: Option<StoreKind> = None, one_of(KINDS).optional();
        /// Directory of the database, on a disk of this machine, for this process alone. It is made
        /// if it does not exist, for its owner alone. Without it, the store is the memory, and
        /// there is a warning.
        path: Option<String> = None, plain_text(4096).optional();
    }
    check belongs_together;
}

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// A database in a file.
    File,
    /// The memory of the process.
    Memory,
}

const KINDS: &[(&str, StoreKind)] = &[("file", StoreKind::File), ("memory", StoreKind::Memory)];

fn belongs_together(settings: &StoreSettings, section: &mut Section<'_>) {
    let message = match (settings.kind, &settings.path) {
        (Some(StoreKind::Memory), Some(_)) => {
            "`kind = \"memory\"` keeps nothing at a `path`, keep only one of them"
        }
        (Some(StoreKind::File), None) => {
            "`kind = \"file\"` needs a `path`: a directory that this user can write, such as \
             `path = \"/var/lib/profile-gateway\"`"
        }
        _ => return,
    };
    section.conflict(["path", "kind"], message.to_owned());
}
