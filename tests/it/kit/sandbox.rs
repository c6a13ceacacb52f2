//! The program's own sandbox, driven through its control API.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::LazyLock,
};

use profile_gateway::app;
use profile_gateway_sandbox::{Options, Sandbox as Simulator};
use serde_json::{Value, json};

/// The password that the sandbox accepts.
pub const PASSWORD: &str = "sandbox-password";

/// One client for all tests, because making one is slow; it keeps no connection, because those end
/// with their test.
static HTTP: LazyLock<reqwest::Client> =
    LazyLock::new(|| reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap());

/// A sandbox on a port of its own.
pub struct Sandbox {
    simulator: Simulator,
    http: reqwest::Client,
}

/// A sandbox with the example profiles.
pub async fn sandbox() -> Sandbox {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let simulator = Simulator::start(any, Options::default()).await.unwrap();
    Sandbox { simulator, http: HTTP.clone() }
}

impl Sandbox {
    pub fn base_url(&self) -> String {
        self.simulator.base_url()
    }

    /// The lines of a backend's section that log in here.
    pub fn credentials(&self) -> String {
        let (username, password) = self.simulator.sft_credentials();
        format!("username = \"{username}\"\npassword = \"{password}\"\n")
    }

    /// The sections of a configuration with a backend for each simulated upstream.
    pub fn config(&self) -> String {
        app::sandbox_config(&self.simulator)
    }

    /// Arms a fault of any upstream; the spec names the upstream, the operation and the fault.
    pub async fn arm_spec(&self, spec: Value) {
        self.post("/sandbox/faults", spec).await;
    }

    /// How many faults have not met all their requests yet.
    pub async fn armed(&self) -> usize {
        self.read("/sandbox/faults").await["faults"].as_array().unwrap().len()
    }

    /// Disarms all faults.
    pub async fn calm(&self) {
        let url = format!("{}/sandbox/faults", self.base_url());
        let answer = self.http.delete(url).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// Arms a fault for the next SFT request of an operation.
    pub async fn arm(&self, operation: &str, fault: Value) {
        self.arm_spec(json!({"upstream": "sft", "operation": operation, "fault": fault})).await;
    }

    pub async fn post(&self, path: &str, body: Value) {
        let url = format!("{}{path}", self.base_url());
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap());
    }

    /// Changes switches of the SFT simulator.
    pub async fn switch(&self, options: Value) {
        self.set("sft", &options).await;
    }

    /// Changes switches of a simulator.
    pub async fn set(&self, upstream: &str, options: &Value) {
        let url = format!("{}/sandbox/{upstream}/options", self.base_url());
        let answer = self.http.patch(url).json(&options).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// Puts a profile whatever the vendor's rules say.
    pub async fn put(&self, id: &str, profile: Value) {
        let url = format!("{}/sandbox/sft/profiles/{id}", self.base_url());
        let answer = self.http.put(url).json(&profile).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// All profiles of an upstream as they are there.
    pub async fn raw(&self, upstream: &str) -> Vec<Value> {
        let all = self.read(&format!("/sandbox/{upstream}/profiles")).await;
        all["profiles"].as_array().unwrap().clone()
    }

    /// Puts a profile of any upstream whatever the vendor's rules say.
    pub async fn put_raw(&self, upstream: &str, id: &str, profile: &Value) {
        let url = format!("{}/sandbox/{upstream}/profiles/{id}", self.base_url());
        let answer = self.http.put(url).json(&profile).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// Removes a profile of any upstream whatever the vendor's rules say.
    pub async fn remove_raw(&self, upstream: &str, id: &str) {
        let url = format!("{}/sandbox/{upstream}/profiles/{id}", self.base_url());
        let answer = self.http.delete(url).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    async fn read(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.base_url());
        let answer = self.http.get(url).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// How many profiles have this name.
    pub async fn count_named(&self, name: &str) -> usize {
        let all = self.read("/sandbox/sft/profiles").await;
        all["profiles"].as_array().unwrap().iter().filter(|p| p["name"] == name).count()
    }

    /// Everything that arrived.
    pub async fn journal(&self) -> Vec<Value> {
        self.read("/sandbox/journal").await["entries"].as_array().unwrap().clone()
    }

    /// Everything that arrived after a sequence number.
    pub async fn journal_after(&self, seq: u64) -> Vec<Value> {
        let page = self.read(&format!("/sandbox/journal?after={seq}")).await;
        page["entries"].as_array().unwrap().clone()
    }

    /// What requests of this operation changed, in order.
    pub async fn effects(&self) -> Vec<Value> {
        let journal = self.journal().await;
        journal.iter().map(|e| e["effect"].clone()).filter(|e| !e.is_null()).collect()
    }

    /// How many requests of an operation arrived.
    pub async fn arrived(&self, operation: &str) -> usize {
        let journal = self.journal().await;
        journal.iter().filter(|e| e["operation"] == operation && e["late_of"].is_null()).count()
    }
}
