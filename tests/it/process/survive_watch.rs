//! Streams of changes go on at the next process, however the one before it ended: what changed
//! meanwhile is told once, and a position that was lost is refused.

use std::fs;

use profile_gateway::pb::ChangeKind::{Added, Changed, Removed};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Code;

use super::{
    calls::{failure, profiles},
    child::{Gateway, run, serve},
};
use crate::{
    kit::{
        model,
        sandbox::{Sandbox, sandbox},
    },
    watching::stream::{NEVER, Watch, open_over},
};

fn config(sandbox: &Sandbox, store: &TempDir) -> String {
    let lines = format!("watch_interval = \"{NEVER}\"\nmax_attempts = 1\ndialect =");
    let config = sandbox.config().replace("dialect =", &lines);
    format!("{config}\n[store]\npath = {:?}", store.path())
}

async fn open(gateway: &Gateway, parent: &str, token: &str) -> Watch {
    open_over(profiles(gateway).await, parent, token).await.unwrap()
}

async fn ended(gateway: Gateway, signal: Signal) {
    gateway.program.signal(signal);
    drop(gateway.program.ended().await);
}

/// What another client does: a profile like another one gets a name.
async fn put(sandbox: &Sandbox, like: &str, id: &str, name: &str) {
    let all = sandbox.raw("sft").await;
    let mut profile = all.into_iter().find(|profile| profile["id"] == like).unwrap();
    profile.as_object_mut().unwrap().remove("id");
    profile["name"] = name.into();
    sandbox.put(id, profile).await;
}

async fn rename(sandbox: &Sandbox, id: &str, to: &str) {
    put(sandbox, id, id, to).await;
}

#[tokio::test]
async fn what_changed_while_no_process_ran_is_told_once() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let config = config(&sandbox, &store);
    let gateway = serve(&config, &[]).await;
    let mut stream = open(&gateway, model::BACKEND, "").await;
    stream.begin().await;
    ended(gateway, Signal::KILL).await;
    for (n, signal) in [Signal::KILL, Signal::TERM, Signal::KILL].into_iter().enumerate() {
        let (token, profiles) = (stream.token.clone(), stream.profiles.clone());
        rename(&sandbox, "SP_367", &format!("renamed {n}")).await;
        let id = format!("SP_90{n}");
        put(&sandbox, "SP_367", &id, &format!("added {n}")).await;
        let gone = ["SP_361", "SP_402", "SP_1301"][n];
        sandbox.remove_raw("sft", gone).await;

        let gateway = serve(&config, &[]).await;
        let all = [
            (Removed, &*model::name(gone), &[][..]),
            (Changed, &*model::name("SP_367"), &["display_name"][..]),
            (Added, &*model::name(&id), &[][..]),
        ];
        stream = open(&gateway, model::BACKEND, &token).await;
        stream.profiles = profiles.clone();
        stream.expect_in_any_order(&all).await;
        // The same again for one who comes with the same token.
        let mut again = open(&gateway, model::BACKEND, &token).await;
        again.profiles = profiles;
        again.expect_in_any_order(&all).await;
        assert_eq!(again.profiles, stream.profiles);
        let mut fresh = open(&gateway, model::BACKEND, "").await;
        fresh.begin().await;
        assert_eq!(fresh.profiles, stream.profiles);
        ended(gateway, signal).await;
    }
    // An operator sees it.
    let path = store.path().to_str().unwrap();
    let stats = run(&["store", "stats", "--path", path], &[]).await;
    let stats: Value = serde_json::from_str(&stats.stdout).unwrap();
    assert_eq!(stats["watched"]["sft"], json!({ "profiles": 9, "changes": 9 }));
}

