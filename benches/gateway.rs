//! What the gateway costs per call, beside what cannot be avoided: a bare tonic server that answers
//! the same message, a bare reqwest client that asks the same upstream, the two in one process with
//! nothing else, and the least that a read past the cache has to do beside asking (`least.rs`).
//!
//! Each of them is a process of its own, so that its CPU time can be read; they take turns, so
//! that whatever else the machine does meets all of them. The upstream's CPU time counts for none.
//!
//! And what it costs to know who calls, what a backend that hangs costs the calls to another, how
//! many calls are answered when four times as many are offered as can be, and what a refusal costs.
//! If it is asked for, what a store costs a write, and how large it becomes.
//!
//! `cargo bench --bench gateway -- --requests 100000 --rounds 5`, one of them with `--only hanging`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark that panics has failed, and printing is what it is for"
)]

#[path = "../tests/it/kit/certificates.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is made for tests")]
mod certificates;
#[path = "gateway/child.rs"]
mod child;
#[path = "gateway/cold.rs"]
mod cold;
#[path = "gateway/hanging.rs"]
mod hanging;
#[path = "gateway/least.rs"]
mod least;
#[path = "gateway/list.rs"]
mod list;
#[path = "gateway/load.rs"]
mod load;
#[path = "gateway/overload.rs"]
mod overload;
#[path = "gateway/proved.rs"]
mod proved;
#[path = "gateway/refused.rs"]
mod refused;
#[path = "gateway/roles.rs"]
mod roles;
#[path = "gateway/stack.rs"]
mod stack;
#[path = "../tests/it/kit/tokens.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is made for tests")]
mod tokens;
#[path = "gateway/writes.rs"]
mod writes;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};

use child::Child;
use load::{CONNECTIONS, Clients, concurrency};

// That of the program, for all that is compared with it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    /// Measured requests to each server, over all rounds. CPU time comes in ticks of 10 ms, so a
    /// round of much fewer than 10 000 says little.
    #[arg(long, default_value_t = 100_000)]
    requests: usize,
    /// Turns that each server gets.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Calls at once to each server.
    #[arg(long, default_value_t = 32)]
    at_once: usize,
    /// Measure this alone.
    #[arg(long)]
    only: Option<Part>,
    /// Be one of the processes that are measured; for this program's own use.
    #[arg(long, hide = true)]
    role: Option<Role>,
    /// What the role needs to know.
    #[arg(long, hide = true, default_value = "")]
    with: String,
    /// `cargo bench` says this; without it, as from `cargo test --benches`, a few requests are
    /// enough.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Reads of a profile, from the caller to the upstream.
    Calls,
    /// Many reads at once of what is not in the cache.
    Cold,
    /// The layers around the services, with nothing behind them.
    Stack,
    /// Reads of callers that prove who they are.
    Proved,
    /// A list whose profiles are read one by one.
    List,
    /// Reads of a healthy backend while another one hangs.
    Hanging,
    /// More calls than can be answered, and what it costs to refuse them.
    Overload,
    /// Writes with each store. Only if it is asked for.
    Writes,
    /// How large a store becomes, and how long a start then takes. Only if it is asked for.
    Ids,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// An HTTP upstream that answers at once.
    Upstream,
    /// A gRPC server that answers at once.
    Tonic,
    /// The same over TLS with client certificates.
    Secured,
    /// A gRPC server that refuses at once.
    Refuse,
    /// The same service behind the gateway's own server, with its log and its metrics.
    Stack,
    /// An HTTP client of the upstream.
    Reqwest,
    /// A gRPC server that asks the upstream in each call, and no more.
    Relay,
    /// The gateway's server that does in each call what a read past the cache has to, and no more.
    Least,
}

/// One turn of one process.
#[derive(Clone, Copy)]
struct Turn {
    took: Duration,
    cpu: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    load::set_concurrency(args.at_once);
    match args.role {
        Some(Role::Upstream) => roles::upstream(&args.with).await,
        Some(Role::Tonic) => roles::tonic(&args.with).await,
        Some(Role::Refuse) => roles::refuse(&args.with).await,
        Some(Role::Secured) => proved::tonic(&args.with).await,
        Some(Role::Stack) => roles::stack(&args.with).await,
        Some(Role::Reqwest) => roles::reqwest(&args.with).await,
        Some(Role::Relay) => roles::relay(&args.with).await,
        Some(Role::Least) => least::serve(&args.with).await,
        None if args.bench => all(&args, args.requests, args.rounds.max(1), 1000).await,
        None => all(&args, concurrency(), 1, 10).await,
    }
    ExitCode::SUCCESS
}

