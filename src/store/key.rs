//! What is secret of a store: what is derived of its key means something only to the processes that
//! have the store.

use std::io;

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use super::{Change, Entry, Store, Table, unreadable};

const NAME: &[u8] = b"store";

/// A random key, kept in the store. Where nothing is kept, each process has another one.
pub struct StoreKey([u8; 32]);

impl StoreKey {
    /// The key of a store. The first process makes it.
    ///
    /// # Errors
    ///
    /// When this release cannot read it.
    pub fn load(store: &dyn Store) -> io::Result<Self> {
        if let Some(key) = Self::read(&store.load(Table::Keys))? {
            return Ok(key);
        }
        let key: [u8; 32] = rand::random();
        // Changes are made in their order: what was derived of a key that was lost is lost too.
        drop(store.end(vec![Change::put(Table::Keys, NAME, key.to_vec())]));
        Ok(Self(key))
    }

    /// The key of those who have this secret.
    #[must_use]
    pub fn of(secret: &SecretString) -> Self {
        Self(Self([0; 32]).derive("store", &[secret.expose_secret().as_bytes()]))
    }

    /// The key among what a store has, if it has one.
    ///
    /// # Errors
    ///
    /// When this release cannot read it.
    pub fn read(entries: &[Entry]) -> io::Result<Option<Self>> {
        let kept = entries.iter().find(|(name, _)| name == NAME);
        let key = kept.map(|(_, key)| key.as_ref().try_into().map(Self));
        key.transpose().map_err(|_| unreadable(Table::Keys))
    }

    /// A key, or a digest of parts that tells nothing of them, for one purpose.
    #[must_use]
    pub fn derive(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let Ok(mut code) = <Hmac<Sha256> as Mac>::new_from_slice(&self.0) else {
            // A key of any length is taken.
            return [0; 32];
        };
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            code.update(&(part.len() as u64).to_be_bytes());
            code.update(part);
        }
        code.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::{File, Memory, StoreMetrics};

    #[test]
    fn the_processes_of_a_store_have_the_same_key_and_no_others() {
        let derived = |store: &dyn Store| StoreKey::load(store).unwrap().derive("a", &[b"b"]);
        let directories = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let [first, other] = directories.each_ref().map(|directory| {
            let of_a_process = || {
                let store = File::open(directory.path(), StoreMetrics::default()).unwrap();
                derived(&store)
            };
            let first = of_a_process();
            assert_eq!(of_a_process(), first);
            first
        });
        assert_ne!(first, other);
        assert_ne!(derived(&Memory::default()), derived(&Memory::default()));
        let of = |secret: &str| StoreKey::of(&secret.into()).derive("a", &[b"b"]);
        assert_eq!(of("secret"), of("secret"));
        assert_ne!(of("secret"), of("other"));
        let key = StoreKey([7; 32]);
        let digests = [
            key.derive("a", &[b"bc"]),
            key.derive("a", &[b"b", b"c"]),
            key.derive("ab", &[b"c"]),
            key.derive("a", &[]),
        ];
        for (n, digest) in digests.iter().enumerate() {
            assert!(!digests[..n].contains(digest), "{n}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_read_is_an_error() {
        let directory = TempDir::new().unwrap();
        let open = || File::open(directory.path(), StoreMetrics::default()).unwrap();
        drop(open().end(vec![Change::put(Table::Keys, NAME, "short")]));
        let error = StoreKey::load(&open()).err().unwrap().to_string();
        assert!(error.contains("an entry of its table `keys` cannot be read"), "{error}");
    }
}
