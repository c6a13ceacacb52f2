//! Services, traffic limits, and the catalog.

use super::*;

/// Method, path below the profile, status and code.
fn walk(vendor: &Vendor, id: i64, steps: &[(&str, &str, u16, Option<u64>)]) {
    for (method, path, status, code) in steps {
        let verdict = vendor.verdict(method, &format!("{PROFILES}/{id}/{path}"), Value::Null);
        assert_eq!(verdict, (*status, *code), "{method} {path}");
    }
}

#[test]
fn services_and_limits_come_and_go_in_order() {
    let vendor = Vendor::new();
    let id = vendor.create(json!({"name": "n"}));
    walk(
        &vendor,
        id,
        &[
            ("PUT", "service/38/traffic_limit/12", 422, None),
            ("PUT", "service/38", 204, None),
            ("PUT", "service/38", 409, Some(1405)),
            ("PUT", "service/99", 404, Some(1401)),
            ("PUT", "service/3", 204, None),
            ("PUT", "service/x", 400, Some(1000)),
            ("PUT", "service/38/traffic_limit/12", 200, None),
            ("PUT", "service/38/traffic_limit/12", 200, None),
            ("PUT", "service/38/traffic_limit/99", 404, Some(1401)),
            ("PUT", "service/38/traffic_limit/21", 422, None),
            ("PUT", "service/38/traffic_limit/14", 200, None),
            ("DELETE", "service/38", 409, Some(1406)),
            ("DELETE", "service/38/traffic_limit/12", 200, None),
            ("DELETE", "service/38/traffic_limit/12", 404, Some(1401)),
            ("DELETE", "service/6/traffic_limit/21", 422, None),
            ("DELETE", "service/3", 204, None),
            ("DELETE", "service/3", 404, Some(1401)),
        ],
    );
    let one = vendor.one(id);
    assert_eq!(one["service"].as_array().unwrap().len(), 1);
    assert_eq!(one["service"][0]["description"], "Data");
    assert_eq!(
        one["service"][0]["traffic_limit"],
        json!([{"id": 14, "volume": 1024, "period": {"id": 35, "time_units": 1, "unit": "Months"}}])
    );
    walk(&vendor, 9_999, &[("PUT", "service/38", 404, Some(1401))]);
}

#[test]
fn effects_name_the_path_and_repeated_limits_have_none() {
    let vendor = Vendor::new();
    let effect = |method: &str, path: &str| {
        vendor.outcome(method, &format!("{PROFILES}/412/{path}"), "").effect
    };
    assert_eq!(effect("PUT", "service/6"), Some(json!({"attached": "412/6"})));
    let limit = "service/6/traffic_limit/22";
    assert_eq!(effect("PUT", limit), Some(json!({"attached": "412/6/22"})));
    assert_eq!(effect("PUT", limit), None);
    for (status, code) in [(409, Some(1405)), (422, None)] {
        vendor.switch(json!({ "limit_twice_status": status }));
        walk(&vendor, 412, &[("PUT", limit, status, code)]);
    }
    assert_eq!(effect("DELETE", limit), Some(json!({"detached": "412/6/22"})));
    assert_eq!(effect("DELETE", "service/6"), Some(json!({"detached": "412/6"})));
}

