//! A TCP proxy for one client, which knows nothing of what it carries, and lets it through, holds
//! it, or loses it, in either direction.
//!
//! A client that opens connections for different uses, always in the same order, has a lane for
//! each of them. When one of them ends, it opens all of them again.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What is done to what is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flow {
    /// It goes on.
    Pass,
    /// It goes on after so long.
    Delay(Duration),
    /// It is kept, and goes on when it may, also if its sender has left.
    Hold,
    /// It is lost, and so is the end of the connection.
    Lose,
}

/// Where something is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum To {
    Server,
    Client,
}

/// The proxy; ends when dropped.
pub struct Wire {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    /// Of each lane.
    servers: Vec<Mutex<SocketAddr>>,
    to_server: Vec<watch::Sender<Flow>>,
    to_client: Vec<watch::Sender<Flow>>,
    cut: watch::Sender<usize>,
    refusing: watch::Sender<bool>,
    opened: AtomicUsize,
    next: Mutex<Next>,
}

/// Which connection comes next: the set of connections that are opened together, and the lane.
#[derive(Default)]
struct Next {
    set: usize,
    lane: usize,
}

impl Wire {
    /// A proxy in front of this server, which lets everything through, for a client that opens so
    /// many connections together.
    pub async fn to(server: SocketAddr, lanes: usize) -> Self {
        Self::to_each(vec![server; lanes]).await
    }

