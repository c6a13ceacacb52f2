//! Resume tokens: positions in streams of changes, which callers keep and send back.
//!
//! A position means something only to the processes that share a store, because they number the
//! changes themselves; without a store, to the process that issued it. So a token names its store
//! in plain text, which tells a token of another one from one that was tampered with: the first is
//! normal behind a load balancer, or after a restart of a gateway that forgets, the second is a
//! mistake. The rest is encrypted, and belongs to the stream's parent and
//! its caller.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;

use super::seal::Sealer;
use crate::error::{Error, Reason, Result};

/// The format of what follows. Another release may have another one.
const VERSION: u8 = 2;
const EPOCH_BYTES: usize = 8;
/// A token holds a few dozen bytes for each backend; a longer text is not a token.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// The positions of a stream in the backends that it has started with.
#[derive(Clone, PartialEq, Message)]
pub struct Cursors {
    /// In any order; a backend that is not here has not started.
    #[prost(message, repeated, tag = "1")]
    pub cursors: Vec<Cursor>,
}

/// The position of a stream in one backend: its caller knows all changes up to `seq` of the
/// profiles up to `position`, and nothing of the profiles after it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Cursor {
    /// The backend's configured name.
    #[prost(string, tag = "1")]
    pub backend: String,
    /// The last change.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
    /// The last profile of the snapshot; absent when the whole snapshot has been sent.
    #[prost(string, optional, tag = "3")]
    pub position: Option<String>,
    /// The process that issued it, if it shares a store with others: a number that was not kept may
    /// be that of another change in the next process.
    #[prost(uint64, tag = "4")]
    pub run: u64,
}

/// Makes and opens tokens of this process, and of those that share its store.
pub struct ResumeTokens {
    sealer: Sealer,
    epoch: [u8; EPOCH_BYTES],
}

impl ResumeTokens {
    /// Tokens under this key. `epoch` must differ for each store.
    #[must_use]
    pub fn new(key: [u8; 32], epoch: u64) -> Self {
        Self { sealer: Sealer::new(&key, "resume token"), epoch: epoch.to_be_bytes() }
    }

    /// The token for these positions in a caller's stream over `parent`.
    pub fn seal(&self, caller: &str, parent: &str, cursors: &Cursors) -> Result<String> {
        let parts = [caller.as_bytes(), parent.as_bytes(), &self.epoch];
        let sealed = self.sealer.seal(&parts, &cursors.encode_to_vec())?;
        Ok(URL_SAFE_NO_PAD.encode([&[VERSION][..], &self.epoch, &sealed].concat()))
    }

    /// The positions in a token.
    ///
    /// # Errors
    ///
    /// `RESUME_TOKEN_EXPIRED` for a token of another process, `VALIDATION_FAILED` for anything that
    /// is not a token of this caller's stream over `parent`.
    pub fn open(&self, caller: &str, parent: &str, token: &str) -> Result<Vec<Cursor>> {
        let Some((epoch, sealed)) = parts(token) else { return Err(refused()) };
        if epoch != self.epoch {
            return Err(expired("was issued by another process of the gateway"));
        }
        let parts = [caller.as_bytes(), parent.as_bytes(), &self.epoch];
        let body = self.sealer.open(&parts, &sealed).ok_or_else(refused)?;
        Cursors::decode(&*body).map(|cursors| cursors.cursors).map_err(|_| refused())
    }
}

/// Epoch and encrypted positions of a token.
fn parts(token: &str) -> Option<([u8; EPOCH_BYTES], Vec<u8>)> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let token = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (version, rest) = token.split_first()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    (*version == VERSION).then(|| (*epoch, rest.to_vec()))
}

/// The error for a position after which some changes are no longer known.
#[must_use]
pub fn expired(why: &str) -> Error {
    let message = format!(
        "the resume_token {why}, so the changes since then are not known here; open the stream \
         again without it, to start with all profiles"
    );
    Error::new(Reason::ResumeTokenExpired, message)
}

fn refused() -> Error {
    Error::invalid_field(
        "resume_token",
        "is not a resume_token of a stream of this caller over this parent; omit it to start over",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "backends/a";
    const C: &str = "c";

    fn cursors() -> Cursors {
        let cursor = |backend: &str, seq, position: Option<&str>| Cursor {
            backend: backend.into(),
            seq,
            position: position.map(Into::into),
            run: seq / 2,
        };
        Cursors { cursors: vec![cursor("a", 7, None), cursor("b", u64::MAX, Some("b/x/1"))] }
    }

    #[test]
    fn opens_what_it_sealed() {
        let tokens = ResumeTokens::new([7; 32], 1);
        let token = tokens.seal(C, A, &cursors()).unwrap();
        assert_eq!(tokens.open(C, A, &token).unwrap(), cursors().cursors);
    }

    #[test]
    fn tells_another_process_from_a_forgery() {
        let tokens = ResumeTokens::new([7; 32], 1);
        let good = tokens.seal(C, A, &cursors()).unwrap();
        let raw = URL_SAFE_NO_PAD.decode(&good).unwrap();
        let refused: Vec<String> = (0..raw.len())
            .filter(|byte| !(1..=EPOCH_BYTES).contains(byte))
            .map(|byte| {
                let mut changed = raw.clone();
                changed[byte] ^= 1;
                URL_SAFE_NO_PAD.encode(changed)
            })
            .chain(
                [(C, "backends/b"), (C, "backends/-"), ("d", A)]
                    .map(|(caller, parent)| tokens.seal(caller, parent, &cursors()).unwrap()),
            )
            .chain([ResumeTokens::new([8; 32], 1).seal(C, A, &cursors()).unwrap()])
            .chain(["!", "AAAA", "AQ", &good[..20], &"A".repeat(100_000)].map(Into::into))
            .collect();
        for bad in refused {
            let error = tokens.open(C, A, &bad).unwrap_err();
            assert_eq!(error.reason(), Reason::ValidationFailed, "{bad:.60}");
            assert_eq!(error.violations()[0].field, "resume_token", "{bad:.60}");
        }
        let foreign = ResumeTokens::new([9; 32], 2).seal(C, A, &cursors()).unwrap();
        assert_eq!(tokens.open(C, A, &foreign).unwrap_err().reason(), Reason::ResumeTokenExpired);
    }
}
