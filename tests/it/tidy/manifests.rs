//! Dependencies are listed in alphabetical order, after the crates of this workspace.

use super::sources::{hold, read, root};

const MANIFESTS: [&str; 4] =
    ["Cargo.toml", "contract/Cargo.toml", "fuzz/Cargo.toml", "sandbox/Cargo.toml"];

/// Each dependency that comes after one with a later name in its section.
fn unsorted(path: &str, text: &str) -> Vec<String> {
    let (mut breaches, mut in_dependencies, mut last) = (Vec::new(), false, "");
    for (line, number) in text.lines().zip(1..) {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
            last = "";
        } else if let Some((name, _)) = line.split_once([' ', '.', '=']).filter(|_| in_dependencies)
            && !["", "#"].contains(&name)
            && !name.starts_with("profile-gateway")
        {
            if name < last {
                breaches.push(format!("{path}:{number}: {name} comes before {last}"));
            }
            last = name;
        }
    }
    breaches
}

#[test]
fn dependencies_are_sorted() {
    let here = MANIFESTS.into_iter().filter(|path| root().join(path).exists());
    let breaches: Vec<String> = here.flat_map(|path| unsorted(path, &read(path))).collect();
    hold("dependencies are listed in alphabetical order", &breaches);
}

#[test]
fn an_unsorted_dependency_is_found() {
    let text = "[package]\nversion = 1\nname = 2\n[dependencies]\n# a\nb = \"1\"\na.path = \"x\"\n\
                [dev-dependencies]\nprofile-gateway-x = \"1\"\na = \"1\"\n";
    assert_eq!(unsorted("Cargo.toml", text), ["Cargo.toml:7: a comes before b"]);
}
