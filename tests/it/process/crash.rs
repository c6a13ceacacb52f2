//! The gateway is killed in the middle of writes (SIGKILL), started again on its store, and asked
//! again under the same ids: nothing happens twice, and no caller learns its own success as an
//! error. Writes without an id are not repeated: none of them is sent again. The gateway finds out
//! by itself which changes and deletions took effect, and each creation that is half made is in
//! doubt, so that the gateway completes it.
//!
//! `CRASH_ROUNDS` makes more rounds, and `CRASH_SEED` repeats their choices.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use profile_gateway::pb::{
    CreateProfileRequest, DeleteProfileRequest, DoubtfulWrite, ListProfilesRequest, Profile,
    UpdateProfileRequest, profile_service_client::ProfileServiceClient,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tonic::{Code, Status, transport::Channel};

use super::{
    calls::{failure, metric, profiles},
    child::{Gateway, serve, until},
    doubts::listed,
};
use crate::{
    conformance::samples::{self, Sample, registered},
    kit::{
        chance::Chance,
        gateway::fresh,
        model,
        sandbox::{Sandbox, sandbox},
        show,
    },
};

/// What each call has. A write that was not sent is in doubt for longer than that.
const TIME: (&str, &str) = ("PROFILE_GATEWAY__SERVER__DEFAULT_TIMEOUT", "2s");
/// How many writes of each kind run at once on each dialect. The first of them has no id.
const AT_ONCE: usize = 3;

/// One write.
#[derive(Clone)]
struct Write {
    sample: Sample,
    /// Its own, or none.
    request_id: String,
    kind: Kind,
    /// The display name that a creation gives, or a change.
    display_name: String,
}

#[derive(Clone)]
enum Kind {
    Create,
    Update(String),
    Delete(String),
}

/// The outcomes of the writes.
#[derive(Default)]
struct Figures {
    writes: usize,
    /// Told before the process died.
    told: usize,
    /// In doubt when it died, and found when they were repeated.
    found: usize,
    /// Written by their repeat.
    written: usize,
    /// Still in doubt: they did not take effect, and it is too early to write them again.
    in_doubt: usize,
    /// Without an id.
    unnamed: usize,
    /// Of these, changes and deletions that the gateway settled, because they took effect.
    settled: usize,
    /// Of these, creations that were half made.
    halves: usize,
}

impl Write {
    async fn send(&self, client: &mut ProfileServiceClient<Channel>) -> Result<Profile, Status> {
        let request_id = self.request_id.clone();
        let parent = format!("backends/{}", self.sample.upstream);
        let profile = match &self.kind {
            Kind::Create => samples::profile((self.sample.full)()),
            Kind::Update(name) => Profile { name: name.clone(), ..Profile::default() },
            Kind::Delete(name) => {
                let name = name.clone();
                let request = DeleteProfileRequest { name, request_id, ..Default::default() };
                return client.delete_profile(request).await.map(|_| Profile::default());
            }
        };
        let profile = Some(Profile { display_name: self.display_name.clone(), ..profile });
        let answer = match self.kind {
            Kind::Create => {
                let request =
                    CreateProfileRequest { parent, profile, request_id, ..Default::default() };
                client.create_profile(request).await
            }
            _ => {
                let update_mask = Some(model::mask(&["display_name"]));
                let request =
                    UpdateProfileRequest { profile, update_mask, request_id, ..Default::default() };
                client.update_profile(request).await
            }
        };
        answer.map(tonic::Response::into_inner)
    }

    /// Whether a write in doubt is this one, a change or a deletion without an id.
    fn is(&self, doubt: &DoubtfulWrite) -> bool {
        let (method, name) = match &self.kind {
            Kind::Create => return false,
            Kind::Update(name) => ("UpdateProfile", name),
            Kind::Delete(name) => ("DeleteProfile", name),
        };
        doubt.request_id.is_empty() && doubt.method == method && doubt.resource == *name
    }

    /// How often it took effect, as the upstream has it.
    async fn effects(&self, sandbox: &Sandbox, journal: &[Value]) -> usize {
        let id = |name: &str| name.rsplit_once('/').unwrap().1.to_owned();
        let done = |what: &str, name: &str| {
            let is_it = |effect: &Value| {
                let found = &effect[what];
                found.as_str().map_or_else(|| found.to_string(), str::to_owned) == id(name)
            };
            journal.iter().filter(|entry| is_it(&entry["effect"])).count()
        };
        match &self.kind {
            Kind::Create => {
                let mut all = sandbox.raw(self.sample.upstream).await;
                all.retain(|profile| profile[self.sample.raw_name] == self.display_name.as_str());
                all.len()
            }
            Kind::Update(name) => done("modified", name),
            Kind::Delete(name) => done("deleted", name),
        }
    }
}

