//! `BatchGetProfiles` over all dialects.

use profile_gateway::pb::{BatchGetProfilesRequest, Profile};
use tonic::{Code, Response, Status};

use crate::{
    conformance::{
        bench::{Bench, bench},
        samples::registered,
    },
    kit::{
        gateway::{self, Gateway},
        sandbox::sandbox,
        status::fails,
    },
};

async fn batch(gateway: &Gateway, parent: &str, names: &[String]) -> Result<Vec<Profile>, Status> {
    let request = BatchGetProfilesRequest { parent: parent.to_owned(), names: names.to_vec() };
    let answer = gateway.profiles.clone().batch_get_profiles(request).await;
    answer.map(Response::into_inner).map(|answer| answer.profiles)
}

async fn purge(bench: &Bench) {
    let request = profile_gateway::pb::PurgeCacheRequest { name: bench.parent() };
    bench.gateway.backends.clone().purge_cache(request).await.unwrap();
}

#[tokio::test]
async fn the_order_is_the_request_s_and_each_is_read_once() {
    for sample in registered() {
        let (bench, what) = (bench(sample).await, sample.dialect);
        let one = bench.create(bench.full()).await.unwrap();
        let two = bench.create(bench.other()).await.unwrap();
        purge(&bench).await;
        let seen = bench.sandbox.journal().await.len();
        let names = [&two, &one, &two].map(|profile| profile.name.clone());
        let found = batch(&bench.gateway, &bench.parent(), &names).await.unwrap();
        assert_eq!(found, [two.clone(), one.clone(), two.clone()], "{what}");
        assert_eq!(bench.sandbox.journal().await.len(), seen + 2, "{what}: each once");
        assert_eq!(batch(&bench.gateway, "backends/-", &names).await.unwrap(), found, "{what}");
        assert_eq!(bench.sandbox.journal().await.len(), seen + 2, "{what}: from the cache");
    }
}

#[tokio::test]
async fn many_are_read_by_one_list_where_lists_are_complete() {
    for sample in registered() {
        let (bench, what) = (bench(sample).await, sample.dialect);
        let mut listed = bench.list().await.unwrap();
        for _ in listed.len()..6 {
            bench.create(bench.full()).await.unwrap();
        }
        listed = bench.list().await.unwrap();
        listed.reverse();
        purge(&bench).await;
        let seen = bench.sandbox.journal().await.len();
        let names: Vec<String> = listed.iter().map(|profile| profile.name.clone()).collect();
        let found = batch(&bench.gateway, &bench.parent(), &names).await.unwrap();
        assert_eq!(found, listed, "{what}");
        let asked = bench.sandbox.journal().await.len() - seen;
        let by_list = if sample.dialect == "endpoint" { names.len() } else { 1 };
        assert_eq!(asked, by_list, "{what}");
    }
}

#[tokio::test]
async fn one_that_is_missing_fails_all_and_all_missing_are_named() {
    for sample in registered() {
        let (bench, what) = (bench(sample).await, sample.dialect);
        let there = bench.create(bench.full()).await.unwrap();
        let impossible = bench.name(sample.impossible[0]);
        for more in [0, 6] {
            let mut names =
                vec![there.name.clone(), bench.name(sample.missing), impossible.clone()];
            let prefix = sample.missing.trim_end_matches(|c: char| c.is_ascii_digit());
            names.extend((0..more).map(|n| bench.name(&format!("{prefix}88888{n}"))));
            let missing = batch(&bench.gateway, &bench.parent(), &names).await;
            let failed = fails(missing, Code::NotFound, "PROFILE_NOT_FOUND");
            for name in &names[1..] {
                assert!(failed.message.contains(name), "{what}: {name} in {failed:#?}");
            }
            assert!(!failed.message.contains(&there.name), "{what}");
            assert_eq!(failed.meta("missing_count"), (2 + more).to_string(), "{what}");
            assert_eq!(failed.fields[..2], ["names[1]", "names[2]"], "{what}");
            assert_eq!(failed.resource.as_ref(), Some(&names[1]), "{what}");
            assert_eq!(failed.meta("backend"), sample.upstream, "{what}");
            assert_eq!(failed.meta("dialect"), what);
        }
    }
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_before_anything_is_read() {
    let sandbox = sandbox().await;
    let gateway = gateway::over_all(&sandbox).await;
    let sft = "backends/sft/profiles/SP_1249".to_owned();
    let pcc = "backends/pcc/profiles/61".to_owned();
    let many: Vec<String> = (0..1001).map(|n| format!("backends/sft/profiles/SP_{n}")).collect();
    let seen = sandbox.journal().await.len();
    for (parent, names, fields) in [
        ("backends/sft", &[][..], &["names"][..]),
        ("", std::slice::from_ref(&sft), &["parent"]),
        ("backends/sft", &[sft.clone(), pcc.clone(), "x".into()], &["names[2]", "names[1]"]),
        ("backends/sft", &many, &["names"]),
    ] {
        let refused = batch(&gateway, parent, names).await;
        let failed = fails(refused, Code::InvalidArgument, "VALIDATION_FAILED");
        assert_eq!(failed.fields, fields, "{parent} {:?}", names.len());
    }
    assert_eq!(sandbox.journal().await.len(), seen);
    let of_all = [pcc, sft];
    let found = batch(&gateway, "backends/-", &of_all).await.unwrap();
    assert_eq!(found.iter().map(|p| p.name.clone()).collect::<Vec<_>>(), of_all);
    let most: Vec<String> = many[..1000].to_vec();
    let failed =
        fails(batch(&gateway, "backends/sft", &most).await, Code::NotFound, "PROFILE_NOT_FOUND");
    assert!(failed.fields.len() > 5, "{failed:#?}");
}
