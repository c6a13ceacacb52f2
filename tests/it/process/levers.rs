//! Levers of the real program: the level of the log, and what the log says of them.

use reqwest::{Client, Method};
use rustix::process::Signal;
use serde_json::Value;

use super::{
    calls::{named, profiles},
    child::{Ended, Gateway, gateway},
};
use crate::kit::gateway::fresh;

pub(super) const TOKEN: &str = "a-token-of-operators";

async fn operated() -> Gateway {
    gateway(&[], &[("PROFILE_GATEWAY__ADMIN_TOKEN", TOKEN)]).await
}

pub(super) async fn act(gateway: &Gateway, method: Method, path: &str) -> (u16, Value) {
    let url = format!("http://{}{path}", gateway.admin);
    let request = Client::new().request(method, url).bearer_auth(TOKEN);
    let answer = request.send().await.unwrap();
    let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
    (status, serde_json::from_str(&body).unwrap_or_else(|_| body.into()))
}

pub(super) async fn read(gateway: &Gateway) {
    profiles(gateway).await.get_profile(fresh(named("SP_2"))).await.unwrap();
}

pub(super) async fn stopped(gateway: Gateway) -> (Ended, Vec<Value>) {
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.ended().await;
    let lines = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (ended, lines)
}

/// Where a line of the log with this message is.
#[track_caller]
pub(super) fn at(lines: &[Value], message: &str) -> usize {
    let found = lines.iter().position(|line| line["message"] == message);
    found.unwrap_or_else(|| panic!("no line {message:?} in {lines:#?}"))
}

#[tokio::test]
async fn the_log_says_more_for_a_time_and_then_what_is_configured() {
    let gateway = operated().await;
    read(&gateway).await;
    let path = "/log-level?filter=info,profile_gateway%3Ddebug&for=1s&note=INC-9";
    let (status, set) = act(&gateway, Method::POST, path).await;
    assert_eq!((status, &set["set"]["filter"]), (200, &"info,profile_gateway=debug".into()));
    read(&gateway).await;
    gateway.program.logged("a lever has ended by itself").await;
    read(&gateway).await;
    let (status, listed) = act(&gateway, Method::GET, "/levers").await;
    assert_eq!((status, listed["in_force"].as_array().unwrap().len()), (200, 0));

    let (ended, lines) = stopped(gateway).await;
    let (set, over) =
        (at(&lines, "an operator has set a lever"), at(&lines, "a lever has ended by itself"));
    let is_debug = |line: &&Value| line["level"] == "DEBUG";
    assert_eq!(lines[..set].iter().filter(is_debug).count(), 0, "{}", ended.stderr);
    let upstream = |line: &&Value| is_debug(line) && line["target"] == "upstream";
    assert!(lines[set..over].iter().filter(upstream).count() > 0, "{}", ended.stderr);
    assert_eq!(lines[over..].iter().filter(is_debug).count(), 0, "{}", ended.stderr);
    let line = &lines[set];
    assert_eq!((&line["level"], &line["target"]), (&"WARN".into(), &"gateway".into()));
    for (name, value) in [("lever", "log_level"), ("operator", "admin"), ("note", "INC-9")] {
        assert_eq!(line[name], value, "{line}");
    }
    assert!(line["until"].as_str().unwrap().ends_with('Z'), "{line}");
    assert!(!ended.stderr.contains(TOKEN));
}

/// A log that says nothing says that, and says when it is over.
#[tokio::test]
async fn a_log_that_was_silenced_has_the_beginning_and_the_end() {
    let gateway = operated().await;
    assert_eq!(act(&gateway, Method::POST, "/log-level?filter=off&for=1h").await.0, 200);
    read(&gateway).await;
    let (status, _) = act(&gateway, Method::POST, "/log-level?filter=access%3Dloud").await;
    assert_eq!(status, 400, "and it stays silent");
    read(&gateway).await;
    assert_eq!(act(&gateway, Method::DELETE, "/log-level").await.0, 200);
    read(&gateway).await;
    let (ended, lines) = stopped(gateway).await;
    let (set, over) =
        (at(&lines, "an operator has set a lever"), at(&lines, "an operator has ended a lever"));
    // The audit log is another one, which no level touches.
    let others = |line: &&Value| line["target"] != "audit";
    assert_eq!(lines[set + 1..over].iter().filter(others).count(), 0, "{}", ended.stderr);
    let access = lines[over..].iter().filter(|line| line["target"] == "access").count();
    assert_eq!(access, 1, "{}", ended.stderr);
}
