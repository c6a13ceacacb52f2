//! What a cache costs by itself: memory per entry, and whether a lookup gets slower when there are
//! more.
//!
//! `cargo bench --bench cache -- --entries 1000000`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark that panics has failed, and printing is what it is for"
)]

use std::{collections::HashMap, fs, hint::black_box, time::Duration};

use clap::Parser;
use profile_gateway::{
    cache::{BackgroundTasks, Cache, CacheMetrics, CacheSettings, Control, Resource, Value},
    caller::{self, CallerId},
    pb::{Encoded, Profile, Service},
    resources::Share,
    telemetry::Registry,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

#[derive(Parser)]
struct Args {
    /// Entries of the large cache.
    #[arg(long, default_value_t = 1_000_000)]
    entries: usize,
    /// Lookups in each turn.
    #[arg(long, default_value_t = 200_000)]
    lookups: usize,
    /// `cargo bench` says this; without it, as from `cargo test --benches`, a few entries are
    /// enough.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Entries of the small cache, and of the part of the large one that is asked for again and again.
const FEW: usize = 1000;
/// Entries whose memory is measured.
const MEASURED: usize = 100_000;
const TURNS: usize = 7;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args = Args::parse();
    let (entries, measured, lookups) = match args.bench {
        true => (args.entries, MEASURED, args.lookups),
        false => (FEW, FEW, FEW),
    };
    memory(measured).await;
    lookup(entries, lookups).await;
}

fn cache() -> Cache {
    let hour = Duration::from_secs(3600);
    let settings = CacheSettings {
        enabled: true,
        ttl: hour,
        services_ttl: hour,
        negative_ttl: hour,
        stale_while_revalidate: hour,
        stale_if_error: hour,
        max_bytes: usize::MAX >> 1,
    };
    let metrics = CacheMetrics::register(&mut Registry::new("bench")).backend(&"bench".into());
    Cache::new(
        settings,
        true,
        metrics,
        BackgroundTasks::default(),
        Share::boundless(caller::Resource::LoadBytes),
    )
}

/// A profile such as SFT's, with three services.
fn profile(n: usize) -> Profile {
    let service = |id: &str, kind| Service { id: id.into(), r#type: kind, ..Service::default() };
    Profile {
        name: format!("backends/sft/profiles/SP_{n}"),
        display_name: format!("MVNE service profile {n}"),
        dialect: 1,
        state: 1,
        category: 1,
        radio_access: vec![1, 2, 3],
        services: vec![service("2", 2), service("3", 3), service("4", 1)],
        etag: "\"0123456789abcdef0123456789abcdef\"".into(),
        ..Profile::default()
    }
}

fn resource(n: usize) -> Resource {
    Resource::Profile(format!("SP_{n}").into())
}

/// Reads as a call does; the first read of a profile fills the cache.
async fn read(cache: &Cache, n: usize) -> usize {
    let deadline = Instant::now() + Duration::from_secs(60);
    let load = |_, _| async move { Ok(Value::Profile(Encoded::of(&profile(n)))) };
    let by = (CallerId::Gateway, deadline);
    let (value, _) = cache.read(&resource(n), Control::default(), by, load).await;
    match value.unwrap() {
        Value::Profile(profile) => profile.bytes().len(),
        other => panic!("{other:?}"),
    }
}

/// Reads every profile twice: what is shared when it is served is part of the cost.
async fn fill(cache: &Cache, entries: usize) -> usize {
    let mut encoded = 0;
    for n in 0..entries {
        encoded += read(cache, n).await;
    }
    for n in 0..entries {
        read(cache, n).await;
    }
    encoded
}

async fn memory(entries: usize) {
    let cache = cache();
    // Whatever the first entries bring with them is not theirs.
    fill(&cache, FEW).await;
    cache.purge();
    let before = resident();
    let encoded = fill(&cache, entries).await;
    let used = resident().saturating_sub(before);
    let bound = 2 * encoded + 300 * entries;
    println!(
        "memory of {entries} profiles: {} bytes each, {} of them the profile as encoded;",
        used / entries,
        encoded / entries
    );
    println!(
        "  bound 2 x encoded + 300: {} bytes each, ratio {:.2}",
        bound / entries,
        ratio(used, bound)
    );
    let (kept, weighed) = cache.size();
    println!(
        "  the cache itself counts {kept} entries and {weighed} bytes, ratio to measured {:.2}\n",
        ratio(usize::try_from(weighed).unwrap(), used)
    );
}

#[expect(clippy::cast_precision_loss, reason = "for reading")]
fn ratio(a: usize, b: usize) -> f64 {
    a as f64 / b.max(1) as f64
}

/// Resident memory of this process, in bytes (proc(5), statm, in pages of 4 KiB).
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

async fn lookup(entries: usize, lookups: usize) {
    let (few, many) = (cache(), cache());
    fill(&few, FEW).await;
    fill(&many, entries).await;
    let (mut small, mut hot, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let mut random = SmallRng::seed_from_u64(7);
    for _ in 0..TURNS {
        small.push(turn(&few, FEW, lookups, &mut random).await);
        hot.push(turn(&many, FEW, lookups, &mut random).await);
        all.push(turn(&many, entries, lookups, &mut random).await);
    }
    drop((few, many));
    let (few, many) = (map(FEW), map(entries));
    let (mut map_small, mut map_all) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        map_small.push(map_turn(&few, lookups, &mut random));
        map_all.push(map_turn(&many, lookups, &mut random));
    }
    let (small, hot, all) = (median(small), median(hot), median(all));
    let (map_small, map_all) = (median(map_small), median(map_all));
    let line = |what: &str, ns: f64, of: f64| println!("| {what} | {ns:.0} | {:.2} |", ns / of);
    println!("| lookups | ns each | ratio |\n|---|---:|---:|");
    line(&format!("among {FEW} entries"), small, small);
    line(&format!("of {FEW} among {entries} entries"), hot, small);
    line(&format!("of all {entries} entries, in no order"), all, small);
    line(&format!("std HashMap, among {FEW} entries"), map_small, map_small);
    line(&format!("std HashMap, of all {entries} entries, in no order"), map_all, map_small);
}

/// What the processor's own caches make of the same data without a cache around it.
type Map = HashMap<Resource, Encoded<Profile>>;

fn map(entries: usize) -> Map {
    (0..entries).map(|n| (resource(n), Encoded::of(&profile(n)))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "for reading")]
fn map_turn(map: &Map, lookups: usize, random: &mut SmallRng) -> f64 {
    let started = Instant::now();
    for _ in 0..lookups {
        let profile = map[&resource(random.random_range(0..map.len()))].clone();
        black_box(profile.bytes().len());
    }
    started.elapsed().as_secs_f64() * 1e9 / lookups as f64
}

#[expect(clippy::cast_precision_loss, reason = "for reading")]
async fn turn(cache: &Cache, among: usize, lookups: usize, random: &mut SmallRng) -> f64 {
    let started = Instant::now();
    for _ in 0..lookups {
        read(cache, random.random_range(0..among)).await;
    }
    started.elapsed().as_secs_f64() * 1e9 / lookups as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}
