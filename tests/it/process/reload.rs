//! SIGHUP, to the real program.

use rustix::process::Signal;

use super::child::{Program, file, gateway, sandbox};

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
    assert!(program.is_running());
    // Not while it drains.
    program.signal(Signal::TERM);
    program.logged("no longer ready").await;
    program.signal(Signal::HUP);
    program.logged("the configuration is not read again").await;
    assert_eq!(gateway.program.ended().await.code(), Some(0));
}
