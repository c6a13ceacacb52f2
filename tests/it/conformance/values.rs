//! Two valid profiles for each dialect, in the JSON form of the model. References and services are
//! those of the sandbox, written in full, because reads show them so.

use serde_json::{Value, json};

pub fn sft() -> Value {
    json!({
        "state": "STATE_ACTIVE",
        "category": "CATEGORY_BASE",
        "radio_access": ["RADIO_ACCESS_2G", "RADIO_ACCESS_3G"],
        "services": [
            {"id": "2", "type": "SERVICE_TYPE_SMS_MO"},
            {"id": "4", "type": "SERVICE_TYPE_DATA"},
        ],
    })
}

pub fn sft_other() -> Value {
    json!({
        "state": "STATE_INACTIVE",
        "category": "CATEGORY_ADDON",
        "radio_access": ["RADIO_ACCESS_2G", "RADIO_ACCESS_3G", "RADIO_ACCESS_4G",
            "RADIO_ACCESS_5G", "RADIO_ACCESS_NB_IOT"],
        "services": [
            {"id": "3", "type": "SERVICE_TYPE_SMS_MT"},
            {"id": "4", "type": "SERVICE_TYPE_DATA"},
        ],
    })
}

pub fn pcc() -> Value {
    json!({
        "default_profile": false,
        "payment_type": "PAYMENT_TYPE_PREPAID",
        "subscriber": {
            "initial_core_plan": "turkey",
            "subscriber_class": "gold",
            "locale": "en",
        },
        "notifications": {"dps_enabled": true, "dps": false, "eos": true, "payg": false},
    })
}

pub fn pcc_other() -> Value {
    json!({
        "default_profile": true,
        "payment_type": "PAYMENT_TYPE_POSTPAID",
        "subscriber": {
            "initial_core_plan": "iotCORE",
            "subscriber_class": "Größe \"M\" <2>",
            "locale": "ja_JP",
        },
        "notifications": {"dps_enabled": false, "dps": true, "eos": false, "payg": true},
    })
}

pub fn endpoint() -> Value {
    json!({
        "description": "All fields: \"quoted\", größer & <more>",
        "radio_access": ["RADIO_ACCESS_2G", "RADIO_ACCESS_4G", "RADIO_ACCESS_NB_IOT"],
        "services": [
            sms_mt(&[limit("21", 100, ("35", 1, "Months"))]),
            data(&[limit("11", 10, ("31", 1, "Days"))]),
        ],
        "payment_type": "PAYMENT_TYPE_PREPAID",
        "quotas": {"data": true, "sms": false},
        "retail": true,
        "sms": {
            "p2p_internal": false,
            "p2p_external": true,
            "esme_interface": {"id": "3", "description": "Console"},
        },
        "network": {
            "network_initiated_pdp": true,
            "breakout_region":
                {"id": "2", "display_name": "us-east-1", "ip_address": "52.0.0.10"},
            "dns": {"id": "1", "primary": "8.8.8.8", "secondary": "8.8.4.4", "ip_version": 4},
        },
        "callbacks": {
            "api": customers(),
            "api_secret": {"id": "38", "purpose": "K3"},
            "moc": moc(),
        },
    })
}

pub fn endpoint_other() -> Value {
    json!({
        "description": "Another",
        "radio_access": ["RADIO_ACCESS_2G", "RADIO_ACCESS_3G", "RADIO_ACCESS_NB_IOT_NTN"],
        "services": [
            service("3", "SERVICE_TYPE_VOICE", "Voice", 17, ("3", "Voice", "min"), &[]),
            data(&[
                limit("12", 64, ("33", 5, "Days")),
                limit("13", 128, ("35", 1, "Months")),
            ]),
        ],
        "payment_type": "PAYMENT_TYPE_POSTPAID",
        "quotas": {"data": false, "sms": true},
        "retail": false,
        "sms": {
            "p2p_internal": true,
            "p2p_external": false,
            "esme_interface": {"id": "4", "description": "REST API"},
        },
        "network": {
            "network_initiated_pdp": false,
            "breakout_region":
                {"id": "3", "display_name": "eu-west-1 (VPN)", "ip_address": "0.0.0.0"},
            "dns": {"id": "2", "primary": "1.1.1.1", "secondary": "1.0.0.1", "ip_version": 4},
        },
        "callbacks": {"api": moc(), "api_secret": {"id": "41", "purpose": "Events"},
            "moc": customers()},
    })
}

/// The catalog's service 38 with these limits.
pub fn data(limits: &[Value]) -> Value {
    service("38", "SERVICE_TYPE_DATA", "Data", 0, ("5", "Data", "MB"), limits)
}

/// The catalog's service 6 with these limits.
pub fn sms_mt(limits: &[Value]) -> Value {
    service("6", "SERVICE_TYPE_SMS_MT", "SMS MT", 33, ("6", "SMS", "count"), limits)
}

fn service(
    id: &str,
    kind: &str,
    description: &str,
    teleservice_code: i64,
    (traffic, traffic_description, unit): (&str, &str, &str),
    limits: &[Value],
) -> Value {
    json!({
        "id": id,
        "type": kind,
        "description": description,
        "teleservice_code": teleservice_code,
        "used_with_vlr": id != "38",
        "used_with_sgsn": id != "3",
        "traffic_type": {"id": traffic, "description": traffic_description, "unit": unit},
        "traffic_limits": limits,
    })
}

pub fn limit(id: &str, volume: i64, (period, time_units, unit): (&str, i32, &str)) -> Value {
    json!({"id": id, "volume": volume,
        "period": {"id": period, "time_units": time_units, "unit": unit}})
}

fn customers() -> Value {
    json!({"id": "38", "url": "https://www.customers-server.com",
        "purpose": "Customer's Webserver", "create_time_text": "2015-03-18 16:11:07"})
}

fn moc() -> Value {
    json!({"id": "39", "url": "https://moc.customers-server.com",
        "purpose": "Customer's Moc server", "create_time_text": "2015-03-18 16:11:17"})
}
