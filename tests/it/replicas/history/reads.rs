//! No read is older than a write that was acknowledged before it began, on any replica.

use std::collections::{BTreeMap, HashMap};

use super::{
    History, Kind, Lie, Read, Services, Suspicion,
    effects::{Change, Life},
    writes::Write,
};

/// The journal notes an effect a moment after it can be seen.
const NOTED_AFTER: u64 = 50;

/// What a read may see of one profile.
struct Seen {
    /// The states that look like this, in order.
    alike: HashMap<Option<(u64, Option<Services>)>, Vec<usize>>,
    /// When each state began.
    began: Vec<u64>,
    /// From which tick on no state before this one may be seen.
    acknowledged: Vec<(u64, usize)>,
}

pub(super) fn judge(
    history: &History,
    writes: &[Write<'_>],
    lives: &BTreeMap<String, Life>,
) -> Vec<Suspicion> {
    let mut of: HashMap<u64, Vec<&Write<'_>>> = HashMap::new();
    for write in writes {
        of.entry(write.profile).or_default().push(write);
    }
    let seen: HashMap<&str, Seen> = lives
        .values()
        .map(|life| {
            (
                life.id.as_str(),
                Seen::of(life, of.get(&life.profile).map_or(&[], |v| v), history.cut),
            )
        })
        .collect();
    let judged = history.reads.iter().filter_map(|read| {
        let (lie, why) = seen.get(read.id.as_str())?.judge(read)?;
        let (from, to) = (read.start.ms, read.end.ms);
        let profile = lives[&read.id].profile;
        Some(Suspicion { lie, about: format!("{why}: {read:?}"), profile, from, to })
    });
    judged.collect()
}

impl Seen {
    fn of(life: &Life, writes: &[&Write<'_>], cut: u64) -> Self {
        let mut alike: HashMap<_, Vec<usize>> = HashMap::new();
        for (at, state) in life.states.iter().enumerate() {
            let whole = state.seen.clone();
            let brief = whole.clone().map(|(version, _)| (version, None));
            let whole = whole.map(|(version, services)| (version, Some(services)));
            alike.entry(whole.clone()).or_default().push(at);
            if brief != whole {
                alike.entry(brief).or_default().push(at);
            }
        }
        let mut by_change: HashMap<Change, Vec<usize>> = HashMap::new();
        for (change, at) in life.changes() {
            by_change.entry(change).or_default().push(at);
        }
        let mut acknowledged: Vec<(u64, usize)> = writes
            .iter()
            .filter_map(|write| {
                let ok = write.ok()?;
                if cut > 0 && ok.end.ms - ok.start.ms >= cut {
                    return None;
                }
                let change = match &write.kind {
                    Kind::Create => return Some((ok.end.tick, 0)),
                    Kind::Rename(version, _) => Change::Renamed(*version),
                    Kind::Attach(service) => Change::Service(service.clone(), true),
                    Kind::Detach(service) => Change::Service(service.clone(), false),
                    Kind::Delete => Change::Deleted,
                };
                // The first that it can have been.
                let mut done = by_change.get(&change)?.iter();
                let at = done.find(|at| life.states[**at].ms >= write.from)?;
                (life.states[*at].ms <= ok.end.ms).then_some((ok.end.tick, *at))
            })
            .collect();
        acknowledged.sort_unstable();
        let mut least = 0;
        for (_, at) in &mut acknowledged {
            least = least.max(*at);
            *at = least;
        }
        let began = life.states.iter().map(|state| state.ms).collect();
        Self { alike, began, acknowledged }
    }

    fn judge(&self, read: &Read) -> Option<(Lie, String)> {
        let before = self.acknowledged.partition_point(|(tick, _)| *tick < read.start.tick);
        let least = before.checked_sub(1).map_or(0, |last| self.acknowledged[last].1);
        let until = self.began.partition_point(|ms| *ms <= read.end.ms + NOTED_AFTER);
        let alike = self.alike.get(&read.seen).map_or(&[][..], Vec::as_slice);
        let by_then = alike.partition_point(|at| *at < until);
        match by_then.checked_sub(1).map(|last| alike[last]) {
            None => Some((Lie::ReadOfNothing, "it was never so".to_owned())),
            Some(at) if at < least => {
                let late = read.start.ms.saturating_sub(self.began[at + 1]);
                let why = format!("state {at} of at least {least}, over since {late} ms");
                Some((Lie::StaleRead, why))
            }
            Some(_) => None,
        }
    }
}
