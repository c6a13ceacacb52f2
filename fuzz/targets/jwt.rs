//! Tokens of callers: none panics, and none is accepted, because no one has signed them.

#![no_main]

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use profile_gateway::{
    auth::{
        AuthMetrics, AuthRules, Authenticator, IssuerSettings, Mode, PreparedRules, Proofs, Sent,
    },
    caller::Callers,
};

const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/jwks/rfc7515.json");

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    let mut rules = AuthRules::default();
    rules.settings.mode = Mode::Required;
    let issuer = IssuerSettings {
        issuer: Some("idp".to_owned()),
        audience: Some(vec!["me".to_owned()]),
        jwks_file: Some(KEYS.to_owned()),
        ..IssuerSettings::default()
    };
    rules.issuers.insert("idp".to_owned(), issuer);
    let prepared = PreparedRules::new(&rules, &AuthMetrics::default()).expect("the fixture");
    prepared.configure(&Callers::default())
});

fn refused(authorization: &[u8]) {
    let proofs = Proofs {
        authorization: Sent::One(authorization),
        forwarded: Sent::Nothing,
        peer: None,
        certificate: None,
        caller: None,
    };
    assert!(AUTHENTICATOR.identify(&proofs).is_err(), "no one has signed it");
}

fuzz_target!(|data: &[u8]| {
    refused(data);
    // A header, the claims and a signature, each as it is encoded, so that more than base64 is met.
    let parts = data.split(|byte| *byte == 0).take(3).map(|part| URL_SAFE_NO_PAD.encode(part));
    let token = parts.collect::<Vec<_>>().join(".");
    refused(format!("Bearer {token}").as_bytes());
    let claims = URL_SAFE_NO_PAD.encode(data);
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"rfc7515-a3"}"#);
    refused(format!("Bearer {header}.{claims}.AAAA").as_bytes());
});
