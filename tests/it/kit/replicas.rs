//! Several gateways, each a process of its own, that share one store and one upstream.
//!
//! ```text
//! replica 0 ── wire 0 ──┐
//! replica 1 ── wire 1 ──┼── Redis
//! replica 2 ── wire 2 ──┘
//! ```
//!
//! Each has a wire of its own to the store, so that it can be cut off alone. Its lanes are
//! [`COMMANDS`], [`LOG`] and [`DURABLE`]: a replica opens its connections in that order, and all of
//! them again when it has lost one.
//!
//! - [`replicas`] begins a plan: lines for all sections, and backends that all have or each has of
//!   its own. [`Plan::apart`] gives each replica a store of its own instead.
//! - [`Plan::over`] starts them over a [`Redis`].
//! - A [`Replica`] is killed, ended, stopped where it is, and started again. Then its port is
//!   another, so ask [`Replica::profiles`] for a client each time. Its wire stays, and with
//!   [`Plan::balanced`] its port, too.

#![allow(dead_code, reason = "each test of replicas uses some of it")]

use std::{net::SocketAddr, sync::Mutex, time::Duration};

use futures_util::future::join_all;
use profile_gateway::pb::{
    backend_service_client::BackendServiceClient, profile_service_client::ProfileServiceClient,
};
use rustix::process::Signal;
use tonic::transport::{Channel, Endpoint};

use super::{
    child::{self, Ended, Gateway},
    gateway::fresh,
    model,
    redis::Redis,
    sandbox::Sandbox,
    until,
    wire::Wire,
};

/// The lanes of a wire to the store, in the order in which a replica opens its connections.
pub const COMMANDS: usize = 0;
pub const LOG: usize = 1;
pub const DURABLE: usize = 2;

/// What all replicas seal their tokens with.
const KEY: &str = "a page token key of-the-kit";
const MESSAGE: usize = 64 << 20;

/// A configuration under way, for so many replicas.
pub struct Plan {
    count: usize,
    is_apart: bool,
    grace: Option<String>,
    top: String,
    store: String,
    server: String,
    sections: Vec<String>,
}

/// A gateway in a process of its own; killed when dropped.
pub struct Replica {
    /// Between it and the store.
    pub wire: Wire,
    config: Mutex<String>,
    balanced: Option<Balanced>,
    running: Mutex<Option<Running>>,
    /// Where it was reached last.
    channel: Mutex<Channel>,
}

/// What load balancers rely on.
struct Balanced {
    /// Where it listens, each time.
    listen: Mutex<String>,
    /// How long it goes on to accept calls when it has to end.
    grace: String,
}

struct Running {
    gateway: Gateway,
    /// Keeps the file that it reads again when it is told to.
    file: child::File,
}

/// So many replicas, without backends.
pub fn replicas(count: usize) -> Plan {
    let [top, store, server] = [(); 3].map(|()| String::new());
    let sections = vec![String::new(); count];
    Plan { count, is_apart: false, grace: None, top, store, server, sections }
}

/// So many over all upstreams that the sandbox simulates, each without limits of its own.
pub async fn over(sandbox: &Sandbox, redis: &Redis, count: usize) -> Vec<Replica> {
    replicas(count).sections(&unlimited(&sandbox.config())).over(redis).await
}

/// Sections of backends that ask as fast as they can.
pub fn unlimited(sections: &str) -> String {
    let lines = "requests_per_second = 100000\nrequest_limit = \"off\"\nlogin_limit = \"off\"\n\
                 circuit_breaker = \"off\"\ndialect =";
    sections.replace("dialect =", lines)
}

impl Plan {
    /// They share nothing but the upstream: each has its memory.
    pub fn apart(self) -> Self {
        Self { is_apart: true, ..self }
    }

    /// Each is found at one address, and goes on to accept calls for this time when it has to end.
    pub fn balanced(self, grace: &str) -> Self {
        Self { grace: Some(grace.to_owned()), ..self }
    }

    /// Adds lines above all sections.
    pub fn top(self, lines: &str) -> Self {
        Self { top: self.top + lines + "\n", ..self }
    }

    /// Adds lines to the section `[store]`, unless they are apart.
    pub fn store(self, lines: &str) -> Self {
        Self { store: self.store + lines + "\n", ..self }
    }

    /// Adds lines to the section `[server]`.
    pub fn server(self, lines: &str) -> Self {
        Self { server: self.server + lines + "\n", ..self }
    }

    /// Adds whole sections to all.
    pub fn sections(self, text: &str) -> Self {
        self.own_sections(|_| text.to_owned())
    }

    /// Adds whole sections to each.
    pub fn own_sections(mut self, of: impl Fn(usize) -> String) -> Self {
        for (number, sections) in self.sections.iter_mut().enumerate() {
            *sections += &of(number);
            sections.push('\n');
        }
        self
    }

    /// Starts them all.
    pub async fn over(self, redis: &Redis) -> Vec<Replica> {
        let started = (0..self.count).map(|number| self.start(number, redis));
        join_all(started).await
    }

