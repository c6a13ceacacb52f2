//! A write, from the first command to the answer.

use std::{sync::Arc, time::Duration};

use super::{
    InFlight, KEPT, LASTS, Message, Purpose, TIMING, World,
    check::{Violation, request_name},
    memory::target,
};
use crate::shared::protocol::{
    Acknowledgement, Answer, Begin, Begun, Close, Closed, Command, Memory, Open, Opened, Outcome,
    OwnWrite, Refused, Step, TakeTurn, Time, Timing, Token, TurnTaken, WriteId,
};

#[derive(Debug)]
pub(crate) enum Phase {
    Begin,
    TakeTurn,
    Open,
    /// An earlier attempt may have taken effect.
    Look,
    Send,
    Sent,
    Close(Outcome),
    Wait(Box<Acknowledgement>),
    Over,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) write: WriteId,
    pub(crate) replica: usize,
    pub(crate) process: u64,
    pub(crate) profile: usize,
    pub(crate) request: Option<usize>,
    pub(crate) phase: Phase,
    pub(crate) own: OwnWrite,
    attempt: Token,
    turn: Token,
    generation: u64,
    /// When nothing of an earlier attempt takes effect any more.
    settled: Option<Time>,
    pub(crate) is_asking: bool,
    began: bool,
    /// The version that the caller is told.
    version: Option<u64>,
}

impl World {
    pub(crate) fn start_task(&mut self, replica: usize, profile: usize, request: Option<usize>) {
        let (write, attempt, turn) = (WriteId(self.number()), self.token(), self.token());
        let own = OwnWrite {
            write,
            target: target(profile),
            known_in: self.processes[replica].epoch(),
            sends_until: self.clock(replica) + Timing::granted(LASTS),
            is_open: false,
            turn: None,
            request: None,
            intent: None,
            intent_ended: None,
            ended: None,
        };
        self.tasks.push(Task {
            write,
            replica,
            process: self.processes[replica].number,
            profile,
            request,
            phase: if request.is_some() { Phase::Begin } else { Phase::TakeTurn },
            own,
            attempt,
            turn,
            generation: 0,
            settled: None,
            is_asking: false,
            began: false,
            version: None,
        });
    }

    /// Whether a task could do something now.
    pub(crate) fn is_ready(&self, task: &Task) -> bool {
        let process = &self.processes[task.replica];
        let is_alive = process.number == task.process && !process.is_stopped;
        is_alive && !matches!(task.phase, Phase::Over)
    }

    /// Does the next step of a task; if it waits for an answer, it asks again.
    pub(crate) fn step(&mut self, index: usize) {
        let now = self.clock(self.tasks[index].replica);
        let task = &self.tasks[index];
        let (replica, write) = (task.replica, task.write);
        let command = match &task.phase {
            Phase::Begin => self.begin(task),
            Phase::TakeTurn => Command::TakeTurn(TakeTurn {
                profile: task.own.target.clone(),
                token: task.turn,
                lasts: LASTS,
                grace: self.grace(),
            }),
            Phase::Open => self.open(index),
            Phase::Look => return self.look(index, now),
            Phase::Send => return self.send_write(index, now),
            Phase::Sent => return self.look_after(index),
            Phase::Close(outcome) => self.close(task, outcome.clone()),
            Phase::Wait(_) => return self.wait(index, now),
            Phase::Over => return,
        };
        if self.processes[replica].replica.member().is_some() {
            self.tasks[index].is_asking = true;
            self.ask(replica, Purpose::Task(write), command);
        }
    }

    fn begin(&self, task: &Task) -> Command {
        Command::Begin(Begin {
            request: request_name(task.request.unwrap_or_default()),
            fingerprint: "f".into(),
            attempt: task.attempt,
            lasts: LASTS,
            grace: self.grace(),
            doubted: None,
        })
    }

    fn open(&mut self, index: usize) -> Command {
        let task = &mut self.tasks[index];
        let must_look = task.own.intent.is_some() && task.settled.is_some() && !task.began;
        let intent: Option<Arc<[u8]>> = (!must_look).then(|| [1].into());
        if !task.own.is_open {
            task.own.is_open = true;
            self.processes[task.replica].memory.opened(task.write, &task.own.target);
        }
        if let (Some(intent), true) = (&intent, task.request.is_some()) {
            (task.own.intent, task.own.intent_ended) = (Some(intent.clone()), None);
        }
        self.processes[task.replica].own.note(&task.own);
        Command::Open(Open {
            write: task.write,
            target: task.own.target.clone(),
            lasts: LASTS,
            turn: Some((task.own.target.clone(), task.turn)),
            request: task.request.map(|request| (request_name(request), task.attempt)),
            intent,
            unnamed: None,
        })
    }

