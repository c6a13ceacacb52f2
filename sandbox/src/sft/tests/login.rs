//! Login, renewal, lockout.

use super::*;

#[test]
fn login_rules() {
    let vendor = Vendor::new();
    let login = |password: &str| json!({"username": "sandbox", "password": password});
    for (body, code) in [
        (json!({"username": "sandbox"}), "10117"),
        (json!({"username": 1, "password": "x"}), "10117"),
        (json!({"username": "other", "password": "sandbox-password"}), "10126"),
        (
            json!({"username": "sandbox", "password": "sandbox-password", "targetAccountId": "no"}),
            "10117",
        ),
    ] {
        assert_eq!(vendor.login_code(&body).as_deref(), Some(code), "{body}");
    }
    let child =
        json!({"username": "sandbox", "password": "sandbox-password", "targetAccountId": "ACC_11"});
    assert_eq!(vendor.login_code(&child), None);
    for _ in 0..4 {
        assert_eq!(vendor.login_code(&login("no")).as_deref(), Some("10126"));
    }
    // A success in between resets the count.
    vendor.log_in();
    for _ in 0..5 {
        assert_eq!(vendor.login_code(&login("no")).as_deref(), Some("10126"));
    }
    assert_eq!(vendor.login_code(&login("sandbox-password")).as_deref(), Some("11044"));
    // Earlier sessions stay valid.
    assert_eq!(vendor.services("SP_361"), "NB-IOT");
    vendor.sft.unlock();
    assert_eq!(vendor.login_code(&login("sandbox-password")), None);
}

#[test]
fn renewal_rotates_and_revokes_the_refresh_token() {
    let mut vendor = Vendor::new();
    let pair = vendor.log_in();
    let access = pair["AccessToken"].as_str().unwrap().to_owned();
    let refresh = pair["RefreshToken"].as_str().unwrap().to_owned();
    assert_eq!(access.split('.').count(), 3);
    vendor.token.clone_from(&refresh);
    assert_eq!(vendor.call(GET, "", &Value::Null).1.code.as_deref(), Some("401"));
    let next = vendor.call(REFRESH, "", &Value::Null).0;
    assert_ne!(next["AccessToken"], pair["AccessToken"]);
    assert_ne!(next["RefreshToken"], pair["RefreshToken"]);
    assert_eq!(vendor.call(REFRESH, "", &Value::Null).1.code.as_deref(), Some("401"));
    vendor.token = access;
    assert_eq!(vendor.call(REFRESH, "", &Value::Null).1.code.as_deref(), Some("401"));
    assert_eq!(vendor.services("SP_361"), "NB-IOT");
}

#[test]
fn missing_requested_with_is_refused_when_required() {
    let vendor = Vendor::new();
    let switch = serde_json::from_value(json!({"require_x_requested_with": true})).unwrap();
    vendor.sft.set_switches(&switch).unwrap();
    assert_eq!(vendor.call(GET, "", &Value::Null).1.code.as_deref(), Some("10117"));
}
