//! The files that the rules read, and how breaches are told.

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use super::blank::blank;

/// Where everything is that is compiled.
pub(super) const COMPILED: [&str; 3] = ["src/", "tests/", "benches/"];

/// A source file.
pub(super) struct Source {
    /// From the root of the repository.
    pub path: String,
    pub text: String,
    /// The text with comments and literals blanked out; every place is where it was.
    pub code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// A breach at a place of the text, counted in bytes.
    pub(super) fn breach(&self, at: usize, what: impl Display) -> String {
        let line = self.text[..at].matches('\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }

    /// Where unit tests begin, at the end of a file by custom; the whole file in a test's own file.
    pub(super) fn tests_begin(&self) -> usize {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return 0;
        }
        self.code.find("\nmod tests {").unwrap_or(self.code.len())
    }

    /// Where a word stands in the code, not as a part of a longer one.
    pub(super) fn words<'s>(&'s self, word: &'s str) -> impl Iterator<Item = usize> + 's {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
            !self.code[..at].ends_with(is_name)
                && !self.code[at + word.len()..].starts_with(is_name)
        })
    }
}

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a directory of the repository, as paths from its root.
pub(super) fn files(below: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(below)];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(relative(&path));
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Rust files below some directories, which are among those that are compiled.
pub(super) fn sources(below: &[&str]) -> Vec<&'static Source> {
    static ALL: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let paths = COMPILED.iter().flat_map(|below| files(below));
        let rust = paths.filter(|path| path.ends_with(".rs"));
        rust.map(|path| Source::new(&path, &read(&path))).collect()
    });
    let wanted = |source: &&Source| below.iter().any(|below| source.path.starts_with(below));
    let sources: Vec<_> = ALL.iter().filter(wanted).collect();
    assert!(!sources.is_empty(), "no sources in {below:?}");
    sources
}

/// Fails with all breaches of a rule.
#[track_caller]
pub(super) fn hold(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n{}\n", breaches.join("\n"));
}
