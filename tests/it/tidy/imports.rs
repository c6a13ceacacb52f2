//! Which room may use which: the table of the architecture document.

use std::collections::BTreeSet;

use super::{
    modules::Modules,
    sources::hold,
    workspace::{made_up, uses, workspace},
};

/// What every room but the leaves may use.
const MODEL: &[&str] = &["text", "pb", "error", "model"];

/// What a room declares its settings with, and counts with.
const HELPERS: &[&str] = &["settings", "telemetry"];

/// What each room may use besides itself. A room that is not here is a mistake.
const TABLE: &[(&str, &[&[&str]])] = &[
    ("text", &[]),
    ("pb", &[&["contract"]]),
    ("error", &[&["text", "pb"]]),
    ("model", &[&["text", "pb", "error"]]),
    ("settings", &[&["text"]]),
    ("telemetry", &[&["settings"]]),
    // Who calls, and what one caller may hold.
    ("caller", &[HELPERS, &["text", "pb", "error"]]),
    // What proves who calls, and what that caller may do.
    ("auth", &[MODEL, HELPERS, &["caller"]]),
    // What the process as a whole may use, of which each caller gets its share.
    ("resources", &[HELPERS, &["text", "pb", "error", "caller"]]),
    // What outlives the process, of whichever room.
    ("store", &[HELPERS, &["text", "pb", "error"]]),
    // What replicas share, and how they are connected to it.
    ("shared", &[HELPERS, &["text", "pb", "error"]]),
    // What operators set while the gateway runs.
    ("levers", &[&["telemetry"]]),
    ("query", &[MODEL, HELPERS]),
    ("upstream", &[MODEL, HELPERS, &["caller", "resources", "store", "shared", "levers", "query"]]),
    ("cache", &[MODEL, HELPERS, &["caller", "resources", "shared", "query"]]),
    // What one call carries: made by `server` and `rpc`, read by `gateway`.
    ("call", &[MODEL, &["auth", "caller", "resources", "query", "cache"]]),
    // A dialect sends through upstream's `Port`; it never calls by itself.
    ("dialect", &[MODEL, &["resources", "query", "upstream"]]),
    (
        "gateway",
        &[
            MODEL,
            HELPERS,
            &[
                "auth",
                "caller",
                "resources",
                "store",
                "shared",
                "levers",
                "query",
                "upstream",
                "cache",
                "dialect",
                "call",
            ],
        ],
    ),
    (
        "rpc",
        &[
            MODEL,
            &["caller", "resources", "query", "upstream", "cache", "dialect", "call", "gateway"],
        ],
    ),
    (
        "server",
        &[
            MODEL,
            HELPERS,
            &[
                "auth",
                "caller",
                "resources",
                "levers",
                "query",
                "upstream",
                "cache",
                "dialect",
                "call",
                "gateway",
                "rpc",
            ],
        ],
    ),
    // Composes the settings of the rooms.
    (
        "config",
        &[
            HELPERS,
            &[
                "text",
                "auth",
                "caller",
                "resources",
                "store",
                "shared",
                "query",
                "upstream",
                "cache",
                "dialect",
                "gateway",
                "server",
            ],
        ],
    ),
    (
        "app",
        &[
            MODEL,
            &[
                "auth",
                "caller",
                "resources",
                "store",
                "shared",
                "levers",
                "query",
                "upstream",
                "cache",
                "dialect",
                "call",
                "gateway",
                "rpc",
                "server",
            ],
            HELPERS,
            &["config", "sandbox"],
        ],
    ),
    (
        "main",
        &[
            MODEL,
            &["query", "upstream", "cache", "dialect", "gateway", "rpc", "server", "app"],
            HELPERS,
            &["config", "sandbox"],
        ],
    ),
];

fn allowed(room: &str) -> Option<Vec<&'static str>> {
    let (_, groups) = TABLE.iter().find(|(name, _)| *name == room)?;
    Some(groups.iter().flat_map(|group| group.iter().copied()).collect())
}

/// The room of a module: the first below the crate's root, the program itself, or another crate of
/// the workspace.
fn room(modules: &Modules, module: usize) -> Option<&str> {
    match modules.all[module].path.as_slice() {
        [name] if name == "main" => Some(name),
        [name, ..] if other_crate(name).is_some() => other_crate(name),
        [_, room, ..] => Some(room),
        _ => None,
    }
}

fn other_crate(name: &str) -> Option<&str> {
    name.strip_prefix("profile_gateway_")
}

