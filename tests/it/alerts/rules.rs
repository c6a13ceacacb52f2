//! The rules, as `promtool` and a real Prometheus read them.

use std::{collections::BTreeSet, fs, process::Output};

use super::queries::{reference, unknown};
use crate::kit::{
    child::gateway,
    prometheus::{Prometheus, deployed, promtool},
};

#[track_caller]
fn content(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
}

/// The files of tests, in the folder of the rules.
fn tests() -> Vec<String> {
    let files = fs::read_dir(deployed("prometheus/tests")).unwrap();
    let mut files: Vec<String> =
        files.map(|file| format!("tests/{}", file.unwrap().file_name().display())).collect();
    files.sort();
    files
}

#[tokio::test]
async fn promtool_accepts_the_rules_and_their_tests() {
    content(&promtool(&["check", "rules", "recording.yml", "alerts.yml"], "").await);
    content(&promtool(&["check", "config", "prometheus.yml"], "").await);
    let (tests, mut arguments) = (tests(), vec!["test", "rules"]);
    assert!(!tests.is_empty());
    arguments.extend(tests.iter().map(String::as_str));
    content(&promtool(&arguments, "").await);
}

/// What a file of tests says of an alert: whether it fires at a time.
fn tested(text: &str) -> BTreeSet<(String, bool)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let asked = lines.windows(3).filter_map(|lines| {
        let name = lines[0].strip_prefix("- expr: ALERTS{alertname=\"")?;
        let (name, rest) = name.split_once('"')?;
        assert_eq!(rest, ",alertstate=\"firing\"}", "{name}");
        let expected = lines[2].strip_prefix("exp_samples:")?;
        Some((name.to_owned(), expected.trim() != "[]"))
    });
    asked.collect()
}

#[tokio::test]
async fn each_alert_is_tested_while_it_fires_and_while_it_does_not() {
    let read = |path: String| fs::read_to_string(deployed("prometheus").join(path)).unwrap();
    let tested: BTreeSet<(String, bool)> =
        tests().into_iter().flat_map(|path| tested(&read(path))).collect();
    let prometheus = Prometheus::start(&[]).await;
    let rules = prometheus.rules().await;
    let alerts = rules.iter().filter(|rule| rule["type"] == "alerting");
    let alerts = alerts.map(|rule| rule["name"].as_str().unwrap().to_owned());
    let wanted: BTreeSet<(String, bool)> =
        alerts.flat_map(|name| [(name.clone(), true), (name, false)]).collect();
    assert!(wanted.len() > 60, "{}", wanted.len());
    assert_eq!(tested, wanted, "what is tested (left), and every alert in both states (right)");
}

#[tokio::test]
async fn rules_name_metrics_that_exist() {
    let prometheus = Prometheus::start(&[]).await;
    let mut known = reference();
    let rules = prometheus.rules().await;
    for rule in rules.iter().filter(|rule| rule["type"] == "recording") {
        let name = rule["name"].as_str().unwrap();
        let (by, _) = name.split_once(':').unwrap_or_else(|| panic!("{name}: no `by:what:how`"));
        let labels = by.split('_').chain(["job"]).map(str::to_owned).collect();
        known.insert(name.to_owned(), labels);
    }
    for rule in &rules {
        let (name, query) = (&rule["name"], rule["query"].as_str().unwrap());
        assert_eq!(unknown(query, &known), [""; 0], "{name}: {query}");
    }
}

#[tokio::test]
async fn alerts_say_what_to_do() {
    let prometheus = Prometheus::start(&[]).await;
    for rule in prometheus.rules().await.iter().filter(|rule| rule["type"] == "alerting") {
        let (name, annotations) = (&rule["name"], &rule["annotations"]);
        for text in ["summary", "description"] {
            let text = annotations[text].as_str().unwrap_or_default();
            assert!(text.ends_with('.') && text.len() > 20, "{name}: {text}");
        }
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
    }
}

#[tokio::test]
async fn no_alert_is_about_a_gateway_that_is_well() {
    let gateway = gateway(&[], &[]).await;
    let prometheus = Prometheus::start(&[gateway.admin.to_string()]).await;
    prometheus.until("count_over_time(profile_gateway_ready[10m]) > 3").await;
    prometheus.until("ALERTS{alertname=\"ProfileGatewaySandboxServed\"}").await;
    // A busy machine may not let a scrape end in time.
    let query = "count by (alertname) (ALERTS{alertname!~\".*(Absent|Down)\"})";
    let alerts = prometheus.query(query).await.unwrap();
    let names: Vec<&str> =
        alerts.iter().map(|alert| alert["metric"]["alertname"].as_str().unwrap()).collect();
    // Its upstreams are simulated.
    assert_eq!(names, ["ProfileGatewaySandboxServed"]);
}
