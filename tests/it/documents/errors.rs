//! The list of error reasons: what happened comes from the comments of the proto, all else from the
//! program's table.

use std::fmt::Write as _;

use super::generated::hold;
use profile_gateway::{
    error::{
        Blame, Kind, Reason, Retry, explained,
        facts::{FACTS, Facts},
        metadata::METADATA,
    },
    rpc::status,
};

fn comment(reason: Reason) -> String {
    explained::comment(reason).unwrap()
}

/// The statuses that the comment begins with, and the rest.
fn parts(comment: &str) -> (&str, &str) {
    comment.split_once(": ").unwrap_or_else(|| panic!("no status in `{comment}`"))
}

fn status_name(kind: Kind) -> String {
    let mut name = String::new();
    for c in format!("{:?}", status::code(kind)).chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(c.to_uppercase());
    }
    name
}

fn row(facts: &Facts) -> String {
    let comment = comment(facts.reason);
    let (statuses, happened) = parts(&comment);
    let retry = match facts.retry {
        Retry::No => "no",
        Retry::After(_) => "after `RetryInfo`",
    };
    let happened = happened.trim_end_matches('.').replace('|', "\\|");
    let (name, remedy) = (facts.name(), facts.remedy);
    format!("| `{name}` | {statuses} | {happened}. | {retry} | {remedy} |")
}

#[test]
fn the_list_of_errors_is_that_of_the_program() {
    let mut text = String::new();
    for (blame, title, intro) in [
        (Blame::Caller, "The request", "The request is at fault, or the state that it meets."),
        (Blame::Upstream, "The upstream", "The upstream is at fault, or the way to it."),
        (
            Blame::Gateway,
            "The gateway",
            "The gateway's credentials, capacity or code are at fault.",
        ),
    ] {
        let _ = write!(text, "## {title}\n\n{intro}\n\n");
        text.push_str("| reason | status | what happened | retry as it is | what to do |\n");
        text.push_str("|---|---|---|---|---|\n");
        let sent = FACTS.iter().filter(|facts| facts.reason != Reason::Unspecified);
        for facts in sent.filter(|facts| facts.blame == blame) {
            let _ = writeln!(text, "{}", row(facts));
        }
        text.push('\n');
    }
    hold("docs/reference/errors.md", "reasons", text.trim_end());
}

#[test]
fn the_list_of_metadata_is_that_of_the_program() {
    let mut text = "| key | when | what it says |\n|---|---|---|\n".to_owned();
    for (key, when, meaning) in METADATA {
        let _ = writeln!(text, "| `{key}` | {when} | {meaning} |");
    }
    hold("docs/reference/errors.md", "metadata", &text);
}

#[test]
fn the_proto_names_the_status_that_a_reason_has() {
    for facts in FACTS.iter().filter(|facts| facts.reason != Reason::Unspecified) {
        let comment = comment(facts.reason);
        let (statuses, _) = parts(&comment);
        let usual = status_name(facts.kind);
        assert!(statuses.split(" or ").any(|status| status == usual), "{}: {usual}", facts.name());
    }
}
