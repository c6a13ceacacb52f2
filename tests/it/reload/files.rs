//! What cannot be used changes nothing, and is told of; and what is looked at without being asked.

use serde_json::Value;

use crate::kit::{
    bodies::{profile, profiles},
    double::{self, Double, GET, double},
    gateway::{Builder, TOKEN, gateway},
    reloading::{Files, reloading, start},
    until,
};

async fn upstream() -> Double {
    let upstream = double().await;
    upstream.always(GET, double::json(profiles(&[profile("SP_1", "One")])));
    upstream
}

fn texts(value: &Value) -> String {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_and_is_told_of() {
    let upstream = upstream().await;
    let files = Files::new();
    files.put("token", TOKEN);
    let lines = format!("access_token = {}\n", files.secret("token"));
    let config = || gateway().backend("sft", &upstream.base_url, &lines);
    let whole = config().section("[reload]\ninterval = \"off\"\n").text();
    let reloading = reloading(files, config()).await;
    let gateway = &reloading.gateway;
    let (mut cut, mut long) = (whole.clone(), whole.clone());
    cut.truncate(whole.find("base_url = \"http").unwrap() + 20);
    long += &"#".repeat(1 << 20);
    for (text, told) in [
        (cut.as_str(), "not valid TOML"),
        (long.as_str(), "the limit is 1048576"),
        ("", "no backend is configured"),
        (&format!("unknown = 1\n{whole}"), "unknown key `unknown`"),
        (&whole.replace("bics-sft", "other"), "must be one of"),
    ] {
        let latest = reloading.change_to(text).await;
        assert_eq!(latest["latest"]["outcome"], "refused", "{told}: {latest}");
        assert!(texts(&latest["latest"]["errors"]).contains(told), "{told}: {latest}");
        assert_eq!(gateway.metric("config_last_reload_successful", "").await, 0.0);
        gateway.get("SP_1").await.unwrap();
        let url = format!("http://{}/readyz", gateway.admin);
        assert!(reqwest::get(url).await.unwrap().status().is_success());
    }
    // A file that is gone for a moment.
    let latest = {
        std::fs::remove_file(reloading.files().path("token")).unwrap();
        reloading.change_to(&whole).await
    };
    assert!(texts(&latest["latest"]["errors"]).contains("does not exist"), "{latest}");
    gateway.get("SP_1").await.unwrap();
    reloading.files().put("token", TOKEN);
    let latest = reloading.reload().await;
    assert_eq!(latest["latest"]["outcome"], "unchanged");
    assert_eq!(gateway.metric("config_last_reload_successful", "").await, 1.0);
    let refused = gateway.metric("config_reloads_total", "outcome=\"refused\"").await;
    assert_eq!(refused, 6.0);
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_is_in_force() {
    let upstream = upstream().await;
    let files = Files::new();
    let audit = files.path("audit.log").display().to_string();
    let config = |lines: &str| gateway().audit(&audit).fixed("sft", &upstream.base_url, lines);
    let reloading = reloading(files, config("")).await;
    let gateway = &reloading.gateway;
    let changed = config("display_name = \"Renamed\"\n")
        .top("page_token_key = \"a key of-the-kit\"\nadmin_token = \"a token of-the-kit\"\n")
        .server("max_timeout = \"59s\"");
    let latest = reloading.change(changed).await;
    let names = ["admin_token", "page_token_key", "server.max_timeout"];
    assert_eq!(latest["needs_restart"], serde_json::json!(names), "{latest}");
    assert_eq!(latest["latest"]["changed"], serde_json::json!(["backends.sft.display_name"]));
    let shown: Value = serde_json::from_str(&gateway.admin("/config").await).unwrap();
    assert_eq!(shown["backends"]["sft"]["display_name"], "Renamed");
    assert_ne!(shown["server"]["max_timeout"], "59s");
    assert_eq!(gateway.metric("config_keys_for_restart", "").await, 3.0);
    let line = "\"trigger\":\"signal\",\"outcome\":\"applied\",\
                \"changed\":\"backends.sft.display_name\",\
                \"for_restart\":\"admin_token, page_token_key, server.max_timeout\"";
    until("the line of the audit log", async || {
        std::fs::read_to_string(&audit).is_ok_and(|log| log.contains(line))
    })
    .await;
    let latest = reloading.change(config("display_name = \"Renamed\"\n")).await;
    assert_eq!(latest["needs_restart"], serde_json::json!([]), "as it was at the start");
    assert!(!latest.to_string().contains("of-the-kit"), "{latest}");
}

#[tokio::test]
async fn changed_files_are_found_without_being_asked() {
    let upstream = upstream().await;
    let config = |lines: &str| {
        let config: Builder = gateway().section("[reload]\ninterval = \"1s\"\n");
        config.fixed("sft", &upstream.base_url, lines).text()
    };
    let reloading = start(Files::new(), &config("")).await;
    let before = reloading.latest().await;
    reloading.files().put("gateway.toml", config("display_name = \"Renamed\"\n"));
    let latest = reloading.next(&before).await;
    assert_eq!(
        (&latest["latest"]["outcome"], &latest["latest"]["trigger"]),
        (&"applied".into(), &"file".into())
    );
    // What is wrong is told of once, however often it is looked at.
    reloading.files().put("gateway.toml", "wrong");
    let refused = reloading.next(&latest).await;
    let url = "config_reloads_total";
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(reloading.latest().await, refused);
    assert_eq!(reloading.gateway.metric(url, "outcome=\"refused\"").await, 1.0);
    reloading.files().put("gateway.toml", config(""));
    until("the next change", async || {
        reloading.gateway.metric(url, "outcome=\"applied\"").await == 2.0
    })
    .await;
}
