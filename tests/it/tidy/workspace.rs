//! The modules of this workspace, read once.

use std::{collections::HashSet, sync::LazyLock};

use super::{
    modules::{Modules, Reference, Target},
    sources::{files, root},
};

/// Each crate's name as `use` has it, and its root file. A crate that is not there is left out.
const CRATES: [(&str, &str); 4] = [
    ("profile_gateway_contract", "contract/src/lib.rs"),
    ("profile_gateway_sandbox", "sandbox/src/lib.rs"),
    ("profile_gateway", "src/lib.rs"),
    ("main", "src/main.rs"),
];

/// A path that a file has, and what it means.
pub(super) struct Use<'w> {
    pub reference: &'w Reference,
    pub targets: Vec<Target>,
    /// All modules that the path leads through, re-exports followed.
    pub through: HashSet<usize>,
}

/// Each path of all modules that leads to something of this workspace.
pub(super) fn uses(modules: &Modules) -> Vec<Use<'_>> {
    let resolved = modules.references.iter().map(|reference| {
        let mut through = HashSet::new();
        let targets = modules.resolve(reference, &mut through);
        Use { reference, targets, through }
    });
    resolved.filter(|found| !found.targets.is_empty()).collect()
}

pub(super) fn workspace() -> &'static Modules {
    static ALL: LazyLock<Modules> = LazyLock::new(|| {
        let mut modules = Modules::default();
        for (name, file) in CRATES {
            if root().join(file).exists() {
                modules.add(name, file, &|path| std::fs::read_to_string(root().join(path)).ok());
            }
        }
        modules
    });
    &ALL
}

/// Modules of files that a test makes up; the first one is the root.
pub(super) fn made_up(name: &str, files: &[(&str, &str)]) -> Modules {
    let mut modules = Modules::default();
    let read = |path: &str| {
        let found = files.iter().find(|(known, _)| *known == path);
        found.map(|(_, text)| (*text).to_owned())
    };
    modules.add(name, files[0].0, &read);
    modules
}

#[test]
fn every_file_belongs_to_a_module() {
    let known: HashSet<&str> = workspace().all.iter().map(|module| &*module.file).collect();
    let mut found = Vec::new();
    for directory in ["src", "sandbox/src", "contract/src"] {
        found.extend(files(directory).into_iter().filter(|path| path.ends_with(".rs")));
    }
    assert!(found.len() > 100);
    let lost: Vec<&String> = found.iter().filter(|path| !known.contains(path.as_str())).collect();
    assert!(lost.is_empty(), "no module has {lost:?}");
}
