//! Runbooks: a page for each alert, begun with what the rule says, and a page for each reason, with
//! what `profile-gateway explain` prints.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use profile_gateway::error::explained::{Explanation, explanation, names};
use serde_json::Value;

use super::{generated::hold, pages::root};
use crate::kit::prometheus::Prometheus;

const FOLDER: &str = "docs/runbooks";
/// What begins the name of each alert.
const PREFIX: &str = "ProfileGateway";
/// What the page of an alert tells, in this order.
const PARTS: [&str; 5] = [
    "What it means",
    "What callers see",
    "First look",
    "What to do",
    "How to know that it is over",
];

/// `CircuitOpen` as the name of a page.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !slug.is_empty() {
            slug.push('-');
        }
        slug.extend(letter.to_lowercase());
    }
    slug
}

/// The pages in a folder, without their ending.
fn pages(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(root().join(folder)).unwrap();
    let names = files.filter_map(|file| {
        let name = file.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".md").map(str::to_owned)
    });
    names.filter(|name| name != "README").collect()
}

async fn alerts() -> Vec<Value> {
    let mut rules = Prometheus::start(&[]).await.rules().await;
    rules.retain(|rule| rule["type"] == "alerting");
    rules
}

fn name(alert: &Value) -> &str {
    alert["name"].as_str().unwrap()
}

/// The page that an alert has.
fn page(alert: &Value) -> String {
    let name = name(alert).strip_prefix(PREFIX);
    slug(name.unwrap_or_else(|| panic!("{alert} does not begin with {PREFIX}")))
}

fn for_long(seconds: f64) -> String {
    match seconds as u64 {
        0 => "as soon as this has a result".to_owned(),
        seconds if seconds % 3600 == 0 => {
            format!("when this has had a result for {} h", seconds / 3600)
        }
        seconds => format!("when this has had a result for {} min", seconds / 60),
    }
}

/// What the rule says, as the page shows it.
fn rule(alert: &Value) -> String {
    let (query, severity) = (&alert["query"], &alert["labels"]["severity"]);
    format!(
        "**{}** Severity: {}. It fires {}:\n\n```promql\n{}\n```",
        alert["annotations"]["summary"].as_str().unwrap(),
        severity.as_str().unwrap(),
        for_long(alert["duration"].as_f64().unwrap()),
        query.as_str().unwrap(),
    )
}

#[tokio::test]
async fn every_alert_has_a_page_and_every_page_an_alert() {
    let alerts = alerts().await;
    let wanted: BTreeSet<String> = alerts.iter().map(page).collect();
    assert_eq!(pages(FOLDER), wanted, "pages (left) and alerts (right)");
    let mut list = "| alert | severity | what it says |\n|---|---|---|\n".to_owned();
    for alert in &alerts {
        let (name, page) = (name(alert), page(alert));
        let path = format!("{FOLDER}/{page}.md");
        hold(&path, "alert", &rule(alert));
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let headings: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, PARTS, "{path}");
        assert!(text.starts_with(&format!("# {name}\n")), "{path}");
        let url = alert["annotations"]["runbook_url"].as_str().unwrap();
        assert!(url.ends_with(&format!("/runbooks/{page}.html")), "{name}: {url}");
        let (summary, severity) = (&alert["annotations"]["summary"], &alert["labels"]["severity"]);
        let (summary, severity) = (summary.as_str().unwrap(), severity.as_str().unwrap());
        let _ = writeln!(list, "| [{name}]({page}.md) | {severity} | {summary} |");
    }
    hold(&format!("{FOLDER}/README.md"), "alerts", &list);
}

/// Alerts that advice and pages send their readers to.
#[tokio::test]
async fn alerts_that_are_named_exist() {
    let alerts: BTreeSet<String> =
        alerts().await.iter().map(|alert| name(alert).to_owned()).collect();
    for explained in names().filter_map(explanation) {
        for text in explained.advice.steps.iter().chain([&explained.advice.look]) {
            for named in text.split("the alert ").skip(1) {
                let named = named.split(|c: char| !c.is_alphanumeric()).next().unwrap();
                assert!(alerts.contains(&format!("{PREFIX}{named}")), "{text}");
            }
        }
    }
}

/// The name of the page of a reason.
fn page_of_reason(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

/// Text with its alerts as links to their pages.
fn linked(text: &str) -> String {
    let mut out = String::new();
    for (place, part) in text.split("the alert ").enumerate() {
        if place == 0 {
            out.push_str(part);
            continue;
        }
        let length = part.find(|c: char| !c.is_alphanumeric()).unwrap_or(part.len());
        let (alert, rest) = part.split_at(length);
        let _ = write!(out, "the alert [{alert}](../{}.md){rest}", slug(alert));
    }
    out
}

fn shown(explained: &Explanation) -> String {
    let Explanation { facts, advice, statuses, meaning } = explained;
    let retry = explained.retry();
    let mut letters = meaning.chars();
    let first = letters.next().unwrap().to_uppercase();
    let mut text = format!(
        "{first}{}.\n\n| status | retry as it is | who acts |\n|---|---|---|\n\
         | {statuses} | {retry} | {} |\n\n## What to do\n\n{}\n\n## First look\n\n{}\n\n\
         ## Then\n\n",
        letters.as_str(),
        advice.who,
        facts.remedy,
        linked(advice.look),
    );
    for (number, step) in (1..).zip(advice.steps) {
        let _ = writeln!(text, "{number}. {}", linked(step));
    }
    text
}

#[test]
fn every_reason_has_a_page_that_says_what_explain_prints() {
    let wanted: BTreeSet<String> = names().map(page_of_reason).collect();
    let folder = format!("{FOLDER}/reasons");
    assert_eq!(pages(&folder), wanted, "pages (left) and reasons (right)");
    let mut list = "| reason | who acts | what it means |\n|---|---|---|\n".to_owned();
    for name in names() {
        let explained = explanation(name).unwrap();
        let (page, printed) = (page_of_reason(name), explained.to_string());
        let path = format!("{folder}/{page}.md");
        let text = shown(&explained);
        for part in explained.advice.steps.iter().chain([&explained.facts.remedy]) {
            assert!(printed.contains(part), "{name}: {part}");
        }
        hold(&path, "reason", &text);
        let title = format!("# {name}\n");
        assert!(fs::read_to_string(root().join(&path)).unwrap().starts_with(&title), "{path}");
        let (who, meaning) = (explained.advice.who, explained.meaning.replace('|', "\\|"));
        let _ = writeln!(list, "| [{name}](reasons/{page}.md) | {who} | {meaning} |");
    }
    hold(&format!("{FOLDER}/README.md"), "reasons", &list);
}
