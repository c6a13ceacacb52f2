//! Which room may use which: the table of the architecture document.

use super::sources::{Source, hold, sources};

const LEAVES: &[&str] = &["pb"];
/// `model` and `error` know each other: an error names the fields that are wrong.
const MODEL: &[&str] = &["pb", "model", "error"];

/// What each room may use besides itself. A room that is not here is a mistake.
const TABLE: &[(&str, &[&[&str]])] = &[
    ("pb", &[]),
    ("model", &[LEAVES, &["error"]]),
    ("error", &[LEAVES, &["model"]]),
    ("query", &[MODEL]),
    ("upstream", &[MODEL, &["query"]]),
    ("cache", &[MODEL, &["query"]]),
    // What one call carries: made by `server` and `rpc`, read by `gateway`.
    ("call", &[MODEL, &["query", "cache"]]),
    // A dialect sends through upstream's `Port`; it never calls by itself.
    ("dialect", &[MODEL, &["query", "upstream"]]),
    ("gateway", &[MODEL, &["query", "upstream", "cache", "dialect", "call"]]),
    ("rpc", &[MODEL, &["query", "upstream", "cache", "dialect", "call", "gateway"]]),
    (
        "server",
        &[
            MODEL,
            &["query", "upstream", "cache", "dialect", "call", "gateway", "rpc"],
            &["telemetry"],
        ],
    ),
    // Handed in as plain data: they know nothing of the rest.
    ("config", &[]),
    ("telemetry", &[]),
    // Shares no code with what it is there to test.
    ("sandbox", &[]),
    (
        "app",
        &[
            MODEL,
            &["query", "upstream", "cache", "dialect", "gateway", "rpc", "server"],
            &["config", "telemetry", "sandbox"],
        ],
    ),
    (
        "main",
        &[
            MODEL,
            &["query", "upstream", "cache", "dialect", "gateway", "rpc", "server", "app"],
            &["config", "telemetry", "sandbox"],
        ],
    ),
];

fn allowed(room: &str) -> Option<Vec<&'static str>> {
    let (_, groups) = TABLE.iter().find(|(name, _)| *name == room)?;
    Some(groups.iter().flat_map(|group| group.iter().copied()).collect())
}

/// The room of a file, and how many `super` lead from it to the root of the crate.
fn place(path: &str) -> (String, usize) {
    let inside = path.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    (inside.split('/').next().unwrap().to_owned(), inside.split('/').count())
}

/// Names that stand at the beginning of a path: `a::b`, or those of a group `{a::b, c}`.
fn heads(code: &str, at: usize) -> Vec<(usize, &str)> {
    if !code[at..].starts_with('{') {
        return name(code, at).into_iter().collect();
    }
    let (mut depth, mut found, mut expected) = (0_usize, Vec::new(), false);
    for (offset, c) in code[at..].char_indices() {
        match c {
            '{' => {
                depth += 1;
                expected = depth == 1;
            }
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' => expected = depth == 1,
            _ if c.is_whitespace() => {}
            _ if expected => {
                found.extend(name(code, at + offset));
                expected = false;
            }
            _ => {}
        }
    }
    found
}

fn name(code: &str, at: usize) -> Option<(usize, &str)> {
    let rest = &code[at..];
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    (end > 0).then(|| (at, &rest[..end]))
}

/// Paths that begin at the root of the crate, however written.
fn from_root(source: &Source) -> Vec<(usize, &str)> {
    let (room, depth) = place(&source.path);
    let code = &source.code;
    let root = if room == "main" { "profile_gateway" } else { "crate" };
    let starts = source.words(root).map(|at| at + root.len());
    let up = "super::".repeat(depth);
    let supers = code.match_indices(&up).filter(|(at, _)| !code[..*at].ends_with("super::"));
    let supers = supers.map(|(at, _)| at + up.len() - "::".len());
    starts
        .chain(supers)
        .filter_map(|at| code[at..].starts_with("::").then_some(at + "::".len()))
        .flat_map(|at| heads(code, at))
        // An item that the root reexports, or a name of a module inside a test's module.
        .filter(|(_, name)| root == "profile_gateway" || is_room(name))
        .collect()
}

fn is_room(name: &str) -> bool {
    TABLE.iter().any(|(room, _)| *room == name)
}

fn breaches(source: &Source) -> Vec<String> {
    let (room, _) = place(&source.path);
    if room == "lib" {
        return Vec::new();
    }
    let Some(allowed) = allowed(&room) else {
        return vec![source.breach(0, format!("the room `{room}` is not in the table"))];
    };
    from_root(source)
        .into_iter()
        .filter(|(_, used)| *used != room && !allowed.contains(used))
        .map(|(at, used)| source.breach(at, format!("`{room}` must not use `{used}`")))
        .collect()
}

#[test]
fn rooms_use_only_what_is_left_of_them() {
    let breaches: Vec<String> = sources(&["src/"]).into_iter().flat_map(breaches).collect();
    hold("each room may use only what the table in ARCHITECTURE.md says", &breaches);
}

#[test]
fn a_breach_is_found_however_it_is_written() {
    for (path, text, found) in [
        (
            "src/model/name.rs",
            "use crate::rpc;",
            &["src/model/name.rs:1: `model` must not use `rpc`"][..],
        ),
        (
            "src/error.rs",
            "\nuse super::server::X;",
            &["src/error.rs:2: `error` must not use `server`"],
        ),
        (
            "src/query/page.rs",
            "use super::super::rpc;",
            &["src/query/page.rs:1: `query` must not use `rpc`"],
        ),
        (
            "src/sandbox/mod.rs",
            "use crate::{\n    model::{name, text},\n    pb,\n    sandbox::x,\n};",
            &[
                "src/sandbox/mod.rs:2: `sandbox` must not use `model`",
                "src/sandbox/mod.rs:3: `sandbox` must not use `pb`",
            ],
        ),
        (
            "src/gateway/read.rs",
            "fn f() -> crate::config::Config {}",
            &["src/gateway/read.rs:1: `gateway` must not use `config`"],
        ),
        (
            "src/main.rs",
            "use profile_gateway::{app::App, cellar};",
            &["src/main.rs:1: `main` must not use `cellar`"],
        ),
        ("src/cellar.rs", "", &["src/cellar.rs:1: the room `cellar` is not in the table"]),
        ("src/gateway/read.rs", "// crate::config\nuse crate::{model::x, gateway::Call};", &[]),
        ("src/dialect/a/b.rs", "use super::super::{Port, x}; use crate::upstream::Port;", &[]),
    ] {
        assert_eq!(breaches(&Source::new(path, text)), found, "{text}");
    }
}
