//! Rules about single files: their size, their documentation, and names that belong elsewhere.

use super::sources::{COMPILED, Source, files, hold, read, sources};

const MAX_LINES: usize = 400;
const MAX_COLUMNS: usize = 100;

/// What makes a `tonic::Status`, apart from reading one.
const CONSTRUCTORS: [&str; 24] = [
    "new",
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
    "with_details",
    "with_metadata",
    "with_details_and_metadata",
    "with_error_details",
    "with_error_details_vec",
    "from_error",
];

fn each(below: &[&str], rule: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    sources(below).into_iter().flat_map(rule).collect()
}

fn too_long(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let breach = || source.breach(MAX_LINES + 1, format!("the file has {lines} lines"));
    (lines > MAX_LINES).then(breach).into_iter().collect()
}

/// rustfmt leaves comments and literals as they are.
fn too_wide(source: &Source) -> Vec<String> {
    let lines = source.text.lines().zip(1..);
    let columns = lines.map(|(line, number)| (line.chars().count(), number));
    let breach = |(columns, number)| source.breach(number, format!("{columns} columns"));
    columns.filter(|(columns, _)| *columns > MAX_COLUMNS).map(breach).collect()
}

fn undocumented(source: &Source) -> Vec<String> {
    let documented = source.text.starts_with("//! ");
    let breach = || source.breach(1, "the file does not begin with what it is");
    (!documented).then(breach).into_iter().collect()
}

fn unfinished(source: &Source) -> Vec<String> {
    // Put together here, so that this file does not break its own rule.
    let marks =
        [["TO", "DO"], ["FIX", "ME"], ["todo", "!"], ["unimplemented", "!"], ["#[ig", "nore"]];
    let mut breaches = Vec::new();
    for mark in marks.map(|parts| parts.concat()) {
        let found = source.text.match_indices(&mark);
        breaches.extend(
            found.map(|(at, mark)| source.breach(source.line(at), format!("{mark} is unfinished"))),
        );
    }
    breaches
}

fn makes_a_status(source: &Source) -> Vec<String> {
    if source.path == "src/rpc/status.rs" || source.path == "src/rpc/status/fit.rs" {
        return Vec::new();
    }
    let made = source.tokens.windows(4).filter(|tokens| match tokens {
        [status, first, second, called] => {
            [&*status.text, &*first.text, &*second.text] == ["Status", ":", ":"]
                && CONSTRUCTORS.contains(&&*called.text)
        }
        _ => false,
    });
    let lines = made.map(|tokens| tokens[0].line).filter(|line| !source.is_test(*line));
    lines.map(|line| source.breach(line, "only rpc/status.rs makes a tonic::Status")).collect()
}

fn names(source: &Source, crates: &[&str]) -> Vec<String> {
    let mut breaches = Vec::new();
    for name in crates {
        let breach = |line| source.breach(line, format!("{name} is not known here"));
        breaches.extend(source.lines_with(name).map(breach));
    }
    breaches
}

#[test]
fn files_are_short() {
    hold("a file has at most 400 lines", &each(&COMPILED, too_long));
}

#[test]
fn lines_are_short() {
    let mut breaches: Vec<String> = sources(&COMPILED).into_iter().flat_map(too_wide).collect();
    let scripts = ["build.rs", "contract/build.rs"].map(str::to_owned);
    for path in files("fuzz/targets").into_iter().chain(scripts) {
        breaches.extend(too_wide(&Source::new(&path, &read(&path))));
    }
    hold("no line of Rust has more than 100 columns", &breaches);
}

#[test]
fn files_say_what_they_are() {
    hold("each file begins with //!", &each(&COMPILED, undocumented));
}

#[test]
fn nothing_is_unfinished() {
    hold("what is not done is not in the code", &each(&COMPILED, unfinished));
}

#[test]
fn one_place_makes_statuses() {
    hold("one place turns errors into statuses", &each(&["src/"], makes_a_status));
}

#[test]
fn errors_know_neither_grpc_nor_http() {
    let foreign = ["tonic", "tonic_types", "http", "reqwest", "hyper", "axum"];
    let breaches = each(&["src/error/"], |source| names(source, &foreign));
    hold("errors know neither gRPC nor HTTP", &breaches);
}

