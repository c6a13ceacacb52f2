//! Login, tokens, and the lockout.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;

#[test]
fn token_looks_like_a_jwt_that_expires() {
    let vendor = Vendor::new();
    let (status, body) = vendor.log_in("sandbox-application-token");
    assert_eq!((status, body.as_object().unwrap().len()), (200, 1));
    let token = body["auth_token"].as_str().unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert!((14_399..=14_400).contains(&life));
    for malformed in [json!({}), json!({"application_token": 1}), json!("x")] {
        let verdict = vendor.verdict("POST", "/api/v1/authenticate", malformed);
        assert_eq!(verdict, (400, Some(1000)));
    }
}

#[test]
fn three_failures_lock() {
    let vendor = Vendor::new();
    let right = "sandbox-application-token";
    for _ in 0..2 {
        assert_eq!(vendor.log_in("wrong"), (401, Value::Null));
    }
    assert_eq!(vendor.log_in(right).0, 200);
    for _ in 0..3 {
        assert_eq!(vendor.log_in("wrong"), (401, Value::Null));
    }
    let (status, body) = vendor.log_in(right);
    assert_eq!((status, &body["error_token"]), (401, &json!("TooManyRequests")));
    // Earlier tokens stay valid.
    assert_eq!(vendor.get(PROFILES).0, 200);
    vendor.endpoint.unlock();
    assert_eq!(vendor.log_in(right).0, 200);

    vendor.switch(json!({"lock_ms": 0}));
    for _ in 0..3 {
        vendor.log_in("wrong");
    }
    assert_eq!(vendor.log_in(right).0, 200);
}

#[test]
fn each_way_to_refuse_a_token() {
    let mut vendor = Vendor::new();
    let good = vendor.authorization.clone();
    for (authorization, error_type) in [
        (None, "UnauthorizedException"),
        (Some("Bearer x".to_owned()), "AccessDeniedException"),
        (good.clone().map(|header| header.replace("Bearer ", "")), "AccessDeniedException"),
    ] {
        vendor.authorization = authorization;
        let outcome = vendor.outcome("GET", PROFILES, "");
        assert_eq!(outcome.answer.status, 401);
        assert_eq!(outcome.answer.headers["x-amzn-errortype"], error_type);
        let Content::Json(body) = outcome.answer.content else { panic!("no JSON") };
        assert!(body["message"].is_string() && body.get("error_code").is_none());
    }
    vendor.authorization = good;
    vendor.endpoint.expire_tokens(&serde_json::from_value(json!({})).unwrap());
    assert_eq!(vendor.verdict("GET", PROFILES, Value::Null), (401, Some(1103)));
    vendor.endpoint.expire_tokens(&serde_json::from_value(json!({"forget": true})).unwrap());
    assert_eq!(vendor.verdict("GET", PROFILES, Value::Null), (401, None));
}
