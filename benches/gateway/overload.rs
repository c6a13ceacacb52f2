//! How much is answered of more than can be: first what all callers together can get, then what is
//! left of it when one of them offers four times as much, and what another one gets beside that.
//!
//! Once it is the upstream's slots that bound it, and once the processor. The latter with calls
//! that take the gateway much longer than a client: of reads of one profile, this machine could not
//! offer four times as many as the gateway can answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use profile_gateway::pb::{
    GetProfileRequest, ListProfilesRequest, Profile, profile_service_client::ProfileServiceClient,
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

use crate::{Role, child::Child, list};

/// Requests that the upstream works on at once, and how long each takes there.
const SLOTS: usize = 16;
const TOOK: Duration = Duration::from_millis(20);
/// Profiles that each list goes over.
const PROFILES: usize = 1000;
/// How long a caller waits for its answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often calls are made that come evenly.
const TICK: Duration = Duration::from_millis(2);
/// Connections of each caller.
const CONNECTIONS: usize = 8;
/// How many times the capacity the first caller offers, and the part of it that the other does.
const TIMES: f64 = 4.0;
const PART: f64 = 16.0;

/// What is asked for.
#[derive(Clone, Copy)]
enum What {
    /// A profile that is not in the cache.
    Profile,
    /// A list in the cache of which a filter leaves nothing.
    List,
}

/// The clients of one caller, and the next profile that none of them has asked for.
#[derive(Clone)]
pub(crate) struct Caller {
    clients: Vec<ProfileServiceClient<Channel>>,
    next: Arc<AtomicUsize>,
}

impl Caller {
    /// One with an address of its own, which makes it another caller. `first` is the first profile
    /// that it asks for.
    pub(crate) async fn connect(gateway: &Child, source: &str, first: usize) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let endpoint = Endpoint::new(format!("http://{}", gateway.address)).unwrap();
            let endpoint = endpoint.tcp_nodelay(true).local_address(Some(source.parse().unwrap()));
            clients.push(ProfileServiceClient::new(endpoint.connect().await.unwrap()));
        }
        Self { clients, next: Arc::new(AtomicUsize::new(first)) }
    }

    /// Reads a profile.
    pub(crate) async fn read(&self, backend: &str, id: usize) -> Profile {
        self.try_read(0, backend, id).await.unwrap()
    }

    /// Reads a profile over one of its connections.
    pub(crate) async fn get(&self, n: usize, backend: &str, id: usize) -> Result<(), Status> {
        self.try_read(n, backend, id).await.map(drop)
    }

    async fn try_read(&self, n: usize, backend: &str, id: usize) -> Result<Profile, Status> {
        let mut client = self.clients[n % CONNECTIONS].clone();
        let name = format!("backends/{backend}/profiles/SP_{id}");
        let request = GetProfileRequest { name, read_mask: None };
        client.get_profile(request).await.map(Response::into_inner)
    }

    /// Reads a profile that it has not asked for yet.
    pub(crate) async fn get_new(&self, backend: &str) -> Result<(), Status> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.get(id, backend, id).await
    }

    async fn list(&self) -> Result<(), Status> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut client = self.clients[id % CONNECTIONS].clone();
        let (parent, filter) = ("backends/iot".to_owned(), "nowhere".to_owned());
        let request = ListProfilesRequest { parent, filter, ..Default::default() };
        client.list_profiles(request).await.map(Response::into_inner).map(drop)
    }

    async fn is_answered(&self, what: What) -> bool {
        let answer = async {
            match what {
                What::Profile => self.get_new("sft").await,
                What::List => self.list().await,
            }
        };
        timeout(PATIENCE, answer).await.is_ok_and(|answer| answer.is_ok())
    }

    /// Asks again as soon as there is an answer, with so many calls at once.
    async fn ask(&self, what: What, at_once: usize, time: Duration) -> f64 {
        let (started, mut calls) = (Instant::now(), JoinSet::new());
        for _ in 0..at_once {
            let caller = self.clone();
            calls.spawn(async move {
                let mut answered = 0_u32;
                while started.elapsed() < time {
                    answered += u32::from(caller.is_answered(what).await);
                }
                answered
            });
        }
        let answered: u32 = calls.join_all().await.into_iter().sum();
        f64::from(answered) / started.elapsed().as_secs_f64()
    }

    /// Offers so many calls per second, whatever becomes of them.
    async fn offer(&self, what: What, per_second: f64, time: Duration) -> Offered {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (started, mut calls, mut offered) = (Instant::now(), JoinSet::new(), 0_u32);
        while started.elapsed() < time {
            tick.tick().await;
            while f64::from(offered) < per_second * started.elapsed().as_secs_f64() {
                offered += 1;
                let caller = self.clone();
                calls.spawn(async move { caller.is_answered(what).await });
            }
        }
        let answered = calls.join_all().await.into_iter().filter(|answered| *answered).count();
        let answered = f64::from(u32::try_from(answered).unwrap());
        // What waited at the end is answered after it.
        let rate = answered / started.elapsed().as_secs_f64();
        Offered { rate, part: answered / f64::from(offered) }
    }
}