/// A gateway that keeps its store in a directory.
async fn start(sandbox: &Sandbox, store: &TempDir) -> Gateway {
    let fast = "requests_per_second = 100000\nrequest_limit = \"off\"\nlogin_limit = \"off\"\n\
                settle_time = \"1s\"\ncircuit_breaker = \"off\"\ndialect =";
    let config = sandbox.config().replace("dialect =", fast);
    let keeps = format!("[store]\npath = {:?}", store.path());
    serve(&format!("{config}\n{keeps}"), &[TIME]).await
}

/// Profiles to change and to delete, and all the writes of a round.
async fn plan(gateway: &Gateway, chance: &mut Chance) -> Vec<Write> {
    let mut client = profiles(gateway).await;
    let mut writes = Vec::new();
    for sample in registered() {
        for n in 0..AT_ONCE {
            let mut made = Vec::new();
            for purpose in ["changed", "deleted"] {
                let display_name = format!("To be {purpose} {n}");
                let request_id = uuid(chance);
                let write = Write { sample, request_id, kind: Kind::Create, display_name };
                made.push(write.send(&mut client).await.unwrap().name);
            }
            let [changed, deleted] = <[String; 2]>::try_from(made).unwrap();
            for kind in [Kind::Create, Kind::Update(changed), Kind::Delete(deleted)] {
                let display_name = format!("Written in round {n}: {}", uuid(chance));
                let request_id = if n == 0 { String::new() } else { uuid(chance) };
                writes.push(Write { sample, request_id, kind, display_name });
            }
        }
    }
    writes
}

fn uuid(chance: &mut Chance) -> String {
    let mut digits = || format!("{:04x}", chance.below(0x1_0000));
    let [a, b, c, d, e, f, g, h] = std::array::from_fn(|_| digits());
    format!("{a}{b}-{c}-{d}-{e}-{f}{g}{h}")
}

/// Waits until so many requests of writes have arrived, or all calls are over.
async fn arrived(sandbox: &Sandbox, before: usize, more: u64, over: impl Future) {
    let enough = async {
        loop {
            let journal = sandbox.journal().await;
            let writes = journal.iter().filter(|entry| entry["method"] != "GET").count();
            if writes as u64 >= before as u64 + more {
                return;
            }
        }
    };
    tokio::select! {
        () = enough => {}
        _ = over => {}
    }
}

/// Repeats a write until its outcome is clear, or cannot be clear yet. One that took effect is
/// repeated also when the time of a call was too short to see that.
async fn repeat(write: &Write, gateway: &Gateway, sandbox: &Sandbox) -> Result<Profile, Status> {
    let mut client = profiles(gateway).await;
    let mut last = None;
    for _ in 0..50 {
        match write.send(&mut client).await {
            Err(status) if status.code() == Code::Unavailable => {
                last = Some(status);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(status) if failure(&status).1 == "WRITE_OUTCOME_UNKNOWN" => {
                if write.effects(sandbox, &sandbox.journal().await).await == 0 {
                    return Err(status);
                }
                last = Some(status);
            }
            answer => return answer,
        }
    }
    panic!("{} is never answered: {last:?}", write.display_name);
}

/// Makes all writes at once, kills the gateway in the middle, and gives what it has answered.
async fn killed(
    gateway: Gateway,
    sandbox: &Sandbox,
    writes: &[Write],
    chance: &mut Chance,
) -> Vec<Result<Profile, Status>> {
    let before = sandbox.journal().await.iter().filter(|entry| entry["method"] != "GET").count();
    let mut clients = Vec::new();
    for _ in writes {
        clients.push(profiles(&gateway).await);
    }
    let calls: Vec<_> = writes
        .iter()
        .cloned()
        .zip(clients)
        .map(|(write, mut client)| tokio::spawn(async move { write.send(&mut client).await }))
        .collect();
    let (over, all) = oneshot::channel::<()>();
    let answers = tokio::spawn(async move {
        let answers = join_all(calls).await;
        drop(over);
        answers
    });
    arrived(sandbox, before, chance.below(40), all).await;
    for _ in 0..chance.below(2000) {
        tokio::task::yield_now().await;
    }
    gateway.program.signal(Signal::KILL);
    let answers = answers.await.unwrap();
    drop(gateway.program.ended().await);
    answers.into_iter().map(Result::unwrap).collect()
}

/// Waits until the gateway has settled all of these changes and deletions, which took effect.
async fn settled(writes: &[&Write], gateway: &Gateway) -> usize {
    until("what took effect is settled", async || {
        let doubts = listed(gateway).await;
        !doubts.iter().any(|doubt| writes.iter().any(|write| write.is(doubt)))
    })
    .await;
    writes.len()
}

/// The creations without an id that are half made: each of them is in doubt.
async fn half_made<'a>(writes: impl Iterator<Item = &'a Write>, gateway: &Gateway) -> usize {
    let creations: Vec<_> = writes.filter(|write| matches!(write.kind, Kind::Create)).collect();
    let mut half_made = 0;
    for sample in registered() {
        let metric_name =
            format!("profile_gateway_doubtful_writes{{backend=\"{}\"}}", sample.upstream);
        // Before it is read what there is: one may be completed at any time.
        let in_doubt = metric(gateway, &metric_name).await;
        let parent = format!("backends/{}", sample.upstream);
        let request = ListProfilesRequest { parent, page_size: 1_000, ..Default::default() };
        let all = profiles(gateway).await.list_profiles(fresh(request)).await.unwrap();
        let all = all.into_inner().profiles;
        let whole = samples::profile((sample.full)()).services.len();
        let is_half = |write: &&&Write| {
            let own = all.iter().find(|profile| profile.display_name == write.display_name);
            own.is_some_and(|profile| profile.services.len() < whole)
        };
        let halves = creations.iter().filter(is_half).count();
        assert!(halves as u64 <= in_doubt, "{}: {halves} half made", sample.dialect);
        half_made += halves;
    }
    half_made
}