/// Rooms that use what they must not, by whatever way, in tests too.
fn breaches(modules: &Modules) -> Vec<String> {
    let mut breaches = BTreeSet::new();
    for module in &modules.all {
        if let [name, room] = module.path.as_slice()
            && other_crate(name).is_none()
            && allowed(room).is_none()
        {
            breaches.insert(format!("{}:1: the room `{room}` is not in the table", module.file));
        }
    }
    for found in uses(modules) {
        let from = found.reference.module;
        // What another crate may use, cargo holds.
        if other_crate(&modules.all[from].path[0]).is_some() {
            continue;
        }
        let Some(room) = room(modules, from) else { continue };
        let Some(allowed) = allowed(room) else { continue };
        let used = || found.through.iter().filter_map(|module| self::room(modules, *module));
        // The contract is what `pb` re-exports, so a room that may use `pb` may use it there.
        let from_pb = used().any(|used| used == "pb");
        let fine = |used: &&str| {
            *used == room || allowed.contains(used) || (*used == "contract" && from_pb)
        };
        for used in used().filter(|used| !fine(used)) {
            let (file, line) = (&modules.all[from].file, found.reference.line);
            breaches.insert(format!("{file}:{line}: `{room}` must not use `{used}`"));
        }
    }
    breaches.into_iter().collect()
}

#[test]
fn rooms_use_only_what_is_left_of_them() {
    hold("each room may use only what the table in ARCHITECTURE.md says", &breaches(workspace()));
}

#[test]
fn a_breach_is_found_however_it_is_written() {
    let rooms = "pub mod model; pub mod rpc; pub mod gateway; pub mod config; pub mod dialect; \
                 pub mod upstream;";
    for (path, text, found) in [
        ("src/model.rs", "use crate::rpc;", &["src/model.rs:1: `model` must not use `rpc`"][..]),
        ("src/model.rs", "\nuse super::rpc::R;", &["src/model.rs:2: `model` must not use `rpc`"]),
        (
            "src/dialect.rs",
            "mod inner { use super::super::rpc; }",
            &["src/dialect.rs:1: `dialect` must not use `rpc`"],
        ),
        (
            "src/dialect.rs",
            "use crate::{\n    model::{M, N},\n    config,\n    gateway::G,\n};",
            &[
                "src/dialect.rs:3: `dialect` must not use `config`",
                "src/dialect.rs:4: `dialect` must not use `gateway`",
            ],
        ),
        (
            "src/gateway.rs",
            "fn f() -> crate::config::Config {}",
            &["src/gateway.rs:1: `gateway` must not use `config`"],
        ),
        (
            "src/gateway.rs",
            "fn f() { format!(\"\", crate::config::Config {}) }",
            &["src/gateway.rs:1: `gateway` must not use `config`"],
        ),
        (
            "src/dialect.rs",
            "use crate::upstream::Hidden;",
            &["src/dialect.rs:1: `dialect` must not use `gateway`"],
        ),
        ("src/gateway.rs", "// crate::config\nuse crate::{model::x, gateway::Call};", &[]),
        ("src/dialect.rs", "use crate::upstream::Port; mod a { use super::super::model; }", &[]),
    ] {
        let hidden = ("src/upstream.rs", "#[cfg(test)] pub use crate::gateway::Call as Hidden;");
        let mut files = vec![("src/lib.rs", rooms), (path, text)];
        if path == "src/dialect.rs" {
            files.push(hidden);
        }
        let empty = ["model", "rpc", "gateway", "config", "dialect", "upstream"];
        let empty = empty.map(|room| format!("src/{room}.rs"));
        files.extend(empty.iter().map(|file| (file.as_str(), "")));
        let mut breaches = breaches(&made_up("made_up", &files));
        breaches.retain(|breach| !breach.starts_with("src/upstream.rs"));
        assert_eq!(breaches, found, "{text}");
    }
}

#[test]
fn a_room_that_uses_the_contract_past_pb_is_a_breach() {
    let lib = ("src/lib.rs", "pub mod pb; pub mod model;");
    let pb = ("src/pb.rs", "pub use profile_gateway_contract::*;");
    let past_pb = &["src/model.rs:1: `model` must not use `contract`"][..];
    for (text, found) in [
        ("use profile_gateway_contract::Profile;", past_pb),
        ("fn f() -> profile_gateway_contract::Profile {}", past_pb),
        ("use crate::pb::Other; use profile_gateway_contract as contract;", past_pb),
        ("use crate::pb::Profile;", &[]),
        ("fn f() -> crate::pb::Profile {}", &[]),
    ] {
        let mut modules = made_up("made_up", &[lib, pb, ("src/model.rs", text)]);
        let contract = "pub struct Profile; pub struct Other;";
        let files = |_: &str| Some(contract.to_owned());
        modules.add("profile_gateway_contract", "contract/src/lib.rs", &files);
        assert_eq!(breaches(&modules), found, "{text}");
    }
}

#[test]
fn a_room_that_is_not_in_the_table_is_a_breach() {
    let files = [("src/lib.rs", "mod cellar;"), ("src/cellar.rs", "")];
    let unknown = "src/cellar.rs:1: the room `cellar` is not in the table";
    assert_eq!(breaches(&made_up("made_up", &files)), [unknown]);
}
