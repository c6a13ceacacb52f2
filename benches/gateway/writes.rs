//! What a store on the disk costs a write, beside the memory; and how large it becomes, and how
//! long a start over it takes.

use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    Role,
    child::Child,
    load::{self, Clients},
    measure, middle,
};

/// How many writes are made at once.
const AT_ONCE: [usize; 2] = [1, 64];
/// How long the upstream takes for each, in milliseconds.
const UPSTREAM: [u64; 2] = [0, 20];

/// A gateway with one of the stores, and the writes that it has made.
struct Row {
    store: &'static str,
    gateway: Child,
    clients: Clients,
    /// Writes per second, of each round.
    rates: Vec<f64>,
    /// Of all rounds.
    times: Vec<Duration>,
    commits: u64,
}

impl Row {
    async fn each(upstream: &str, directory: &Path) -> Vec<Self> {
        let mut rows = Vec::new();
        for (store, directory) in [("memory", None), ("file", Some(directory))] {
            let gateway = Child::gateway_with_store(upstream, directory);
            let clients = Clients::connect(&gateway.address).await;
            let (rates, times) = (Vec::new(), Vec::new());
            rows.push(Self { store, gateway, clients, rates, times, commits: 0 });
        }
        rows
    }

    async fn turn(&mut self, writes: usize) {
        let before = self.gateway.commits().await;
        let (took, times) = self.clients.delete(writes).await;
        self.commits += self.gateway.commits().await - before;
        self.rates.push(count(times.len()) / took.as_secs_f64());
        self.times.extend(times);
    }

    fn print(mut self, upstream: u64, at_once: usize) {
        self.times.sort_unstable();
        let last = self.times.len() - 1;
        let at = |percent: usize| self.times[last * percent / 100].as_secs_f64() * 1e3;
        println!(
            "| {upstream} ms | {at_once} | {} | {:.0} | {:.2} | {:.2} | {:.2} |",
            self.store,
            middle(self.rates),
            at(50),
            at(99),
            self.commits as f64 / count(self.times.len())
        );
    }
}

/// A directory on the disk of the build, because others may be in memory.
fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn count(of: usize) -> f64 {
    f64::from(u32::try_from(of).unwrap())
}

/// Deletes profiles, each under a `request_id`, with both stores, and prints what it costs.
pub(crate) async fn compare(requests: usize, rounds: usize) {
    println!("\n| upstream | at once | store | writes/s | p50 ms | p99 ms | commits/write |");
    println!("|---:|---:|---|---:|---:|---:|---:|");
    for took in UPSTREAM {
        let upstream = Child::role(Role::Upstream, &took.to_string());
        let url = format!("http://{}", upstream.address);
        for at_once in AT_ONCE {
            // A few seconds each, with the slower upstream.
            let writes = (at_once * 100).min(requests);
            let directory = directory();
            let mut rows = Row::each(&url, directory.path()).await;
            for row in &rows {
                // Warms up.
                load::with_concurrency(at_once, row.clients.delete(writes.div_ceil(10))).await;
            }
            for _ in 0..rounds {
                for row in &mut rows {
                    load::with_concurrency(at_once, row.turn(writes)).await;
                }
            }
            for row in rows {
                row.print(took, at_once);
            }
        }
    }
    reads(requests.div_ceil(5), rounds).await;
}

/// Reads, which ask no store for anything.
async fn reads(each: usize, rounds: usize) {
    let upstream = Child::role(Role::Upstream, "");
    let directory = directory();
    let rows = Row::each(&format!("http://{}", upstream.address), directory.path()).await;
    let mut cpu: [[Vec<f64>; 2]; 2] = Default::default();
    // The first turn warms up.
    for round in 0..=rounds {
        for (at, Row { gateway, clients, .. }) in rows.iter().enumerate() {
            let hits = measure(gateway, async || clients.load(each).await).await;
            let misses = measure(gateway, async || clients.load_new(each).await).await;
            if round > 0 {
                cpu[0][at].push(hits.cpu.as_secs_f64());
                cpu[1][at].push(misses.cpu.as_secs_f64());
            }
        }
    }
    println!("\n| GetProfile | CPU µs with memory | with a file | ratio |\n|---|---:|---:|---:|");
    for (name, cpu) in ["cache hit", "cache miss"].into_iter().zip(cpu) {
        let [memory, file] = cpu.map(|turns| middle(turns) * 1e6 / count(each));
        println!("| {name} | {memory:.1} | {file:.1} | {:.2} |", file / memory);
    }
}

/// Keeps ten times as many ids as there are requests, and prints what they take.
pub(crate) async fn keep(requests: usize) {
    let upstream = Child::role(Role::Upstream, "");
    let url = format!("http://{}", upstream.address);
    let directory = directory();
    let file = directory.path().join("store.redb");
    let size = || fs::metadata(&file).unwrap().len() as f64 / f64::from(1 << 20);
    println!("\n| ids | file MiB | start ms |\n|---:|---:|---:|");
    let mut kept = 0;
    for ids in [0, requests, 10 * requests] {
        let gateway = Child::gateway_with_store(&url, Some(directory.path()));
        let clients = Clients::connect(&gateway.address).await;
        load::with_concurrency(64, clients.delete_from(kept, ids - kept)).await;
        kept = ids;
        gateway.stop();
        let full = size();
        println!("| {ids} | {full:.1} | {:.0} |", start(&url, directory.path()));
    }
    Child::compact(directory.path());
    println!("| {kept}, compacted | {:.1} | {:.0} |", size(), start(&url, directory.path()));
}

/// The milliseconds until a gateway over this store serves; the middle of three.
fn start(url: &str, directory: &Path) -> f64 {
    let mut took = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        let gateway = Child::gateway_with_store(url, Some(directory));
        took.push(began.elapsed().as_secs_f64() * 1e3);
        gateway.stop();
    }
    middle(took)
}
