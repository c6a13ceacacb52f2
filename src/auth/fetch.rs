//! Fetches the keys of an issuer: over TLS alone, without redirects, within a time and a size.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, Url, redirect::Policy};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::jwks::MAX_BYTES;
use crate::{settings::Certificates, text};

/// From the lookup of the host to the last byte.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest cause in a line of the log.
const MAX_CAUSE_BYTES: usize = 256;

/// What fetches keys from one place.
pub(super) struct Fetcher {
    client: Client,
    url: Url,
}

impl Fetcher {
    /// From this URL. With `authorities`, those alone are trusted, and without, what the system
    /// trusts.
    ///
    /// # Errors
    ///
    /// Why it cannot be set up, as the rest of a sentence.
    pub(super) fn new(url: &str, authorities: Option<&Certificates>) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("is not a URL: {error}"))?;
        let tls = tls(authorities)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            // Who answers in place of the issuer would say who is believed.
            .no_proxy()
            .timeout(LIMIT)
            // It is asked too rarely for a connection to be of use.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("profile-gateway/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = client.map_err(|error| format!("cannot be fetched: {error}"))?;
        Ok(Self { client, url })
    }

    /// The text of the key set.
    ///
    /// # Errors
    ///
    /// Why it cannot be fetched, as the rest of a sentence.
    pub(super) async fn fetch(&self) -> Result<Vec<u8>, String> {
        let request = self.client.get(self.url.clone()).header("accept", "application/json");
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if status != 200 {
            let status = status.as_u16();
            return Err(format!("cannot be fetched: the answer is HTTP {status}, not 200"));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_BYTES {
                return Err("cannot be fetched: the answer is longer than 256 KiB".to_owned());
            }
        }
        Ok(bytes)
    }
}

fn tls(authorities: Option<&Certificates>) -> Result<ClientConfig, String> {
    let not_set_up = |error: rustls::Error| format!("cannot be fetched over TLS: {error}");
    let installed = CryptoProvider::get_default().map(Arc::clone);
    let provider = installed.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(not_set_up)?;
    let builder = match authorities {
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in &file.der {
                roots.add(certificate.clone()).map_err(not_set_up)?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier().map_err(not_set_up)?,
    };
    Ok(builder.with_no_client_auth())
}

/// The innermost cause is the one that says something.
fn failed(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("cannot be fetched: that takes longer than {} s", LIMIT.as_secs());
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause = cause.to_string();
    let cause = text::presentable(text::cut(&cause, MAX_CAUSE_BYTES).as_ref()).unwrap_or_default();
    format!("cannot be fetched: {cause}")
}
