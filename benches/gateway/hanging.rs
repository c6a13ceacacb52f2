//! What a backend that hangs costs the calls to another: the slowest hundredth of them alone, and
//! while the other backend's slots and queue are full and calls for it keep coming.

use std::time::Duration;

use profile_gateway::pb::{GetProfileRequest, profile_service_client::ProfileServiceClient};
use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tonic::transport::{Channel, Endpoint};

use crate::{Role, child::Child};

/// Calls at once to the backend that is well: few, so that it is not the cores that they wait for.
const CONCURRENCY: usize = 4;
/// As many as the default bounds let in and queue, and more.
const STUCK: usize = 400;
/// Between calls that find the queue full.
const KNOCK: Duration = Duration::from_millis(20);

type Client = ProfileServiceClient<Channel>;

/// Turns of each kind in a round: short ones, so that whatever else the machine does meets both.
const TURNS: usize = 4;

/// Calls the healthy backend alone and beside the other, in turns, and prints the slowest
/// hundredth.
pub(crate) async fn compare(requests: usize, rounds: usize) {
    let well = Child::role(Role::Upstream, "");
    let hanging = hanging_upstream().await;
    let gateway = Child::gateway_over_two(&format!("http://{}", well.address), &hanging);
    let calls = client(&gateway).await;
    let mut knocks = Vec::new();
    // Connections of their own: the measured one carries nothing else.
    for _ in 0..4 {
        knocks.push(client(&gateway).await);
    }
    let each = (requests / rounds / TURNS).max(1);
    load(&calls, each).await;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..rounds * TURNS {
        alone.extend(load(&calls, each).await);
        let stuck = hang(knocks.clone());
        wait_until_full(&calls).await;
        beside.extend(load(&calls, each).await);
        stuck.abort();
        // The calls that are given up leave their slots.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (unit, own) = (slowest_hundredth(alone), slowest_hundredth(beside));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("\n| GetProfile of a healthy backend | p99 ms | ratio |");
    println!("|---|---:|---:|");
    println!("| alone | {:.2} | 1.00 |", ms(unit));
    println!("| while another backend hangs | {:.2} | {:.2} |", ms(own), ms(own) / ms(unit));
    println!(
        "\nof {} requests each, {CONCURRENCY} at once, in {} turns; {STUCK} calls to the other \
         backend fill its slots and its queue, and one more comes every {} ms",
        each * rounds * TURNS,
        rounds * TURNS,
        KNOCK.as_millis()
    );
}

/// All but a hundredth took no longer than this.
fn slowest_hundredth(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

async fn client(gateway: &Child) -> Client {
    let endpoint = Endpoint::new(format!("http://{}", gateway.address)).unwrap();
    ProfileServiceClient::new(endpoint.tcp_nodelay(true).connect().await.unwrap())
}

fn get(backend: &str) -> GetProfileRequest {
    GetProfileRequest { name: format!("backends/{backend}/profiles/SP_2"), read_mask: None }
}

/// Makes so many calls to the healthy backend and says how long each took.
async fn load(client: &Client, requests: usize) -> Vec<Duration> {
    let mut tasks = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let mut client = client.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            for _ in 0..requests.div_ceil(CONCURRENCY) {
                let started = Instant::now();
                client.get_profile(get("sft")).await.unwrap();
                times.push(started.elapsed());
            }
            times
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// Fills the other backend and keeps knocking.
fn hang(clients: Vec<Client>) -> AbortHandle {
    let task = tokio::spawn(async move {
        let mut tasks = JoinSet::new();
        loop {
            let more = if tasks.is_empty() { STUCK } else { 1 };
            for mut client in clients.iter().cloned().cycle().take(more) {
                tasks.spawn(async move { client.get_profile(get("hanging")).await.is_err() });
            }
            while tasks.try_join_next().is_some() {}
            tokio::time::sleep(KNOCK).await;
        }
    });
    task.abort_handle()
}

/// Until a call is turned away at once: slots and queue are taken.
async fn wait_until_full(client: &Client) {
    let mut client = client.clone();
    let patience = Duration::from_millis(500);
    loop {
        let call = tokio::time::timeout(patience, client.get_profile(get("hanging"))).await;
        if call.is_ok_and(|answer| answer.is_err()) {
            return;
        }
    }
}

/// Takes every request and answers none.
pub(crate) async fn hanging_upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(
                async move { while stream.read(&mut [0; 4096]).await.is_ok_and(|n| n > 0) {} },
            );
        }
    });
    url
}
