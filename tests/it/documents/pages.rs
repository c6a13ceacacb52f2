//! Where the documents are, what a page that is followed finds, and what holds of all of them.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
};

use super::{compare::refreshed, page::Page, session::Mismatch};

/// Ports that documents name.
const PORTS: [u16; 6] = [50051, 9090, 8080, 50052, 9091, 50053];
/// Below the ports that systems hand out, so that nothing takes one between here and its server.
const FREE: std::ops::Range<u16> = 18_000..32_000;
/// Most bytes of the README: it is read in one go.
const README_BYTES: usize = 9000;

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a directory of the repository with this ending, as paths from its root.
fn below(directory: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("node_modules") {
                directories.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// All documents.
pub(super) fn all() -> Vec<Page> {
    let at_root = fs::read_dir(root()).unwrap();
    let at_root = at_root.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut paths: Vec<String> = at_root.filter(|name| name.ends_with(".md")).collect();
    for directory in ["docs", "examples", "contract", "sandbox", "deploy"] {
        paths.extend(below(directory, ".md"));
    }
    paths.sort();
    let page = |path: &String| Page::parse(path, &fs::read_to_string(root().join(path)).unwrap());
    paths.iter().map(page).collect()
}

/// Writes into a page what its commands print now.
pub(super) fn update(page: &Page, mismatches: &[Mismatch]) {
    let mut lines: Vec<String> = page.text.lines().map(str::to_owned).collect();
    for mismatch in mismatches.iter().rev() {
        let range = mismatch.output_at..mismatch.output_at + mismatch.shown.len();
        lines.splice(range, refreshed(&mismatch.shown, &mismatch.actual));
    }
    let path = root().join(&page.path);
    let now = fs::read_to_string(&path).unwrap();
    assert_eq!(now, page.text, "{} has changed meanwhile; run this again", page.path);
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// Each port that documents name, with a free one that stands for it.
pub(super) fn ports() -> Vec<(String, String)> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = FREE.end - FREE.start;
    let first = u16::try_from(std::process::id() % u32::from(span)).unwrap();
    let mut free = std::iter::repeat_with(|| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        FREE.start + first.wrapping_add(step) % span
    })
    .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    PORTS.map(|told| (format!(":{told}"), format!(":{}", free.next().unwrap()))).to_vec()
}

/// Puts what commands of the documents use of the repository into a directory.
pub(super) fn copied(directory: &Path) {
    let used = ["examples", "proto", "scripts", "deploy"];
    for path in used.iter().flat_map(|below_| below(below_, "")) {
        let to = directory.join(&path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(root().join(&path), to).unwrap();
    }
    let tools = root().join("target/tools");
    symlink(tools.join("node_modules"), directory.join("node_modules")).unwrap();
    fs::create_dir(directory.join("target")).unwrap();
    symlink(tools, directory.join("target/tools")).unwrap();
}

/// Directories for `PATH`: the program under test, the tools that `make test` installs, and a
/// `cargo` whose `cargo run` starts what is already built.
pub(super) fn shims(directory: &Path) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_profile-gateway"));
    let built = program.parent().unwrap();
    for example in ["client", "migration"] {
        let path = built.join("examples").join(example);
        assert!(
            path.exists(),
            "the example {example} is not built: cargo test --workspace does it"
        );
    }
    let shims = directory.join(".shims");
    fs::create_dir(&shims).unwrap();
    let cargo = format!(
        "#!/bin/sh\n\
         [ \"$1\" = run ] || {{ echo \"only cargo run is known here\" >&2; exit 1; }}\n\
         shift; program={program}\n\
         while [ $# -gt 0 ]; do case $1 in\n\
         -q|--release|--locked) shift;;\n\
         -p) shift 2;;\n\
         --example) program={built}/examples/$2; shift 2;;\n\
         --) shift; break;;\n\
         *) break;;\n\
         esac; done\n\
         exec \"$program\" \"$@\"\n",
        program = program.display(),
        built = built.display(),
    );
    let path = shims.join("cargo");
    fs::write(&path, cargo).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let tools = root().join("target/tools");
    let tools = ["bin", "python/bin", "node_modules/.bin"].map(|directory| tools.join(directory));
    let all = [shims, built.to_owned()].into_iter().chain(tools);
    all.map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
}

#[test]
fn the_readme_is_short() {
    let bytes = fs::metadata(root().join("README.md")).unwrap().len();
    assert!(bytes <= README_BYTES as u64, "README.md has {bytes} bytes, more than {README_BYTES}");
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let linked = summary.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let linked: BTreeSet<String> = linked.map(|target| format!("docs/{target}")).collect();
    let pages: BTreeSet<String> =
        below("docs", ".md").into_iter().filter(|path| path != "docs/SUMMARY.md").collect();
    assert_eq!(linked, pages, "docs/SUMMARY.md (left) lists the pages below docs (right)");
}

/// What a heading is called in a link to it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_to_headings_that_are_there() {
    let headings = |path: &Path| -> BTreeSet<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let headings = text.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
    };
    let mut lost = Vec::new();
    for page in all() {
        let here = root().join(&page.path);
        for target in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let Some((file, wanted)) = target.split_once('#') else { continue };
            if target.contains("://") {
                continue;
            }
            let path = if file.is_empty() { here.clone() } else { here.with_file_name(file) };
            if !headings(&path).contains(wanted) {
                lost.push(format!("{}: {target} is not a heading", page.path));
            }
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

/// Paths in the architecture may leave out where they begin: `write/check.rs`.
#[test]
fn the_architecture_names_files_that_are_there() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let directories =
        ["src", "contract", "sandbox", "tests", "docs", "examples", "fuzz", "scripts", "deploy"];
    let mut files: Vec<String> = directories.iter().flat_map(|name| below(name, "")).collect();
    files.extend(below("proto", ""));
    let is_there = |path: &str| {
        let inside = format!("/{path}");
        root().join(path).exists()
            || files.iter().any(|file| match path.strip_suffix('/') {
                Some(_) => file.contains(&inside),
                None => file.ends_with(&inside),
            })
    };
    let named = page.split('`').skip(1).step_by(2).filter(|span| {
        (span.contains('/') || span.ends_with(".rs")) && !span.contains(['<', ' ', '\n', ':'])
    });
    let lost: Vec<&str> = named.filter(|path| !path.starts_with('/') && !is_there(path)).collect();
    assert!(lost.is_empty(), "ARCHITECTURE.md names files that do not exist: {lost:?}");
}

