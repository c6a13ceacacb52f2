//! What all replicas together ask of one account: one refused login for a wrong password, and no
//! more requests than its rate.

use super::{History, Lie, Suspicion, Trouble};

/// What may come later than it was sent, in milliseconds: a busy machine bunches.
const BUNCHED: u64 = 300;

/// The rate of an account, and when its requests came, in milliseconds.
#[derive(Clone, Debug, Default)]
pub(in crate::replicas) struct Rate {
    pub per_second: u32,
    pub arrivals: Vec<u64>,
}

pub(super) fn judge(history: &History) -> Vec<Suspicion> {
    let mut found = Vec::new();
    for trouble in &history.troubles.0 {
        match *trouble {
            Trouble::Rotated { from, to } => found.extend(refused(&history.refused, from, to)),
            Trouble::Strained { from, to } => found.extend(history.rate.exceeded(from, to)),
            _ => {}
        }
    }
    found
}

fn suspicion(lie: Lie, about: String, from: u64, to: u64) -> Suspicion {
    Suspicion { lie, about, profile: 0, from, to }
}

/// A password that is wrong is wrong for all, and for longer than this.
fn refused(refused: &[u64], from: u64, to: u64) -> Option<Suspicion> {
    let within: Vec<u64> = refused.iter().copied().filter(|ms| (from..=to).contains(ms)).collect();
    let about = format!("logins refused at {within:?}");
    (within.len() > 1).then(|| suspicion(Lie::RefusedAgain, about, from, to))
}

impl Rate {
    /// No time has more than the burst, which is half a second of the rate, and what the rate
    /// gives.
    fn exceeded(&self, from: u64, to: u64) -> Option<Suspicion> {
        let within = self.arrivals.iter().copied().filter(|ms| (from..=to).contains(ms));
        let mut within: Vec<u64> = within.collect();
        within.sort_unstable();
        let rate = u64::from(self.per_second);
        let burst = (rate / 2).max(1) + 1;
        within.iter().enumerate().find_map(|(place, first)| {
            let more = within[place..].iter().zip(1_u64..);
            let over = more
                .filter(|(last, count)| *count > burst + rate * (*last - first + BUNCHED) / 1_000);
            let (last, count) = over.last()?;
            let about = format!("{count} requests from {first} to {last}, at {rate} per second");
            Some(suspicion(Lie::TooOften, about, *first, *last))
        })
    }
}
