//! Replicas, callers, a network, and an upstream around the model of the server. Whatever can
//! happen next is an event; a list of numbers chooses among them.

mod check;
mod events;
mod faults;
mod memory;
mod task;

use std::time::Duration;

use self::{check::Check, memory::Kept, task::Task};
pub(crate) use self::{
    check::{Reached, Violation},
    faults::{Faults, Writes},
};
use super::server::{Data, Server, ServerRules};
use crate::shared::protocol::{
    Answer, Command, Entry, EpochId, Next, OwnWrites, Refused, Replica, SentRenewal, Session, Time,
    Timing, Token, WriteId,
};

pub(crate) const REPLICAS: usize = 3;
pub(crate) const PROFILES: usize = 2;
pub(crate) const REQUESTS: usize = 3;

pub(crate) const TIMING: Timing = Timing {
    lease: Duration::from_millis(2_000),
    grace: Duration::from_millis(2_100),
    settle: Duration::from_secs(60),
    longest_lag: Duration::from_secs(1),
};

/// How long a write may send.
pub(crate) const LASTS: Duration = Duration::from_secs(56);
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The rules, to be taken out one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) server: ServerRules,
    pub(crate) memory_needs_lease: bool,
    pub(crate) writes_wait: bool,
    pub(crate) grace: bool,
    pub(crate) outdates_when_joined: bool,
    pub(crate) repeats_wait: bool,
    pub(crate) repeats_wait_for_own_log: bool,
    pub(crate) sends_under_lease: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            server: ServerRules::default(),
            memory_needs_lease: true,
            writes_wait: true,
            grace: true,
            outdates_when_joined: true,
            repeats_wait: true,
            repeats_wait_for_own_log: true,
            sends_under_lease: true,
        }
    }
}

/// What an answer is for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    Join(Session),
    Renew(SentRenewal),
    Read,
    Restore(WriteId, EpochId),
    Task(WriteId),
    /// No answer is waited for.
    Nothing,
}

#[derive(Debug, Clone)]
pub(crate) enum Message {
    Ask {
        epoch: Option<EpochId>,
        command: Command,
    },
    ReadAfter {
        history: u64,
        number: u64,
    },
    Answer(Result<Answer, Refused>),
    Entries(Vec<Entry>),
    /// A write to the upstream, by which task.
    Send {
        profile: usize,
        request: Option<usize>,
        sent: u64,
    },
    /// The upstream's answer.
    Sent,
}

/// A message on its way.
#[derive(Debug, Clone)]
pub(crate) struct InFlight {
    pub(crate) replica: usize,
    pub(crate) process: u64,
    pub(crate) purpose: Purpose,
    pub(crate) message: Message,
    pub(crate) is_copy: bool,
}

/// One process.
pub(crate) struct Process {
    pub(crate) number: u64,
    pub(crate) replica: Replica,
    pub(crate) memory: Kept,
    pub(crate) own: OwnWrites,
    pub(crate) next: Next,
    pub(crate) is_stopped: bool,
    pub(crate) has_read_under_way: bool,
    /// The history of the server that the connection to the log is with.
    pub(crate) log_history: u64,
}

impl Process {
    pub(crate) fn epoch(&self) -> EpochId {
        self.replica.member().map_or_else(|| "".into(), |(epoch, _)| epoch.clone())
    }
}

pub(crate) struct World {
    pub(crate) rules: Rules,
    /// Real time, in milliseconds.
    pub(crate) now: u64,
    pub(crate) server: Server,
    /// What the server kept before its last changes.
    pub(crate) past: Vec<Data>,
    /// The log of an earlier history, which a connection may still read.
    pub(crate) former_log: Vec<Entry>,
    pub(crate) processes: Vec<Process>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) network: Vec<InFlight>,
    pub(crate) check: Check,
    numbers: u64,
}

impl World {
    pub(crate) fn new(rules: Rules) -> Self {
        let server = Server { history: 1, rules: rules.server, ..Server::default() };
        let mut world = Self {
            rules,
            now: 1_000_000,
            server,
            past: Vec::new(),
            former_log: Vec::new(),
            processes: Vec::new(),
            tasks: Vec::new(),
            network: Vec::new(),
            check: Check::default(),
            numbers: 100,
        };
        for _ in 0..REPLICAS {
            let process = world.process();
            world.processes.push(process);
        }
        world
    }

    pub(crate) fn process(&mut self) -> Process {
        Process {
            number: self.number(),
            replica: Replica::new(TIMING),
            memory: Kept::default(),
            own: OwnWrites::default(),
            next: Next::Join,
            is_stopped: false,
            has_read_under_way: false,
            log_history: self.server.history,
        }
    }

    /// A number that was never given before.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn token(&mut self) -> Token {
        Token(self.number())
    }

    /// The clock of a replica: each has another rate, and shows something else.
    pub(crate) fn clock(&self, replica: usize) -> Time {
        let rate = [99, 100, 101].get(replica).copied().unwrap_or(100);
        Duration::from_micros(self.now * 10 * rate) + Duration::from_secs(1000 * replica as u64)
    }

    /// The clock of the server.
    pub(crate) fn server_clock(&self) -> Duration {
        Duration::from_micros(self.now * 10 * 101)
    }

    pub(crate) fn grace(&self) -> Duration {
        if self.rules.grace { TIMING.grace } else { Duration::ZERO }
    }

    pub(crate) fn ask(&mut self, replica: usize, purpose: Purpose, command: Command) {
        let process = &self.processes[replica];
        let epoch = match &purpose {
            Purpose::Renew(sent) => Some(sent.epoch.clone()),
            _ => process.replica.member().map(|(epoch, _)| epoch.clone()),
        };
        let message = Message::Ask { epoch, command };
        self.send(replica, purpose, message);
    }

    pub(crate) fn send(&mut self, replica: usize, purpose: Purpose, message: Message) {
        let process = self.processes[replica].number;
        self.network.push(InFlight { replica, process, purpose, message, is_copy: false });
    }

    /// Makes what a replica says or loses take effect.
    pub(crate) fn heed(&mut self, replica: usize, next: Next) {
        let process = &mut self.processes[replica];
        match next {
            Next::GoOn => {}
            Next::Reconnect => process.log_history = self.server.history,
            Next::Renew | Next::Join => process.next = next,
        }
    }
}
