//! An issuer of tokens, which signs whatever it is asked to.
//!
//! It shares nothing with the program: tokens are written out here.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{self, KeySize},
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, RsaEncoding,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The issuer, and the audience of its tokens.
pub const ISSUER: &str = "https://idp.example";
pub const AUDIENCE: &str = "profile-gateway";

/// Keys for all tests, because making them is slow.
pub static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: rsa::KeyPair::generate(KeySize::Rsa2048).unwrap(),
    other: rsa::KeyPair::generate(KeySize::Rsa2048).unwrap(),
    ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    ec384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
    ed: Ed25519KeyPair::generate().unwrap(),
});

pub struct Keys {
    pub rsa: rsa::KeyPair,
    /// Of another issuer.
    pub other: rsa::KeyPair,
    pub ec: EcdsaKeyPair,
    ec384: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

/// How a token is signed.
#[derive(Clone, Copy)]
pub enum Signed {
    Rsa(&'static dyn RsaEncoding),
    OtherRsa,
    Ec,
    Ec384,
    Ed,
    Hmac(&'static [u8]),
}

pub const RS256: Signed = Signed::Rsa(&signature::RSA_PKCS1_SHA256);

pub fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970, so many from now.
pub fn at(seconds: i64) -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_secs();
    i64::try_from(now).unwrap() + seconds
}

/// The header of a token that is signed with the RSA key.
pub fn header() -> Value {
    json!({"alg": "RS256", "kid": "rsa", "typ": "JWT"})
}

/// The claims of a good token of this subject.
pub fn claims(subject: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "jti": "id-of-the-token",
        "iat": at(-10), "exp": at(600),
    })
}

/// Some JSON with other members; null takes one away.
pub fn with(mut value: Value, members: Value) -> Value {
    for (name, member) in members.as_object().unwrap() {
        match member {
            Value::Null => drop(value.as_object_mut().unwrap().remove(name)),
            member => value[name] = member.clone(),
        }
    }
    value
}

/// A token of these parts.
pub fn token(header: &Value, claims: &Value, by: Signed) -> String {
    signed(&header.to_string(), claims, by)
}

/// A token with a header of this text.
pub fn signed(header: &str, claims: &Value, by: Signed) -> String {
    let signing = format!("{}.{}", encoded(header), encoded(claims.to_string()));
    format!("{signing}.{}", encoded(sign(signing.as_bytes(), by)))
}

/// A good token of this subject.
pub fn good(subject: &str) -> String {
    token(&header(), &claims(subject), RS256)
}

fn sign(signing: &[u8], signed: Signed) -> Vec<u8> {
    let random = SystemRandom::new();
    let rsa = |key: &rsa::KeyPair, encoding| {
        let mut bytes = vec![0; key.public_modulus_len()];
        key.sign(encoding, &random, signing, &mut bytes).unwrap();
        bytes
    };
    match signed {
        Signed::Rsa(encoding) => rsa(&KEYS.rsa, encoding),
        Signed::OtherRsa => rsa(&KEYS.other, &signature::RSA_PKCS1_SHA256),
        Signed::Ec => KEYS.ec.sign(&random, signing).unwrap().as_ref().to_vec(),
        Signed::Ec384 => KEYS.ec384.sign(&random, signing).unwrap().as_ref().to_vec(),
        Signed::Ed => KEYS.ed.sign(signing).as_ref().to_vec(),
        Signed::Hmac(secret) => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&key, signing).as_ref().to_vec()
        }
    }
}

/// The public RSA key as an issuer publishes it.
pub fn rsa_jwk(kid: &str) -> Value {
    published(&KEYS.rsa, kid)
}

/// The one of the other issuer.
pub fn other_jwk(kid: &str) -> Value {
    published(&KEYS.other, kid)
}

fn published(key: &rsa::KeyPair, kid: &str) -> Value {
    let public = key.public_key();
    let n = encoded(public.modulus().big_endian_without_leading_zero());
    let e = encoded(public.exponent().big_endian_without_leading_zero());
    json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": n, "e": e})
}

/// The public key of the elliptic curve.
pub fn ec_jwk(kid: &str) -> Value {
    curve_jwk(&KEYS.ec, kid, "P-256")
}

fn curve_jwk(key: &EcdsaKeyPair, kid: &str, curve: &str) -> Value {
    let point = &key.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({"kty": "EC", "kid": kid, "crv": curve, "x": encoded(x), "y": encoded(y)})
}

/// One key for each algorithm that a key can be for, with the name of it.
pub fn key_of_each_algorithm() -> Value {
    let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    let rsa = rsa.map(|name| with(rsa_jwk(name), json!({"alg": name})));
    let x = encoded(KEYS.ed.public_key());
    let others = [
        ec_jwk("ES256"),
        curve_jwk(&KEYS.ec384, "ES384", "P-384"),
        json!({"kty": "OKP", "kid": "EdDSA", "crv": "Ed25519", "x": x}),
    ];
    json!({"keys": Vec::from_iter(rsa.into_iter().chain(others))})
}

/// A key that both sides would share, published by mistake.
pub const SHARED: &[u8] = b"a secret that everyone can read of-the-kit";

/// All that the issuer publishes.
pub fn key_set() -> Value {
    json!({"keys": [
        rsa_jwk("rsa"),
        ec_jwk("ec"),
        with(rsa_jwk("next"), json!({"alg": null})),
        with(rsa_jwk("enc"), json!({"use": "enc"})),
        {"kty": "oct", "kid": "oct", "alg": "HS256", "k": encoded(SHARED)},
    ]})
}

/// The issuer's keys in a file.
pub struct Issuer {
    directory: TempDir,
}

impl Issuer {
    pub fn new() -> Self {
        let issuer = Self { directory: tempfile::tempdir().unwrap() };
        issuer.publish(&key_set());
        issuer
    }

    pub fn path(&self) -> String {
        self.directory.path().join("jwks.json").display().to_string()
    }

    pub fn publish(&self, keys: &Value) {
        std::fs::write(self.path(), keys.to_string()).unwrap();
    }

    /// `[auth]` with this issuer, and with these sections of roles and callers.
    pub fn config(&self, lines: &str, sections: &str) -> String {
        format!(
            "[auth]\nmode = \"required\"\n{lines}\n[auth.jwt.idp]\nissuer = \"{ISSUER}\"\n\
             audience = \"{AUDIENCE}, other\"\nleeway = \"5s\"\njwks_file = \"{}\"\n{sections}",
            self.path()
        )
    }
}

/// A role with these rights.
pub fn role(name: &str, rights: &str, backends: &str) -> String {
    format!("[auth.roles.{name}]\nrights = \"{rights}\"\nbackends = \"{backends}\"\n")
}

/// A caller whose tokens have its name as their subject.
pub fn caller(name: &str, roles: &str) -> String {
    format!(
        "[auth.callers.{name}]\nroles = \"{roles}\"\nissuer = \"{ISSUER}\"\nsubject = \"{name}\"\n"
    )
}

/// A request with a token.
pub fn by<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}