    async fn start(&self, number: usize, redis: &Redis) -> Replica {
        let wire = Wire::to(redis.address(), 3).await;
        let store = match self.is_apart {
            true => "kind = \"memory\"".to_owned(),
            false => {
                format!("kind = \"shared\"\nurl = \"redis://{}\"\n{}", wire.address, self.store)
            }
        };
        let config = format!(
            "page_token_key = \"{KEY}\"\n{}\n[audit]\nfile = \"/dev/null\"\n\
             [server]\ndrain_grace = \"0s\"\n{}\n[store]\n{store}\n{}",
            self.top, self.server, self.sections[number]
        );
        let nowhere = Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
        let (config, channel) = (Mutex::new(config), Mutex::new(nowhere));
        let balanced = self.grace.clone().map(Balanced::new);
        let replica = Replica { wire, config, balanced, running: Mutex::default(), channel };
        replica.start_again().await;
        replica
    }
}

impl Balanced {
    fn new(grace: String) -> Self {
        // While it does not run, no connection of other tests may take its port.
        let [one, two, three] = rand::random::<[u8; 3]>().map(|byte| 1 + byte % 250);
        let listen = format!("127.{}.{two}.{three}:0", 100 + one / 2);
        Self { listen: Mutex::new(listen), grace }
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("PROFILE_GATEWAY__LISTEN", self.listen.lock().unwrap().clone()),
            ("PROFILE_GATEWAY__SERVER__DRAIN_GRACE", self.grace.clone()),
        ]
    }
}

impl Replica {
    /// Starts it, after its end.
    pub async fn start_again(&self) {
        let file = child::exactly(&self.config.lock().unwrap().clone());
        let env = self.balanced.as_ref().map(Balanced::env).unwrap_or_default();
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let gateway = child::gateway(&["serve", "--config", &file.path], &env).await;
        if let Some(balanced) = &self.balanced {
            *balanced.listen.lock().unwrap() = gateway.grpc.to_string();
        }
        let endpoint = Endpoint::new(format!("http://{}", gateway.grpc)).unwrap();
        *self.channel.lock().unwrap() = endpoint.connect_lazy();
        let before = self.running.lock().unwrap().replace(Running { gateway, file });
        assert!(before.is_none(), "it runs already");
    }

    /// Changes its configuration: for its next start, or for a reload after a signal.
    pub fn change(&self, change: impl FnOnce(&str) -> String) {
        let mut config = self.config.lock().unwrap();
        *config = change(&config);
        if let Some(running) = &*self.running.lock().unwrap() {
            std::fs::write(&running.file.path, &*config).unwrap();
        }
    }

    /// Kills it, and waits for its end.
    pub async fn kill(&self) -> Ended {
        self.ended(Signal::KILL).await
    }

    /// Ends it as a deployment would, and waits.
    pub async fn end(&self) -> Ended {
        self.ended(Signal::TERM).await
    }

    async fn ended(&self, signal: Signal) -> Ended {
        let running = self.running.lock().unwrap().take().expect("it runs");
        running.gateway.program.signal(signal);
        running.gateway.program.ended().await
    }

    /// Stops its process where it is.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets its process go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub fn signal(&self, signal: Signal) {
        self.with(|gateway| gateway.program.signal(signal));
    }

    pub fn is_running(&self) -> bool {
        self.running.lock().unwrap().is_some()
    }

    fn with<T>(&self, use_it: impl FnOnce(&Gateway) -> T) -> T {
        use_it(&self.running.lock().unwrap().as_ref().expect("it runs").gateway)
    }

    /// A client of it as it runs now, or ran last.
    pub fn profiles(&self) -> ProfileServiceClient<Channel> {
        let client = ProfileServiceClient::new(self.channel.lock().unwrap().clone());
        client.max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE)
    }

    /// The same for backends.
    pub fn backends(&self) -> BackendServiceClient<Channel> {
        BackendServiceClient::new(self.channel.lock().unwrap().clone())
    }

    /// Waits until it has used its credentials at the sandbox. Without the store, it waits up to
    /// half a minute before it does so for the first time.
    pub async fn logs_in(&self) {
        let read = async || self.profiles().get_profile(fresh(model::get("SP_367"))).await;
        until("it logs in", async || read().await.is_ok()).await;
    }

    /// The time that its threads have had on processors; Linux only.
    pub fn cpu(&self) -> Duration {
        self.with(|gateway| gateway.program.cpu())
    }

    /// Where it serves gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.with(|gateway| gateway.grpc)
    }

    /// Where it serves operators.
    pub fn admin_address(&self) -> SocketAddr {
        self.with(|gateway| gateway.admin)
    }

    /// A page of the admin port: its status and its text.
    pub async fn admin(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.admin_address());
        let answer = reqwest::get(url).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The sum of a metric over all its series that have these labels.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let (_, metrics) = self.admin("/metrics").await;
        let series = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix("profile_gateway_")?.strip_prefix(name)?;
            let value = rest.starts_with(['{', ' ']).then(|| rest.rsplit_once(' '))??;
            value.0.contains(labels).then(|| value.1.parse::<f64>().unwrap())
        });
        series.sum()
    }
}
