//! The tokens that were found valid a short time ago, so that each call need not verify one again,
//! and whom the headers of proxies were of.
//!
//! They are found by a digest, so that no token is kept, and a long header takes no more memory.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use parking_lot::RwLock;

use super::{identity::Identity, workload::Workload};

/// Most that are remembered.
const MAX_TOKENS: usize = 10_000;
/// How long one is.
const REMEMBERED_FOR: Duration = Duration::from_mins(5);

/// What one is found by.
pub(super) type Digest = [u8; SHA256_OUTPUT_LEN];

/// The digest of a token, if there is one, and of what says which workload it came with.
pub(super) fn digest(token: Option<&str>, workload: Option<Workload<'_>>) -> Digest {
    let (sort, said) = workload.map(Workload::bytes).unwrap_or_default();
    let mut context = Context::new(&SHA256);
    // No token is another one than an empty one.
    context.update(&[u8::from(token.is_some()), sort]);
    context.update(token.unwrap_or_default().as_bytes());
    // A token has no such byte.
    context.update(&[0]);
    context.update(said);
    let mut digest = Digest::default();
    digest.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    digest
}

/// The callers of tokens, or of headers.
#[derive(Default)]
pub(super) struct Remembered(RwLock<Known>);

#[derive(Default)]
struct Known {
    callers: HashMap<Digest, (Arc<Identity>, SystemTime)>,
    /// Raised when they are forgotten.
    round: u64,
}

impl Remembered {
    /// The caller of one, if it is remembered.
    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<Identity>> {
        let known = self.0.read();
        let (identity, until) = known.callers.get(digest)?;
        (SystemTime::now() < *until).then(|| Arc::clone(identity))
    }

    /// To be asked before a token is verified with keys that may change meanwhile.
    pub(super) fn round(&self) -> u64 {
        self.0.read().round
    }

    /// Remembers the caller of a token until it runs out, unless all were forgotten since `round`.
    pub(super) fn add(&self, round: u64, digest: Digest, identity: &Arc<Identity>) {
        let now = SystemTime::now();
        let latest = now + REMEMBERED_FOR;
        let until = identity.until().map_or(latest, |until| until.min(latest));
        let mut known = self.0.write();
        if known.round != round {
            return;
        }
        if known.callers.len() >= MAX_TOKENS {
            known.callers.retain(|_, (_, until)| now < *until);
        }
        if known.callers.len() >= MAX_TOKENS {
            // To verify them again costs less than to find out which is used most.
            known.callers.clear();
        }
        known.callers.insert(digest, (Arc::clone(identity), until));
    }

    /// Forgets all, because their keys may not be valid any more.
    pub(super) fn forget(&self) {
        let mut known = self.0.write();
        known.round += 1;
        known.callers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{certificate::Certificate, identity::Via};

    fn of_token(token: &str) -> Digest {
        digest(Some(token), None)
    }

    #[test]
    fn what_came_differently_is_not_taken_for_the_same() {
        let certificate = Certificate::of(Some("URI=a".to_owned()));
        let header = Workload::Forwarded(b"URI=a");
        let all = [
            digest(None, None),
            digest(Some(""), None),
            digest(None, Some(header)),
            digest(Some(""), Some(header)),
            digest(Some(""), Some(Workload::Connected(&certificate))),
            digest(Some("URI=a"), None),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    fn identity(until: SystemTime) -> Arc<Identity> {
        Arc::new(Identity {
            principal: None,
            workload: None,
            workload_id: None,
            via: Via::Jwt,
            subject: String::new(),
            issuer: None,
            token_id: None,
            until: Some(until),
            signature: None,
        })
    }

    #[test]
    fn a_token_is_known_until_it_runs_out_or_its_keys_change() {
        let remembered = Remembered::default();
        let later = SystemTime::now() + Duration::from_secs(60);
        let [good, old, late] = ["good", "old", "late"].map(of_token);
        remembered.add(remembered.round(), good, &identity(later));
        remembered.add(remembered.round(), old, &identity(SystemTime::UNIX_EPOCH));
        assert!(remembered.find(&good).is_some());
        assert!(remembered.find(&old).is_none());
        let certificate = Certificate::of(Some("spiffe://a/b".to_owned()));
        let certified = digest(Some("good"), Some(Workload::Connected(&certificate)));
        assert!(remembered.find(&certified).is_none());
        let before = remembered.round();
        remembered.forget();
        remembered.add(before, late, &identity(later));
        assert!(remembered.find(&good).is_none());
        assert!(remembered.find(&late).is_none(), "it was verified with keys of before");
    }

    #[test]
    fn no_more_than_the_bound_are_kept() {
        let remembered = Remembered::default();
        let later = identity(SystemTime::now() + Duration::from_secs(60));
        for n in 0..=MAX_TOKENS {
            remembered.add(0, of_token(&n.to_string()), &later);
        }
        let kept = remembered.0.read().callers.len();
        assert!((1..=MAX_TOKENS).contains(&kept), "{kept}");
        assert!(remembered.find(&of_token(&MAX_TOKENS.to_string())).is_some());
    }
}