    fn close(&self, task: &Task, outcome: Outcome) -> Command {
        Command::Close(Close {
            write: task.write,
            target: task.own.target.clone(),
            turn: Some((task.own.target.clone(), task.turn)),
            request: task.request.map(|request| (request_name(request), task.attempt)),
            intent: task
                .own
                .intent
                .clone()
                .filter(|_| outcome == Outcome::Unknown && task.own.intent_ended.is_none()),
            outcome,
            kept: KEPT,
            made: None,
        })
    }

    /// Finds out what an earlier attempt did.
    fn look(&mut self, index: usize, now: Time) {
        let task = &mut self.tasks[index];
        let found = task.request.and_then(|request| self.check.effect_of(request));
        if let Some(effect) = found {
            task.version = Some(effect.version);
            self.end(index, Outcome::Done([2].into()), now);
        } else if task.settled.is_some_and(|at| now >= at) {
            task.began = true;
            task.phase = Phase::Open;
        } else {
            self.end(index, Outcome::Unknown, now);
        }
    }

    fn send_write(&mut self, index: usize, now: Time) {
        let task = &self.tasks[index];
        let process = &self.processes[task.replica];
        let may_begin = !self.rules.sends_under_lease || process.replica.may_serve(now);
        if !may_begin || !process.own.may_send(task.write, now) {
            return self.end(index, Outcome::Nothing, now);
        }
        let (profile, request) = (task.profile, task.request);
        let others = self.tasks.iter().filter(|other| {
            other.write != task.write
                && other.profile == profile
                && matches!(other.phase, Phase::Sent)
                && !self.check.given_up_turns.contains(&other.turn)
                && self.clock(other.replica) < other.own.sends_until
                && !self.check.effects.iter().any(|effect| effect.task == other.write.0)
        });
        // A server that has lost everything a second time cannot know who came later.
        let knows_no_before = self.server.data.epoch.as_ref().is_none_or(|e| e.before.is_empty());
        let was_given_up = knows_no_before && self.check.given_up_turns.contains(&task.turn);
        if others.count() > 0 && !was_given_up {
            self.check.violated(Violation::Together { profile });
        }
        let message = Message::Send { profile, request, sent: self.now };
        self.send(task.replica, Purpose::Task(task.write), message);
        self.tasks[index].phase = Phase::Sent;
    }

    /// The answer of the upstream does not come: what it shows decides.
    fn look_after(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        let mut effects = self.check.effects.iter();
        let found = effects.find(|effect| effect.task == task.write.0);
        let outcome = match found {
            Some(effect) => {
                task.version = Some(effect.version);
                Outcome::Done([3].into())
            }
            None => Outcome::Unknown,
        };
        let now = self.clock(self.tasks[index].replica);
        self.end(index, outcome, now);
    }

    fn end(&mut self, index: usize, outcome: Outcome, now: Time) {
        let task = &mut self.tasks[index];
        task.own.ended = Some((outcome.clone(), now));
        task.phase = Phase::Close(outcome);
        self.processes[task.replica].own.note(&task.own);
    }

    fn wait(&mut self, index: usize, now: Time) {
        let task = &mut self.tasks[index];
        let (replica, write, waits) = (task.replica, task.write, self.rules.writes_wait);
        let Phase::Wait(wait) = &mut task.phase else { return };
        match wait.step(now) {
            Step::Wait(_) | Step::Cut | Step::Poll(_) if !waits => self.tell(index),
            Step::Answer => self.tell(index),
            Step::Evict(command) => {
                self.check.reached.evicted += 1;
                self.ask(replica, Purpose::Nothing, command);
                self.tell(index);
            }
            Step::Poll(command) => self.ask(replica, Purpose::Task(write), command),
            Step::Wait(_) | Step::Cut => {}
        }
    }

    /// Tells the caller that the write is done.
    fn tell(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        task.phase = Phase::Over;
        if let Some(version) = task.version {
            self.check.acknowledges(task.profile, version);
        }
    }

