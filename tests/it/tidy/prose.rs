//! Rules about what is not code: documents and fixtures.

use super::sources::{COMPILED, Source, files, hold, read, root, sources};

/// Targets of `[text](target)`, with their place. Code, in blocks and in line, is no link.
fn links(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut start, mut in_block) = (Vec::new(), 0, false);
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            let targets = line.match_indices("](").filter(|(at, _)| !in_code(line, *at));
            found.extend(targets.filter_map(|(at, opening)| {
                let target = line[at + opening.len()..].split([')', ' ']).next()?;
                Some((start + at, target))
            }));
        }
        start += line.len();
    }
    found
}

fn in_code(line: &str, at: usize) -> bool {
    line[..at].matches('`').count() % 2 == 1 && line[at..].contains('`')
}

/// Links of a document to files that are not there.
fn dangling(document: &Source) -> Vec<String> {
    let directory = root().join(&document.path).parent().unwrap().to_owned();
    let elsewhere = |target: &str| target.contains("://") || target.starts_with("mailto:");
    let lost = |target: &&str| {
        let path = target.split('#').next().unwrap();
        !path.is_empty() && !directory.join(path).exists()
    };
    links(&document.text)
        .into_iter()
        .filter(|(_, target)| !elsewhere(target) && lost(target))
        .map(|(at, target)| document.breach(document.line(at), format!("{target} does not exist")))
        .collect()
}

fn documents() -> Vec<Source> {
    let at_root = std::fs::read_dir(root()).unwrap();
    let at_root = at_root.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let below = ["docs", "deploy", "examples"].iter().flat_map(|below| files(below));
    // What npm puts beside an example is not ours.
    let ours = |path: &String| path.ends_with(".md") && !path.contains("/node_modules/");
    let paths = at_root.chain(below).filter(ours);
    paths.map(|path| Source::new(&path, &read(&path))).collect()
}

#[test]
fn links_lead_somewhere() {
    let breaches: Vec<String> = documents().iter().flat_map(dangling).collect();
    hold("a link in a document leads to a file that exists", &breaches);
}

#[test]
fn fixtures_are_used() {
    let tests = sources(&COMPILED);
    let unused = |path: &String| {
        let name = path.rsplit('/').next().unwrap();
        let stem = name.split('.').next().unwrap();
        // Named in a literal: alone or below its directory, with its ending or without.
        let names = [format!("\"{stem}\""), format!("/{stem}\""), format!("{name}\"")];
        !tests.iter().any(|source| names.iter().any(|name| source.text.contains(name)))
    };
    let fixtures = files("tests/fixtures");
    assert!(!fixtures.is_empty());
    let unused = fixtures.iter().filter(|path| unused(path));
    let breaches: Vec<String> =
        unused.map(|path| format!("{path}:1: no test names this fixture")).collect();
    hold("a fixture is there because a test uses it", &breaches);
}

#[test]
fn a_lost_link_is_found() {
    let text = "[a](Cargo.toml)\n[b](no/such.md#x) `[c](code)`\n```\n[d](block)\n```\n[e](#here) \
                [f](https://example.com) [g](src/lib.rs \"title\")";
    let document = Source::new("README.md", text);
    assert_eq!(
        dangling(&document),
        ["README.md:2: no/such.md does not exist".replace(".md d", ".md#x d")]
    );
}
