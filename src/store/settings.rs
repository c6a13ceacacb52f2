//! What can be configured of the store: `[store]`.

use std::{io, path::Path};

use super::file::exposed;
use crate::settings::{Kind as _, Section, one_of, plain_text, settings};

settings! {
    /// Where the gateway keeps what has to outlive its process.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct StoreSettings {
        /// `file`: a database in the directory `path`, which outlives the process, however it ends.
        /// `shared`: a Redis or Valkey, for all replicas of the gateway; see the keys below.
        /// `memory`: nothing does, and there is a warning.
        kind: StoreKind = StoreKind::File, one_of(KINDS);
        /// Directory of the database, on a disk of this machine, for this process alone. It is made
        /// if it does not exist, for its owner alone. A gateway with backends has to have one,
        /// unless `kind = "memory"` is written; the embedded sandbox does without.
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
    /// A server that replicas share.
    Shared,
}

const KINDS: &[(&str, StoreKind)] =
    &[("file", StoreKind::File), ("shared", StoreKind::Shared), ("memory", StoreKind::Memory)];

/// What memory gives up.
macro_rules! forgets {
    () => {
        "after a restart or a crash, a write that is repeated with its `request_id` is not \
         recognized, and is sent again"
    };
}

const NO_PATH: &str = concat!(
    "the store has no `path`: writes are recorded there, so that they are recognized after a \
     restart or a crash; write `path = \"/var/lib/profile-gateway\"` in `[store]`, or another \
     directory that this user can write, or give that up with `kind = \"memory\"`: ",
    forgets!()
);

const FORGETFUL: &str = concat!(
    "`store.kind` is `memory`: ",
    forgets!(),
    "; instead, set `store.path` to a directory that this user can write"
);

impl StoreSettings {
    /// Reports a store of backends that has no place. A trial without backends has nothing to lose.
    pub(crate) fn needs_a_place(&mut self, has_backends: bool, section: &mut Section<'_>) {
        match (self.kind, &self.path) {
            (StoreKind::File, None) if has_backends => section.conflict(["kind", "path"], NO_PATH),
            (StoreKind::File, None) => self.kind = StoreKind::Memory,
            _ => {}
        }
    }

    /// What a store of backends is warned of: that it forgets, or that others can read it.
    pub(crate) fn warning(&self) -> Option<String> {
        match (self.kind, &self.path) {
            (StoreKind::Memory, _) => Some(FORGETFUL.to_owned()),
            (StoreKind::File, path) => exposed(Path::new(path.as_ref()?)),
            (StoreKind::Shared, _) => None,
        }
    }
}

fn belongs_together(settings: &StoreSettings, section: &mut Section<'_>) {
    let word = KINDS.iter().find(|(_, kind)| *kind == settings.kind).map_or("", |(word, _)| word);
    if settings.path.is_some() && settings.kind != StoreKind::File {
        let message =
            format!("`kind = \"{word}\"` keeps nothing at a `path`, keep only one of them");
        section.conflict(["path", "kind"], message);
    }
    if let Some(path) = &settings.path
        && is_of_a_file(Path::new(path))
    {
        let message =
            "`path` is that of a file, or of something in a file, and has to be a directory";
        section.conflict(["path"], message);
    }
}

/// Whether a path cannot become a directory.
fn is_of_a_file(path: &Path) -> bool {
    match path.metadata() {
        Ok(there) => !there.is_dir(),
        Err(error) => error.kind() == io::ErrorKind::NotADirectory,
    }
}