/// Compares what a write under an id was told, before its gateway died and when it was repeated,
/// with how often it took effect, by then and at the end.
fn judge(
    figures: &mut Figures,
    (first, second): (&Result<Profile, Status>, &Result<Profile, Status>),
    (had, effects): (usize, usize),
    what: &str,
) {
    let what = format!("{what}, told {first:?}, then {second:?}");
    assert!(effects <= 1, "{effects} times: {what}");
    figures.writes += 1;
    figures.told += usize::from(first.is_ok());
    match second {
        Ok(_) => assert_eq!(effects, 1, "{what}"),
        Err(status) => {
            // It says so, and when to repeat it.
            assert_eq!(failure(status).1, "WRITE_OUTCOME_UNKNOWN", "{what}");
            assert_eq!(effects, 0, "its own success: {what}");
            figures.in_doubt += 1;
        }
    }
    if let Ok(told) = first {
        assert_eq!(Some(told), second.as_ref().ok(), "{what}");
    } else if second.is_ok() {
        match had {
            0 => figures.written += 1,
            _ => figures.found += 1,
        }
    }
}

async fn round(seed: u64, figures: &mut Figures) {
    let (sandbox, store, mut chance) =
        (sandbox().await, TempDir::new().unwrap(), Chance::of(seed, 0));
    sandbox.set("endpoint", &json!({ "rate_limit": false })).await;
    let gateway = start(&sandbox, &store).await;
    let writes = plan(&gateway, &mut chance).await;
    let answers = killed(gateway, &sandbox, &writes, &mut chance).await;

    let gateway = start(&sandbox, &store).await;
    let journal = sandbox.journal().await;
    let (mut named, mut unnamed) = (Vec::new(), Vec::new());
    for (write, told) in writes.iter().zip(answers) {
        let had = write.effects(&sandbox, &journal).await;
        match write.request_id.is_empty() {
            true => unnamed.push((write, told, had)),
            false => named.push((write, told, had)),
        }
    }
    let repeats = named.iter().map(|(write, ..)| repeat(write, &gateway, &sandbox));
    let repeats = join_all(repeats).await;
    figures.unnamed += unnamed.len();
    // A creation may also be half made, or be hard to tell from others.
    let took_effect = unnamed.iter().filter(|(write, told, had)| {
        !matches!(write.kind, Kind::Create) && told.is_err() && *had == 1
    });
    let took_effect: Vec<_> = took_effect.map(|(write, ..)| *write).collect();
    figures.settled += settled(&took_effect, &gateway).await;
    figures.halves += half_made(unnamed.iter().map(|(write, ..)| *write), &gateway).await;
    let journal = sandbox.journal().await;
    for ((write, first, had), second) in named.iter().zip(repeats) {
        let effects = write.effects(&sandbox, &journal).await;
        let what = format!("seed {seed}: {}", write.display_name);
        judge(figures, (first, &second), (*had, effects), &what);
    }
    for (write, told, had) in unnamed {
        let effects = write.effects(&sandbox, &journal).await;
        let what = format!("seed {seed}: {}, told {told:?}", write.display_name);
        assert!(effects == had || had == 0, "{effects} times, before {had}: {what}");
        assert!(effects <= 1 && (effects == 1 || told.is_err()), "{effects} times: {what}");
    }
    gateway.program.signal(Signal::TERM);
    assert_eq!(gateway.program.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_with_an_id_happens_once_also_if_the_process_is_killed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let (rounds, seed) = (number("CRASH_ROUNDS").unwrap_or(3), number("CRASH_SEED").unwrap_or(now));
    let mut figures = Figures::default();
    for round_seed in seed..seed + rounds {
        round(round_seed, &mut figures).await;
    }
    let Figures { writes, told, found, written, in_doubt, unnamed, settled, halves } = figures;
    show(&format!(
        "CRASH_SEED={seed}: {writes} writes, {told} told before, {found} found, {written} written, \
         {in_doubt} in doubt; {unnamed} without an id, {settled} settled, {halves} half made"
    ));
}
