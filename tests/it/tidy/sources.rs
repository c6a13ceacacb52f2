//! The files that the rules read, and how breaches are reported.

use std::{
    fmt::Display,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;

use super::syntax;

/// Where everything is that is compiled.
pub(super) const COMPILED: [&str; 6] =
    ["src/", "contract/src/", "contract/examples/", "sandbox/src/", "tests/", "benches/"];

/// A source file.
pub(super) struct Source {
    /// From the root of the repository.
    pub path: String,
    pub text: String,
    /// The code without comments and literals.
    pub tokens: Vec<Token>,
    /// The lines of unit tests.
    tests: Vec<RangeInclusive<usize>>,
}

/// A name or a punctuation mark.
pub(super) struct Token {
    pub line: usize,
    pub text: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let (mut tokens, mut tests) = (Vec::new(), Vec::new());
        if path.ends_with(".rs") {
            let syntax = syntax::parse(path, text);
            let items =
                syntax.items.iter().filter(|item| syntax::is_for_tests(syntax::attrs(item)));
            tests = items.map(|item| lines(item.span())).collect();
            flatten(text.parse().unwrap(), &mut tokens);
        }
        Self { path: path.to_owned(), text: text.to_owned(), tokens, tests }
    }

    /// A breach at a line, counted from 1.
    pub(super) fn breach(&self, line: usize, what: impl Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// The line of a position in the text, in bytes.
    pub(super) fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    /// Whether a line belongs to a unit test.
    pub(super) fn is_test(&self, line: usize) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.tests.iter().any(|lines| lines.contains(&line))
    }

    /// The lines on which the code has this name.
    pub(super) fn lines_with<'s>(&'s self, name: &'s str) -> impl Iterator<Item = usize> + 's {
        self.tokens.iter().filter(move |token| token.text == name).map(|token| token.line)
    }
}

fn lines(span: proc_macro2::Span) -> RangeInclusive<usize> {
    span.start().line..=span.end().line
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => flatten(group.stream(), tokens),
            TokenTree::Ident(name) => tokens.push(Token { line, text: name.to_string() }),
            TokenTree::Punct(mark) => tokens.push(Token { line, text: mark.to_string() }),
            TokenTree::Literal(_) => {}
        }
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

#[test]
fn tests_are_told_from_the_rest() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
    let source = Source::new("src/a.rs", text);
    let tests: Vec<usize> = (1..=6).filter(|line| source.is_test(*line)).collect();
    assert_eq!(tests, [2, 3, 4, 5]);
    assert!(Source::new("src/a/tests.rs", "").is_test(1));
}

#[test]
fn comments_and_literals_are_not_code() {
    let source = Source::new("src/a.rs", "//! a\n/* a */ fn f() { g(\"a\", r#\"a\"#, 'a', a) }");
    assert_eq!(source.lines_with("a").collect::<Vec<_>>(), [2]);
}
