//! TLS to the shared store: whom it trusts, what it shows, and which name it asks for.

use std::{sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName, sign::SingleCertAndKey};
use rustls_platform_verifier::Verifier;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{failure::Failure, fault::Fault};
use crate::{
    error::{Error, Reason, Result},
    settings::{authorities, identity, provider},
    shared::settings::SharedTlsSettings,
};

/// How long a TLS handshake may take, of the time until all connections are open.
const HANDSHAKE: Duration = Duration::from_secs(1);

/// How TLS connections are made.
pub(super) struct Tls {
    connector: TlsConnector,
    /// The name in the certificate, if it is not the host.
    name: Option<String>,
}

impl Tls {
    pub(super) fn of(settings: &SharedTlsSettings) -> Result<Self> {
        let not_set_up = |why: String| {
            Error::new(Reason::GatewayInternal, "TLS to the shared store could not be set up")
                .with_internal(why)
        };
        let of_rustls = |error: rustls::Error| not_set_up(error.to_string());
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(of_rustls)?;
        let builder = match &settings.ca_file {
            Some(file) => {
                builder.with_root_certificates(authorities(Some(file)).map_err(not_set_up)?)
            }
            None => builder.dangerous().with_custom_certificate_verifier(Arc::new(
                // The platform's own.
                Verifier::new(provider()).map_err(of_rustls)?,
            )),
        };
        let shown = identity(settings.cert.as_ref(), settings.key.as_ref()).map_err(of_rustls)?;
        let config = match shown {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        };
        let connector = Arc::new(config).into();
        Ok(Self { connector, name: settings.server_name.clone() })
    }

    /// Makes the handshake with the server at this host.
    pub(super) async fn secure(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let name = self.name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name)
            .map_err(|error| Failure::new(Fault::CertificateNotAccepted, error))?;
        // A server that hangs cannot be told from one that waits for something else than TLS.
        let late = |_| {
            let told = "no answer in the TLS handshake: it hangs, or does not speak TLS";
            Failure::new(Fault::ConnectTimeout, told)
        };
        let secured = timeout(HANDSHAKE, self.connector.connect(name, stream)).await;
        secured.map_err(late)?.map_err(|error| Failure::of_handshake(&error))
    }
}
