//! Tables in the pages of the sandbox and of filters, held to what the program answers.

use std::collections::{BTreeMap, BTreeSet};

use profile_gateway::pb::DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::{generated::hold, pages::root};
use crate::kit::sandbox::sandbox;

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The cells of the table below a header, by its first column; code marks are left out.
fn table(text: &str, header: &str) -> BTreeMap<String, Vec<String>> {
    let (_, below) = text.split_once(header).unwrap_or_else(|| panic!("no table {header}"));
    let rows = below.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        let mut cells = cells.collect::<Vec<_>>();
        (cells.remove(0).trim_matches('`').to_owned(), cells)
    })
    .collect()
}

/// The texts between code marks, in order.
fn codes(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The error of the control API for an invalid fault.
async fn refusal(base_url: &str, spec: Value) -> String {
    let url = format!("{base_url}/sandbox/faults");
    let answer = reqwest::Client::new().post(url).json(&spec).send().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    answer["error"].as_str().unwrap_or_else(|| panic!("{spec} is accepted")).to_owned()
}

#[test]
fn the_faults_of_connections_are_those_of_the_metric() {
    let told = table(&read("docs/operations.md"), "| `connection_fault` | What to do |");
    let metrics = read("docs/reference/metrics.md");
    let counted = metrics.lines().find(|line| line.contains("upstream_connection_faults_total"));
    let (_, values) = counted.unwrap().split_once("`fault`: ").unwrap();
    let values = codes(values.split('|').next().unwrap());
    let told = told.into_keys().collect::<BTreeSet<_>>();
    assert_eq!(told, values.into_iter().collect(), "faults (right)");
}

#[tokio::test]
async fn the_faults_are_those_of_the_sandbox() {
    let sandbox = sandbox().await;
    let url = sandbox.base_url();
    let ask = async |fault: Value| {
        let spec = json!({ "upstream": "sft", "operation": "*", "fault": fault });
        codes(&refusal(&url, spec).await)[1..].to_vec()
    };
    let page = read("docs/reference/sandbox.md");
    let told = table(&page, "| kind | members |");
    let kinds: BTreeSet<String> = ask(json!({ "kind": "?" })).await.into_iter().collect();
    assert_eq!(told.keys().cloned().collect::<BTreeSet<_>>(), kinds, "kinds of faults (right)");
    for (kind, cells) in &told {
        // A member that there cannot be: the answer names those that there are.
        let members = ask(json!({ "kind": kind, "?": 1 })).await;
        assert_eq!(codes(&cells[0]), members, "members of the fault `{kind}` (right)");
    }
}

#[tokio::test]
async fn the_operations_are_those_of_the_sandbox() {
    let sandbox = sandbox().await;
    let page = read("docs/reference/sandbox.md");
    let told = table(&page, "| upstream | operations |");
    let spec = json!({ "upstream": "?", "operation": "*", "fault": { "kind": "numbers" } });
    let error = refusal(&sandbox.base_url(), spec).await;
    let (_, upstreams) = error.split_once("one of: ").unwrap();
    let upstreams: BTreeSet<&str> = upstreams.split(", ").collect();
    assert_eq!(told.keys().map(String::as_str).collect::<BTreeSet<_>>(), upstreams, "upstreams");
    for (upstream, cells) in told {
        let fault = json!({ "kind": "numbers" });
        let spec = json!({ "upstream": upstream, "operation": "?", "fault": fault });
        let error = refusal(&sandbox.base_url(), spec).await;
        let (_, operations) = error.split_once("one of: ").unwrap();
        let operations: BTreeSet<String> = operations.split(", ").map(str::to_owned).collect();
        let told: BTreeSet<String> = codes(&cells[0]).into_iter().collect();
        assert_eq!(told, operations, "operations of {upstream} (right)");
    }
}

#[test]
fn the_readme_names_the_dialects() {
    let told: BTreeSet<String> =
        table(&read("README.md"), "| dialect | upstream |").into_keys().collect();
    let dialects = profile_gateway::dialect::REGISTRY.iter().map(|dialect| dialect.name.to_owned());
    assert_eq!(told, dialects.collect::<BTreeSet<_>>(), "dialects (right)");
}

/// Every path that a filter can name, with what it holds.
fn fields(message: &MessageDescriptor, before: &str, several: bool, rows: &mut String) {
    for field in message.fields() {
        let (path, several) = (format!("{before}{}", field.name()), several || field.is_list());
        let of = |kind: &str| if several { format!("{kind}, several") } else { kind.to_owned() };
        let kind = match field.kind() {
            Kind::Message(inner) if inner.full_name() == "google.protobuf.Struct" => {
                "any members".to_owned()
            }
            Kind::Message(inner) => {
                fields(&inner, &format!("{path}."), several, rows);
                continue;
            }
            Kind::Enum(values) => of(&format!("`{}`", values.name())),
            Kind::Bool => of("boolean"),
            Kind::String => of("text"),
            _ => of("number"),
        };
        rows.push_str(&format!("| `{path}` | {kind} |\n"));
    }
}

#[test]
fn the_fields_are_those_of_the_profile() {
    let pool = DescriptorPool::decode(DESCRIPTOR_SET).unwrap();
    let profile = pool.get_message_by_name("profilegateway.v1.Profile").unwrap();
    let mut rows = "| field | holds |\n|---|---|\n".to_owned();
    fields(&profile, "", false, &mut rows);
    hold("docs/reference/filters.md", "fields", &rows);
}
