//! Lists of which something cannot be read: the rest of them counts.

use profile_gateway::pb::{ListProfilesRequest, ListServicesRequest};
use serde_json::json;
use tonic::Code;

use super::values::{COLLECTION, PCC, by_path, ids, list, list_with, start, text};
use crate::kit::{
    bodies::{self, profile},
    double::{self, Answer, Double, LIST, OTHER, double},
    gateway::{Gateway, gateway},
    status::{fails, failure},
};

#[tokio::test]
async fn what_is_not_a_profile_is_left_out_of_lists() {
    let (upstream, gateway) = start().await;
    let plan = |items: &str| {
        let list = bodies::profiles(&[json!("all")]).to_string();
        upstream.always(LIST, text(list.replace("\"all\"", items)));
        upstream.always(
            OTHER,
            by_path(vec![
                (COLLECTION, text(format!("[{items}]"))),
                ("/api/v1/service_profile/1", text(r#"{"id":1,"name":"one"}"#)),
                (PCC, text(format!(r#"{{"provisioningProfileDTOList":[{items}]}}"#))),
            ]),
        );
    };
    for odd in ["5", "[]", "\"x\"", "true", "1e400", "\"\\ud800\"", "[[{}]]", "-0.5"] {
        let sft = profile("SP_1", "one").to_string();
        let both = r#""id":1,"name":"one""#;
        let item = sft.replacen('{', &format!("{{{both},"), 1);
        for items in [format!("{item},{odd}"), format!("{odd},{item},{odd}")] {
            plan(&items);
            for backend in ["sft", "e", "p"] {
                let found = list(&gateway, backend).await;
                let found = found.unwrap_or_else(|status| panic!("{backend} {odd}: {status:?}"));
                assert_eq!(found.len(), 1, "{backend} {odd}");
            }
        }
        // A list of nothing but such things is not one of profiles: it does not say that there are
        // none.
        plan(odd);
        for backend in ["sft", "e", "p"] {
            let failed = list(&gateway, backend).await;
            fails(failed, Code::Internal, "UPSTREAM_CONTRACT_VIOLATION");
        }
    }
}

#[tokio::test]
async fn an_id_that_cannot_be_one_names_nothing() {
    let (upstream, gateway) = start().await;
    for id in [
        "../../admin",
        "..%2f..%2fadmin",
        "SP_1\r\nx-evil: 1",
        "1\r\nx-evil: 1",
        "SP_1\u{202e}",
        "1\u{202e}",
        "SP_1/../SP_2",
        "SP_",
        "",
    ] {
        let item = |id: &str| {
            let mut item = profile(id, "one");
            item["id"] = json!(id.strip_prefix("SP_").filter(|id| *id == "2").unwrap_or(id));
            item["name"] = json!("one");
            item
        };
        let items = json!([item(id), item("SP_2")]);
        upstream.always(LIST, double::json(bodies::profiles(items.as_array().unwrap())));
        upstream.always(
            OTHER,
            by_path(vec![
                (COLLECTION, double::json(items.clone())),
                ("/api/v1/service_profile/2", text(r#"{"id":2,"name":"one"}"#)),
                (PCC, double::json(json!({ "provisioningProfileDTOList": items }))),
            ]),
        );
        for backend in ["sft", "e", "p"] {
            let found = list(&gateway, backend).await;
            let found = found.unwrap_or_else(|status| panic!("{backend} {id:?}: {status:?}"));
            let names: Vec<&str> = found.iter().map(|profile| profile.name.as_str()).collect();
            let number = if backend == "sft" { "SP_2" } else { "2" };
            assert_eq!(names, [format!("backends/{backend}/profiles/{number}")], "{id:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_a_service_is_left_out_of_the_catalog() {
    let (upstream, gateway) = start().await;
    upstream.always(
        OTHER,
        by_path(vec![
            ("/api/v1/service", text(r#"[5,{"id":6,"description":"SMS MT"},"x",{"id":6}]"#)),
            ("/api/v1/service/6/traffic_limit", text(r#"[true,{"id":1,"volume":7},[],{"id":1}]"#)),
        ]),
    );
    let request = ListServicesRequest { parent: "backends/e".to_owned() };
    let found = gateway.backends.clone().list_services(request).await.unwrap().into_inner();
    let ids: Vec<_> = found.services.iter().map(|there| there.id.as_str()).collect();
    assert_eq!(ids, ["6"]);
    assert_eq!(found.services[0].traffic_limits.len(), 1, "{found:?}");
}

#[tokio::test]
async fn one_unreadable_profile_does_not_hide_the_others() {
    let (upstream, gateway) = start().await;
    let page = |status| double::http(status, "text/html", "<html>no</html>");
    let own = double::http(403, "application/json", r#"{"error_code":1104,"message":"no"}"#);
    for (what, bad) in [
        ("403", page(403)),
        ("403 of its own", own),
        ("410", page(410)),
        ("500", page(500)),
        ("504", page(504)),
        ("a bare 404", page(404)),
        ("a page", page(200)),
        ("garbage", text("{\"id\":")),
        ("another profile", text(r#"{"id":9}"#)),
    ] {
        // A gateway each: so many failures would open the circuit.
        let (_, gateway) = (drop(gateway.admin("/livez").await), connected(&upstream).await);
        upstream.always(
            OTHER,
            by_path(vec![
                (COLLECTION, text(r#"[{"id":1},{"id":2},{"id":3}]"#)),
                ("/api/v1/service_profile/1", text(r#"{"id":1,"name":"a"}"#)),
                ("/api/v1/service_profile/2", bad),
                ("/api/v1/service_profile/3", text(r#"{"id":3,"name":"c"}"#)),
            ]),
        );
        let found = list_with(&gateway, "e", true).await;
        let found = found.unwrap_or_else(|status| panic!("{what}: {status:?}"));
        assert_eq!(ids(&found.profiles), ["1", "3"], "{what}");
        assert_eq!(found.unreachable, ["backends/e/profiles/2"], "{what}");
        let failed = failure(list(&gateway, "e").await);
        assert!(failed.message.contains("backends/e/profiles/2"), "{what}: {failed:#?}");
        assert!(!failed.meta("upstream_status").is_empty(), "{what}: {failed:#?}");
    }
}

/// A gateway with the endpoint backend alone.
async fn connected(upstream: &Double) -> Gateway {
    connected_with(upstream, "").await
}

async fn connected_with(upstream: &Double, lines: &str) -> Gateway {
    let lines = format!(
        "[backends.e]\ndialect = \"endpoint\"\nbase_url = \"{}\"\nauth_token = \"t-of-the-kit\"\n\
         {lines}",
        upstream.base_url
    );
    gateway().section(&lines).start().await
}

#[tokio::test]
async fn an_account_that_refuses_is_not_blamed_on_its_profiles() {
    let upstream = double().await;
    let gateway = connected(&upstream).await;
    let all = |status| {
        double::by(move |seen| match seen.path.as_str() {
            COLLECTION => text(r#"[{"id":1},{"id":2}]"#),
            _ => double::http(status, "text/html", "<html>no</html>"),
        })
    };
    upstream.always(OTHER, all(401));
    let partial = list_with(&gateway, "e", true).await.unwrap();
    assert_eq!((partial.unreachable, partial.profiles), (vec!["backends/e".to_owned()], vec![]));
    fails(list_with(&gateway, "e", false).await, Code::Internal, "UPSTREAM_AUTH_FAILED");
}

#[tokio::test]
async fn a_profile_whose_connection_fails_does_not_hide_the_others() {
    let whole = double::message(200, &[], br#"{"id":2,"name":"b"}"#);
    let half = whole[..whole.len() - 5].to_vec();
    for (what, bad, is_answer) in [
        ("closed", Answer::Close, false),
        ("reset", Answer::Reset(Vec::new()), false),
        ("cut", Answer::Raw(half.clone()), true),
        ("cut by a reset", Answer::Reset(half.clone()), false),
        ("no answer", Answer::Stall, false),
        ("half an answer", Answer::Open(half), false),
    ] {
        let upstream = double().await;
        let lines = "header_timeout = \"1s\"\nbody_timeout = \"1s\"\n";
        let gateway = connected_with(&upstream, lines).await;
        let one = || text(r#"{"id":1,"name":"a"}"#);
        upstream.always(
            OTHER,
            by_path(vec![
                (COLLECTION, text(r#"[{"id":1},{"id":2},{"id":3}]"#)),
                ("/api/v1/service_profile/1", one()),
                ("/api/v1/service_profile/2", bad.clone()),
                ("/api/v1/service_profile/3", text(r#"{"id":3,"name":"c"}"#)),
            ]),
        );
        let found = list_with(&gateway, "e", true).await.unwrap();
        assert_eq!(ids(&found.profiles), ["1", "3"], "{what}");
        assert_eq!(found.unreachable, ["backends/e/profiles/2"], "{what}");
        let failed = failure(list(&gateway, "e").await);
        assert!(failed.message.contains("backends/e/profiles/2"), "{what}: {failed:#?}");
        if is_answer {
            continue;
        }
        // Several of them say something of the account.
        let upstream = double().await;
        let gateway = connected_with(&upstream, lines).await;
        let answers = double::by(move |seen| match seen.path.as_str() {
            COLLECTION => text(r#"[{"id":1},{"id":2},{"id":3},{"id":4},{"id":5}]"#),
            "/api/v1/service_profile/1" => text(r#"{"id":1,"name":"a"}"#),
            _ => bad.clone(),
        });
        upstream.always(OTHER, answers);
        let found = list_with(&gateway, "e", true).await.unwrap();
        assert_eq!(found.unreachable, ["backends/e"], "{what}");
        assert_eq!(found.profiles, [], "{what}");
    }
}

#[tokio::test]
async fn an_account_of_which_no_profile_answers_is_not_blamed_on_them() {
    let upstream = double().await;
    let gateway = connected(&upstream).await;
    let answers = double::by(move |seen| match seen.path.as_str() {
        COLLECTION => text(r#"[{"id":1},{"id":2}]"#),
        _ => Answer::Close,
    });
    upstream.always(OTHER, answers);
    let found = list_with(&gateway, "e", true).await.unwrap();
    assert_eq!(found.unreachable, ["backends/e"]);
}

#[tokio::test]
async fn a_partial_list_is_not_kept() {
    let upstream = double().await;
    let gateway = connected(&upstream).await;
    let answers = |second: Answer| {
        by_path(vec![
            (COLLECTION, text(r#"[{"id":1},{"id":2}]"#)),
            ("/api/v1/service_profile/1", text(r#"{"id":1,"name":"a"}"#)),
            ("/api/v1/service_profile/2", second),
        ])
    };
    let request = || ListProfilesRequest {
        parent: "backends/e".to_owned(),
        return_partial_success: true,
        ..ListProfilesRequest::default()
    };
    let list = async || gateway.profiles.clone().list_profiles(request()).await.unwrap();
    upstream.always(OTHER, answers(double::http(403, "text/html", "no")));
    assert_eq!(list().await.into_inner().unreachable.len(), 1);
    upstream.always(OTHER, answers(text(r#"{"id":2,"name":"b"}"#)));
    let found = list().await.into_inner();
    assert_eq!((ids(&found.profiles), found.unreachable.len()), (vec!["1", "2"], 0));
}
