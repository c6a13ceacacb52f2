//! Which metrics and labels a query of Prometheus names, and whether the reference has them.
//!
//! Prometheus itself parses the queries; this only looks for names in what it accepts.

use std::collections::{BTreeMap, BTreeSet};

/// Words of the language that no parenthesis follows, where a metric could be.
const OPERATORS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "atan2"];
/// What lists labels in parentheses.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Labels that Prometheus adds.
const OF_THE_SCRAPE: [&str; 2] = ["job", "instance"];

/// The names in a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Each metric with the labels that are asked of it.
    pub metrics: Vec<(String, Vec<String>)>,
    /// Labels that results are grouped or joined by.
    pub grouping: Vec<String>,
}

/// Each metric that there can be, with its labels.
pub(super) type Known = BTreeMap<String, BTreeSet<String>>;

/// What `docs/reference/metrics.md` lists, and what Prometheus itself makes of a target.
pub(super) fn reference() -> Known {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut known = Known::from([("up".to_owned(), labels([]))]);
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0].trim_matches('`');
        let own = cells[3].split("; ").filter_map(|label| label.split('`').nth(1));
        if cells[1] == "histogram" {
            known.insert(format!("{name}_bucket"), labels(own.clone().chain(["le"])));
            known.insert(format!("{name}_sum"), labels(own.clone()));
            known.insert(format!("{name}_count"), labels(own));
        } else {
            known.insert(name.to_owned(), labels(own));
        }
    }
    assert!(known.len() > 80, "{}", known.len());
    known
}

fn labels<'l>(own: impl IntoIterator<Item = &'l str>) -> BTreeSet<String> {
    own.into_iter().chain(OF_THE_SCRAPE).map(str::to_owned).collect()
}

/// The names that a query has and that are not known.
pub(super) fn unknown(query: &str, known: &Known) -> Vec<String> {
    let names = names(query);
    let mut unknown = Vec::new();
    let mut all = labels([]);
    for (metric, asked) in &names.metrics {
        let Some(has) = known.get(metric) else {
            unknown.push(metric.clone());
            continue;
        };
        all.extend(has.iter().cloned());
        let missing = asked.iter().filter(|label| !has.contains(*label));
        unknown.extend(missing.map(|label| format!("{metric}{{{label}}}")));
    }
    unknown.extend(names.grouping.into_iter().filter(|label| !all.contains(label)));
    unknown
}

/// The names in a query that Prometheus accepts.
pub(super) fn names(query: &str) -> Names {
    let mut names = Names::default();
    let tokens = tokens(query);
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token == text);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        if !token.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            continue;
        }
        let listed = |from: usize, end: &str| {
            tokens[from..].iter().take_while(|token| *token != end).cloned().collect::<Vec<_>>()
        };
        if GROUPING.contains(&token.as_str()) {
            if is(at, "(") {
                let inside = listed(at + 1, ")");
                at += inside.len() + 1;
                names.grouping.extend(inside.into_iter().filter(|token| token != ","));
            }
        } else if OPERATORS.contains(&token.as_str()) || is(at, "(") {
            // `sum by (le) (…)` has no parenthesis of its own; that is told below.
        } else if is(at, "{") {
            let inside = listed(at + 1, "}");
            at += inside.len() + 1;
            let asked = inside.iter().enumerate().filter(|(place, _)| place % 4 == 0);
            let asked = asked.map(|(_, label)| label.clone()).collect();
            names.metrics.push((token.clone(), asked));
        } else if !GROUPING.iter().any(|word| is(at, word)) {
            names.metrics.push((token.clone(), Vec::new()));
        } else if token.contains('_') {
            // A metric before `on` or `ignoring`.
            names.metrics.push((token.clone(), Vec::new()));
        }
    }
    names
}

/// Names, strings, operators of matchers, and single other characters. Durations are left out.
fn tokens(query: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => 2 + rest[1..].find('"').unwrap_or(rest.len() - 2),
            '[' => 1 + rest.find(']').unwrap_or(rest.len() - 1),
            _ if first.is_alphanumeric() || "_:.".contains(first) => {
                let word = |c: char| c.is_alphanumeric() || "_:.".contains(c);
                rest.find(|c| !word(c)).unwrap_or(rest.len())
            }
            '=' | '!' | '<' | '>' => {
                let operator = |c: char| "=!~<>".contains(c);
                rest.find(|c| !operator(c)).unwrap_or(rest.len())
            }
            _ => first.len_utf8(),
        };
        if first != '[' {
            tokens.push(rest[..length].to_owned());
        }
        rest = rest[length..].trim_start();
    }
    tokens
}

#[test]
fn names_of_a_query_are_found() {
    let query = "sum by (job, le) (rate(a_total{x=~\"b(c)\",y!=\"d{e}\"}[5m])) / b > 0.5 \
                 and on (job) last_over_time(up[1h]) or job_x:c:rate5m unless vector(0)";
    let metric = |name: &str, asked: &[&str]| {
        (name.to_owned(), asked.iter().map(|&label| label.to_owned()).collect())
    };
    let found = names(query);
    assert_eq!(
        found.metrics,
        [
            metric("a_total", &["x", "y"]),
            metric("b", &[]),
            metric("up", &[]),
            metric("job_x:c:rate5m", &[])
        ]
    );
    assert_eq!(found.grouping, ["job", "le", "job"]);
    assert_eq!(names("a_b == 0 and on (job) (c_d > 0)").metrics.len(), 2);
    assert_eq!(names("a_b unless ignoring (x) d_e").metrics.len(), 2);
}

#[test]
fn names_that_do_not_exist_are_told() {
    let known = Known::from([("a_total".to_owned(), labels(["x"]))]);
    assert_eq!(unknown("sum by (x) (rate(a_total{x=\"1\",job=\"j\"}[1m]))", &known), [""; 0]);
    let wrong = "sum by (z) (a_total{y=\"1\"}) + b_total";
    assert_eq!(unknown(wrong, &known), ["a_total{y}", "b_total", "z"]);
}
