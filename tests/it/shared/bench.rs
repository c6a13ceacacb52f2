//! A replica that is connected to a server, and notes what it is told.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use profile_gateway::{
    shared::{
        SharedMetrics, SharedSettings,
        connection::{
            Connections, Failure, Fault, Replication, Server, ServerInfo, Session, State,
            Supervisor,
        },
    },
    telemetry::Registry,
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};

use crate::kit::until;

/// For a broken program, not for a slow one.
const LONG: Duration = Duration::from_secs(30);

/// The settings of a server at this URL.
pub fn at(url: &str) -> SharedSettings {
    SharedSettings { url: Some(url.parse().unwrap()), ..SharedSettings::default() }
}

/// The settings of a server at this address.
pub fn over_tcp(address: std::net::SocketAddr) -> SharedSettings {
    at(&format!("redis://{address}"))
}

/// What a session was told, and what it answers.
pub struct Told {
    pub begun: AtomicUsize,
    pub renewed: AtomicUsize,
    pub left: AtomicUsize,
    pub lost: Mutex<Vec<Fault>>,
    /// A session begins with one of these.
    pub may_begin: Semaphore,
    /// What it does not begin for.
    pub refuses: Mutex<Option<Failure>>,
    /// What it is not renewed for.
    pub ends: Mutex<Option<Failure>>,
    pub server: Mutex<Option<ServerInfo>>,
}

#[async_trait]
impl Session for Told {
    async fn begin(&self, _: &Connections, server: &ServerInfo) -> Result<(), Failure> {
        self.begun.fetch_add(1, SeqCst);
        *self.server.lock().unwrap() = Some(server.clone());
        self.may_begin.acquire().await.unwrap().forget();
        self.refuses.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    async fn renew(&self, _: &Connections, said: &Replication) -> Result<(), Failure> {
        assert!(!said.id.is_empty());
        self.renewed.fetch_add(1, SeqCst);
        self.ends.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn lose(&self, why: &Failure) {
        self.lost.lock().unwrap().push(why.fault);
    }

    async fn leave(&self, connections: &Connections) {
        let answer = connections.commands.ask::<String>(&redis::cmd("PING")).await;
        assert_eq!(answer.as_deref(), Ok("PONG"), "there are connections yet");
        self.left.fetch_add(1, SeqCst);
    }
}

/// A replica under way.
pub struct Replica {
    pub supervisor: Supervisor,
    pub told: Arc<Told>,
    registry: Registry,
}

impl Replica {
    /// One whose sessions begin at once.
    pub fn start(settings: &SharedSettings) -> Self {
        Self::holding(settings, Semaphore::MAX_PERMITS)
    }

    /// One of which so many sessions may begin.
    pub fn holding(settings: &SharedSettings, sessions: usize) -> Self {
        let told = Arc::new(Told {
            begun: AtomicUsize::new(0),
            renewed: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            lost: Mutex::default(),
            may_begin: Semaphore::new(sessions),
            refuses: Mutex::default(),
            ends: Mutex::default(),
            server: Mutex::default(),
        });
        let mut registry = Registry::new("0.0.0");
        let metrics = SharedMetrics::register(&mut registry);
        let server = Server::new(settings).unwrap();
        let session: Arc<dyn Session> = told.clone();
        let supervisor = Supervisor::start(server, session, metrics);
        Self { supervisor, told, registry }
    }

    async fn when(&self, what: &str, mut is: impl FnMut(&State) -> bool) -> State {
        let mut state: watch::Receiver<State> = self.supervisor.state();
        let waited = timeout(LONG, state.wait_for(|state| is(state))).await;
        match waited {
            Ok(state) => state.unwrap().clone(),
            Err(_) => panic!("never {what}: {:?}", self.supervisor),
        }
    }

    /// Its connections, once there are some.
    pub async fn up(&self) -> Arc<Connections> {
        match self.when("connected", |state| matches!(state, State::Up(_))).await {
            State::Up(connections) => connections,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until it is not connected for this fault, and has no connections to give.
    pub async fn down_for(&self, fault: Fault) -> Failure {
        let is = |state: &State| matches!(state, State::Down(why, _) if why.fault == fault);
        match self.when(fault.name(), is).await {
            State::Down(why, _) => why,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until its connections have ended, and gives why.
    pub async fn lost(&self, sessions: usize) -> Fault {
        until("the session ends", async || self.told.lost.lock().unwrap().len() >= sessions).await;
        self.told.lost.lock().unwrap()[sessions - 1]
    }

    /// Waits until its session has been renewed so often again.
    pub async fn renewed(&self, times: usize) {
        let before = self.told.renewed.load(SeqCst);
        until("it is renewed", async || self.told.renewed.load(SeqCst) >= before + times).await;
    }

    /// Since when it is not connected.
    pub fn down_since(&self) -> Instant {
        match &*self.supervisor.state().borrow() {
            State::Down(_, since) => *since,
            other => panic!("{other:?}"),
        }
    }

    /// Whether its metrics have this line.
    pub fn counts(&self, line: &str) -> bool {
        self.registry.encode().lines().any(|found| found == line)
    }
}
