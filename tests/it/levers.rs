//! What operators set at the admin port for a time: who may, what it does, and how it ends.

mod circuit;
mod http;
mod writes;

use profile_gateway::pb::{Lever, LeverKind};
use reqwest::{Client, Method};
use serde_json::Value;

use crate::kit::gateway::{Builder, Gateway, OPERATORS, gateway};

pub const JANES: &str = "token-of-the-kit-for-jane-alone";

/// A gateway with a token for all operators, and one for Jane.
pub fn operated() -> Builder {
    let jane = format!("[operators.jane]\ntoken = \"{JANES}\"\n");
    gateway().top(&format!("admin_token = \"{OPERATORS}\"\n")).section(&jane)
}

/// Sends a request to the admin port: its status, and the body as JSON or as text.
pub async fn admin(gateway: &Gateway, method: Method, path: &str, token: &str) -> (u16, Value) {
    let url = format!("http://{}{path}", gateway.admin);
    let request = Client::new().request(method, url);
    let request = if token.is_empty() { request } else { request.bearer_auth(token) };
    let answer = request.send().await.unwrap();
    let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
    (status, serde_json::from_str(&body).unwrap_or_else(|_| body.into()))
}

/// Sets a lever as Jane.
#[track_caller]
pub fn set(gateway: &Gateway, path: &str) -> impl Future<Output = Value> {
    ok(gateway, Method::POST, path)
}

/// Ends a lever as Jane.
#[track_caller]
pub fn end(gateway: &Gateway, path: &str) -> impl Future<Output = Value> {
    ok(gateway, Method::DELETE, path)
}

async fn ok(gateway: &Gateway, method: Method, path: &str) -> Value {
    let (status, answer) = admin(gateway, method, path, JANES).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// What is in force: each lever with its backend, or nothing.
pub async fn in_force(gateway: &Gateway) -> Vec<(String, String)> {
    let answer = ok(gateway, Method::GET, "/levers").await;
    let levers = answer["in_force"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    levers.map(|lever| (text(&lever["lever"]), text(&lever["backend"]))).collect()
}

/// Whether the metrics say that a lever is in force.
pub async fn counted(gateway: &Gateway, lever: &str, backend: &str) -> bool {
    let answer = ok(gateway, Method::GET, "/metrics").await;
    let line =
        format!("profile_gateway_lever_active{{lever=\"{lever}\",backend=\"{backend}\"}} 1\n");
    answer.as_str().unwrap().contains(&line)
}

/// What `GetBackend` says of levers.
pub async fn shown(gateway: &Gateway, backend: &str) -> Vec<LeverKind> {
    gateway.status(backend).await.levers.iter().map(Lever::kind).collect()
}
