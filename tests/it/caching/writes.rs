//! Rule 3: after a write was acknowledged, no read of this replica gives what was there before it.

use futures_util::future::join_all;
use profile_gateway::pb::{
    AttachServiceRequest, AttachTrafficLimitRequest, DetachServiceRequest,
    DetachTrafficLimitRequest, Profile, TrafficLimit,
};
use serde_json::json;

use super::reads::{LONG, get, list};
use crate::{
    conformance::{
        bench::{self, Bench},
        samples::{Sample, registered},
    },
    kit::{model::service_id, until},
};

fn sample(upstream: &str) -> Sample {
    registered().into_iter().find(|sample| sample.upstream == upstream).unwrap()
}

/// Reads everything there is until all of it comes from the cache.
async fn warm(bench: &Bench) -> Vec<Profile> {
    let all = list(&bench.gateway, &bench.parent(), "").await.result.unwrap();
    for read in join_all(all.iter().map(|p| get(&bench.gateway, &p.name, ""))).await {
        read.result.unwrap();
    }
    for profile in &all {
        assert!(get(&bench.gateway, &profile.name, "").await.is_hit(), "{}", profile.name);
    }
    assert!(list(&bench.gateway, &bench.parent(), "").await.is_hit());
    assert!(list(&bench.gateway, "backends/-", "").await.is_hit());
    all
}

/// That all reads give what the upstream has: of these, each alone and in all lists.
async fn assert_current(bench: &Bench, what: &str, known: &[Profile]) {
    let what = format!("{}: {what}", bench.sample.dialect);
    // What the cache gives first, before anything is refreshed and kept.
    let each = join_all(known.iter().map(|p| get(&bench.gateway, &p.name, ""))).await;
    let everywhere = list(&bench.gateway, "backends/-", "").await.result.unwrap();
    let here = list(&bench.gateway, &bench.parent(), "").await.result.unwrap();
    for (profile, read) in known.iter().zip(each) {
        let now = bench.get(&profile.name).await.map_err(|status| status.code());
        assert_eq!(read.result.map_err(|status| status.code()), now, "{what}");
    }
    let now = bench.list().await.unwrap();
    assert_eq!(everywhere, now, "{what}: the list of all backends");
    assert_eq!(here, now, "{what}: the list");
}

#[tokio::test]
async fn rule_3_no_read_gives_what_was_there_before_an_acknowledged_write() {
    for sample in registered() {
        let bench = bench::caching("30s", LONG, sample).await;
        let mut known = warm(&bench).await;
        let created = bench.create(bench.full()).await.unwrap();
        known.push(created.clone());
        assert_current(&bench, "create", &known).await;

        warm(&bench).await;
        let renamed = Profile { name: created.name.clone(), ..bench.other() };
        let renamed = bench.update(renamed, &["display_name"]).await.unwrap();
        assert_eq!(get(&bench.gateway, &created.name, "").await.result.unwrap(), renamed);
        assert_current(&bench, "an update of the name", &known).await;

        warm(&bench).await;
        // All but the category, which stays as it is.
        let all =
            Profile { name: created.name.clone(), category: created.category, ..bench.other() };
        let all = bench.update(all, &[]).await.unwrap();
        assert_eq!(get(&bench.gateway, &created.name, "").await.result.unwrap(), all);
        assert_current(&bench, "an update of all", &known).await;

        warm(&bench).await;
        bench.delete(&created.name).await.unwrap();
        assert_current(&bench, "delete", &known).await;
        let gone = get(&bench.gateway, &created.name, "").await;
        assert_eq!(gone.told().0, "NotFound", "{}", sample.dialect);
    }
}

/// Attaches or detaches, by ids; without a limit the service itself.
async fn edit(bench: &Bench, name: &str, attach: bool, service: &str, limit: &str) {
    let (name, mut profiles) = (name.to_owned(), bench.gateway.profiles.clone());
    let service = Some(service_id(service));
    let traffic_limit = Some(TrafficLimit { id: limit.to_owned(), ..TrafficLimit::default() });
    match (attach, limit) {
        (true, "") => {
            let request = AttachServiceRequest { name, service, ..Default::default() };
            profiles.attach_service(request).await
        }
        (false, "") => {
            let request = DetachServiceRequest { name, service, ..Default::default() };
            profiles.detach_service(request).await
        }
        (true, _) => {
            let request =
                AttachTrafficLimitRequest { name, service, traffic_limit, ..Default::default() };
            profiles.attach_traffic_limit(request).await
        }
        (false, _) => {
            let request =
                DetachTrafficLimitRequest { name, service, traffic_limit, ..Default::default() };
            profiles.detach_traffic_limit(request).await
        }
    }
    .unwrap();
}

