//! What a stream tells.

use profile_gateway::pb::{
    AttachServiceRequest,
    ChangeKind::{Added, Changed, Removed},
    DetachServiceRequest, Profile,
};
use serde_json::json;

use super::stream::{NEVER, over_all, watch};
use crate::{
    conformance::{
        bench::{self, id},
        samples::registered,
    },
    kit::{
        gateway,
        model::{self, DATA, SMS_MO},
        sandbox::sandbox,
        until,
    },
};

/// In every dialect, and without a look that the interval would bring.
#[tokio::test]
async fn writes_through_the_gateway_show_at_once() {
    for sample in registered() {
        let bench = bench::bench(sample).await;
        let mut stream = watch(&bench.gateway, &bench.parent()).await;
        let listed = bench.list().await.unwrap();
        let begun: Vec<Profile> = listed.clone();
        assert_eq!(stream.profiles.len(), begun.len(), "{}", sample.dialect);
        for profile in &begun {
            assert_eq!(stream.profiles[&profile.name], *profile, "{}", sample.dialect);
        }
        let created = bench.create(bench.full()).await.unwrap();
        let told = stream.next().await.unwrap();
        assert!(told.contains(&(Added, created.name.clone(), vec![])), "{told:?}");
        assert_eq!(stream.profiles[&created.name], created, "{}", sample.dialect);
        let renamed = Profile { display_name: "renamed".into(), ..created.clone() };
        let updated = bench.update(renamed, &["display_name"]).await.unwrap();
        stream.expect(&[(Changed, &created.name, &["display_name"])]).await;
        assert_eq!(stream.profiles[&created.name], updated, "{}", sample.dialect);
        bench.delete(&created.name).await.unwrap();
        stream.expect(&[(Removed, &created.name, &[])]).await;
        assert!(!stream.ids().contains(&id(&created)));
    }
}

/// What others do shows at the next look, in every dialect and over all backends.
#[tokio::test]
async fn changes_behind_the_gateway_s_back_show_at_the_next_poll() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox, "1s").await;
    let mut all = watch(&gateway, "backends/-").await;
    assert_eq!(all.profiles.len(), 21, "{:?}", all.ids());
    for (upstream, known, new, member) in [
        ("sft", "SP_367", "SP_9000", "name"),
        ("pcc", "55", "9000", "name"),
        ("endpoint", "412", "9000", "name"),
    ] {
        let parent = format!("backends/{upstream}");
        let mut one = watch(&gateway, &parent).await;
        let (known_name, new_name) =
            (format!("{parent}/profiles/{known}"), format!("{parent}/profiles/{new}"));
        let raw = sandbox.raw(upstream).await;
        let mut raw = raw
            .into_iter()
            .find(|raw| raw["id"].to_string().trim_matches('"') == known)
            .unwrap_or_else(|| panic!("{upstream} has no {known}"));
        let members = raw.as_object_mut().unwrap();
        members.remove("id");
        members.insert(member.into(), json!("changed by another client"));
        sandbox.put_raw(upstream, known, &raw).await;
        let changed: &[_] = &[(Changed, known_name.as_str(), &["display_name"][..])];
        one.expect(changed).await;
        all.expect(changed).await;
        raw[member] = json!("made by another client");
        sandbox.put_raw(upstream, new, &raw).await;
        one.expect(&[(Added, &new_name, &[])]).await;
        all.expect(&[(Added, &new_name, &[])]).await;
        sandbox.remove_raw(upstream, new).await;
        one.expect(&[(Removed, &new_name, &[])]).await;
        all.expect(&[(Removed, &new_name, &[])]).await;
    }
}

/// SFT carries a change of services on to other profiles: a stream tells of all of them.
#[tokio::test]
async fn changes_that_the_upstream_propagates_are_streamed_too() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox, NEVER).await;
    let mut stream = watch(&gateway, model::BACKEND).await;
    let detach = DetachServiceRequest {
        name: model::name("SP_2"),
        service: Some(model::service(SMS_MO)),
        ..DetachServiceRequest::default()
    };
    gateway.profiles.clone().detach_service(detach).await.unwrap();
    let ids = ["SP_2", "SP_352", "SP_353", "SP_367", "SP_1249", "SP_1301"];
    let names = ids.map(model::name);
    let expected = names.each_ref().map(|name| (Changed, name.as_str(), &["services"][..]));
    stream.expect(&expected).await;
    let attach = AttachServiceRequest {
        name: model::name("SP_367"),
        service: Some(model::service(SMS_MO)),
        ..AttachServiceRequest::default()
    };
    gateway.profiles.clone().attach_service(attach).await.unwrap();
    let [default, legacy] = ["SP_2", "SP_367"].map(model::name);
    stream.expect(&[(Changed, &default, &["services"]), (Changed, &legacy, &["services"])]).await;
    let service = |kind| i32::from(kind);
    let services = &stream.profiles[&legacy].services;
    assert!(services.iter().any(|s| s.r#type == service(SMS_MO)));
    assert!(services.iter().any(|s| s.r#type == service(DATA)));
}

/// A write that was refused, and a read, ask for no look.
#[tokio::test]
async fn a_write_that_changes_nothing_costs_no_poll() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox, NEVER).await;
    let stream = watch(&gateway, model::BACKEND).await;
    let looks = || gateway.metric("watch_polls_total", "backend=\"sft\"");
    assert_eq!(looks().await, 1.0);
    gateway.delete("SP_1249").await.unwrap_err();
    gateway.create(Profile::default()).await.unwrap_err();
    gateway.get("SP_2").await.unwrap();
    assert_eq!(looks().await, 1.0);
    drop(stream);
}

/// However many streams are open, one task polls; and none does without a stream.
#[tokio::test]
async fn many_streams_cost_the_upstream_what_one_does() {
    let sandbox = sandbox().await;
    let gateway = over_all(&sandbox, NEVER).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(watch(&gateway, "backends/pcc").await);
    }
    let listed = async || sandbox.arrived("ListProfiles").await;
    assert_eq!(listed().await, 1);
    assert_eq!(gateway.metric("watchers", "backend=\"pcc\"").await, 50.0);
    sandbox.remove_raw("pcc", "70").await;
    let mut request = model::list("backends/pcc");
    request.page_size = 1;
    gateway.profiles.clone().list_profiles(gateway::fresh(request)).await.unwrap();
    assert_eq!(listed().await, 2, "a read by another client does not count as a poll");
    let renamed = Profile { display_name: "new".into(), ..Profile::default() };
    let renamed = Profile { name: "backends/pcc/profiles/71".into(), ..renamed };
    let before = listed().await;
    gateway.update(renamed).await.unwrap();
    for stream in &mut streams {
        let gone = "backends/pcc/profiles/70";
        let changed = "backends/pcc/profiles/71";
        stream.expect(&[(Removed, gone, &[]), (Changed, changed, &["display_name"])]).await;
    }
    assert_eq!(gateway.metric("watch_polls_total", "backend=\"pcc\"").await, 2.0);
    assert!(listed().await > before);
    drop(streams);
    until("no stream is open", async || gateway.metric("watchers", "").await == 0.0).await;
}