async fn all(args: &Args, requests: usize, rounds: usize, profiles: usize) {
    let wanted = |part| args.only.is_none_or(|only| only == part);
    if wanted(Part::Calls) {
        compare(requests, rounds).await;
    }
    if wanted(Part::Cold) {
        cold::compare(profiles * 10).await;
    }
    if wanted(Part::Stack) {
        stack::compare(requests, rounds).await;
    }
    if wanted(Part::Proved) {
        proved::compare(requests, rounds).await;
    }
    if wanted(Part::List) {
        list::compare(profiles, rounds).await;
    }
    if wanted(Part::Hanging) {
        hanging::compare(requests.div_ceil(5), rounds).await;
    }
    if wanted(Part::Overload) {
        overload::compare(requests, rounds, profiles).await;
        refused::compare(requests, rounds).await;
        // In a flood, more than one call waits each time that the process wakes.
        load::with_concurrency(refused::FLOOD, refused::compare(requests, rounds)).await;
    }
    // What takes minutes is measured only if it is asked for.
    let asked_for = |part| wanted(part) && (args.only.is_some() || !args.bench);
    if asked_for(Part::Writes) {
        writes::compare(requests, rounds).await;
    }
    if asked_for(Part::Ids) {
        writes::keep(requests).await;
    }
}

async fn compare(requests: usize, rounds: usize) {
    let upstream = Child::role(Role::Upstream, "");
    let url = format!("http://{}", upstream.address);
    let gateway = Child::gateway(&url);
    let through_gateway = Clients::connect(&gateway.address).await;
    let profile = through_gateway.get().await;
    let tonic = Child::role(Role::Tonic, &load::to_text(&profile));
    let to_tonic = Clients::connect(&tonic.address).await;
    assert_eq!(to_tonic.get().await, profile);
    let mut reqwest = Child::role(Role::Reqwest, &url);
    let relay = Child::role(Role::Relay, &format!("{url} {}", load::to_text(&profile)));
    let to_relay = Clients::connect(&relay.address).await;
    let least = Child::logging_role(Role::Least, &url);
    let to_least = Clients::connect(&least.address).await;

    let each = (requests / rounds).max(1);
    let (mut bare, mut client, mut both) = (Vec::new(), Vec::new(), Vec::new());
    let (mut reads, mut hits, mut misses) = (Vec::new(), Vec::new(), Vec::new());
    // The first turn warms up: connections, allocators, branch predictors.
    for round in 0..=rounds {
        let turns = (
            measure(&tonic, async || to_tonic.load(each).await).await,
            reqwest.exchange(each),
            measure(&relay, async || to_relay.load_new(each).await).await,
            measure(&least, async || to_least.load_new(each).await).await,
            measure(&gateway, async || through_gateway.load(each).await).await,
            measure(&gateway, async || through_gateway.load_new(each).await).await,
        );
        if round > 0 {
            bare.push(turns.0);
            client.push(turns.1);
            both.push(turns.2);
            reads.push(turns.3);
            hits.push(turns.4);
            misses.push(turns.5);
        }
    }
    report(
        each,
        rounds,
        &[
            ("bare tonic server", bare, &[]),
            ("through the gateway, cache hit", hits, &[0]),
            ("bare reqwest GET + decode", client, &[]),
            ("bare tonic server with a bare reqwest", both, &[2]),
            ("the least that reads past a cache", reads, &[3]),
            ("through the gateway, cache miss", misses, &[3, 4]),
        ],
    );
}

async fn measure(server: &Child, load: impl AsyncFnOnce() -> Duration) -> Turn {
    let before = server.cpu();
    let took = load().await;
    Turn { took, cpu: server.cpu() - before }
}

/// What a process is called, its turns, and the rows that it is held against.
type Row<'r> = (&'r str, Vec<Turn>, &'r [usize]);

fn report(each: usize, rounds: usize, rows: &[Row<'_>]) {
    let requests = u32::try_from(each).unwrap();
    let rate = |turns: &[Turn]| f64::from(requests) / median(turns, |turn| turn.took);
    let cpu = |turns: &[Turn]| median(turns, |turn| turn.cpu) * 1e6 / f64::from(requests);
    println!("| GetProfile | requests/s | CPU µs/request | ratio of CPU |");
    println!("|---|---:|---:|---|");
    for (name, turns, others) in rows {
        let own = cpu(turns);
        let ratio = |other: &usize| {
            let (name, turns, _) = &rows[*other];
            format!("{:.2} to \"{name}\"", own / cpu(turns))
        };
        let ratios: Vec<_> = others.iter().map(ratio).collect();
        println!("| {name} | {:.0} | {own:.1} | {} |", rate(turns), ratios.join(", "));
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "\nmedians of {rounds} rounds of {each} requests, {} at once over {CONNECTIONS} \
         connections, {cores} cores for all processes; CPU of the named process alone",
        concurrency()
    );
}

/// In seconds.
fn median(turns: &[Turn], of: impl Fn(&Turn) -> Duration) -> f64 {
    middle(turns.iter().map(|turn| of(turn).as_secs_f64()).collect())
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