    /// Takes what comes back to a task.
    pub(crate) fn tell_task(&mut self, write: WriteId, message: Message) {
        let Some(index) = self.tasks.iter().position(|task| task.write == write) else { return };
        let now = self.clock(self.tasks[index].replica);
        self.tasks[index].is_asking = false;
        let task = &mut self.tasks[index];
        match (message, &mut task.phase) {
            (Message::Sent, Phase::Sent) => self.look_after(index),
            (Message::Answer(Ok(Answer::Begun(begun))), Phase::Begin) => {
                self.begun(index, begun, now);
            }
            (Message::Answer(Ok(Answer::TurnTaken(TurnTaken::Taken))), Phase::TakeTurn) => {
                task.own.turn = Some((task.own.target.clone(), task.turn));
                task.phase = Phase::Open;
                self.processes[task.replica].own.note(&task.own);
            }
            (Message::Answer(Ok(Answer::Opened(opened))), Phase::Open) => {
                task.phase = match opened {
                    Opened::Lost => Phase::Close(Outcome::Nothing),
                    Opened::Opened if task.settled.is_some() && !task.began => Phase::Look,
                    Opened::Opened => Phase::Send,
                };
                if opened == Opened::Lost {
                    self.end(index, Outcome::Nothing, now);
                }
            }
            (Message::Answer(Ok(Answer::Closed(closed))), Phase::Close(outcome)) => {
                let outcome = outcome.clone();
                self.closed(index, &closed, &outcome, now);
            }
            (Message::Answer(Ok(Answer::Members(members))), Phase::Wait(wait)) => {
                wait.polled(&members, now);
            }
            (Message::Answer(Err(Refused::Epoch | Refused::Demoted)), Phase::Wait(wait)) => {
                wait.cannot_poll();
            }
            _ => {}
        }
    }

    fn begun(&mut self, index: usize, begun: Begun, now: Time) {
        let task = &mut self.tasks[index];
        let generation = match begun {
            Begun::Fresh { generation, .. } => generation,
            Begun::Unknown { generation, intent, ended } => {
                self.check.reached.taken_over += 1;
                task.own.intent = Some(intent);
                task.own.intent_ended = Some(now.saturating_sub(ended));
                task.settled = Some(now + Timing::waited(TIMING.settle).saturating_sub(ended));
                generation
            }
            Begun::Done { closed, .. } => {
                self.check.reached.repeated += 1;
                let request = task.request.unwrap_or_default();
                task.version = self.check.effect_of(request).map(|effect| effect.version);
                if self.rules.repeats_wait {
                    let is_own = !self.rules.repeats_wait_for_own_log;
                    self.wait_for_all(index, &closed, is_own, now);
                } else {
                    self.tell(index);
                }
                return;
            }
            Begun::Running { .. } | Begun::Grace { .. } => return,
            Begun::Reused => {
                task.phase = Phase::Over;
                return;
            }
        };
        task.generation = generation;
        let name = request_name(task.request.unwrap_or_default());
        task.own.request = Some((name, "f".into(), task.attempt, generation));
        task.phase = Phase::TakeTurn;
        self.processes[task.replica].own.note(&task.own);
    }

    fn closed(&mut self, index: usize, closed: &Closed, outcome: &Outcome, now: Time) {
        let task = &mut self.tasks[index];
        let memory = &mut self.processes[task.replica].memory;
        if task.own.is_open {
            if *outcome == Outcome::Unknown {
                memory.hold_until(now + Timing::waited(TIMING.settle));
            }
            memory.closed(task.write, &task.own.target, false);
        }
        match outcome {
            Outcome::Done(_) => self.wait_for_all(index, closed, true, now),
            Outcome::Nothing | Outcome::NoEffect | Outcome::Unknown => task.phase = Phase::Over,
        }
    }

    fn wait_for_all(&mut self, index: usize, closed: &Closed, is_own: bool, now: Time) {
        let task = &mut self.tasks[index];
        let replica = &self.processes[task.replica].replica;
        let own = replica.member().map(|(_, session)| session).filter(|_| is_own);
        let until = replica.earlier_leases_until();
        let wait = Acknowledgement::new(closed, own, until, Duration::MAX, now, TIMING);
        task.phase = Phase::Wait(Box::new(wait));
    }

    /// The upstream gets a write. Very late ones do not arrive.
    pub(crate) fn take_effect(&mut self, flight: &InFlight, profile: usize, sent: u64) {
        let (Purpose::Task(write), Message::Send { request, .. }) =
            (&flight.purpose, &flight.message)
        else {
            return;
        };
        if self.now > sent + 55_000 || self.check.effects.iter().any(|e| e.task == write.0) {
            return;
        }
        self.check.takes_effect(write.0, profile, *request);
        self.network.push(InFlight { message: Message::Sent, ..flight.clone() });
    }
}
