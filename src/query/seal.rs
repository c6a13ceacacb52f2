//! Tokens that callers send back: encrypted, and sealed together with what they belong to.
//!
//! They hold values of profiles, which their caller may not have asked for or may not be shown, so
//! the gateway alone can read them.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};

use crate::error::{Error, Reason, Result};

/// What a token is longer than what it holds.
#[cfg(test)]
pub(super) const OVERHEAD: usize = NONCE_LEN + 16;

/// Makes and opens tokens of one kind under one key.
pub(super) struct Sealer {
    // There always is one: a key of this length is not refused.
    key: Option<LessSafeKey>,
}

impl Sealer {
    /// `purpose` tells kinds of tokens apart that have the same key.
    pub(super) fn new(key: &[u8; 32], purpose: &str) -> Self {
        let own = Sha256::new().chain_update(purpose).chain_update([0]).chain_update(key);
        let key = UnboundKey::new(&AES_256_GCM_SIV, &own.finalize());
        Self { key: key.ok().map(LessSafeKey::new) }
    }

    /// What is to be kept, unreadable; only who names the same parts opens it.
    pub(super) fn seal(&self, belongs_to: &[&[u8]], content: &[u8]) -> Result<Vec<u8>> {
        let failed = || {
            Error::new(Reason::GatewayInternal, "internal gateway error")
                .with_internal("a token could not be encrypted")
        };
        let key = self.key.as_ref().ok_or_else(failed)?;
        // With this cipher, two equal ones tell no more than that two contents are equal.
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = content.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(joined(belongs_to)),
            &mut sealed,
        )
        .map_err(|_| failed())?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// What was sealed; `None` if it was changed or belongs to something else.
    pub(super) fn open(&self, belongs_to: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (nonce, aad) = (Nonce::assume_unique_for_key(*nonce), Aad::from(joined(belongs_to)));
        let mut content = sealed.to_vec();
        let length = self.key.as_ref()?.open_in_place(nonce, aad, &mut content).ok()?.len();
        content.truncate(length);
        Some(content)
    }
}

/// The parts, each with its length before it, so that bytes cannot move from one part to the next.
fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let framed = parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes(), *part].concat());
    framed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_purpose_and_parts_open_what_was_sealed() {
        let (sealer, parts) = (Sealer::new(&[7; 32], "a"), [&b"x"[..], b"yz"]);
        let sealed = sealer.seal(&parts, b"content").unwrap();
        assert_eq!(sealed.len(), b"content".len() + OVERHEAD);
        assert_eq!(sealer.open(&parts, &sealed).as_deref(), Some(&b"content"[..]));
        assert_ne!(sealer.seal(&parts, b"content").unwrap(), sealed, "each is its own");
        for (other, parts) in [
            (Sealer::new(&[8; 32], "a"), parts),
            (Sealer::new(&[7; 32], "b"), parts),
            (Sealer::new(&[7; 32], "a"), [b"xy", b"z"]),
            (Sealer::new(&[7; 32], "a"), [b"x", b"yZ"]),
        ] {
            assert_eq!(other.open(&parts, &sealed), None);
        }
        for byte in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[byte] ^= 1;
            assert_eq!(sealer.open(&parts, &changed), None, "{byte}");
            assert_eq!(sealer.open(&parts, &sealed[..byte]), None, "{byte}");
        }
    }
}
