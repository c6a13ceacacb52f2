//! What can happen next.

use std::time::Duration;

use super::{
    InFlight, KEPT, Message, PROFILES, Purpose, REPLICAS, REQUESTS, TIMING, World,
    check::Violation,
    faults::{Faults, Writes},
    task::{Phase, Task},
};
use crate::shared::protocol::{
    Answer, Command, Memory, Next, RecordState, Refused, Session, WriteId,
};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Deliver(usize),
    Drop(usize),
    Copy(usize),
    /// A replica joins, or renews its lease.
    Heartbeat(usize),
    ReadLog(usize),
    Read(usize, usize),
    /// The upstream answers a load; then the answer comes.
    Load(usize, usize),
    Write(usize, usize, Option<usize>),
    Step(usize),
    Advance(u64),
    Fault(super::faults::Fault),
}

impl World {
    /// Lets one of the possible events happen.
    pub(crate) fn happen(&mut self, choice: u32, faults: Faults) {
        let event = self.choose(choice, faults);
        self.run(event);
    }

    /// The event that a number chooses, in words.
    pub(crate) fn describe(&self, choice: u32, faults: Faults) -> String {
        let event = self.choose(choice, faults);
        let detail = match event {
            Event::Deliver(flight) | Event::Drop(flight) | Event::Copy(flight) => {
                let InFlight { replica, message, .. } = &self.network[flight];
                format!(" of {replica}: {message:?}")
            }
            Event::Step(task) => {
                let Task { replica, write, phase, .. } = &self.tasks[task];
                format!(" of {replica}: {write:?} {phase:?}")
            }
            _ => String::new(),
        };
        format!("{} {event:?}{detail}\n", self.now)
    }

