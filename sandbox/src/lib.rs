//! Vendors' HTTP APIs simulated over real HTTP, for trying the gateway out and for testing it.
//!
//! One listener carries every simulated vendor, each at the paths its own documents give (BICS SFT:
//! `/api/login`, `/api/CreateServiceProfile`, ...; the endpoint API: `/api/v1/...`; PCC:
//! `/pcc/spcm/...`), and a control API under `/sandbox` that arms faults, shows what arrived and
//! sets up state. Everything lives in memory and is bounded.
//!
//! The sandbox is written from the vendors' documents only and shares no code with the adapters it
//! tests: otherwise both sides could misread a document in the same way, and no test would notice.
//!
//! # Layout
//!
//! - `options`: how the simulators behave at the start
//! - `server`: listener, connections, and the wire-level faults (reset, close without an answer)
//! - `world`: what all parts share: simulators, faults, journal, running tasks
//! - `simulator`: the trait that each simulator implements
//! - `exchange`: one vendor request from arrival to answer
//! - `faults`, `fault_kind`: the armed faults, and the kinds of faults
//! - `respell`: names as an upstream may store them
//! - `answer`: answers, and the distortions that are the same for every vendor
//! - `journal`: what arrived and what it changed
//! - `control`: the control API
//! - `store`: profiles as JSON objects by number, for vendors whose ids are integers
//! - `sft`: the BICS SFT simulator
//! - `endpoint`: the simulator of the emnify API that BICS labels as its own
//! - `pcc`: the PCC (SPCM) simulator
//!
//! In comments of the simulators, *documented* means a vendor document says so, *observed* means a
//! public client or recording shows it, *inferred* means no source says so and the choice is ours.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test that panics has failed"
    )
)]

mod answer;
mod control;
mod endpoint;
mod exchange;
mod fault_kind;
mod faults;
mod journal;
mod lagging;
mod options;
mod pcc;
mod respell;
mod server;
mod sft;
mod simulator;
mod store;
#[cfg(test)]
mod tests;
mod world;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::world::World;
pub use self::{fault_kind::KINDS as FAULT_KINDS, options::Options};

/// How long `Sandbox::stop` waits for connections and tasks.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The running simulators. Dropping it stops them without waiting; `stop` waits.
pub struct Sandbox {
    address: SocketAddr,
    username: String,
    password: String,
    endpoint_application_token: String,
    pcc_credentials: [String; 3],
    world: Arc<World>,
    _stop_on_drop: DropGuard,
}

impl Sandbox {
    /// Listens on `listen` (port 0 picks a free one) and serves until stopped or dropped.
    ///
    /// # Errors
    ///
    /// The listener's: address in use, not permitted, ...
    pub async fn start(listen: SocketAddr, options: Options) -> io::Result<Sandbox> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let max_connections = options.max_connections;
        let (username, password) = (options.username.clone(), options.password.clone());
        let endpoint_application_token = options.endpoint_application_token.clone();
        let pcc_credentials =
            [&options.pcc_tenant, &options.pcc_username, &options.pcc_password].map(String::clone);
        let world = Arc::new(World::new(options, stop.clone()));
        let router = control::router(Arc::clone(&world));
        world.spawn(
            "sandbox listener",
            server::run(listener, router, Arc::clone(&world), max_connections),
        );
        Ok(Sandbox {
            address,
            username,
            password,
            endpoint_application_token,
            pcc_credentials,
            world,
            _stop_on_drop: stop.drop_guard(),
        })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL of all vendors' paths, without a trailing slash.
    pub fn base_url(&self) -> String {
        let mut reachable = self.address;
        if reachable.ip().is_unspecified() {
            // "Any address" can be listened on but not portably connected to.
            let loopback: std::net::IpAddr = if reachable.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            };
            reachable.set_ip(loopback);
        }
        format!("http://{reachable}")
    }

    /// Username and password that the SFT simulator accepts.
    pub fn sft_credentials(&self) -> (&str, &str) {
        (&self.username, &self.password)
    }

    /// The application token that the endpoint API simulator accepts.
    pub fn endpoint_application_token(&self) -> &str {
        &self.endpoint_application_token
    }

    /// Tenant, username and password that the PCC simulator accepts.
    pub fn pcc_credentials(&self) -> (&str, &str, &str) {
        let [tenant, username, password] = &self.pcc_credentials;
        (tenant, username, password)
    }

    /// Stops listening, closes the connections and waits, for a bounded time, until all tasks have
    /// ended.
    pub async fn stop(self) {
        if !self.world.stop(STOP_LIMIT).await {
            tracing::warn!(limit = ?STOP_LIMIT, "sandbox tasks still running after the stop limit");
        }
    }
}
