//! The endpoint API and PCC over real connections: which vendor a path belongs to, faults, journal,
//! control.

use std::time::Duration;

use serde_json::{Value, json};

use super::{client::Reply, *};

const ENDPOINT: &str = "/api/v1/service_profile";
const PCC: &str = "/pcc/spcm/provisionProfile";
const TO_PCC: &str = "Authorization: Basic c2FuZGJveDpzYW5kYm94LXBhc3N3b3Jk\r\ntenant: sandbox\r\n\
                      Accept: application/hal+JSON\r\n";

struct Both {
    sandbox: Sandbox,
    client: Client,
    to_endpoint: String,
}

impl Both {
    async fn started() -> Self {
        let any_port = "127.0.0.1:0".parse().unwrap();
        let sandbox = Sandbox::start(any_port, Options::default()).await.unwrap();
        let client = Client::new(sandbox.address());
        let login = json!({"application_token": sandbox.endpoint_application_token()});
        let reply = client.call("POST", "/api/v1/authenticate", &login).await.json();
        let token = reply["auth_token"].as_str().unwrap();
        let to_endpoint = format!("Authorization: Bearer {token}\r\n");
        Self { sandbox, client, to_endpoint }
    }

    async fn endpoint(&self, method: &str, path: &str, body: &str) -> Reply {
        let path = format!("{ENDPOINT}{path}");
        self.client.send_with(&self.to_endpoint, method, &path, body).await.unwrap()
    }

    async fn pcc(&self, method: &str, path: &str, body: &str) -> Reply {
        self.client.send_with(TO_PCC, method, &format!("{PCC}{path}"), body).await.unwrap()
    }

    async fn distorted(&self, upstream: &str, fault: Value) -> Reply {
        self.client.arm_for(upstream, "ListProfiles", fault).await;
        match upstream {
            "pcc" => self.pcc("GET", "", "").await,
            _ => self.endpoint("GET", "", "").await,
        }
    }
}

