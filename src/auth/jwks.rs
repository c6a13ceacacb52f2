//! The public keys of an issuer: a JSON Web Key Set (RFC 7517).
//!
//! Each key is for one algorithm, which the key and the configuration decide, and never a token.

use std::{collections::HashMap, fmt, sync::Arc};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, Jwk},
};
use secrecy::zeroize::Zeroizing;
use serde_json::Value;

use super::settings::{ALGORITHMS, Algorithms};
use crate::settings::{quoted, read_bounded};

/// The longest key set.
pub(super) const MAX_BYTES: usize = 256 * 1024;
/// The most keys of one.
const MAX_KEYS: usize = 64;

/// The keys of an issuer.
pub(super) struct Keys {
    /// Those that can be used, by their `kid`.
    usable: HashMap<String, Arc<Key>>,
    /// How many the set has.
    listed: usize,
}

/// A key, and what it is for.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    /// What it was made of.
    parameters: AlgorithmParameters,
}

impl Key {
    /// Whether what one has signed is signed by the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.parameters == other.parameters
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Why it cannot be used, as the rest of a sentence.
    pub(super) fn read(
        path: &str,
        algorithms: &Algorithms,
    ) -> Result<(Zeroizing<Vec<u8>>, Self), String> {
        let bytes = read_bounded(path, MAX_BYTES)
            .map_err(|why| format!("cannot be read from the file {}: {why}", quoted(path)))?;
        let keys = Self::parse(&bytes, algorithms)?;
        Ok((bytes, keys))
    }

    /// Reads the text of a key set, which may be empty. Keys that are not for signatures, that
    /// have no name of their own, or that no allowed algorithm can use are left out.
    ///
    /// # Errors
    ///
    /// Why it cannot be used, as the rest of a sentence.
    pub(super) fn parse(bytes: &[u8], algorithms: &Algorithms) -> Result<Self, String> {
        if bytes.len() > MAX_BYTES {
            return Err("is longer than 256 KiB".to_owned());
        }
        let not_a_set = || "is not a JSON Web Key Set, an object with a list `keys`".to_owned();
        let set: Value = serde_json::from_slice(bytes).map_err(|_| not_a_set())?;
        let all = set.get("keys").and_then(Value::as_array).ok_or_else(not_a_set)?;
        if all.len() > MAX_KEYS {
            return Err(format!("has more than {MAX_KEYS} keys"));
        }
        let mut keys = HashMap::new();
        for jwk in all {
            let Some(id) = text(jwk, "kid") else { continue };
            let key = key(jwk, algorithms).map(Arc::new);
            // Which of two is meant cannot be told.
            let known = keys.contains_key(id);
            keys.insert(id.to_owned(), key.filter(|_| !known));
        }
        let usable = keys.into_iter().filter_map(|(id, key)| Some((id, key?))).collect();
        Ok(Self { usable, listed: all.len() })
    }

    /// How many can be used.
    pub(super) fn usable(&self) -> usize {
        self.usable.len()
    }

    /// How many there are.
    pub(super) fn listed(&self) -> usize {
        self.listed
    }

    /// The key of this name.
    pub(super) fn find(&self, id: &str) -> Option<&Arc<Key>> {
        self.usable.get(id)
    }
}

fn text<'v>(jwk: &'v Value, member: &str) -> Option<&'v str> {
    jwk.get(member).and_then(Value::as_str)
}

/// A key that may sign tokens, with the one algorithm that it is for.
fn key(jwk: &Value, algorithms: &Algorithms) -> Option<Key> {
    let signs = text(jwk, "use").is_none_or(|purpose| purpose == "sig");
    let verifies = jwk.get("key_ops").and_then(Value::as_array).is_none_or(|operations| {
        operations.iter().any(|operation| operation.as_str() == Some("verify"))
    });
    if !signs || !verifies || text(jwk, "kty") == Some("oct") {
        return None;
    }
    let algorithm = match (text(jwk, "alg"), text(jwk, "kty")?, text(jwk, "crv")) {
        (Some(said), kind, curve) => {
            let (_, known) = ALGORITHMS.iter().find(|(name, _)| *name == said)?;
            Some(*known).filter(|known| fits(*known, kind, curve))?
        }
        // The first that is allowed and fits.
        (None, kind, curve) => *algorithms.0.iter().find(|one| fits(**one, kind, curve))?,
    };
    if !algorithms.0.contains(&algorithm) {
        return None;
    }
    let parsed: Jwk = serde_json::from_value(jwk.clone()).ok()?;
    let key = DecodingKey::from_jwk(&parsed).ok()?;
    Some(Key { algorithm, key, parameters: parsed.algorithm })
}