#[tokio::test]
async fn rule_3_services_and_limits_that_come_and_go_show_at_once() {
    for (upstream, edits) in [
        ("sft", &[(true, "3", ""), (false, "2", "")][..]),
        ("endpoint", &[(true, "3", ""), (true, "38", "12"), (false, "38", "11"), (false, "3", "")]),
    ] {
        let bench = bench::caching("30s", LONG, sample(upstream)).await;
        let created = bench.create(bench.full()).await.unwrap();
        for (attach, service, limit) in edits {
            let known = warm(&bench).await;
            edit(&bench, &created.name, *attach, service, limit).await;
            let what = format!("{attach} {service} {limit}");
            assert_current(&bench, &what, &known).await;
        }
    }
}

#[tokio::test]
async fn rule_3_what_sft_propagates_to_other_profiles_shows_at_once() {
    let bench = bench::caching("30s", LONG, sample("sft")).await;
    // A service that the default profile loses is lost by all others, one that a base profile gets
    // is got by the default profile.
    for (what, id, attach) in [("lost", "SP_2", false), ("got", "SP_367", true)] {
        let known = warm(&bench).await;
        edit(&bench, &format!("backends/sft/profiles/{id}"), attach, "3", "").await;
        let effects = bench.sandbox.effects().await;
        let cascaded = effects.last().unwrap()["cascaded"].as_array().unwrap().len();
        assert!(cascaded > 0, "{what}: nothing was carried on, {effects:?}");
        assert_current(&bench, what, &known).await;
    }
    // By an update of the whole profile too.
    let known = warm(&bench).await;
    let mut default = get(&bench.gateway, "backends/sft/profiles/SP_2", "").await.result.unwrap();
    default.services.retain(|service| service.id != "2");
    bench.update(default, &["services"]).await.unwrap();
    assert_current(&bench, "lost by an update", &known).await;
}

#[tokio::test]
async fn rule_3_a_slow_read_from_before_a_change_of_others_does_not_fill() {
    let bench = bench::caching("30s", LONG, sample("sft")).await;
    bench.arm("GetServiceProfile", &json!({"kind": "delay", "ms": 600}), 1).await;
    let name = "backends/sft/profiles/SP_352";
    let early = get(&bench.gateway, name, "");
    let write = async {
        until("the read has begun", async || bench.sandbox.arrived("GetServiceProfile").await > 0)
            .await;
        edit(&bench, "backends/sft/profiles/SP_2", false, "3", "").await;
    };
    let (early, ()) = tokio::join!(early, write);
    let now = get(&bench.gateway, name, "").await.result.unwrap();
    assert_eq!(early.result.unwrap().services.len(), now.services.len() + 1);
    assert_eq!(now, bench.get(name).await.unwrap());
}

#[tokio::test]
async fn rule_3_a_new_default_profile_outdates_the_others() {
    let bench = bench::caching("30s", LONG, sample("pcc")).await;
    let known = warm(&bench).await;
    let created = bench.create(bench.other()).await.unwrap();
    assert_eq!(created.default_profile, Some(true));
    // The documents do not say whether the one before stays it, so nothing may be taken for known.
    assert!(!get(&bench.gateway, &known[0].name, "").await.is_hit());
    assert_current(&bench, "a new default", &known).await;
}

#[tokio::test]
async fn rule_3_a_profile_that_was_read_half_created_does_not_stay_so() {
    let bench = bench::caching("60s", LONG, sample("endpoint")).await;
    // Of its two services the first is there when the upstream is slow to say so.
    bench.arm("PutService", &json!({"kind": "delay", "ms": 800}), 1).await;
    let created = bench.create(bench.full());
    let half = async {
        until("the first service is there", async || bench.sandbox.arrived("PutService").await > 0)
            .await;
        let effects = bench.sandbox.effects().await;
        let id = effects.iter().find_map(|effect| effect["created"].as_str()).unwrap();
        let name = format!("backends/endpoint/profiles/{id}");
        let all = list(&bench.gateway, "backends/endpoint", "").await.result.unwrap();
        assert!(all.iter().any(|profile| profile.name == name));
        get(&bench.gateway, &name, "").await.result.unwrap()
    };
    let (created, half) = tokio::join!(created, half);
    let created = created.unwrap();
    assert_eq!(half.name, created.name);
    assert!(half.services.len() < created.services.len(), "it was read half way");
    assert_eq!(get(&bench.gateway, &created.name, "").await.result.unwrap(), created);
    assert_current(&bench, "create", std::slice::from_ref(&created)).await;
}
