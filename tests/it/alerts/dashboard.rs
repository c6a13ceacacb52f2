//! The dashboard: each of its queries runs in a real Prometheus that has scraped a gateway.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::{
    live::used,
    queries::{names, reference, unknown},
};
use crate::kit::prometheus::{Prometheus, deployed};

/// What the dashboard is about.
const ROWS: [&str; 7] = ["Overview", "Calls", "Cache", "Writes", "Backends", "Store", "Callers"];

fn dashboard() -> Value {
    let file = fs::read_to_string(deployed("grafana/profile-gateway.json")).unwrap();
    serde_json::from_str(&file).unwrap()
}

/// Each query with the title of its panel, as Grafana sends it when all is chosen.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let of_panels = panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(|target| (panel["title"].clone(), target["expr"].clone()))
    });
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
    let of_annotations = annotations.map(|each| (each["name"].clone(), each["expr"].clone()));
    let all = of_panels.chain(of_annotations).map(|(title, query)| {
        let query = query.as_str().unwrap().replace("$__rate_interval", "10m");
        let chosen = |query: String, name| query.replace(name, ".*");
        let query = ["$job", "$instance", "$backend"].into_iter().fold(query, chosen);
        (title.as_str().unwrap().to_owned(), query)
    });
    all.collect()
}

#[test]
fn the_dashboard_names_metrics_that_exist() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let rows = panels.iter().filter(|panel| panel["type"] == "row");
    assert_eq!(rows.map(|row| row["title"].as_str().unwrap()).collect::<Vec<_>>(), ROWS);
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids of panels are given once");
    let known = reference();
    let queries = queries(&dashboard);
    assert!(queries.len() > 60, "{}", queries.len());
    for (title, query) in queries {
        assert_eq!(unknown(&query, &known), [""; 0], "{title}: {query}");
        assert!(!query.contains('$'), "{title}: {query}");
    }
}

/// Legends show labels that the results have.
#[test]
fn legends_name_labels_that_are_left() {
    for panel in dashboard()["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let (query, legend) =
                (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
            let grouped = names(query).grouping;
            let is_summed = query.contains(" by (");
            for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
                let is_left = grouped.iter().any(|name| name == label)
                    || !is_summed && ["instance", "job"].contains(&label);
                assert!(is_left, "{}: {label} is not in the result of {query}", panel["title"]);
            }
        }
    }
}

#[tokio::test]
async fn every_query_runs_over_a_gateway() {
    let (gateway, _sandbox) = used().await;
    let prometheus = Prometheus::start(&[gateway.admin.to_string()]).await;
    // A rate needs two of them.
    prometheus.until("count_over_time(profile_gateway_ready[10m]) > 3").await;
    let exported = gateway.admin("/metrics").await;
    let has_series = |name: &String| {
        exported.lines().any(|line| {
            line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
    };
    let mut found = 0;
    for (title, query) in queries(&dashboard()) {
        let result = prometheus.query(&query).await;
        let result = result.unwrap_or_else(|error| panic!("{title}: {query}: {error}"));
        let filters = [" > 0", "outcome=\"failed\"", "code!=", "code=~", "=~\".*_failed\""];
        let may_be_empty = filters.iter().any(|filter| query.contains(filter));
        if names(&query).metrics.iter().all(|(name, _)| has_series(name)) && !may_be_empty {
            assert!(!result.is_empty(), "{title}: nothing comes of {query}");
            found += 1;
        }
    }
    assert!(found > 40, "{found} queries have a result");
}
