//! What is done to replicas, to their store, and to the network between.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::field::Field;
use crate::{
    kit::{
        chance::Chance,
        history::Moment,
        wire::{Flow, To},
    },
    replicas::history::Trouble,
};

/// Longer than a lease, and shorter.
const LONG: (u64, u64) = (2_300, 1_200);
const SHORT: (u64, u64) = (200, 900);
/// Long enough for leases of both sides.
const SPLIT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A replica is killed.
    Kill,
    /// A replica is replaced, as a deployment does.
    Replace,
    /// A replica is stopped, for less than a lease or for longer.
    Pause,
    Stop,
    /// A replica is cut off: both ways, or what it sends, or what it is sent.
    CutOff,
    CutToServer,
    CutToClient,
    /// The connections of a replica are reset.
    Reset,
    /// What a replica sends comes late, also when it has given up.
    Late,
    /// The network to a replica is slow.
    Slow,
    /// The store does not answer.
    Hang,
    /// The store is killed, and comes back empty, or as it was before.
    Restart,
    GoBack,
    /// Another server takes over, without the last writes.
    FailOver,
    Flush,
    Fill,
    /// A replica reads the log late, and nothing else.
    LogLate,
    /// The store loses turns.
    LoseTurns,
    /// Another server takes over, and its log has other entries under the same numbers.
    Rewind,
    /// A replica is evicted that does not lag any more.
    EvictLate,
    /// Accounts are strained, and nothing else is in trouble.
    Strain,
    /// Another server takes over, and one replica goes on with the old one.
    Split,
}

/// All but those that nothing is promised under.
pub(super) const ALL: [What; 21] = [
    What::Kill,
    What::Replace,
    What::Pause,
    What::Stop,
    What::CutOff,
    What::CutToServer,
    What::CutToClient,
    What::Reset,
    What::Late,
    What::Slow,
    What::Hang,
    What::Restart,
    What::GoBack,
    What::FailOver,
    What::Flush,
    What::Fill,
    What::LogLate,
    What::LoseTurns,
    What::Rewind,
    What::EvictLate,
    What::Strain,
];

impl What {
    /// The one with this name.
    pub(super) fn named(name: &str) -> Self {
        let named = ALL.into_iter().find(|what| format!("{what:?}") == name);
        named.unwrap_or_else(|| panic!("no trouble has the name {name}: {ALL:?}"))
    }

    /// Whether it is done to the store.
    fn is_of_store(self) -> bool {
        use What::{FailOver, Fill, Flush, GoBack, Hang, LoseTurns, Restart};
        matches!(self, Hang | Restart | GoBack | FailOver | Flush | Fill | LoseTurns)
    }

    /// Whether it is done to the store and to replicas, and to nothing else meanwhile.
    fn is_of_all(self) -> bool {
        matches!(self, Self::Rewind | Self::EvictLate | Self::Strain | Self::Split)
    }

    /// Whether both can come at once: two of the store exclude each other.
    pub(super) fn goes_with(self, other: Self) -> bool {
        !(self.is_of_all() || other.is_of_all() || self.is_of_store() && other.is_of_store())
    }

    /// Does it, to this replica if it is not done to the store, and takes it back.
    pub(super) async fn happen(self, field: &Arc<Field>, at: usize, mut chance: Chance) {
        field.count(&format!("trouble {self:?}"));
        let from = field.now();
        if self.is_of_store() {
            self.to_store(field, &mut chance).await;
        } else {
            self.to_replica(field, at, &mut chance).await;
        }
        self.note(field, at, from);
    }

    fn note(self, field: &Field, replica: usize, from: Moment) {
        let (from, to) = (from.ms, field.now().ms);
        match self {
            What::Kill | What::Replace => field.note(Trouble::Killed { replica, ms: from }),
            What::Restart | What::GoBack | What::FailOver | What::Flush => {
                field.note(Trouble::Lost { from, to });
            }
            What::Rewind => {
                field.note(Trouble::Lost { from, to });
                field.note(Trouble::Away { replica, from, to });
            }
            What::Split => field.note(Trouble::Split { from, to }),
            What::Hang => field.note(Trouble::Silent { from, to }),
            What::Fill | What::Slow | What::LoseTurns | What::Strain => {}
            _ => field.note(Trouble::Away { replica, from, to }),
        }
    }

    async fn to_store(self, field: &Field, chance: &mut Chance) {
        let servers = &field.servers;
        let (short, long) = (time(chance, SHORT), time(chance, LONG));
        match self {
            What::Hang => servers.hang(if chance.one_in(2) { short } else { long }).await,
            What::Restart => servers.restart(short).await,
            What::GoBack => servers.go_back(short, time(chance, SHORT)).await,
            What::FailOver => servers.fail_over(&field.replicas, short).await,
            What::Fill => servers.fill(long).await,
            What::LoseTurns => field.lose_turns(long).await,
            _ => servers.primary().await.command(&["FLUSHALL"]).await,
        }
    }

    async fn to_replica(self, field: &Arc<Field>, at: usize, chance: &mut Chance) {
        let replica = &field.replicas[at];
        let (short, long) = (time(chance, SHORT), time(chance, LONG));
        match self {
            What::Kill => {
                drop(replica.kill().await);
                sleep(short).await;
                replica.start_again().await;
            }
            What::Replace => {
                drop(replica.end().await);
                replica.start_again().await;
            }
            What::Pause | What::Stop => {
                replica.hang();
                sleep(if self == What::Stop { long } else { short }).await;
                replica.go_on();
            }
            What::Rewind => field.rewind(at, Chance::of(chance.below(1 << 30), 0)).await,
            What::EvictLate => field.evict_late(at).await,
            What::LogLate => field.log_late(at).await,
            What::Strain => field.strain_accounts().await,
            What::Split => field.servers.split(&field.replicas, SPLIT).await,
            What::Reset => replica.wire.cut(),
            What::Late | What::Slow => {
                let flow = match self {
                    What::Late => Flow::Hold,
                    _ => Flow::Delay(Duration::from_millis(5 + chance.below(60))),
                };
                let time = if chance.one_in(2) { short } else { long };
                let to = if chance.one_in(2) { To::Server } else { To::Client };
                replica.wire.flow(to, flow);
                sleep(time).await;
                replica.wire.flow(to, Flow::Pass);
            }
            _ => {
                let ways: &[To] = match self {
                    What::CutToServer => &[To::Server],
                    What::CutToClient => &[To::Client],
                    _ => &[To::Server, To::Client],
                };
                ways.iter().for_each(|to| replica.wire.flow(*to, Flow::Lose));
                sleep(long).await;
                ways.iter().for_each(|to| replica.wire.flow(*to, Flow::Pass));
                // What was lost makes nonsense of what comes after it.
                replica.wire.cut();
            }
        }
    }
}

fn time(chance: &mut Chance, (least, more): (u64, u64)) -> Duration {
    Duration::from_millis(least + chance.below(more))
}
