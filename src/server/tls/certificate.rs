//! What is in a certificate: for how long it is valid, and whom it names.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::server::settings::is_trust_domain;

/// The year 9999 ends then; no later time can be written.
const LAST: Duration = Duration::from_secs(253_402_300_799);
/// Most bytes of a SPIFFE id, by its standard.
const MAX_ID: usize = 2048;

/// What the certificate of a client proves. The handshake has verified its chain, its purpose, its
/// time, and that it was not revoked; the client has its key.
///
/// Its subject is not here: names in it prove nothing, as different authorities write them as they
/// like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The SPIFFE id of the workload, such as `spiffe://example.org/ns/billing/sa/app`: the one URI
    /// that the certificate names. Of `server.tls.trust_domain`, if that is set. `None` if it names
    /// no URI, several, or one that is not a SPIFFE id.
    pub spiffe: Option<String>,
    /// The last second for which the certificate is valid. The connection ends after it.
    pub not_after: SystemTime,
}

impl PeerCertificate {
    /// Reads a certificate. `None` if it cannot be parsed.
    pub(in crate::server) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = EndEntityCert::try_from(der).ok()?;
        let (_, not_after) = validity(&certificate)?;
        Some(Self { spiffe: spiffe_id(&certificate).map(str::to_owned), not_after })
    }

    /// For how long it is still valid: until its last second is over.
    pub(in crate::server) fn left(&self) -> Duration {
        let end = self.not_after + Duration::from_secs(1);
        end.duration_since(SystemTime::now()).unwrap_or_default()
    }
}

/// The first and the last second for which a certificate is valid.
pub(super) fn validity(certificate: &EndEntityCert<'_>) -> Option<(SystemTime, SystemTime)> {
    // The library tells them only of a certificate that is used too early or too late.
    let error_at = |seconds| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let usage = KeyUsage::client_auth();
        certificate.verify_for_usage(&[], &[], &[], time, usage, None, None).err()
    };
    let Some(Error::CertExpired { not_after, .. }) = error_at(u64::MAX) else { return None };
    let not_before = match error_at(0) {
        Some(Error::CertNotValidYet { not_before, .. }) => not_before,
        // It began before 1970, or with it.
        _ => UnixTime::since_unix_epoch(Duration::ZERO),
    };
    Some((system_time(not_before), system_time(not_after)))
}

fn system_time(time: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.as_secs()).min(LAST)
}

/// A time as it is shown: `2027-01-31T23:59:59Z`.
pub(crate) fn shown_time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time.min(UNIX_EPOCH + LAST)).to_string()
}

/// The DNS names and URIs of a certificate.
pub(super) fn names(certificate: &EndEntityCert<'_>) -> Vec<String> {
    certificate.valid_dns_names().chain(certificate.valid_uri_names()).map(str::to_owned).collect()
}

/// The one URI of a certificate, if that is a SPIFFE id (X.509-SVID, sections 2 and 5.2).
fn spiffe_id<'a>(certificate: &EndEntityCert<'a>) -> Option<&'a str> {
    let mut uris = certificate.valid_uri_names();
    let (id, None) = (uris.next()?, uris.next()) else { return None };
    is_workload(id).then_some(id)
}

/// Whether a text is the SPIFFE id of a workload (SPIFFE-ID, section 2).
fn is_workload(id: &str) -> bool {
    let Some((domain, path)) = parts(id) else { return false };
    let of_path = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_segment =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(of_path);
    id.len() <= MAX_ID && is_trust_domain(domain) && path.split('/').all(is_segment)
}

/// The trust domain of a SPIFFE id and the rest after its slash.
fn parts(id: &str) -> Option<(&str, &str)> {
    id.strip_prefix("spiffe://")?.split_once('/')
}

/// Whether a SPIFFE id is of a trust domain.
pub(super) fn is_of_domain(id: &str, trust_domain: &str) -> bool {
    parts(id).is_some_and(|(domain, _)| domain == trust_domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_workloads_count() {
        for id in ["spiffe://example.org/a", "spiffe://example.org/ns/a/sa/b.c_d-E", "spiffe://a/1"]
        {
            assert!(is_workload(id), "{id}");
        }
        let long = format!("spiffe://example.org/{}", "a".repeat(MAX_ID));
        for other in [
            "",
            "https://example.org/a",
            "SPIFFE://example.org/a",
            "spiffe://Example.org/a",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe:///a",
            "spiffe://example.org/a/",
            "spiffe://example.org//a",
            "spiffe://example.org/./a",
            "spiffe://example.org/a/../b",
            "spiffe://example.org/a%2fb",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org:1/a",
            "spiffe://me@example.org/a",
            "spiffe://example.org/\u{e9}",
            &long,
        ] {
            assert!(!is_workload(other), "{other}");
        }
    }

    #[test]
    fn a_trust_domain_is_compared_as_a_whole() {
        assert!(is_of_domain("spiffe://example.org/a", "example.org"));
        for other in ["spiffe://example.org.evil/a", "spiffe://evil.example.org/a", "spiffe://e/a"]
        {
            assert!(!is_of_domain(other, "example.org"), "{other}");
        }
    }

    #[test]
    fn the_last_time_of_a_certificate_can_be_shown() {
        assert_eq!(shown_time(UNIX_EPOCH + LAST), "9999-12-31T23:59:59Z");
        assert_eq!(shown_time(UNIX_EPOCH + LAST * 2), "9999-12-31T23:59:59Z");
    }
}