    fn choose(&self, choice: u32, faults: Faults) -> Event {
        let events = self.events(faults);
        let total: u32 = events.iter().map(|(weight, _)| weight).sum();
        let mut left = choice % total;
        let chosen = events.iter().find(|(weight, _)| match left.checked_sub(*weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        chosen.map_or(Event::Advance(1), |(_, event)| *event)
    }

    fn events(&self, faults: Faults) -> Vec<(u32, Event)> {
        let mut events = vec![
            (40, Event::Advance(1)),
            (20, Event::Advance(35)),
            (4, Event::Advance(500)),
            (4, Event::Advance(1_970)),
            (2, Event::Advance(2_100)),
        ];
        if faults.long {
            events.push((1, Event::Advance(62_000)));
        }
        for (index, flight) in self.network.iter().enumerate() {
            events.push((80, Event::Deliver(index)));
            if faults.network {
                events.push((1, Event::Drop(index)));
                if !flight.is_copy && matches!(flight.message, Message::Ask { .. }) {
                    events.push((1, Event::Copy(index)));
                }
            }
        }
        for replica in 0..REPLICAS {
            self.replica_events(replica, faults, &mut events);
        }
        for (index, task) in self.tasks.iter().enumerate() {
            if self.is_ready(task) {
                events.push((if task.is_asking { 2 } else { 80 }, Event::Step(index)));
            }
        }
        self.fault_events(faults, &mut events);
        events
    }

    fn replica_events(&self, replica: usize, faults: Faults, events: &mut Vec<(u32, Event)>) {
        let process = &self.processes[replica];
        if process.is_stopped {
            return;
        }
        let weight = if process.next == Next::GoOn { 6 } else { 60 };
        events.push((weight, Event::Heartbeat(replica)));
        if process.replica.member().is_some() {
            let weight = if process.has_read_under_way { 1 } else { 30 };
            events.push((weight, Event::ReadLog(replica)));
        }
        let (profiles, unnamed, requests) = match faults.writes {
            Writes::All => (PROFILES, 5, REQUESTS),
            Writes::Turns => (1, 25, 0),
            Writes::Repeats => (1, 0, 1),
        };
        for profile in 0..profiles {
            events.push((25, Event::Read(replica, profile)));
        }
        events.extend((0..process.memory.loads.len()).map(|load| (50, Event::Load(replica, load))));
        let running = self.tasks.iter().filter(|task| self.is_ready(task)).count();
        if process.replica.member().is_some() && running < 3 {
            for profile in 0..profiles {
                events.push((unnamed, Event::Write(replica, profile, None)));
            }
            for request in 0..requests {
                events.push((
                    40 / requests as u32,
                    Event::Write(replica, request % PROFILES, Some(request)),
                ));
            }
        }
    }

    fn run(&mut self, event: Event) {
        match event {
            Event::Deliver(index) => {
                let flight = self.network.remove(index);
                self.deliver(&flight);
            }
            Event::Drop(index) => drop(self.network.remove(index)),
            Event::Copy(index) => {
                let copy = InFlight { is_copy: true, ..self.network[index].clone() };
                self.network.push(copy);
            }
            Event::Heartbeat(replica) => self.heartbeat(replica),
            Event::ReadLog(replica) => {
                let process = &mut self.processes[replica];
                process.has_read_under_way = true;
                let number = process.replica.applied();
                let message = Message::ReadAfter { history: process.log_history, number };
                self.send(replica, Purpose::Read, message);
            }
            Event::Read(replica, profile) => self.read(replica, profile),
            Event::Load(replica, load) => self.load(replica, load),
            Event::Write(replica, profile, request) => self.start_task(replica, profile, request),
            Event::Step(task) => self.step(task),
            Event::Advance(by) => self.now += by,
            Event::Fault(fault) => self.fault(fault),
        }
        if self.tasks.len() > 12 {
            self.tasks.retain(|task| !matches!(task.phase, Phase::Over));
        }
    }

    fn heartbeat(&mut self, replica: usize) {
        let now = self.clock(replica);
        if let Some(sent) = self.processes[replica].replica.renew(now) {
            self.processes[replica].next = Next::GoOn;
            let command = sent.command();
            return self.ask(replica, Purpose::Renew(sent), command);
        }
        let (session, token) = (Session(self.number()), self.token());
        let process = &mut self.processes[replica];
        process.next = Next::GoOn;
        process.has_read_under_way = false;
        process.log_history = self.server.history;
        let join = process.replica.join(session, token);
        if !self.rules.outdates_when_joined {
            process.memory.outdate(None);
        }
        self.ask(replica, Purpose::Join(session), Command::Join(join));
    }

    fn read(&mut self, replica: usize, profile: usize) {
        let now = self.clock(replica);
        let needs_lease = self.rules.memory_needs_lease;
        let process = &mut self.processes[replica];
        let found = process.memory.find(profile);
        let found = found.filter(|_| !needs_lease || process.replica.may_serve(now));
        let Some(served) = found else {
            if process.memory.loads.len() < 2 {
                process.memory.begin(profile);
            }
            return;
        };
        self.check.reached.served += 1;
        let acknowledged = self.check.acknowledged[profile];
        if served < acknowledged {
            self.check.violated(Violation::Stale { replica, profile, served, acknowledged });
        }
    }

    fn load(&mut self, replica: usize, load: usize) {
        let now = self.clock(replica);
        let Some(under_way) = self.processes[replica].memory.loads.get(load) else { return };
        if under_way.found.is_some() {
            return self.processes[replica].memory.end(load, now);
        }
        let version = self.check.version(under_way.profile);
        if let Some(load) = self.processes[replica].memory.loads.get_mut(load) {
            load.found = Some(version);
        }
    }

    fn deliver(&mut self, flight: &InFlight) {
        let InFlight { replica, purpose, message, .. } = flight;
        match message {
            Message::Ask { epoch, command } => {
                self.note_promises(command);
                let now = self.server_clock();
                let before = self.server.data.clone();
                let answer = self.server.answer(epoch.as_ref(), command, now);
                self.past.push(before);
                if self.past.len() > 10 {
                    self.past.remove(0);
                }
                self.note_restored(command, &answer);
                self.network.push(InFlight { message: Message::Answer(answer), ..flight.clone() });
            }
            Message::ReadAfter { history, number } => {
                let entries = if *history == self.server.history {
                    self.server.read(*number)
                } else {
                    let log = self.former_log.iter();
                    log.filter(|entry| entry.number > *number).cloned().collect()
                };
                let message = Message::Entries(entries);
                self.network.push(InFlight { message, ..flight.clone() });
            }
            Message::Send { profile, sent, .. } => self.take_effect(flight, *profile, *sent),
            _ if self.processes[*replica].number != flight.process => {}
            // What arrives meanwhile waits for a process that is stopped.
            _ if self.processes[*replica].is_stopped => self.network.push(flight.clone()),
            message => self.arrive(*replica, purpose.clone(), message.clone()),
        }
    }

    fn note_restored(&mut self, command: &Command, answer: &Result<Answer, Refused>) {
        if let (Command::Restore(restore), Ok(Answer::Restored(restored))) = (command, answer) {
            let record = restore.record.as_ref().filter(|_| restored.has_record);
            let turn = restore.turn.as_ref().filter(|_| restored.has_turn);
            self.check.restored(record.map(|own| own.attempt), turn.map(|(_, token)| *token));
        }
    }

    fn arrive(&mut self, replica: usize, purpose: Purpose, message: Message) {
        let now = self.clock(replica);
        let process = &mut self.processes[replica];
        match (purpose, message) {
            (Purpose::Join(session), Message::Answer(Ok(Answer::Joined(joined)))) => {
                process.memory.ignores_all = !self.rules.outdates_when_joined;
                process.replica.expire(now, &mut process.memory);
                if process.replica.joined(session, &joined, now, &mut process.memory) {
                    self.restore(replica);
                }
            }
            (Purpose::Renew(sent), Message::Answer(answer)) => {
                let answer = answer.map(|answer| match answer {
                    Answer::Renewal(renewal) => renewal,
                    other => panic!("{other:?}"),
                });
                let next = process.replica.renewed(&sent, answer, now);
                self.heed(replica, next);
            }
            (Purpose::Read, Message::Entries(entries)) => {
                process.has_read_under_way = false;
                let next = process.replica.read(&entries, now, &mut process.memory);
                self.heed(replica, next);
            }
            (Purpose::Restore(write, epoch), Message::Answer(Ok(Answer::Restored(restored)))) => {
                process.own.restored(write, restored, &epoch);
            }
            (Purpose::Restore(..), Message::Answer(Err(_))) => process.next = Next::Renew,
            (Purpose::Task(write), message) => self.tell_task(write, message),
            _ => {}
        }
    }

    /// Restores what this replica has written. The answers of the network are asked for again.
    fn restore(&mut self, replica: usize) {
        let now = self.clock(replica);
        let mut timing = TIMING;
        timing.grace = self.grace();
        for restore in self.processes[replica].own.to_restore(now, timing, KEPT) {
            let write: WriteId = restore.write;
            debug_assert!(!matches!(
                restore.record.as_ref().map(|record| &record.state),
                Some(RecordState::Running { left }) if *left > Duration::from_secs(120)
            ));
            let epoch = self.processes[replica].epoch();
            self.ask(replica, Purpose::Restore(write, epoch), Command::Restore(restore));
        }
    }
}