#[tokio::test]
async fn each_dialect_tells_what_changed_while_no_process_ran() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    sandbox.set("endpoint", &json!({ "rate_limit": false })).await;
    let config = config(&sandbox, &store);
    // A profile that is renamed, and one that is made.
    for (upstream, renamed, made) in
        [("sft", "SP_367", "SP_9000"), ("pcc", "55", "9000"), ("endpoint", "412", "9000")]
    {
        let parent = format!("backends/{upstream}");
        let name = |id: &str| format!("{parent}/profiles/{id}");
        let gateway = serve(&config, &[]).await;
        let mut stream = open(&gateway, &parent, "").await;
        stream.begin().await;
        let (token, profiles) = (stream.token.clone(), stream.profiles.clone());
        ended(gateway, Signal::KILL).await;

        let all = sandbox.raw(upstream).await;
        let ids = all.iter().map(|raw| raw["id"].to_string().trim_matches('"').to_owned());
        let ids: Vec<String> = ids.collect();
        let gone = ids.iter().find(|id| *id != renamed).unwrap();
        let mut raw = all[ids.iter().position(|id| id == renamed).unwrap()].clone();
        raw.as_object_mut().unwrap().remove("id");
        raw["name"] = "renamed by another client".into();
        sandbox.put_raw(upstream, renamed, &raw).await;
        raw["name"] = "made by another client".into();
        sandbox.put_raw(upstream, made, &raw).await;
        sandbox.remove_raw(upstream, gone).await;

        let gateway = serve(&config, &[]).await;
        let (renamed, gone, made) = (name(renamed), name(gone), name(made));
        let told = [
            (Removed, &*gone, &[][..]),
            (Changed, &*renamed, &["display_name"][..]),
            (Added, &*made, &[][..]),
        ];
        let mut stream = open(&gateway, &parent, &token).await;
        stream.profiles = profiles;
        stream.expect_in_any_order(&told).await;
        let mut fresh = open(&gateway, &parent, "").await;
        fresh.begin().await;
        assert_eq!(fresh.profiles, stream.profiles, "{upstream}");
        ended(gateway, Signal::TERM).await;
    }
}

#[tokio::test]
async fn a_position_that_was_lost_is_refused_and_what_changed_is_told() {
    let (sandbox, store) = (sandbox().await, TempDir::new().unwrap());
    let config = config(&sandbox, &store);
    let gateway = serve(&config, &[]).await;
    let mut stream = open(&gateway, model::BACKEND, "").await;
    stream.begin().await;
    let (kept, profiles) = (stream.token.clone(), stream.profiles.clone());
    ended(gateway, Signal::TERM).await;
    let before = fs::read(store.path().join("store.redb")).unwrap();

    rename(&sandbox, "SP_367", "one").await;
    let gateway = serve(&config, &[]).await;
    let mut stream = open(&gateway, model::BACKEND, &kept).await;
    stream.profiles = profiles.clone();
    let name = model::name("SP_367");
    stream.expect(&[(Changed, &name, &["display_name"])]).await;
    let lost = stream.token.clone();
    ended(gateway, Signal::KILL).await;
    // As if it had been killed before the change was on the disk.
    fs::write(store.path().join("store.redb"), before).unwrap();

    rename(&sandbox, "SP_361", "two").await;
    let gateway = serve(&config, &[]).await;
    let status = open_over(super::calls::profiles(&gateway).await, model::BACKEND, &lost).await;
    let (code, reason, _) = failure(&status.map(drop).unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::Aborted, "RESUME_TOKEN_EXPIRED"));
    let mut stream = open(&gateway, model::BACKEND, &kept).await;
    stream.profiles = profiles;
    let other = model::name("SP_361");
    let both = [(Changed, &*other, &["display_name"][..]), (Changed, &name, &["display_name"])];
    stream.expect_in_any_order(&both).await;
    let status = open_over(super::calls::profiles(&gateway).await, model::BACKEND, &lost).await;
    let (_, reason, _) = failure(&status.map(drop).unwrap_err());
    assert_eq!(reason, "RESUME_TOKEN_EXPIRED", "its number is that of another change now");
    ended(gateway, Signal::KILL).await;
}

#[tokio::test]
async fn a_token_of_another_store_or_account_is_refused() {
    let (sandbox, stores) = (sandbox().await, [(); 2].map(|()| TempDir::new().unwrap()));
    let config = config(&sandbox, &stores[0]);
    let gateway = serve(&config, &[]).await;
    let mut stream = open(&gateway, model::BACKEND, "").await;
    stream.begin().await;
    ended(gateway, Signal::TERM).await;
    let path = |store: &TempDir| store.path().to_str().unwrap().to_owned();
    for other in [
        config.replace(&path(&stores[0]), &path(&stores[1])),
        config.replace("127.0.0.1", "localhost"),
    ] {
        let gateway = serve(&other, &[]).await;
        let refused =
            open_over(profiles(&gateway).await, model::BACKEND, &stream.token).await.map(drop);
        assert_eq!(failure(&refused.unwrap_err()).1, "RESUME_TOKEN_EXPIRED");
        ended(gateway, Signal::TERM).await;
    }
}