/// A book has nothing but its pages.
#[test]
fn the_book_links_to_its_own_pages() {
    for page in below("docs", ".md") {
        let depth = page.matches('/').count() - 1;
        let text = fs::read_to_string(root().join(&page)).unwrap();
        let outside = format!("]({}", "../".repeat(depth + 1));
        assert!(!text.contains(&outside), "{page} links to a file outside of docs/");
    }
}

#[test]
fn pages_are_well_formed() {
    let faults: Vec<String> = all().into_iter().flat_map(|page| page.faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Commands that no test runs: a toolchain, a network or a cluster is theirs. Each says why in its
/// page.
const NOT_RUN: [(&str, &str); 12] = [
    ("docs/operations.md", "profile-gateway check --config gateway.toml --connect > running.toml"),
    ("CONTRIBUTING.md", "make            # list the targets"),
    ("README.md", "cargo install --locked --path ."),
    ("docs/benchmarks.md", "make bench"),
    (
        "docs/clients.md",
        "python3 -m venv target/venv && \
         target/venv/bin/pip install -r examples/python/requirements.txt",
    ),
    ("docs/clients.md", "npm install --no-package-lock --prefix examples/node"),
    ("docs/guides/kubernetes.md", "kubectl get --raw /openid/v1/jwks > secrets/jwks.json"),
    ("docs/guides/kubernetes.md", "kubectl create namespace profile-gateway"),
    (
        "docs/guides/kubernetes.md",
        "kubectl create serviceaccount client --namespace profile-gateway",
    ),
    (
        "docs/guides/kubernetes.md",
        "kubectl create secret generic profile-gateway --namespace profile-gateway \
         --from-file=secrets",
    ),
    ("docs/guides/kubernetes.md", "envoy --config-path deploy/envoy/envoy.yaml"),
    ("docs/security.md", "cargo build --release --locked --no-default-features"),
];

#[test]
fn what_is_not_run_says_why() {
    let pages = all();
    let blocks = pages.iter().flat_map(|page| {
        page.not_run.iter().map(|block| {
            let reason = block.reason.as_deref().unwrap_or_default();
            assert!(
                reason.len() > 10,
                "{}: no `<!-- norun: reason -->` above its block",
                page.path
            );
            (page.path.as_str(), block.command.as_str())
        })
    });
    let found: BTreeSet<(&str, &str)> = blocks.collect();
    let known: BTreeSet<(&str, &str)> = NOT_RUN.into_iter().collect();
    assert_eq!(found, known, "blocks that are not run (left) and those that may be so (right)");
}
