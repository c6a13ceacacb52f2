//! A caller of the soak: writes and reads everybody's profiles over any replica, and repeats what
//! is in doubt, at once or later, over others.

use std::{sync::Arc, time::Duration};

use futures_util::future::join;
use profile_gateway::pb::Profile;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Status;
use uuid::Uuid;

use super::{
    ask::{Ask, change, create, said},
    backends::BACKENDS,
    field::{Field, Known},
};
use crate::{
    kit::chance::Chance,
    replicas::history::{Call, Kind, Said},
};

/// Most profiles that there are at once.
const PROFILES: usize = 60;
/// How often one write is asked for before it is left for later.
const ATTEMPTS: u64 = 3;
/// When a write in doubt is asked for once more: after the time in which its replica may have been
/// writing.
const LATER: Duration = Duration::from_secs(16);
/// Services that come and go, of each upstream.
const SERVICES: [[&str; 2]; 2] = [["2", "3"], ["6", "32"]];

pub(super) struct Worker {
    pub field: Arc<Field>,
    pub chance: Chance,
    /// How many profiles are written most.
    hot: u64,
    /// How many reads follow each operation.
    reads: u64,
}

/// A write with all that its repeats need.
#[derive(Clone)]
pub(super) struct Write {
    known: Known,
    kind: Kind,
    ask: Ask,
    /// The tick of its first call.
    number: u64,
    has_id: bool,
}

/// A write that is asked for once more.
pub(super) struct Later(Instant, Write);

impl Worker {
    pub(super) fn new(field: Arc<Field>, chance: Chance, hot: u64, reads: u64) -> Self {
        Self { field, chance, hot, reads }
    }

    pub(super) async fn work(mut self) {
        while self.field.has_more() {
            if self.chance.one_in(10) {
                self.repeat(false).await;
            }
            let there = self.field.known.lock().unwrap().iter().filter(|k| !k.is_deleted).count();
            match self.chance.below(100) {
                _ if there < 4 => self.create().await,
                0..4 if there < PROFILES => self.create().await,
                4..7 if there > PROFILES / 2 => self.write_to(|_| Kind::Delete).await,
                7..21 => self.rename().await,
                21..33 => self.toggle().await,
                33..36 => self.race_for_an_etag().await,
                36..92 => self.get().await,
                _ => self.list().await,
            }
            for _ in 0..self.reads {
                self.get().await;
            }
        }
        self.repeat(true).await;
    }

    async fn create(&mut self) {
        let at = usize::from(self.chance.one_in(2));
        let number = self.field.number();
        let backend = BACKENDS[at];
        let known = Known { number, name: String::new(), backend, is_deleted: false };
        let ask = create(backend, number);
        self.begin(known, Kind::Create, ask).await;
    }

    /// One of the profiles, and often one of those that all write.
    pub(super) fn pick(&mut self) -> Option<Known> {
        let known = self.field.known.lock().unwrap();
        let there = known.iter().filter(|known| !known.is_deleted).count() as u64;
        let many = if self.chance.one_in(2) { there.min(self.hot) } else { there };
        let at = usize::try_from(self.chance.below(many.max(1))).unwrap();
        known.iter().filter(|known| !known.is_deleted).nth(at).cloned()
    }

    async fn write_to(&mut self, kind: impl FnOnce(&mut Self) -> Kind) {
        let Some(known) = self.pick() else { return };
        let kind = kind(self);
        let ask = change(&known, &kind);
        self.begin(known, kind, ask).await;
    }

    async fn rename(&mut self) {
        let version = self.field.number();
        self.write_to(|_| Kind::Rename(version, None)).await;
    }

    /// Renames this profile at this replica.
    pub(super) async fn rename_at(&mut self, known: Known, replica: usize) {
        let kind = Kind::Rename(self.field.number(), None);
        let ask = change(&known, &kind);
        let write = self.prepare(known, kind, ask);
        self.attempt(&write, replica).await;
    }

    async fn toggle(&mut self) {
        let Some(known) = self.pick() else { return };
        let at = BACKENDS.iter().position(|name| *name == known.backend).unwrap();
        let service = self.chance.pick(&SERVICES[at]).to_owned();
        let kind = match self.chance.one_in(2) {
            true => Kind::Attach(service),
            false => Kind::Detach(service),
        };
        let ask = change(&known, &kind);
        self.begin(known, kind, ask).await;
    }

    /// Two callers that have seen the same, on two replicas.
    async fn race_for_an_etag(&mut self) {
        let Some(known) = self.pick() else { return };
        let Some(etag) = self.etag(&known).await else { return };
        let kinds = [(); 2].map(|()| Kind::Rename(self.field.number(), Some(etag.clone())));
        let [one, two] = kinds.map(|kind| {
            let ask = change(&known, &kind);
            self.prepare(known.clone(), kind, ask)
        });
        let (first, second) = self.two();
        join(self.attempt(&one, first), self.attempt(&two, second)).await;
    }

