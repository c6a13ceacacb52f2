//! The phrases that `prose.toml` lists, looked for in every text of the repository.

use serde::Deserialize;

use super::sources::{files, hold, read, root};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prose {
    avoid: Vec<Avoid>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Avoid {
    phrases: Vec<String>,
    /// Words that make the phrase good English.
    #[serde(default)]
    unless_followed_by: Vec<String>,
    write: String,
    /// Whether names in code can have it, with underscores for blanks.
    #[serde(default = "yes")]
    in_names: bool,
}

fn yes() -> bool {
    true
}

const FOLDERS: [&str; 13] = [
    "src",
    "sandbox",
    "contract",
    "tests/it",
    "benches",
    "fuzz/targets",
    "examples",
    "proto",
    "scripts",
    "docs",
    "deploy",
    ".github",
    ".ci",
];
const ENDINGS: [&str; 9] = ["rs", "md", "proto", "toml", "mjs", "py", "yml", "yaml", "json"];
/// What lists the phrases cannot avoid them.
const EXEMPT: [&str; 2] = ["prose.toml", "tests/it/tidy/phrases.rs"];

/// The texts that people write here, as paths.
fn texts() -> Vec<String> {
    let at_root = std::fs::read_dir(root()).unwrap().map(Result::unwrap);
    let at_root = at_root.filter(|entry| entry.file_type().unwrap().is_file());
    let at_root = at_root.map(|entry| entry.file_name().into_string().unwrap());
    let below = FOLDERS.iter().flat_map(|folder| files(folder));
    let is_text = |path: &String| {
        let name = path.rsplit('/').next().unwrap();
        match name.rsplit_once('.') {
            // Scripts, the Makefile and the Dockerfile.
            None => name != "LICENSE",
            Some((_, ending)) => ENDINGS.contains(&ending),
        }
    };
    let skipped = |path: &String| {
        EXEMPT.contains(&path.as_str())
            || ["node_modules/", "/target/", "__pycache__"].iter().any(|part| path.contains(part))
    };
    at_root.chain(below).filter(|path| is_text(path) && !skipped(path)).collect()
}

/// Where a phrase is in a line of lower case words, and is not part of a longer word.
fn has(line: &str, phrase: &str, unless_followed_by: &[String]) -> bool {
    line.match_indices(phrase).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + phrase.len()..]);
        let next = after.trim_start().split(|c: char| !c.is_alphanumeric()).next().unwrap();
        !before.ends_with(char::is_alphanumeric)
            && !after.starts_with(char::is_alphanumeric)
            && !unless_followed_by.iter().any(|word| word == next)
    })
}

fn breaches(prose: &Prose, path: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.to_lowercase();
        let names_too = line.replace('_', " ");
        for avoid in &prose.avoid {
            let line = if avoid.in_names { &names_too } else { &line };
            for phrase in &avoid.phrases {
                if has(line, phrase, &avoid.unless_followed_by) {
                    let write = &avoid.write;
                    breaches.push(format!("{path}:{number}: {phrase:?}; write: {write}"));
                }
            }
        }
    }
    breaches
}

fn prose() -> Prose {
    toml::from_str(&read("prose.toml")).unwrap()
}

#[test]
fn phrases_to_avoid_are_avoided() {
    let prose = prose();
    let texts = texts();
    assert!(texts.len() > 200, "{}", texts.len());
    let found: Vec<String> =
        texts.iter().flat_map(|path| breaches(&prose, path, &read(path))).collect();
    hold("phrases of prose.toml are not used", &found);
}

#[test]
fn each_phrase_is_found() {
    let prose = prose();
    let found = |text: &str| breaches(&prose, "a.rs", text).len();
    for avoid in &prose.avoid {
        for phrase in &avoid.phrases {
            assert_eq!(found(&format!("x\n// {phrase}.")), 1, "{phrase}");
            assert_eq!(found(&phrase.to_uppercase()), 1, "{phrase}");
            let in_a_name = usize::from(avoid.in_names || !phrase.contains(' '));
            assert_eq!(found(&format!("x_{}", phrase.replace(' ', "_"))), in_a_name, "{phrase}");
            assert_eq!(found(&format!("x{phrase}x")), 0, "{phrase}");
        }
    }
    assert_eq!(found("a token that is no longer valid stands for nothing"), 0);
    assert_eq!(breaches(&prose, "a.rs", "Mend it"), [r#"a.rs:1: "mend"; write: fix"#]);
}
