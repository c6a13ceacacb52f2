//! The tokens that were verified a short time ago, so that each call need not verify one again, and
//! whom the headers of proxies were of.
//!
//! They are found by a digest, so that no token is kept, and a long header takes no more memory.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use parking_lot::RwLock;

use super::workload::Workload;

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

/// What was found out about tokens, or headers.
pub(super) struct Remembered<T>(RwLock<Known<T>>);

struct Known<T> {
    found: HashMap<Digest, (T, SystemTime)>,
    /// The generation of the keys that they were verified with.
    generation: u64,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(RwLock::new(Known { found: HashMap::default(), generation: 0 }))
    }
}

impl<T: Clone> Remembered<T> {
    /// What was found out about one, if it is remembered and the keys are of this generation.
    pub(super) fn find(&self, generation: u64, digest: &Digest) -> Option<T> {
        let known = self.0.read();
        let (found, until) = known.found.get(digest)?;
        let counts = known.generation == generation && SystemTime::now() < *until;
        counts.then(|| found.clone())
    }

    /// Remembers what was found out about a token, until it runs out or the keys are of another
    /// generation. `generation`: that of the keys before the token was verified.
    pub(super) fn add(&self, generation: u64, digest: Digest, found: T, until: Option<SystemTime>) {
        let now = SystemTime::now();
        let latest = now + REMEMBERED_FOR;
        let until = until.map_or(latest, |until| until.min(latest));
        let mut known = self.0.write();
        if known.generation > generation {
            return;
        }
        if known.generation < generation {
            known.found.clear();
            known.generation = generation;
        }
        if known.found.len() >= MAX_TOKENS {
            known.found.retain(|_, (_, until)| now < *until);
        }
        if known.found.len() >= MAX_TOKENS {
            // To verify them again costs less than to find out which is used most.
            known.found.clear();
        }
        known.found.insert(digest, (found, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::certificate::Certificate;

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

    #[test]
    fn a_token_is_known_until_it_runs_out_or_its_keys_change() {
        let remembered = Remembered::default();
        let later = SystemTime::now() + Duration::from_secs(60);
        let [good, old, new, late] = ["good", "old", "new", "late"].map(of_token);
        remembered.add(0, good, (), Some(later));
        remembered.add(0, old, (), Some(SystemTime::UNIX_EPOCH));
        assert!(remembered.find(0, &good).is_some());
        assert!(remembered.find(0, &old).is_none());
        let certificate = Certificate::of(Some("spiffe://a/b".to_owned()));
        let certified = digest(Some("good"), Some(Workload::Connected(&certificate)));
        assert!(remembered.find(0, &certified).is_none());
        assert!(remembered.find(1, &good).is_none(), "it was verified with keys of before");
        remembered.add(1, new, (), Some(later));
        assert!(remembered.find(1, &new).is_some());
        assert!(remembered.find(1, &good).is_none());
        remembered.add(0, late, (), Some(later));
        assert!(remembered.find(1, &late).is_none(), "it was verified with keys of before");
        assert!(remembered.find(1, &new).is_some());
    }

    #[test]
    fn no_more_than_the_bound_are_kept() {
        let remembered = Remembered::default();
        let later = Some(SystemTime::now() + Duration::from_secs(60));
        for n in 0..=MAX_TOKENS {
            remembered.add(0, of_token(&n.to_string()), (), later);
        }
        let kept = remembered.0.read().found.len();
        assert!((1..=MAX_TOKENS).contains(&kept), "{kept}");
        assert!(remembered.find(0, &of_token(&MAX_TOKENS.to_string())).is_some());
    }
}
