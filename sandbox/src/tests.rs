//! The sandbox over real connections: faults, journal, control API, stop.

mod answers;
mod bounds;
mod client;
mod control;
mod faults;
mod vendors;

use serde_json::{Value, json};

use self::client::Client;
use super::{Options, Sandbox};

const LIST: &str = "/api/GetServiceProfile";

async fn started() -> (Sandbox, Client) {
    let any_port = "127.0.0.1:0".parse().unwrap();
    let sandbox = Sandbox::start(any_port, Options::default()).await.unwrap();
    let client = Client::logged_in(sandbox.address()).await;
    client.call("DELETE", "/sandbox/journal", &Value::Null).await;
    (sandbox, client)
}

fn new_profile(name: &str) -> Value {
    json!({"name": name, "category": "0", "status": "1", "service": "5"})
}

fn create(name: &str) -> String {
    client::request(new_profile(name)).to_string()
}

async fn names(client: &Client) -> Vec<String> {
    let raw = client.get("/sandbox/sft/profiles").await.json();
    let profiles = raw["profiles"].as_array().unwrap();
    profiles.iter().map(|profile| profile["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn usual_answers_have_the_documented_shape() {
    let (sandbox, client) = started().await;
    let list = client.get(LIST).await;
    assert_eq!((list.status, list.code().as_str(), list.outer().as_str()), (200, "1331", "0"));
    let param = &list.json()["Response"]["responseParam"];
    assert_eq!(param["totalCount"], "9");
    assert_eq!(
        param["serviceProfileList"][1],
        json!({"profileId": "SP_352", "profileName": "MVNEServiceProfile-Base", "status": "1",
               "serviceName": "DATA|MO-SMS|MT-SMS", "ratTypeName": "2G/3G/4G/5G", "category": "0"})
    );
    let created = client.write("CreateServiceProfile", new_profile("new")).await;
    let id = created.json()["Response"]["serviceProfile"].as_str().unwrap().to_owned();
    assert!(id.starts_with("SP_"));
    let one = client.get(&format!("{LIST}?serviceProfileId={id}")).await.json();
    assert_eq!(
        one["Response"]["responseParam"]["serviceProfileList"],
        json!([{"profileId": id, "profileName": "new", "status": "1", "serviceName": "NB-IOT",
                "category": "0"}])
    );
    let entries = client.journal().await;
    assert_eq!(entries[1]["effect"], json!({"created": id}));
    assert_eq!(entries[1]["result_code"], "1323");
    assert_eq!(entries[1]["headers"]["x-authorization"], "Bearer [redacted]");
    assert!(!json!(entries).to_string().contains(&client.token));
    sandbox.stop().await;
}

#[tokio::test]
async fn requests_that_reach_no_application_get_html() {
    let (_sandbox, client) = started().await;
    for (method, path, body, status) in [
        ("GET", "/api/NoSuch", "", 404),
        ("GET", "/", "", 404),
        ("GET", "/api/CreateServiceProfile", "", 405),
        ("POST", "/api/GetServiceProfile", "{}", 405),
        ("POST", "/api/CreateServiceProfile", "{", 400),
        ("POST", "/api/login", "x", 400),
    ] {
        let reply = client.send(method, path, body).await.unwrap();
        assert_eq!(reply.status, status, "{method} {path}");
        assert!(reply.head.contains("text/html"), "{method} {path}");
    }
    let too_long = "x".repeat(1024 * 1024 + 1);
    let reply = client.send("POST", "/api/login", &too_long).await;
    // The unread rest of the body causes a reset, which may arrive before the refusal.
    assert!(reply.map_or(true, |reply| reply.status == 413));
}

#[tokio::test]
async fn stop_ends_hanging_requests_and_the_listener() {
    let (sandbox, client) = started().await;
    client.arm("*", json!({"kind": "hang"})).await;
    let address = client.address;
    let other = Client { address, token: client.token.clone() };
    let hanging = tokio::spawn(async move { other.raw("GET", LIST, "").await });
    client.journal_until(|entries| !entries.is_empty()).await;
    sandbox.stop().await;
    assert!(hanging.await.unwrap().is_ok_and(|bytes| bytes.is_empty()));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