    /// The same in front of a server for each lane.
    pub async fn to_each(servers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let flows = || servers.iter().map(|_| watch::Sender::new(Flow::Pass)).collect();
        let (to_server, to_client) = (flows(), flows());
        let shared = Arc::new(Shared {
            servers: servers.into_iter().map(Mutex::new).collect(),
            to_server,
            to_client,
            cut: watch::Sender::default(),
            refusing: watch::Sender::default(),
            opened: AtomicUsize::new(0),
            next: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let accepting = accept(listener, Arc::clone(&shared));
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self { address, shared, _stop: stop.drop_guard() }
    }

    /// What is done from now on to what goes there.
    pub fn flow(&self, to: To, flow: Flow) {
        (0..self.shared.servers.len()).for_each(|lane| self.lane(lane, to, flow));
    }

    /// The same on one lane.
    pub fn lane(&self, lane: usize, to: To, flow: Flow) {
        self.shared.flows(to)[lane].send_replace(flow);
    }

    /// Resets all connections.
    pub fn cut(&self) {
        self.shared.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Opens connections to another server from now on, and resets those that are open.
    pub fn lead_to(&self, server: SocketAddr) {
        for lane in &self.shared.servers {
            *lane.lock().unwrap() = server;
        }
        self.cut();
    }

    /// Resets connections as soon as they are opened, or does not any more.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.send_replace(refusing);
    }

    /// How many connections were opened.
    pub fn opened(&self) -> usize {
        self.shared.opened.load(SeqCst)
    }
}

impl Shared {
    fn flows(&self, to: To) -> &[watch::Sender<Flow>] {
        match to {
            To::Server => &self.to_server,
            To::Client => &self.to_client,
        }
    }

    /// The set and the lane of a connection that was opened.
    fn next(&self) -> (usize, usize) {
        let mut next = self.next.lock().unwrap();
        if next.lane == self.servers.len() {
            *next = Next { set: next.set + 1, lane: 0 };
        }
        next.lane += 1;
        (next.set, next.lane - 1)
    }

    /// A connection of this set has ended: no other is opened in it.
    fn ended(&self, set: usize) {
        let mut next = self.next.lock().unwrap();
        if next.set == set {
            *next = Next { set: set + 1, lane: 0 };
        }
    }
}

/// Ends its set when dropped.
struct Ends<'a> {
    shared: &'a Shared,
    set: usize,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.shared.ended(self.set);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        shared.opened.fetch_add(1, SeqCst);
        // Refused ones are of no lane.
        if *shared.refusing.borrow() {
            let _ = client.set_zero_linger();
            continue;
        }
        connections.spawn(serve(client, shared.next(), Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(client: TcpStream, place: (usize, usize), shared: Arc<Shared>) -> io::Result<()> {
    let (set, lane) = place;
    let ends = Ends { shared: &shared, set };
    let mut cut = shared.cut.subscribe();
    let address = *shared.servers[lane].lock().unwrap();
    let (mut client, mut server) = (client, TcpStream::connect(address).await?);
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        // However it ends, nothing of it is left.
        stream.set_zero_linger()?;
    }
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let to = |to| shared.flows(to)[lane].subscribe();
    tokio::select! {
        // Both, because what is held goes on although its sender has left.
        _ = async { tokio::join!(
            pump(from_client, to_server, to(To::Server)),
            pump(from_server, to_client, to(To::Client)),
        ) } => {}
        _ = cut.changed() => {}
    }
    // Before the client sees it.
    drop(ends);
    Ok(())
}

async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut flow: watch::Receiver<Flow>) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        let waited = flow.wait_for(|flow| match flow {
            Flow::Hold => false,
            // A connection that is lost does not end.
            Flow::Lose => read > 0,
            Flow::Pass | Flow::Delay(_) => true,
        });
        let Ok(now) = waited.await.map(|now| *now) else { return };
        if let Flow::Delay(time) = now {
            sleep(time).await;
        }
        if read == 0 {
            let _ = to.shutdown().await;
            return;
        }
        if now != Flow::Lose && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_wire_does_to_each_direction_and_lane_what_it_is_told_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wire = Wire::to(listener.local_addr().unwrap(), 2).await;
    let mut pairs = Vec::new();
    for _ in 0..2 {
        let client = TcpStream::connect(wire.address).await.unwrap();
        pairs.push((client, listener.accept().await.unwrap().0));
    }
    let short = Duration::from_millis(100);
    let mut byte = [0];
    let [(client, server), (other, other_server)] = &mut pairs[..] else { panic!() };
    wire.lane(0, To::Server, Flow::Hold);
    client.write_all(b"a").await.unwrap();
    other.write_all(b"b").await.unwrap();
    assert_eq!(other_server.read(&mut byte).await.unwrap(), 1, "it has a lane of its own");
    assert!(timeout(short, server.read(&mut byte)).await.is_err(), "it is held");
    server.write_all(b"c").await.unwrap();
    assert_eq!(client.read(&mut byte).await.unwrap(), 1, "the other direction passes");
    wire.flow(To::Server, Flow::Delay(Duration::from_millis(1)));
    assert_eq!((server.read(&mut byte).await.unwrap(), &byte), (1, b"a"));
    wire.flow(To::Client, Flow::Lose);
    server.write_all(b"d").await.unwrap();
    assert!(timeout(short, client.read(&mut byte)).await.is_err(), "it is lost");
    wire.flow(To::Client, Flow::Pass);
    server.write_all(b"e").await.unwrap();
    assert_eq!((client.read(&mut byte).await.unwrap(), &byte), (1, b"e"));
    wire.cut();
    assert!(client.read(&mut byte).await.is_err(), "it is cut");
    wire.refuse(true);
    let mut refused = TcpStream::connect(wire.address).await.unwrap();
    assert!(refused.read(&mut byte).await.is_err(), "it is refused");
    wire.refuse(false);
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    wire.lead_to(elsewhere.local_addr().unwrap());
    let _client = TcpStream::connect(wire.address).await.unwrap();
    elsewhere.accept().await.unwrap();
    assert_eq!(wire.opened(), 4);
}

#[tokio::test]
async fn a_client_that_opens_its_connections_again_begins_with_the_first_lane() {
    let servers = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = servers.iter().map(|server| server.local_addr().unwrap()).collect();
    let wire = Wire::to_each(addresses).await;
    let [first, second] = servers.map(|server| {
        server.set_nonblocking(true).unwrap();
        TcpListener::from_std(server).unwrap()
    });
    // It opens one, gives up, and opens all.
    drop(TcpStream::connect(wire.address).await.unwrap());
    let mut given_up = first.accept().await.unwrap().0;
    assert!(!matches!(given_up.read(&mut [0]).await, Ok(1..)), "it has ended");
    let _both = [(); 2].map(|()| TcpStream::connect(wire.address));
    let _both = futures_util::future::join_all(_both).await;
    let accepted = async { (first.accept().await.unwrap(), second.accept().await.unwrap()) };
    timeout(Duration::from_secs(30), accepted).await.expect("each has its lane");
}
