//! The numbers of the lines of the audit log, which show that one is missing.

use std::collections::BTreeSet;

use profile_gateway::pb::CreateProfileRequest;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::Value;

use super::{
    calls::{metric, named, profiles},
    child::{File, file, gateway, sandbox},
    levers::{TOKEN, act},
};
use crate::kit::{
    model::profile,
    tokens::{Issuer, by, caller, good, role},
};

const CREATIONS: usize = 12;

/// One life of the process, with lines of all sorts. It ends as asked.
async fn live(file: &File, timeout: &str) {
    let env =
        [("PROFILE_GATEWAY__ADMIN_TOKEN", TOKEN), ("PROFILE_GATEWAY__RELOAD__INTERVAL", "off")];
    let gateway = gateway(&["serve", "--config", &file.path], &env).await;
    let mut client = profiles(&gateway).await;
    let token = good("me");
    let create = |n: usize| {
        let mut client = client.clone();
        let request = CreateProfileRequest {
            parent: "backends/sft".to_owned(),
            profile: Some(profile(&format!("Numbered {timeout} {n}"))),
            ..CreateProfileRequest::default()
        };
        let request = by(&token, request);
        tokio::spawn(async move { client.create_profile(request).await.map(drop) })
    };
    let creations: Vec<_> = (0..CREATIONS).map(create).collect();
    client.get_profile(named("SP_2")).await.unwrap_err();
    let path = "/log-level?filter=info&for=1h";
    assert_eq!(act(&gateway, Method::POST, path).await.0, 200);
    for creation in creations {
        creation.await.unwrap().unwrap();
    }
    let text = std::fs::read_to_string(&file.path).unwrap();
    let section = "[backends.sft]";
    let changed = format!("{section}\nrequest_timeout = \"{timeout}\"");
    std::fs::write(&file.path, text.replace(section, &changed)).unwrap();
    gateway.program.signal(Signal::HUP);
    gateway.program.logged("the configuration was reloaded").await;
    std::fs::write(&file.path, text).unwrap();
    assert_eq!(metric(&gateway, "profile_gateway_audit_lines_lost_total").await, 0);
    gateway.program.signal(Signal::TERM);
    assert_eq!(gateway.program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn the_lines_of_each_process_are_numbered_from_one_without_a_gap() {
    let (issuer, sandbox) = (Issuer::new(), sandbox().await);
    let directory = tempfile::tempdir().unwrap();
    let audit = directory.path().join("audit.log");
    let rules = role("all", "read, write", "*") + &caller("me", "all");
    let config = format!(
        "[audit]\nfile = {:?}\n{}{}",
        audit.display().to_string(),
        issuer.config("xfcc_from = \"192.0.2.1\"", &rules),
        sandbox.config
    );
    let file = file(&config);
    for timeout in ["8s", "9s"] {
        live(&file, timeout).await;
    }
    let text = std::fs::read_to_string(&audit).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lives: Vec<&[Value]> =
        lines.chunk_by(|one, next| one["process"] == next["process"]).collect();
    assert_eq!(lives.len(), 2, "{text}");
    for lines in lives {
        let numbers: Vec<u64> =
            lines.iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
        let expected: Vec<u64> = (1..=lines.len() as u64).collect();
        assert_eq!(numbers, expected, "{text}");
        assert_eq!(lines[0]["process"].as_str().unwrap().len(), 16, "{text}");
        let sorts: BTreeSet<&str> =
            lines.iter().map(|line| line["target"].as_str().unwrap()).collect();
        assert_eq!(sorts, BTreeSet::from(["audit", "journal", "reload"]), "{text}");
        let has = |name: &str, value: &str| lines.iter().any(|line| line[name] == value);
        assert!(has("decision", "unauthenticated") && has("lever", "log_level"), "{text}");
        assert!(lines.len() >= 2 * CREATIONS + 3, "{text}");
    }
}
