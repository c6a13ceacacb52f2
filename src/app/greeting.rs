//! What a gateway says when it is ready: a greeting for people, and a line for the log.

use super::App;

impl App {
    /// Says where it listens, and what to try next.
    #[must_use]
    pub fn greeting(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let (address, admin) = (self.address(), self.admin_address());
        // Of a sandbox, the one that documents show.
        let first = self.about.backends.first().filter(|_| self.sandbox.is_none());
        let backend = first.map_or("sft", String::as_str);
        let probes = self.probe_address().map_or_else(String::new, |probes| {
            format!("probes are answered on http://{probes} (/livez /readyz)\n")
        });
        let sandbox = self.sandbox_url().map_or_else(String::new, |url| {
            format!(
                "no backend is configured: an embedded sandbox simulates three on {url}\n\
                 inject faults at {url}/sandbox/faults\n"
            )
        });
        format!(
            "profile-gateway {version} serves gRPC on {address}\n\
             admin HTTP is on http://{admin} (/livez /readyz /metrics /config)\n\
             {probes}{sandbox}\n\
             try, from another terminal:\n\n  \
             buf curl --http2-prior-knowledge --protocol grpc \
             -d '{{\"parent\":\"backends/{backend}\"}}' \\\n    \
             http://{address}/profilegateway.v1.ProfileService/ListProfiles\n  \
             grpcurl -plaintext -d '{{\"parent\":\"backends/{backend}\"}}' \\\n    {address} \
             profilegateway.v1.ProfileService/ListProfiles\n\n"
        )
    }

    /// Logs that it serves: where, and what.
    pub fn log_start(&self) {
        tracing::info!(
            target: "start",
            version = env!("CARGO_PKG_VERSION"),
            grpc = %self.address(),
            admin = %self.admin_address(),
            probes = self.probe_address().map(|address| address.to_string()),
            backends = self.about.backends.join(","),
            sandbox = self.sandbox_url(),
            warnings = self.about.warnings,
            "profile-gateway serves"
        );
        if let Some(sandbox) = self.sandbox_url() {
            tracing::warn!(
                target: "start", sandbox,
                "an embedded sandbox simulates the upstreams: what is written reaches no vendor"
            );
        }
    }
}
