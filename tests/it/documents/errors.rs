//! The list of error reasons: what happened comes from the comments of the proto, all else from the
//! program's table.

use std::fmt::Write as _;

use profile_gateway::{
    error::{
        Blame, Kind, Reason, Retry,
        facts::{FACTS, Facts},
        metadata::METADATA,
    },
    pb::DESCRIPTOR_SET,
    rpc::status,
};
use prost::Message as _;
use prost_types::FileDescriptorSet;

use super::generated::hold;

const FILE: &str = "profilegateway/v1/error_reason.proto";

/// The comment of a reason, on one line.
fn comment(reason: Reason) -> String {
    // Paths of descriptor.proto: the first enum of the file, and a value of it.
    const ENUM: [i32; 2] = [5, 0];
    const VALUE: i32 = 2;
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
    let file = set.file.into_iter().find(|file| file.name() == FILE).unwrap();
    let values = &file.enum_type[0].value;
    let at = values.iter().position(|value| value.number() == reason as i32).unwrap();
    let path = [ENUM[0], ENUM[1], VALUE, i32::try_from(at).unwrap()];
    let info = file.source_code_info.unwrap();
    let location = info.location.iter().find(|location| location.path == path).unwrap();
    location.leading_comments().split_whitespace().collect::<Vec<_>>().join(" ")
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
