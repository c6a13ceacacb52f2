//! Calls to a gateway in another process: over tonic's client, and by hand where the client would
//! have a say of its own.

use std::{collections::HashMap, net::SocketAddr};

use http::HeaderMap;
use profile_gateway::pb::{GetProfileRequest, profile_service_client::ProfileServiceClient};
use prost::Message;
use serde_json::{Value, json};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::{ErrorDetails, StatusExt};

use super::child::{Gateway, patiently};

pub(super) const GET: &str = "profilegateway.v1.ProfileService/GetProfile";
pub(super) const LIST: &str = "profilegateway.v1.ProfileService/ListProfiles";

pub(super) async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
    patiently("a connection", endpoint.connect()).await.unwrap()
}

/// The same from one of this machine's addresses, which is a caller of its own.
pub(super) async fn channel_from(source: &str, address: SocketAddr) -> Channel {
    let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
    let endpoint = endpoint.local_address(Some(source.parse().unwrap()));
    patiently("a connection", endpoint.connect()).await.unwrap()
}

pub(super) async fn profiles(gateway: &Gateway) -> ProfileServiceClient<Channel> {
    ProfileServiceClient::new(channel(gateway.grpc).await)
}

pub(super) fn named(id: &str) -> GetProfileRequest {
    GetProfileRequest { name: format!("backends/sft/profiles/{id}"), read_mask: None }
}

/// A failed call: its code, and its reason with the details around it.
#[track_caller]
pub(super) fn failure(status: &Status) -> (Code, String, ErrorDetails) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "profile-gateway");
    let reason = info.reason.clone();
    (status.code(), reason, details)
}

pub(super) fn metadata(details: &ErrorDetails) -> HashMap<String, String> {
    details.error_info().unwrap().metadata.clone()
}

/// A unary call without any of a client's own timers or limits, for calls that end without a
/// message.
pub(super) async fn raw(
    address: SocketAddr,
    path: &str,
    message: &impl Message,
    headers: &[(&'static str, &str)],
) -> Status {
    let mut body = vec![0];
    body.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    body.extend(message.encode_to_vec());
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let mut request = client.post(format!("http://{address}/{path}")).body(body);
    request = request.header("content-type", "application/grpc").header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = patiently("an answer", request.send()).await.unwrap();
    let headers: &HeaderMap = answer.headers();
    Status::from_header_map(headers).expect("a status in the headers")
}

pub(super) async fn http_get(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The value of a metric, or the sum of its series that have these labels first; zero when there is
/// none.
pub(super) async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let (_, text) = http_get(gateway.admin, "/metrics").await;
    let begin = name.trim_end_matches('}');
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(begin)?;
        rest.starts_with([' ', '}', ',']).then(|| rest.rsplit_once(' '))?
    });
    values.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}

/// Arms a fault of a sandbox for every request to an operation.
pub(super) async fn arm(sandbox: &str, operation: &str, fault: Value) {
    let order = json!({ "upstream": "sft", "operation": operation, "times": 0, "fault": fault });
    let url = format!("{sandbox}/sandbox/faults");
    let answer = reqwest::Client::new().post(url).json(&order).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

/// What reached the upstream and changed something.
pub(super) async fn effects(gateway: &Gateway) -> Vec<Value> {
    let url = format!("{}/sandbox/journal", gateway.sandbox.as_deref().unwrap());
    let journal: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    let entries = journal["entries"].as_array().unwrap().iter();
    entries.map(|entry| entry["effect"].clone()).filter(|effect| !effect.is_null()).collect()
}