/// Whether a file is of `model`, of `query` or of the wire code of a dialect.
fn is_pure(path: &str) -> bool {
    const WIRE_CODE: [&str; 4] = ["encode.rs", "decode.rs", "fault.rs", "wire.rs"];
    let is_wire_code = |file: &str| WIRE_CODE.contains(&file) && path.starts_with("src/dialect/");
    path.starts_with("src/model/")
        || path.starts_with("src/query/")
        || path.rsplit('/').next().is_some_and(is_wire_code)
}

/// Pure: no sockets, no clock, no files, no log.
fn does_io(source: &Source) -> Vec<String> {
    if !is_pure(&source.path) {
        return Vec::new();
    }
    let io = ["tokio", "reqwest", "tonic", "Instant", "SystemTime", "fs", "net", "tracing"];
    names(source, &io)
}

#[test]
fn pure_code_does_no_io() {
    hold("model, query and the wire code of dialects do no IO", &each(&["src/"], does_io));
}

#[test]
fn io_in_pure_code_is_found() {
    let breaches = |path: &str| does_io(&Source::new(path, "fn f() { tracing::warn!(); }"));
    assert_eq!(breaches("src/dialect/x/decode.rs").len(), 1);
    assert_eq!(breaches("src/model/x.rs").len(), 1);
    assert_eq!(breaches("src/dialect/x/mod.rs"), [""; 0]);
}

/// The targets of the log in a file, each with its line.
fn log_targets(source: &Source) -> Vec<(usize, &str)> {
    const BEFORE: &str = "target: \"";
    let found = source.text.match_indices(BEFORE).filter_map(|(at, _)| {
        let (target, _) = source.text[at + BEFORE.len()..].split_once('"')?;
        Some((source.line(at), target))
    });
    found.filter(|(line, _)| !source.is_test(*line)).collect()
}

#[test]
fn each_target_of_the_log_is_one_of_the_program() {
    let logs = read("src/telemetry/logs.rs");
    let (_, targets) = logs.split_once("const TARGETS:").unwrap();
    let (targets, _) =
        targets.split_once(';').map(|(_, after)| after.split_once(';')).unwrap().unwrap();
    let unknown = each(&["src/"], |source| {
        let all = log_targets(source).into_iter();
        let unknown = all.filter(|(_, target)| !targets.contains(&format!("\"{target}\"")));
        unknown.map(|(line, target)| source.breach(line, target)).collect()
    });
    hold("who names the program in a filter of the log means all targets", &unknown);
}

#[test]
fn each_breach_is_found() {
    let source = |path: &str, text: &str| Source::new(path, text);
    let long = "//! x\n".repeat(401);
    assert_eq!(too_long(&source("a.rs", &long)), ["a.rs:401: the file has 401 lines"]);
    assert_eq!(too_long(&source("a.rs", &"//! x\n".repeat(400))), [""; 0]);
    let wide = format!("//! x\n// {}é\n", "x".repeat(97));
    assert_eq!(too_wide(&source("a.rs", &wide)), ["a.rs:2: 101 columns"]);
    assert_eq!(too_wide(&source("a.rs", &wide.replacen("xx", "x", 1))), [""; 0]);
    assert_eq!(undocumented(&source("a.rs", "use x;")).len(), 1);
    let mark = ["TO", "DO"].concat();
    let text = format!("\n// {mark}: x");
    assert_eq!(unfinished(&source("a.rs", &text)), [format!("a.rs:2: {mark} is unfinished")]);
    for (text, count) in [
        ("fn f() {\n Err(Status::internal(x)) }", 1),
        ("fn f() { tonic::Status::new(a, b) }", 1),
        ("fn f() { map_err(Status::from_error) }", 1),
        ("fn f() -> Result<(), Status> {}", 0),
        ("fn f() { Status::from_header_map(h) }", 0),
        ("fn f() { ServingStatus::internal; } // Status::internal", 0),
        ("#[cfg(test)]\nmod tests {\n fn f() { Status::internal(x) } }", 0),
    ] {
        assert_eq!(makes_a_status(&source("src/a.rs", text)).len(), count, "{text}");
    }
    assert_eq!(
        names(&source("a.rs", "use http::Uri; // http\nconst http2: u8 = 1;"), &["http"]).len(),
        1
    );
}
