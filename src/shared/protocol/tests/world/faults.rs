//! What can go wrong.

use super::{REPLICAS, World, events::Event};
use crate::shared::protocol::tests::server::Data;

/// Which faults there are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Messages are lost and copied. They come late, and in any order, in any case.
    pub(crate) network: bool,
    /// Processes are stopped for a while.
    pub(crate) stops: bool,
    /// Processes are killed.
    pub(crate) kills: bool,
    /// The server loses its last changes in a failover, or all in a restart.
    pub(crate) losses: bool,
    /// Everything in the server is deleted.
    pub(crate) flushes: bool,
    /// So much time passes that writes are over.
    pub(crate) long: bool,
    /// What is written.
    pub(crate) writes: Writes,
    /// How often faults happen; if zero, that and what is written varies.
    pub(crate) often: u32,
}

/// What is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Writes {
    /// Several profiles, with and without request ids.
    #[default]
    All,
    /// One profile, without request ids.
    Turns,
    /// One profile, under one request id.
    Repeats,
}

impl Faults {
    pub(crate) const ALL: Self = Self {
        network: true,
        stops: true,
        kills: true,
        losses: true,
        flushes: true,
        long: true,
        writes: Writes::All,
        often: 0,
    };

    /// Some of these faults, as a number says. What there is less of meets more often.
    pub(crate) fn vary(self, choice: u32) -> Self {
        if self.often > 0 {
            return self;
        }
        let writes = match choice % 3 {
            0 => Writes::All,
            1 => Writes::Turns,
            _ => Writes::Repeats,
        };
        Self { writes, often: 1 + choice / 3 % 4, ..self }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    Stop(usize),
    GoOn(usize),
    Kill(usize),
    /// Another server takes over, without the last changes.
    Failover(usize),
    Restart,
    Flush,
}

impl World {
    pub(crate) fn fault_events(&self, faults: Faults, events: &mut Vec<(u32, Event)>) {
        let often = faults.often;
        let mut add = |weight: u32, fault| events.push((weight * often, Event::Fault(fault)));
        for replica in 0..REPLICAS {
            let is_stopped = self.processes[replica].is_stopped;
            if is_stopped {
                add(10, Fault::GoOn(replica));
            } else if faults.stops {
                add(2, Fault::Stop(replica));
            }
            if faults.kills {
                add(1, Fault::Kill(replica));
            }
        }
        if faults.losses {
            for lost in [0, 1, 3, 8] {
                add(1, Fault::Failover(lost));
            }
            add(1, Fault::Restart);
        }
        if faults.flushes {
            add(1, Fault::Flush);
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Stop(replica) => self.processes[replica].is_stopped = true,
            Fault::GoOn(replica) => self.processes[replica].is_stopped = false,
            Fault::Kill(replica) => self.processes[replica] = self.process(),
            Fault::Failover(lost) => {
                let kept = self.past.len().checked_sub(lost).filter(|_| lost > 0);
                let data = kept.and_then(|index| self.past.get(index)).cloned();
                self.former_log.clone_from(&self.server.data.log);
                self.server.history = self.number();
                self.replace(data.unwrap_or_else(|| self.server.data.clone()));
            }
            Fault::Restart => {
                self.server.history = self.number();
                self.replace(Data::default());
            }
            Fault::Flush => self.replace(Data::default()),
        }
    }

    fn replace(&mut self, data: Data) {
        let before = std::mem::replace(&mut self.server.data, data);
        self.past.clear();
        self.check.lost(&before, &self.server.data);
    }
}
