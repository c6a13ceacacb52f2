//! One odd value in an answer does not take the others with it.

use std::time::Duration;

use profile_gateway::pb::{ListProfilesRequest, ListProfilesResponse, Profile};
use prost_types::value::Kind;
use serde_json::json;
use tonic::Status;

use crate::kit::{
    bodies::{self, profile, profile_with},
    double::{self, Answer, Double, GET, LIST, OTHER, double},
    gateway::{Gateway, fresh, gateway},
};

/// What no parser takes as a whole, and what a double does not hold.
fn odd_values() -> Vec<String> {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    [r#""a\ud800b""#, "1e400", &deep, "12345678901234567890123", "12345678901234567890123.0"]
        .map(str::to_owned)
        .to_vec()
}

/// A backend of each dialect at the same upstream.
pub(super) async fn start() -> (Double, Gateway) {
    let upstream = double().await;
    let base = &upstream.base_url;
    let others = format!(
        "[backends.e]\ndialect = \"endpoint\"\nbase_url = \"{base}\"\n\
         auth_token = \"t-of-the-kit\"\n\
         [backends.p]\ndialect = \"pcc\"\nbase_url = \"{base}\"\ntenant = \"t\"\n\
         username = \"u\"\npassword = \"p-of-the-kit\"\n"
    );
    let gateway = gateway().fixed("sft", base, "").section(&others).start().await;
    (upstream, gateway)
}

pub(super) fn text(body: impl Into<String>) -> Answer {
    double::http(200, "application/json", body.into())
}

/// Answers by path; 418 to everything else.
pub(super) fn by_path(answers: Vec<(&'static str, Answer)>) -> Answer {
    double::by(move |seen| {
        let found = answers.iter().find(|(path, _)| *path == seen.path);
        found.map_or(double::http(418, "text/plain", "?"), |(_, answer)| answer.clone())
    })
}

pub(super) async fn list(gateway: &Gateway, backend: &str) -> Result<Vec<Profile>, Status> {
    Ok(list_with(gateway, backend, false).await?.profiles)
}

pub(super) async fn list_with(
    gateway: &Gateway,
    backend: &str,
    partial: bool,
) -> Result<ListProfilesResponse, Status> {
    let request = ListProfilesRequest {
        parent: format!("backends/{backend}"),
        page_size: 1000,
        return_partial_success: partial,
        ..ListProfilesRequest::default()
    };
    Ok(gateway.profiles.clone().list_profiles(fresh(request)).await?.into_inner())
}

pub(super) fn ids(profiles: &[Profile]) -> Vec<&str> {
    profiles.iter().map(|profile| profile.name.rsplit('/').next().unwrap()).collect()
}

/// The text that `unmapped` keeps of a member.
fn kept(profile: &Profile, key: &str) -> String {
    match &profile.unmapped.as_ref().unwrap().fields[key].kind {
        Some(Kind::StringValue(text)) => text.clone(),
        other => panic!("{key} is {other:?}"),
    }
}

pub(super) const COLLECTION: &str = "/api/v1/service_profile";
pub(super) const PCC: &str = "/pcc/spcm/provisionProfile";

#[tokio::test]
async fn a_member_above_64_kib_is_kept_as_text() {
    let (upstream, gateway) = start().await;
    for (bytes, is_text) in [(64 * 1024, false), (64 * 1024 + 1, true)] {
        let member = format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - r#"{"a":""}"#.len()));
        let item = profile_with("SP_1", "one", json!({"large": "here"})).to_string();
        let item = item.replace("\"here\"", &member);
        let body = bodies::profiles(&[json!("first")]).to_string();
        upstream.always(LIST, text(body.replace("\"first\"", &item)));
        let profiles = list(&gateway, "sft").await.unwrap();
        let kind = &profiles[0].unmapped.as_ref().unwrap().fields["large"].kind;
        match kind {
            Some(Kind::StringValue(kept)) => assert!(is_text && *kept == member, "{bytes}"),
            kind => assert!(!is_text && matches!(kind, Some(Kind::StructValue(_))), "{bytes}"),
        }
    }
}

#[tokio::test]
async fn an_odd_member_is_kept_as_text_and_the_rest_is_read() {
    let (upstream, gateway) = start().await;
    for odd in odd_values() {
        let item = profile_with("SP_1", "one", json!({"odd": "here"})).to_string();
        let item = item.replace("\"here\"", &odd);
        let body = bodies::profiles(&[json!("first"), profile("SP_2", "two")]).to_string();
        upstream
            .always(LIST, text(body.replace("\"first\"", &item)))
            .always(GET, text(body.replace("\"first\"", &item).replace("SP_2", "SP_3")));
        let pcc = format!(r#"{{"id":1,"name":"one","odd":{odd}}}"#);
        let pcc_list =
            format!(r#"{{"provisioningProfileDTOList":[{pcc},{{"id":2,"name":"two"}}]}}"#);
        let short = format!(r#"[{{"id":1,"name":"one","odd":{odd}}},{{"id":2,"name":"two"}}]"#);
        upstream.always(
            OTHER,
            by_path(vec![
                (COLLECTION, text(short)),
                ("/api/v1/service_profile/1", text(&*pcc)),
                ("/api/v1/service_profile/2", text(r#"{"id":2,"name":"two"}"#)),
                (PCC, text(pcc_list)),
            ]),
        );
        for backend in ["sft", "e", "p"] {
            let found = list(&gateway, backend).await;
            let found = found.unwrap_or_else(|status| panic!("{backend} {odd}: {status:?}"));
            assert_eq!(found.len(), 2, "{backend} {odd}");
            assert_eq!(found[0].display_name, "one");
            assert_eq!(kept(&found[0], "odd"), odd, "{backend}");
        }
        let one = gateway.get("SP_1").await.unwrap();
        assert_eq!((one.display_name.as_str(), kept(&one, "odd")), ("one", odd));
    }
}

#[tokio::test]
async fn an_odd_value_of_a_known_member_leaves_the_others() {
    let (upstream, gateway) = start().await;
    let item = profile("SP_1", "NAME").to_string().replace("\"NAME\"", r#""\udc00x""#);
    let item = item.replacen('{', r#"{"\ud83d":1,"#, 1);
    let body = bodies::profiles(&[json!("first")]).to_string().replace("\"first\"", &item);
    let body = body.replace("\"words of the upstream\"", r#""\ud800""#);
    upstream.always(LIST, text(body));
    let found = list(&gateway, "sft").await.unwrap();
    assert_eq!((found[0].services.len(), found[0].display_name.as_str()), (1, ""));
    assert_eq!(kept(&found[0], "profileName"), r#""\udc00x""#);

    // A part of a part: the service counts, the odd description stays as it was written.
    let service = r#"[{"id":38,"description":"\ud800","traffic_limit":[{"id":3.6e1}]}]"#;
    let one = format!(r#"{{"id":1.0,"name":"one","service":{service}}}"#);
    upstream.always(
        OTHER,
        by_path(vec![
            (COLLECTION, text(r#"[{"id":1e0,"name":"one"}]"#)),
            ("/api/v1/service_profile/1", text(one)),
        ]),
    );
    let found = list(&gateway, "e").await.unwrap();
    assert_eq!(found[0].services[0].id, "38");
    assert_eq!(found[0].services[0].traffic_limits[0].id, "36");
    assert!(found[0].unmapped.as_ref().unwrap().fields.contains_key("service"));
}

#[tokio::test]
async fn ids_are_read_in_every_spelling_of_a_number() {
    let (upstream, gateway) = start().await;
    for id in ["39", "39.0", "3.9e1", "390e-1", "\"39\"", "\"39.0\""] {
        let item = format!(r#"{{"id":{id},"name":"one"}}"#);
        upstream.always(
            OTHER,
            by_path(vec![
                (COLLECTION, text(format!("[{item}]"))),
                ("/api/v1/service_profile/39", text(&*item)),
                (PCC, text(format!(r#"{{"provisioningProfileDTOList":[{item}]}}"#))),
                ("/pcc/spcm/provisionProfile/39", text(&*item)),
            ]),
        );
        for backend in ["e", "p"] {
            assert_eq!(ids(&list(&gateway, backend).await.unwrap()), ["39"], "{backend} {id}");
            let name = format!("backends/{backend}/profiles/39");
            let request = profile_gateway::pb::GetProfileRequest { name, read_mask: None };
            let one = gateway.profiles.clone().get_profile(fresh(request)).await.unwrap();
            assert_eq!(one.into_inner().display_name, "one", "{backend} {id}");
        }
    }
    for id in ["39.5", "1e400", "-39", "null", "\"\"", "{}"] {
        let item = format!(r#"{{"id":{id},"name":"one"}}"#);
        let answer = format!(r#"{{"provisioningProfileDTOList":[{item}]}}"#);
        upstream.always(OTHER, text(answer));
        assert_eq!(list(&gateway, "p").await.unwrap(), [], "{id}");
    }
}

#[tokio::test]
async fn empty_elements_and_repeated_ids_are_left_out_of_lists() {
    let (upstream, gateway) = start().await;
    let items = [json!(null), profile("SP_1", "one"), json!(""), profile("SP_1", "again")];
    upstream.always(LIST, double::json(bodies::profiles(&items)));
    let items = r#"[null,{"id":1,"name":"one"},"",{"id":"1","name":"again"}," "]"#;
    upstream.always(
        OTHER,
        by_path(vec![
            (COLLECTION, text(items)),
            ("/api/v1/service_profile/1", text(r#"[null,{"id":1,"name":"one"}]"#)),
            (PCC, text(format!(r#"{{"provisioningProfileDTOList":{items}}}"#))),
        ]),
    );
    for backend in ["sft", "e", "p"] {
        let answer = list_with(&gateway, backend, false).await.unwrap();
        let names: Vec<&str> = answer.profiles.iter().map(|p| p.display_name.as_str()).collect();
        assert_eq!((names, answer.total_size), (vec!["one"], 1), "{backend}");
    }
}

#[tokio::test]
async fn a_listed_profile_can_be_read() {
    let (upstream, gateway) = start().await;
    let items = ["sp_343", "343", "SP_", "SP_x", "SP_7"].map(|id| profile(id, "one"));
    upstream.always(LIST, double::json(bodies::profiles(&items)));
    assert_eq!(ids(&list(&gateway, "sft").await.unwrap()), ["SP_7"]);
    upstream.always(GET, double::json(bodies::profiles(&[profile("sp_7", "one")])));
    assert_eq!(gateway.get("SP_7").await.unwrap().display_name, "one");
}

#[tokio::test]
async fn a_watch_keeps_what_cannot_be_read_for_a_while() {
    let upstream = double().await;
    let lines = format!(
        "[backends.e]\ndialect = \"endpoint\"\nbase_url = \"{}\"\nauth_token = \"t-of-the-kit\"\n\
         watch_interval = \"1s\"\n",
        upstream.base_url
    );
    let gateway = gateway().section(&lines).start().await;
    let answers = |first: &'static str, second: Answer| {
        by_path(vec![
            (COLLECTION, text(r#"[{"id":1},{"id":2}]"#)),
            ("/api/v1/service_profile/1", text(first)),
            ("/api/v1/service_profile/2", second),
        ])
    };
    let two = || text(r#"{"id":2,"name":"b"}"#);
    upstream.always(OTHER, answers(r#"{"id":1,"name":"a"}"#, two()));
    let request = profile_gateway::pb::WatchProfilesRequest {
        parent: "backends/e".to_owned(),
        ..Default::default()
    };
    let mut changes = gateway.profiles.clone().watch_profiles(request).await.unwrap().into_inner();
    let mut told = async |count: usize| {
        let mut seen = Vec::new();
        let all = async {
            while seen.len() < count {
                seen.extend(changes.message().await.unwrap().unwrap().changes);
            }
        };
        // For a broken program, not for a slow one.
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("nothing is told");
        seen
    };
    told(2).await;
    // Now the second cannot be read, and the first changes: only that is told.
    let gone = double::http(410, "text/html", "no");
    upstream.always(OTHER, answers(r#"{"id":1,"name":"x"}"#, gone));
    let seen = told(1).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].profile.as_ref().unwrap().name, "backends/e/profiles/1", "{seen:?}");
}
