//! SIGHUP, to the real program.

use reqwest::Method;
use rustix::process::Signal;
use serde_json::Value;

use super::{
    child::{Program, file, gateway, sandbox},
    levers::{TOKEN, act, at, read, stopped},
};

#[tokio::test]
async fn a_hangup_reloads_the_configuration_and_ends_nothing() {
    let sandbox = sandbox().await;
    let file = file(&sandbox.config);
    let text = std::fs::read_to_string(&file.path).unwrap();
    let env = [
        ("PROFILE_GATEWAY__RELOAD__INTERVAL", "off"),
        ("PROFILE_GATEWAY__SERVER__DRAIN_GRACE", "3s"),
    ];
    let mut gateway = gateway(&["serve", "--config", &file.path], &env).await;
    let program = &mut gateway.program;
    let change = async |program: &Program, text: &str, told: &str| {
        std::fs::write(&file.path, text).unwrap();
        program.signal(Signal::HUP);
        program.logged(told).await
    };
    let renamed = text.replace("[backends.sft]", "[backends.sft]\nrequest_timeout = \"9s\"");
    let log = change(program, &renamed, "the configuration was reloaded").await;
    assert!(log.contains("backends.sft.request_timeout") && !log.contains("9s"), "{log}");
    change(program, "wrong", "the configuration cannot be used: what is in force stays").await;
    change(program, &text, "\"changed\":\"backends.sft.request_timeout\"").await;
    // What is to be noticed is told once, as at a start.
    let open = format!(
        "{text}\n[backends.open]\ndialect = \"bics-sft\"\naccess_token = \"x\"\n\
        base_url = \"http://192.0.2.1\"\nallow_plain_http = true\n"
    );
    let log = change(program, &open, "credentials are sent unencrypted").await;
    assert!(log.contains("WARN") && log.contains("backend `open`"), "{log}");
    assert!(program.is_running());
    // Not while it drains.
    program.signal(Signal::TERM);
    program.logged("no longer ready").await;
    program.signal(Signal::HUP);
    program.logged("the configuration is not read again").await;
    assert_eq!(gateway.program.ended().await.code(), Some(0));
}

/// A lever is in the place of whatever level is configured, also of one that is reloaded meanwhile.
#[tokio::test]
async fn the_level_of_the_log_changes_and_a_lever_holds_until_it_ends() {
    let sandbox = sandbox().await;
    let file = file(&sandbox.config);
    let text = std::fs::read_to_string(&file.path).unwrap();
    let env =
        [("PROFILE_GATEWAY__RELOAD__INTERVAL", "off"), ("PROFILE_GATEWAY__ADMIN_TOKEN", TOKEN)];
    let gateway = gateway(&["serve", "--config", &file.path], &env).await;
    let change = async |lines: &str, told: &str| {
        std::fs::write(&file.path, format!("{text}\n[log]\n{lines}")).unwrap();
        gateway.program.signal(Signal::HUP);
        gateway.program.logged(told).await;
    };
    let debug = "level = \"info,profile_gateway=debug\"\nbuffer_bytes = \"2MiB\"\n";
    act(&gateway, Method::POST, "/log-level?filter=info").await;
    change(debug, "\"changed\":\"log.level, log.buffer_bytes\"").await;
    read(&gateway).await;
    act(&gateway, Method::DELETE, "/log-level").await;
    read(&gateway).await;
    change("format = \"text\"\n", "\"keys\":\"log.format\"").await;
    read(&gateway).await;

    let (ended, lines) = stopped(gateway).await;
    let over = at(&lines, "an operator has ended a lever");
    let again = over + at(&lines[over..], "the configuration was reloaded");
    let debug = |lines: &[Value]| lines.iter().filter(|line| line["level"] == "DEBUG").count();
    assert_eq!(debug(&lines[..over]), 0, "{}", ended.stderr);
    assert!(debug(&lines[over..again]) > 0, "{}", ended.stderr);
    assert_eq!(debug(&lines[again..]), 0, "{}", ended.stderr);
}
