//! What a gateway says when it is ready: a greeting for people, and a line for the log.

use super::App;
use crate::server::ListenAddress;

/// How clients reach the gRPC port.
struct Attempt {
    buf: String,
    url: String,
    grpcurl: String,
    target: String,
}

impl App {
    /// Says where it listens, and what to try next.
    #[must_use]
    pub fn greeting(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let address = self.address();
        let over = if self.is_secured() { " over TLS" } else { "" };
        let admin = http(self.admin_address());
        // Of a sandbox, the one that documents show.
        let first = self.about.backends.first().filter(|_| self.sandbox.is_none());
        let backend = first.map_or("sft", String::as_str);
        let probes = self.probe_address().map_or_else(String::new, |probes| {
            format!("probes are answered on {} (/livez /readyz)\n", http(probes))
        });
        let sandbox = self.sandbox_url().map_or_else(String::new, |url| {
            format!(
                "no backend is configured: an embedded sandbox simulates three on {url}\n\
                 inject faults at {url}/sandbox/faults\n"
            )
        });
        let Attempt { buf, url, grpcurl, target } = self.attempt();
        format!(
            "profile-gateway {version} serves gRPC on {address}{over}\n\
             admin HTTP is on {admin} (/livez /readyz /metrics /config)\n\
             {probes}{sandbox}\n\
             try, from another terminal:\n\n  \
             buf curl {buf} --protocol grpc \
             -d '{{\"parent\":\"backends/{backend}\"}}' \\\n    \
             {url}/profilegateway.v1.ProfileService/ListProfiles\n  \
             grpcurl {grpcurl} -d '{{\"parent\":\"backends/{backend}\"}}' \\\n    {target} \
             profilegateway.v1.ProfileService/ListProfiles\n\n"
        )
    }

    fn attempt(&self) -> Attempt {
        let (buf, scheme, grpcurl) = match self.is_secured() {
            true => ("--cacert CA.pem", "https", "-cacert CA.pem"),
            false => ("--http2-prior-knowledge", "http", "-plaintext"),
        };
        let address = self.address();
        match (address, address.dial()) {
            (ListenAddress::Unix(path), _) => Attempt {
                buf: format!("{buf} --unix-socket {}", path.display()),
                url: format!("{scheme}://localhost"),
                grpcurl: format!("{grpcurl} -unix"),
                target: path.display().to_string(),
            },
            (_, address) => {
                let target = address.map_or_else(String::new, |address| address.to_string());
                let url = format!("{scheme}://{target}");
                Attempt { buf: buf.to_owned(), url, grpcurl: grpcurl.to_owned(), target }
            }
        }
    }

    /// Logs that it serves: where, and what.
    pub fn log_start(&self) {
        tracing::info!(
            target: "start",
            version = env!("CARGO_PKG_VERSION"),
            grpc = %self.address(),
            tls = self.is_secured(),
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

/// The address of a port that speaks plain HTTP.
fn http(address: &ListenAddress) -> String {
    match address.dial() {
        Some(address) => format!("http://{address}"),
        None => address.to_string(),
    }
}