/// The outcome of the calls that were offered.
struct Offered {
    /// Answered per second.
    rate: f64,
    /// Answered, of those that were offered.
    part: f64,
}

/// One round, in answers per second.
struct Round {
    alone: f64,
    capacity: f64,
    greedy: Offered,
    modest: Offered,
}

/// Offers more than can be answered, at most three times, and prints how much is.
pub(crate) async fn compare(requests: usize, rounds: usize, profiles: usize) {
    let upstream = Child::role(Role::Upstream, &TOOK.as_millis().to_string());
    let well = format!("http://{}", upstream.address);
    let profiles = profiles.min(PROFILES);
    let lists = list::upstream(profiles, Arc::default()).await;
    let gateway = Child::gateway_in_shares(&well, SLOTS, &lists);
    let greedy = Caller::connect(&gateway, "127.0.0.2", 1_000).await;
    let modest = Caller::connect(&gateway, "127.0.0.3", 50_000_000).await;
    // Five seconds, and much less where a few requests are to be enough.
    let time = Duration::from_micros(u64::try_from(requests).unwrap() * 50);
    let time = time.clamp(Duration::from_millis(200), Duration::from_secs(5));
    println!("\n| offered to the gateway | answered/s | ratio |\n|---|---:|---:|");
    let bounds =
        [(What::Profile, "GetProfile past the cache"), (What::List, "ListProfiles with a filter")];
    for (what, name) in bounds {
        // The first list fills the cache.
        greedy.list().await.unwrap();
        let mut all = Vec::new();
        for _ in 0..rounds.min(3) {
            all.push(round(what, (&greedy, &modest), time).await);
        }
        report(name, &all);
    }
    println!(
        "\nthe least of {} rounds; {SLOTS} slots and an upstream that takes {} ms for a profile; \
         lists of {profiles} in the cache, where the processor is what there is too little of",
        rounds.min(3),
        TOOK.as_millis(),
    );
}

async fn round(what: What, callers: (&Caller, &Caller), time: Duration) -> Round {
    let (greedy, modest) = callers;
    let alone = greedy.ask(what, 2 * SLOTS, time).await;
    let both = tokio::join!(greedy.ask(what, SLOTS, time), modest.ask(what, SLOTS, time));
    let capacity = both.0 + both.1;
    let (greedy, modest) = tokio::join!(
        greedy.offer(what, TIMES * capacity, time),
        modest.offer(what, capacity / PART, time)
    );
    Round { alone, capacity, greedy, modest }
}

fn report(name: &str, rounds: &[Round]) {
    let row = |load: &str, rate: &dyn Fn(&Round) -> f64, ratio: &dyn Fn(&Round) -> f64| {
        println!("| {name}: {load} | {:.0} | {:.2} |", least(rounds, rate), least(rounds, ratio));
    };
    row("as much as there is, by two callers", &|round| round.capacity, &|_| 1.0);
    row("the same by one alone", &|round| round.alone, &|round| round.alone / round.capacity);
    let all = |round: &Round| round.greedy.rate + round.modest.rate;
    row("four times as much by one, and a sixteenth by another", &all, &|round| {
        all(round) / round.capacity
    });
    row("the other's, of what it offers", &|round| round.modest.rate, &|round| round.modest.part);
}

fn least(rounds: &[Round], of: &dyn Fn(&Round) -> f64) -> f64 {
    rounds.iter().map(of).fold(f64::INFINITY, f64::min)
}
