//! No circle of files: what a file uses does not use that file, however far around.
//!
//! A file uses the one that defines what a path in it leads to, whatever the path goes through:
//! aliases, groups, globs and re-exports. To declare a child module and to re-export what a
//! descendant defines is no use. Unit tests may look wherever they like.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{
    modules::{Modules, Target, Written},
    sources::hold,
    workspace::{made_up, uses, workspace},
};

/// For each file those that it uses, with the first line that does.
type Graph<'g> = BTreeMap<&'g str, BTreeMap<&'g str, usize>>;

fn graph(modules: &Modules) -> Graph<'_> {
    let mut graph = Graph::new();
    for found in uses(modules) {
        let reference = found.reference;
        if reference.test {
            continue;
        }
        let from = &*modules.all[reference.module].file;
        for target in found.targets {
            let used = match (target, reference.written) {
                // What is taken out of the module counts, not its name.
                (Target::Module(_), written) if written != Written::Glob => continue,
                (_, Written::Export) if modules.is_within(target.module(), reference.module) => {
                    continue;
                }
                _ => &*modules.all[target.module()].file,
            };
            if used != from {
                let lines = graph.entry(from).or_default();
                let line = lines.entry(used).or_insert(reference.line);
                *line = reference.line.min(*line);
            }
        }
    }
    graph
}

/// The shortest way from a file back to itself.
fn circle<'g>(graph: &Graph<'g>, start: &'g str) -> Option<Vec<&'g str>> {
    let mut before: HashMap<&str, &str> = HashMap::new();
    let mut ahead = VecDeque::from([start]);
    while let Some(file) = ahead.pop_front() {
        for &next in graph.get(file).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let mut way = vec![start, file];
                while let Some(earlier) = before.get(way.last()?) {
                    way.push(earlier);
                }
                way.reverse();
                return Some(way);
            }
            if !before.contains_key(next) {
                before.insert(next, file);
                ahead.push_back(next);
            }
        }
    }
    None
}

/// For each file that is in a circle, its shortest one.
fn circles<'g>(graph: &Graph<'g>) -> Vec<Vec<&'g str>> {
    graph.keys().filter_map(|file| circle(graph, file)).collect()
}

/// One line for each arrow.
fn draw(graph: &Graph<'_>, way: &[&str]) -> String {
    let arrows = way.windows(2).map(|arrow| match arrow {
        [from, to] => format!("  {from}:{} uses {to}", graph[from][to]),
        _ => String::new(),
    });
    arrows.collect::<Vec<_>>().join("\n")
}

/// The shortest circles, each file in one of them at least.
fn shortest(graph: &Graph<'_>) -> Vec<String> {
    let mut circles = circles(graph);
    circles.sort_by_key(Vec::len);
    let (mut drawn, mut seen) = (Vec::new(), Vec::new());
    for way in circles {
        if !seen.contains(&way[0]) {
            drawn.push(format!("a circle:\n{}", draw(graph, &way)));
            seen.extend(way);
        }
    }
    drawn
}

#[test]
fn no_files_use_each_other() {
    hold("files do not use each other in circles", &shortest(&graph(workspace())));
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let back = "use crate::a::A; pub struct B; pub fn f() {}";
    for (way, a, b) in [
        ("a group", "use crate::{b::{B, f as _}}; pub struct A;", back),
        ("super", "use super::b::B; pub struct A;", "use super::a; pub struct B(a::A);"),
        ("self and an alias", "use crate::b::{self as other}; pub struct A(other::B);", back),
        ("a path in code", "pub struct A; fn f() { crate::b::f() }", back),
        ("a path in a type", "pub struct A(Vec<crate::b::B>);", back),
        ("a path in a pattern", "pub struct A; fn f(crate::b::B: ()) {}", back),
        ("a path in a macro", "pub struct A; fn f() { format!(\"{}\", x(crate::b::f())) }", back),
        ("a trait", "pub struct A; impl crate::b::B for A {}", back),
        ("a use in a function", "pub struct A; fn f() { use crate::b::f; f() }", back),
        ("a glob", "use crate::b::*; pub struct A;", back),
        ("a name out of a glob", "use crate::b::*; pub struct A(B);", back),
        ("a re-export", "use crate::B; pub struct A;", back),
        ("a re-export with another name", "use crate::Other; pub struct A;", back),
        ("a re-export of a re-export", "use crate::c::C; pub struct A;", back),
        ("a re-export of a sibling", "pub use crate::b::B; pub struct A;", back),
        ("what a macro defines", "use crate::b::M; pub struct A;", back),
    ] {
        let root = "mod a; mod b; mod c; pub use b::B; pub use self::b::B as Other;";
        let b = format!("{b} pin_project! {{ pub struct M {{ a: u8 }} }}");
        let files = [
            ("src/lib.rs", root),
            ("src/a.rs", a),
            ("src/b.rs", &b),
            ("src/c/mod.rs", "pub use super::B as C;"),
        ];
        let modules = made_up("made_up", &files);
        let found = circles(&graph(&modules));
        assert!(found.contains(&vec!["src/a.rs", "src/b.rs", "src/a.rs"]), "{way}: {found:?}");
    }
}

#[test]
fn only_circles_are_found() {
    let parent = "mod a; mod b; pub use a::A; pub use self::b::{B, *}; pub mod c { pub struct C; }";
    for (way, a, b) in [
        ("a sibling through the parent", "use super::B; pub struct A;", "pub struct B;"),
        ("a unit test", "use super::B; pub struct A;", "#[cfg(test)] use super::A; pub struct B;"),
        (
            "a unit test's module",
            "use super::B; pub struct A;",
            "pub struct B; #[cfg(test)] mod tests { use crate::A; fn f() { crate::a::f() } }",
        ),
        ("names of others", "use http::A as X; pub struct A(X);", "use http::A; pub struct B(A);"),
        (
            "a module that is only named",
            "use super::b; pub struct A(b::B);",
            "use super::a; pub struct B;",
        ),
        ("a field", "pub struct A { b: u8 }", "pub struct B; fn f(a: u8) { x.a; vec![x.a] }"),
    ] {
        let modules =
            made_up("made_up", &[("src/lib.rs", parent), ("src/a.rs", a), ("src/b.rs", b)]);
        assert_eq!(circles(&graph(&modules)), Vec::<Vec<&str>>::new(), "{way}");
    }
}

#[test]
fn the_parent_s_own_code_counts() {
    let files = [
        ("src/lib.rs", "mod a; pub use a::A; fn f(_: A) {} pub struct Own;"),
        ("src/a.rs", "use super::Own; pub struct A;"),
    ];
    let modules = made_up("made_up", &files);
    let graph = graph(&modules);
    let drawn = shortest(&graph);
    let expected = "a circle:\n  src/a.rs:1 uses src/lib.rs\n  src/lib.rs:1 uses src/a.rs";
    assert_eq!(drawn, [expected]);
}
