//! The simulated upstreams in this process, which a gateway without backends serves.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
};

use profile_gateway_sandbox::{Options, Sandbox};

use crate::config::{self, BackendSettings, ConfigErrors, Source};

/// What a configuration without backends leads to.
pub const WITHOUT_BACKENDS: Result<&str, &str> =
    Ok("no backend is configured: an embedded sandbox would simulate three, without a command or \
        with `serve --sandbox`");

/// The simulators, on a port of their own.
pub(super) struct Embedded(Sandbox);

impl Embedded {
    /// Starts the simulators, and gives the backends that reach them.
    pub(super) async fn start() -> io::Result<(Self, BTreeMap<String, BackendSettings>)> {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let sandbox = Sandbox::start(any_port, Options::default()).await?;
        let backends = backends(&sandbox).map_err(io::Error::other)?;
        Ok((Self(sandbox), backends))
    }

    pub(super) fn base_url(&self) -> String {
        self.0.base_url()
    }

    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}

/// The sandbox as a configuration would name it, so that it comes through the same checks.
fn backends(sandbox: &Sandbox) -> Result<BTreeMap<String, BackendSettings>, ConfigErrors> {
    let text = format!("{}\n{SANDBOX_STORE}", sandbox_config(sandbox));
    let source = Source { file_name: "sandbox", text: &text };
    Ok(config::load(Some(source), &[])?.backends)
}

/// The store of a gateway over a sandbox, which forgets too when it ends.
pub const SANDBOX_STORE: &str = "[store]\nkind = \"memory\"\n";

/// What a sandbox that runs alone says: where it listens, and a configuration for it.
#[must_use]
pub fn sandbox_greeting(sandbox: &Sandbox) -> String {
    let (url, config) = (sandbox.base_url(), sandbox_config(sandbox));
    format!(
        "the simulated upstreams listen on {url}\n\
         inject faults at {url}/sandbox/faults\n\n\
         a configuration for them:\n\n{config}\n{SANDBOX_STORE}"
    )
}

/// Backends for the upstreams of a sandbox.
#[must_use]
pub fn sandbox_config(sandbox: &Sandbox) -> String {
    let base_url = sandbox.base_url();
    let (username, password) = sandbox.sft_credentials();
    let application_token = sandbox.endpoint_application_token();
    let (tenant, pcc_username, pcc_password) = sandbox.pcc_credentials();
    format!(
        "[backends.sft]\n\
         display_name = \"BICS SFT (sandbox)\"\n\
         dialect = \"bics-sft\"\n\
         base_url = {base_url:?}\n\
         username = {username:?}\n\
         password = {password:?}\n\n\
         [backends.endpoint]\n\
         display_name = \"Endpoint API (sandbox)\"\n\
         dialect = \"endpoint\"\n\
         base_url = {base_url:?}\n\
         application_token = {application_token:?}\n\n\
         [backends.pcc]\n\
         display_name = \"PCC (sandbox)\"\n\
         dialect = \"pcc\"\n\
         base_url = {base_url:?}\n\
         tenant = {tenant:?}\n\
         username = {pcc_username:?}\n\
         password = {pcc_password:?}\n"
    )
}
