//! What is in a certificate: for how long it is valid, and whom it names.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::auth::spiffe;

const SCHEME: &str = "spiffe:";
/// The year 9999 ends then; no later time can be written.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// What the certificate of a client proves. The handshake has verified its chain, its purpose, its
/// time, and that it was not revoked; the client has its key.
///
/// Its subject is not here: names in it prove nothing, as different authorities write them as they
/// like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The SPIFFE id of the workload, such as `spiffe://example.org/ns/billing/sa/app`. Of
    /// `server.tls.trust_domain`, if that is set. `None` of a certificate that has nothing to do
    /// with SPIFFE.
    pub spiffe: Option<String>,
    /// The last second for which the certificate is valid. The connection ends after it.
    pub not_after: SystemTime,
}

impl PeerCertificate {
    /// Reads a certificate. `None` if it cannot be parsed, or has a SPIFFE id and does not name one
    /// workload.
    pub(in crate::server) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = EndEntityCert::try_from(der).ok()?;
        let (_, not_after) = validity(&certificate)?;
        let uris: Vec<&str> = certificate.valid_uri_names().collect();
        let spiffe = workload(&uris).ok()?.map(str::to_owned);
        Some(Self { spiffe, not_after })
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

/// The names of a certificate do not say whose it is.
#[derive(Debug, PartialEq, Eq)]
struct Unclear;

/// The workload that these URIs of a certificate name. A SPIFFE id has to be the only one
/// (X.509-SVID, section 2).
fn workload<'u>(uris: &[&'u str]) -> Result<Option<&'u str>, Unclear> {
    let is_spiffe =
        |uri: &str| uri.get(..SCHEME.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(SCHEME));
    match uris {
        [id] if spiffe::is_id(id) => Ok(Some(id)),
        others if others.iter().any(|uri| is_spiffe(uri)) => Err(Unclear),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiffe_id_is_the_only_uri_or_the_certificate_is_of_no_one() {
        let id = "spiffe://example.org/a";
        assert_eq!(workload(&[id]), Ok(Some(id)));
        assert_eq!(workload(&[]), Ok(None));
        assert_eq!(workload(&["https://example.org/", "urn:a:b"]), Ok(None));
        for unclear in [
            &[id, id][..],
            &[id, "https://example.org/"],
            &["https://example.org/", id],
            &["spiffe://example.org/a/../b"],
            &["spiffe://example.org"],
            &["SPIFFE://example.org/a"],
        ] {
            assert_eq!(workload(unclear), Err(Unclear), "{unclear:?}");
        }
    }

    #[test]
    fn the_last_time_of_a_certificate_can_be_shown() {
        assert_eq!(shown_time(UNIX_EPOCH + LAST), "9999-12-31T23:59:59Z");
        assert_eq!(shown_time(UNIX_EPOCH + LAST * 2), "9999-12-31T23:59:59Z");
    }
}