#[tokio::test]
async fn each_path_belongs_to_its_vendor_and_the_journal_keeps_no_secret() {
    let both = Both::started().await;
    assert_eq!(both.sandbox.pcc_credentials(), ("sandbox", "sandbox", "sandbox-password"));
    let created = both.endpoint("POST", "", r#"{"name":"n"}"#).await;
    assert_eq!(created.status, 201);
    assert!(created.head.contains("location: https://cdn.emnify.net/api/v1/service_profile/"));
    assert!(created.head.contains("content-length: 0") && created.body.is_empty());
    assert_eq!(both.pcc("GET", "/39", "").await.json()["name"], "turkeySauce");
    let other = both.client.get("/api/v1/nothing").await;
    assert_eq!((other.status, other.body.len()), (404, 0));
    assert_eq!(both.client.get("/pcc/x").await.status, 404);
    both.client.login("sandbox-password").await;

    let entries = both.client.journal().await;
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| (entry["upstream"].as_str().unwrap(), entry["operation"].as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("endpoint", Some("authenticate")),
            ("endpoint", Some("CreateProfile")),
            ("pcc", Some("GetProfile")),
            ("endpoint", None),
            ("pcc", None),
            ("sft", Some("login")),
        ]
    );
    assert!(entries[1]["effect"]["created"].is_string());
    let text = json!(entries).to_string();
    for secret in ["sandbox-application-token", "eyJ", "c2FuZGJveD", "sandbox-password"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn faults_lose_answers_with_and_without_effect() {
    let both = Both::started().await;
    for (kind, commit, there) in
        [("drop", "before", true), ("reset", "none", false), ("status", "before", true)]
    {
        let mut fault = json!({"kind": kind, "commit": commit});
        if kind == "status" {
            fault["status"] = json!(503);
            fault["body"] = json!("{\"x\":1}");
        }
        let name = format!("{kind}-{commit}");
        let endpoint = json!({ "name": name }).to_string();
        both.client.arm_for("endpoint", "CreateProfile", fault.clone()).await;
        let path = ENDPOINT;
        let lost = both.client.send_with(&both.to_endpoint, "POST", path, &endpoint).await;
        assert!(lost.map_or(true, |reply| reply.status == 503 && reply.body == b"{\"x\":1}"));

        let pcc = json!({"name": name, "defaultProfile": false}).to_string();
        both.client.arm_for("pcc", "CreateProfile", fault).await;
        let lost = both.client.send_with(TO_PCC, "POST", PCC, &pcc).await;
        assert!(lost.map_or(true, |reply| reply.status == 503));

        for vendor in ["endpoint", "pcc"] {
            let raw = both.client.get(&format!("/sandbox/{vendor}/profiles")).await.json();
            assert_eq!(raw.to_string().contains(&name), there, "{vendor} {name}");
        }
    }
}

#[tokio::test]
async fn results_in_the_vendors_form_also_with_late_effect() {
    let both = Both::started().await;
    let late = json!({"kind": "result", "code": "500", "commit": "late", "late_ms": 50});
    both.client.arm_for("pcc", "DeleteProfile", late).await;
    let reply = both.pcc("DELETE", "/39", "").await;
    assert_eq!((reply.status, &reply.json()["status"]), (500, &json!("error")));
    let entries = both.client.journal_until(|entries| entries.len() == 3).await;
    assert_eq!(entries[2]["effect"], json!({"deleted": "39"}));
    assert_eq!(both.pcc("GET", "/39", "").await.status, 404);

    let result = json!({"kind": "result", "code": "1406", "description": "no"});
    both.client.arm_for("endpoint", "PutService", result).await;
    let reply = both.endpoint("PUT", "/390/service/3", "").await;
    assert_eq!(
        (reply.status, reply.json()),
        (409, json!({"error_code": 1406, "error_token": "NotAllowed", "message": "no"}))
    );
    both.client.arm_for("endpoint", "*", json!({"kind": "result", "code": "502"})).await;
    let reply = both.endpoint("GET", "/390", "").await;
    assert_eq!((reply.status, reply.body.len()), (502, 0));
    for (upstream, fault) in [
        ("endpoint", json!({"kind": "outer", "code": "1"})),
        ("endpoint", json!({"kind": "result", "code": "SP"})),
        ("pcc", json!({"kind": "total_count", "value": 1})),
        ("pcc", json!({"kind": "result", "code": "1406"})),
        ("*", json!({"kind": "outer", "code": "1"})),
    ] {
        let spec = json!({"upstream": upstream, "operation": "*", "fault": fault});
        assert_eq!(both.client.call("POST", "/sandbox/faults", &spec).await.status, 400, "{spec}");
    }
}

#[tokio::test]
async fn distortions_know_the_vendors_members() {
    let both = Both::started().await;
    let list = both.distorted("endpoint", json!({"kind": "numbers"})).await.json();
    assert_eq!((&list[0]["id"], &list[0]["used_count"]), (&json!("1"), &json!("12")));
    let list = both.distorted("endpoint", json!({"kind": "nulls"})).await.json();
    assert_eq!(list[0].get("dns"), Some(&Value::Null));
    let list = both.distorted("endpoint", json!({"kind": "unknown_members"})).await.json();
    assert!(list[5]["sandbox_nested"].is_object());
    let missing = json!({"kind": "missing", "members": ["name"]});
    assert!(both.distorted("endpoint", missing).await.json()[0].get("name").is_none());
    // Arrays at the top level are distorted as objects are.
    let huge = both.distorted("endpoint", json!({"kind": "huge", "bytes": 100_000})).await;
    assert_eq!(huge.body.len(), 100_000);
    assert_eq!((&huge.json()[0]["id"], huge.json().as_array().unwrap().len()), (&json!(1), 6));
    let deep = both.distorted("endpoint", json!({"kind": "deep", "depth": 50})).await.json();
    assert!(deep[5]["nested"].is_array());

    let list = both.distorted("pcc", json!({"kind": "numbers"})).await.json();
    assert_eq!(list["length"], "6");
    assert_eq!(list["provisioningProfileDTOList"][0]["id"], "39");
    let list = both.distorted("pcc", json!({"kind": "nulls"})).await.json();
    assert_eq!(list["provisioningProfileDTOList"][4].get("locale"), Some(&Value::Null));
    let list = both.distorted("pcc", json!({"kind": "unknown_members"})).await.json();
    assert!(list["provisioningProfileDTOList"][0]["sandboxNested"].is_object());
}

#[tokio::test]
async fn raw_profiles_are_verbatim_and_seeding_makes_many() {
    let both = Both::started().await;
    let client = &both.client;
    let raw = json!({"name": null, "odd": [1], "used_count": "3"});
    let put = client.call("PUT", "/sandbox/endpoint/profiles/77", &raw).await.json();
    assert_eq!(put, json!({"id": 77, "name": null, "odd": [1], "used_count": "3"}));
    assert_eq!(both.endpoint("GET", "/77", "").await.json(), put);
    assert_eq!(both.endpoint("DELETE", "/77", "").await.status, 409);
    assert_eq!(client.get("/sandbox/endpoint/profiles/77").await.json(), put);
    let gone = client.call("DELETE", "/sandbox/endpoint/profiles/77", &Value::Null).await;
    assert_eq!(gone.status, 200);
    assert_eq!(client.get("/sandbox/endpoint/profiles/77").await.status, 404);

    let raw = json!({"name": "p", "sandbox_in_use": true});
    client.call("PUT", "/sandbox/pcc/profiles/77", &raw).await;
    assert_eq!(both.pcc("GET", "/77", "").await.json(), json!({"id": 77, "name": "p"}));
    assert_eq!(both.pcc("DELETE", "/77", "").await.status, 409);

    let seed = json!({"count": 1000, "profile": {"allowed_3g": false}});
    let seeded = client.call("POST", "/sandbox/endpoint/seed", &seed).await.json();
    assert_eq!(seeded["count"], 1000);
    let list = both.endpoint("GET", "", "").await.json();
    assert_eq!((list.as_array().unwrap().len(), &list[6]["name"]), (1006, &json!("Seeded 00001")));
    assert_eq!(list[1005]["id"], seeded["last"]);
    client.call("POST", "/sandbox/pcc/seed", &json!({"count": 50})).await;
    assert_eq!(both.pcc("GET", "", "").await.json()["length"], 57);

    client.call("POST", "/sandbox/reset", &Value::Null).await;
    assert_eq!(both.pcc("GET", "", "").await.json()["length"], 6);
    assert_eq!(both.endpoint("GET", "", "").await.status, 401);
}

#[tokio::test]
async fn control_of_tokens_and_switches() {
    let both = Both::started().await;
    let client = &both.client;
    client.call("PATCH", "/sandbox/endpoint/options", &json!({"token_ttl_ms": 50})).await;
    let login = json!({"application_token": "sandbox-application-token"});
    let reply = client.call("POST", "/api/v1/authenticate", &login).await.json();
    let short = format!("Authorization: Bearer {}\r\n", reply["auth_token"].as_str().unwrap());
    tokio::time::sleep(Duration::from_millis(80)).await;
    let late = client.send_with(&short, "GET", ENDPOINT, "").await.unwrap();
    assert_eq!((late.status, &late.json()["error_code"]), (401, &json!(1103)));
    client.call("POST", "/sandbox/endpoint/expire-tokens", &Value::Null).await;
    assert_eq!(both.endpoint("GET", "", "").await.json()["error_token"], "TokenExpired");
    let options = client.get("/sandbox/pcc/options").await.json();
    assert_eq!(
        (&options["create_status"], &options["error_body"]),
        (&json!(201), &json!("documented"))
    );
    for (path, body, says) in [
        ("endpoint/options", json!({"patch_status": 202}), "201"),
        ("endpoint/options", json!({"x": 1}), "not_found_code"),
        ("endpoint/options", json!({"rate_limit": 1}), "boolean"),
        ("pcc/options", json!({"error_body": "x"}), "documented"),
        ("pcc/options", json!({"create_status": 200}), "204"),
    ] {
        let reply = client.call("PATCH", &format!("/sandbox/{path}"), &body).await;
        assert_eq!(reply.status, 400, "{path} {body}");
        assert!(reply.json()["error"].as_str().unwrap().contains(says), "{}", reply.json());
    }
    for (method, path, body) in [
        ("POST", "endpoint/seed", json!({"count": 0})),
        ("POST", "pcc/seed", json!({"count": 20_000})),
        ("PUT", "pcc/profiles/x", json!({})),
        ("PUT", "pcc/profiles/1", json!({"sandbox_in_use": 1})),
        ("PUT", "endpoint/profiles/1", json!({"name": "x".repeat(20_000)})),
    ] {
        let reply = client.call(method, &format!("/sandbox/{path}"), &body).await;
        assert_eq!(reply.status, 400, "{path}");
    }
}

#[tokio::test]
async fn empty_answers_survive_every_kind_of_fault() {
    let both = Both::started().await;
    for fault in [
        json!({"kind": "truncate"}),
        json!({"kind": "trickle", "chunk": 1, "pause_ms": 1}),
        json!({"kind": "huge", "bytes": 1000}),
        json!({"kind": "deep", "depth": 3}),
        json!({"kind": "invalid_utf8"}),
        json!({"kind": "numbers"}),
        json!({"kind": "delay", "ms": 1}),
    ] {
        both.client.arm_for("endpoint", "PatchProfile", fault.clone()).await;
        let reply = both.endpoint("PATCH", "/390", "{}").await;
        assert_eq!(reply.status, 201, "{fault}");
    }
    for path in ["/sandbox/endpoint/x", "/sandbox/pcc/unlock"] {
        assert_eq!(both.client.get(path).await.status, 404, "{path}");
    }
}