    fn two(&mut self) -> (usize, usize) {
        let first = self.field.any(&mut self.chance);
        let second = self.field.any(&mut self.chance);
        (first, second)
    }

    fn prepare(&mut self, known: Known, kind: Kind, mut ask: Ask) -> Write {
        let number = self.field.now().tick;
        let has_id = !self.chance.one_in(5);
        if has_id {
            let id = u128::from(self.chance.below(1 << 31)) << 64 | u128::from(number);
            *ask.request_id() = Uuid::from_u128(id).to_string();
        }
        Write { known, kind, ask, number, has_id }
    }

    async fn begin(&mut self, known: Known, kind: Kind, ask: Ask) {
        let write = self.prepare(known, kind, ask);
        if write.has_id && self.chance.one_in(8) {
            // The caller repeats it before it has an answer.
            let (first, second) = self.two();
            let (one, two) = join(self.attempt(&write, first), self.attempt(&write, second)).await;
            if one == Said::Ok || two == Said::Ok {
                return;
            }
        }
        self.go_on(write).await;
    }

    /// Asks until there is a clear answer, or often enough, over any replica.
    async fn go_on(&mut self, write: Write) {
        let mut in_doubt = false;
        for attempt in 1..=ATTEMPTS {
            let replica = self.field.any(&mut self.chance);
            match self.attempt(&write, replica).await {
                // Some repeat what they know, to see whether that is the same everywhere.
                Said::Ok if write.has_id && attempt == 1 && self.chance.one_in(6) => {}
                Said::Ok | Said::Failed(_) => return,
                Said::Refused(_) => sleep(Duration::from_millis(self.chance.below(300))).await,
                Said::Unknown => in_doubt = true,
            }
            if !write.has_id {
                return;
            }
        }
        if in_doubt {
            let due = Instant::now() + LATER;
            self.field.later.lock().unwrap().push(Later(due, write));
        }
    }

    /// Asks once more for a write whose time has come, or for all that are left.
    async fn repeat(&mut self, all: bool) {
        loop {
            let now = Instant::now();
            let next = {
                let mut later = self.field.later.lock().unwrap();
                let at = later.iter().position(|Later(due, _)| all || *due <= now);
                at.map(|at| later.swap_remove(at))
            };
            let Some(Later(due, write)) = next else { return };
            sleep_until(due).await;
            let replica = self.field.any(&mut self.chance);
            let said = self.attempt(&write, replica).await;
            self.field.count(&format!("later {}", name(&said)));
        }
    }

    async fn attempt(&self, write: &Write, replica: usize) -> Said {
        let Write { known, kind, ask, number, .. } = write;
        let field = &self.field;
        let client = field.replicas[replica].profiles();
        let start = field.now();
        let result = ask.clone().send(client).await;
        let end = field.now();
        let said = said(&result);
        field.count(&format!("{} {}", what(kind), name(&said)));
        let (kind, write, profile) = (kind.clone(), *number, known.number);
        let call =
            Call { kind: kind.clone(), write, profile, replica, start, end, said: said.clone() };
        field.history.lock().unwrap().calls.push(call);
        self.learn(known, &kind, &result);
        said
    }

    /// What is there now, and what is not.
    fn learn(&self, known: &Known, kind: &Kind, result: &Result<Option<Profile>, Status>) {
        let mut all = self.field.known.lock().unwrap();
        match (kind, result) {
            (Kind::Create, Ok(Some(profile)))
                if !all.iter().any(|other| other.number == known.number) =>
            {
                all.push(Known { name: profile.name.clone(), ..known.clone() });
            }
            (Kind::Delete, _) => {
                let of_it = all.iter_mut().filter(|other| other.number == known.number);
                of_it.for_each(|known| known.is_deleted = true);
                // Of those that are gone, the last few are still looked at.
                let gone = all.iter().filter(|known| known.is_deleted).count();
                if gone > PROFILES {
                    let first = all.iter().position(|known| known.is_deleted).unwrap();
                    all.remove(first);
                }
            }
            _ => {}
        }
    }
}

fn what(kind: &Kind) -> &'static str {
    match kind {
        Kind::Create => "Create",
        Kind::Rename(_, None) => "Rename",
        Kind::Rename(..) => "RenameSeen",
        Kind::Attach(_) => "Attach",
        Kind::Detach(_) => "Detach",
        Kind::Delete => "Delete",
    }
}

fn name(said: &Said) -> String {
    match said {
        Said::Ok => "Ok".to_owned(),
        Said::Refused(reason) => format!("Refused {reason}"),
        Said::Failed(reason) => format!("Failed {reason}"),
        Said::Unknown => "Unknown".to_owned(),
    }
}
