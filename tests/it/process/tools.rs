//! The commands of the README, run: `buf curl` learns the API by reflection and speaks gRPC.

use std::{ffi::OsString, process::Stdio};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use profile_gateway::error::explained::names;

use super::child::{Gateway, command, gateway, patiently, run};

/// `$BUF`, or `buf` on the path.
fn buf() -> OsString {
    std::env::var_os("BUF").unwrap_or_else(|| "buf".into())
}

async fn curl(gateway: &Gateway, method: &str, request: &Value) -> Result<Value, String> {
    let url = format!("http://{}/profilegateway.v1.ProfileService/{method}", gateway.grpc);
    let mut command = Command::new(buf());
    command.args(["curl", "--http2-prior-knowledge", "--reflect", "--protocol", "grpc"]);
    command.args(["--data", &request.to_string(), &url]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = patiently("buf curl", command.output()).await.unwrap_or_else(|error| {
        panic!("buf cannot be run ({error}): `make test` installs it, or set BUF to where it is")
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        return Ok(serde_json::from_str(&text(output.stdout)).unwrap());
    }
    Err(format!("{}{}", text(output.stdout), text(output.stderr)))
}

#[tokio::test]
async fn buf_curl_lists_reads_and_writes() {
    let gateway = gateway(&[], &[]).await;
    let ask = async |method: &str, request: Value| {
        let answer = curl(&gateway, method, &request).await;
        answer.unwrap_or_else(|error| panic!("{method} {request}: {error}"))
    };
    let list = ask("ListProfiles", json!({ "parent": "backends/sft" })).await;
    assert!(list["profiles"].as_array().unwrap().len() > 5, "{list}");

    let profile = json!({
        "displayName": "Made with buf", "state": "STATE_ACTIVE", "category": "CATEGORY_BASE",
        "radioAccess": ["RADIO_ACCESS_2G", "RADIO_ACCESS_3G"],
        "services": [{ "type": "SERVICE_TYPE_DATA" }],
    });
    let create = json!({ "parent": "backends/sft", "profile": profile });
    let created = ask("CreateProfile", create).await;
    let name = created["name"].clone();
    assert_eq!(ask("GetProfile", json!({ "name": name })).await, created);

    let update = json!({
        "profile": { "name": name, "displayName": "Renamed", "etag": created["etag"] },
        "updateMask": "displayName",
    });
    let renamed = ask("UpdateProfile", update).await;
    assert_eq!(renamed["displayName"], "Renamed");
    let service = json!({ "name": name, "service": { "type": "SERVICE_TYPE_SMS_MO" } });
    let attached = ask("AttachService", service.clone()).await;
    assert_eq!(attached["services"].as_array().unwrap().len(), 2, "{attached}");
    let detached = ask("DetachService", service).await;
    assert_eq!(detached["services"], renamed["services"]);
    assert_eq!(ask("DeleteProfile", json!({ "name": name })).await, json!({}));

    let error = curl(&gateway, "GetProfile", &json!({ "name": name })).await.unwrap_err();
    let error: Value = serde_json::from_str(&explained(&error).await).unwrap();
    assert_eq!(error["code"], "not_found");
    let details = error["details"].as_array().unwrap();
    let info = details.iter().find(|detail| detail["@type"] == "google.rpc.ErrorInfo").unwrap();
    assert_eq!(info["reason"], "PROFILE_NOT_FOUND");
    assert_eq!(info["metadata"]["backend"], "sft");
}

/// What `profile-gateway explain` makes of an error that buf prints.
async fn explained(error: &str) -> String {
    let mut child = command(&["explain"], &[]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(error.as_bytes()).await.unwrap();
    drop(stdin);
    let output = patiently("an explanation", child.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn only_errors_are_explained() {
    for text in ["", "no JSON", r#"{"name":"backends/sft/profiles/SP_2"}"#] {
        let explained = explained(text).await;
        let same = explained.trim_end() == text
            || serde_json::from_str::<Value>(&explained).unwrap()
                == serde_json::from_str::<Value>(text).unwrap();
        assert!(same, "{explained}");
    }
}

#[tokio::test]
async fn reasons_are_explained() {
    for name in ["PROFILE_IN_USE", "profile_in_use", "Profile-In-Use"] {
        let ended = run(&["explain", name], &[]).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.output());
        assert!(ended.stdout.starts_with("PROFILE_IN_USE\n\nWhat it means: "), "{}", ended.stdout);
    }
    let ended = run(&["explain", "profile_in_us"], &[]).await;
    assert_eq!(ended.code(), Some(64), "{}", ended.output());
    assert!(ended.stderr.contains("did you mean PROFILE_IN_USE?"), "{}", ended.stderr);
    let ended = run(&["explain", "xyzzy"], &[]).await;
    assert_eq!(ended.code(), Some(64));
    assert!(ended.stderr.contains("`profile-gateway explain --list`"), "{}", ended.stderr);
    let ended = run(&["explain", "--list"], &[]).await;
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), names().collect::<Vec<_>>());
}