#[test]
fn data_limits_are_added_listed_and_removed() {
    let vendor = Vendor::new();
    let path = format!("{PROFILES}/412/traffic_limit");
    let post = |body: Value| vendor.verdict("POST", &path, body);
    assert_eq!(vendor.get(&path), (200, json!([])));
    for wrong in [
        json!({}),
        json!({"service": {"id": 6}, "volume": 1}),
        json!({"service": {"id": 38}}),
        json!({"service": {"id": 38}, "volume": -1}),
        json!({"service": {"id": 38}, "volume": 1, "period": {"id": 35}}),
        json!({"service": {"id": 38}, "volume": 1, "warning_percent": 101}),
        json!({"service": {"id": 38}, "volume": 1, "satellite_only": "yes"}),
    ] {
        assert_eq!(post(wrong.clone()), (400, Some(1000)), "{wrong}");
    }
    let limit = json!({"service": {"id": 38}, "volume": 1_000_000, "warning_percent": 80});
    assert_eq!(post(limit.clone()), (201, None));
    assert_eq!(post(limit), (409, Some(1405)));
    let satellite =
        json!({"service": {"id": "38"}, "volume": 5, "period": {"id": 2}, "satellite_only": true});
    assert_eq!(post(satellite), (201, None));
    let period = json!({"id": 2, "time_units": 1, "unit": "Months"});
    let service = json!({"id": 38, "description": "Data"});
    let listed = json!([
        {"id": 1, "service": service, "satellite_only": false, "period": period,
            "volume": 1_000_000, "warning_percent": 80},
        {"id": 2, "service": service, "satellite_only": true, "period": period, "volume": 5,
            "warning_percent": null},
    ]);
    assert_eq!(vendor.get(&path), (200, listed));
    assert!(vendor.one(412).get("traffic_limit").is_none(), "no other answer has them");
    walk(
        &vendor,
        412,
        &[
            ("DELETE", "traffic_limit/1", 204, None),
            ("DELETE", "traffic_limit/1", 404, Some(1401)),
            ("DELETE", "traffic_limit", 204, None),
        ],
    );
    assert_eq!(vendor.get(&path), (200, json!([])));
    for (method, path) in [("GET", "traffic_limit"), ("DELETE", "traffic_limit")] {
        walk(&vendor, 9_999, &[(method, path, 403, Some(1104))]);
    }
}

#[test]
fn empty_422_declares_html() {
    let vendor = Vendor::new();
    let path = format!("{PROFILES}/537/service/38/traffic_limit/12");
    let outcome = vendor.outcome("PUT", &path, "");
    assert_eq!(outcome.answer.status, 422);
    assert_eq!(outcome.answer.headers["content-type"], "text/html");
    assert!(matches!(outcome.answer.content, Content::Nothing));
}

#[test]
fn services_missing_from_the_catalog_can_be_removed() {
    let vendor = Vendor::new();
    walk(
        &vendor,
        1,
        &[
            ("DELETE", "service/123", 409, Some(1406)),
            ("DELETE", "service/123/traffic_limit/123", 200, None),
            ("DELETE", "service/123/traffic_limit/234", 200, None),
            ("DELETE", "service/123", 204, None),
            ("PUT", "service/123", 404, Some(1401)),
        ],
    );
    assert_eq!(vendor.one(1)["service"][0]["description"], "SMS");
}

#[test]
fn catalog_and_lookups() {
    let vendor = Vendor::new();
    let (_, services) = vendor.get("/api/v1/service");
    let ids: Vec<u64> =
        services.as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [0, 3, 6, 32, 38]);
    assert_eq!(services[4]["traffic_type"], json!({"id": 5, "description": "Data", "unit": "MB"}));
    let (_, limits) = vendor.get("/api/v1/service/38/traffic_limit");
    assert_eq!(
        limits[1],
        json!({"id": 12, "volume": 64, "period": {"id": 33, "time_units": 5, "unit": "Days"}})
    );
    assert_eq!(vendor.get("/api/v1/service/0/traffic_limit"), (200, json!([])));
    let unknown = vendor.verdict("GET", "/api/v1/service/9/traffic_limit", Value::Null);
    assert_eq!(unknown, (404, Some(1401)));
    assert_eq!(vendor.get("/api/v1/traffic_limit").1[0]["service"]["id"], 38);
    for (lookup, length) in [
        ("dns", 3),
        ("esme_interface_type", 4),
        ("breakout_region", 3),
        ("api_callback", 3),
        ("api_secret", 2),
    ] {
        let (status, list) = vendor.get(&format!("/api/v1/{lookup}"));
        assert_eq!((status, list.as_array().unwrap().len()), (200, length), "{lookup}");
    }
}
