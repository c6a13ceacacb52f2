//! Seals on tokens that callers send back: a keyed hash over what a token says and what it belongs
//! to.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::error::{Error, Reason, Result};

/// Bytes of a seal.
pub(super) const SEAL_BYTES: usize = 16;

/// The keyed hash of these parts.
pub(super) fn mac<'a>(
    key: &[u8; 32],
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Hmac<Sha256>> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key)
        .map_err(|e| Error::new(Reason::GatewayInternal, "no token").with_internal(e))?;
    for part in parts {
        // Its length comes first, so that bytes cannot move from one part to the next.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    Ok(mac)
}