/// Whether an algorithm is for keys of this kind.
fn fits(algorithm: Algorithm, kind: &str, curve: Option<&str>) -> bool {
    match algorithm {
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => kind == "RSA",
        Algorithm::ES256 => kind == "EC" && curve == Some("P-256"),
        Algorithm::ES384 => kind == "EC" && curve == Some("P-384"),
        Algorithm::EdDSA => kind == "OKP" && curve == Some("Ed25519"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The key of RFC 7515, A.3, as another one.
    fn ec(kid: &str, more: &[(&str, &str)]) -> Value {
        let published = include_str!("../../tests/fixtures/jwks/rfc7515.json");
        let published: Value = serde_json::from_str(published).unwrap();
        let mut jwk = published["keys"][0].clone();
        jwk["kid"] = kid.into();
        more.iter().for_each(|(name, value)| jwk[*name] = (*value).into());
        jwk
    }

    fn usable(keys: &[Value]) -> Vec<String> {
        let set = json!({"keys": keys}).to_string();
        let Ok(keys) = Keys::parse(set.as_bytes(), &Algorithms::default()) else {
            return Vec::new();
        };
        let mut names: Vec<String> =
            keys.usable.iter().map(|(id, key)| format!("{id}:{:?}", key.algorithm)).collect();
        names.sort();
        names
    }

    #[test]
    fn only_keys_that_sign_with_an_allowed_algorithm_are_used() {
        assert_eq!(usable(&[ec("a", &[])]), ["a:ES256"]);
        assert_eq!(usable(&[ec("a", &[("use", "sig"), ("alg", "ES256")])]), ["a:ES256"]);
        let nameless = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
        let shared = json!({"kty": "oct", "kid": "b", "k": "AAAA", "alg": "HS256"});
        let untold = json!({"kty": "oct", "kid": "b", "k": "AAAA"});
        for left_out in [
            nameless,
            shared,
            untold,
            ec("b", &[("use", "enc")]),
            ec("b", &[("alg", "HS256")]),
            ec("b", &[("alg", "none")]),
            ec("b", &[("alg", "RS256")]),
            ec("b", &[("alg", "ES384")]),
            ec("b", &[("crv", "P-384"), ("alg", "ES384")]),
            ec("b", &[("crv", "P-384")]),
            json!({"kty": "RSA", "kid": "b", "n": "AQAB"}),
            json!("b"),
        ] {
            assert!(usable(std::slice::from_ref(&left_out)).is_empty(), "{left_out}");
            assert_eq!(usable(&[ec("a", &[]), left_out]), ["a:ES256"]);
        }
        assert_eq!(usable(&[ec("a", &[]), ec("b", &[]), ec("b", &[])]), ["a:ES256"]);
        assert_eq!(usable(&[ec("b", &[]), ec("b", &[]), ec("b", &[]), ec("a", &[])]), ["a:ES256"]);
        let mut operations = ec("b", &[]);
        operations["key_ops"] = json!(["deriveBits"]);
        assert!(usable(&[operations]).is_empty());
    }

    #[test]
    fn what_is_not_a_key_set_says_so() {
        let refused = |text: &str| Keys::parse(text.as_bytes(), &Algorithms::default()).err();
        for text in ["", "<html>", "[]", "{}", "{\"keys\": 1}", "null"] {
            assert!(refused(text).unwrap().contains("is not a JSON Web Key Set"), "{text}");
        }
        // None at all is what an issuer says who takes the last one back.
        assert_eq!(refused("{\"keys\": []}"), None);
        let many = json!({"keys": vec![ec("a", &[]); MAX_KEYS + 1]}).to_string();
        assert!(refused(&many).unwrap().contains("more than 64"));
        assert!(refused(&" ".repeat(300_000)).unwrap().contains("longer"));
        assert!(Keys::read("/nowhere", &Algorithms::default()).is_err());
        assert!(Keys::read("/", &Algorithms::default()).is_err());
    }
}
