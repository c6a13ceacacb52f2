//! Troubles that raise just the events that one rule of the protocol is there for. By chance, they
//! are rare.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{
    REPLICAS,
    field::{Field, Known},
    worker::Worker,
};
use crate::kit::{
    chance::Chance,
    redis::Redis,
    replicas::{COMMANDS, LOG},
    wire::{Flow, To},
};

/// Turns of profiles that no write is announced for. Claims and display names are left alone.
const LOSE_TURNS: &str = "
    local open = {}
    for _, write in ipairs(redis.call('HVALS', '{pg1:default}:open')) do
        open[string.match(write, '^%d+ (.*)$')] = true
    end
    local lost = 0
    for _, key in ipairs(redis.call('KEYS', '{pg1:default}:turn:*/p/*')) do
        local profile = string.sub(key, #'{pg1:default}:turn:' + 1)
        local account = string.match(profile, '^[^/]*')
        if not (open[profile] or open[account .. '/every']) then
            lost = lost + redis.call('DEL', key)
        end
    end
    return lost";

async fn tail(server: &Redis) -> u64 {
    let tail: Option<u64> = server.ask(&["GET", "{pg1:default}:tail"]).await;
    tail.unwrap_or(0)
}

/// How much of the log each member has applied, by its session.
async fn members(server: &Redis) -> HashMap<String, u64> {
    server.ask(&["HGETALL", "{pg1:default}:members"]).await
}

/// Writers wait longer for a replica that is stopped.
const SHORT_OF_LEASE: Duration = Duration::from_millis(1_550);
/// How many writes the log of a server loses that takes over, and how long they have for that.
const LOST: usize = 8;
const LOST_WITHIN: Duration = Duration::from_secs(1);
/// How often a replica falls behind in a row, for how long, and how long it has to catch up.
const LATE: usize = 4;
const LATE_FOR: Duration = Duration::from_millis(900);
const CAUGHT_UP_WITHIN: Duration = Duration::from_millis(400);
/// How long a replica that goes on has to read the log.
const IN_STEP_WITHIN: Duration = Duration::from_millis(350);
/// How often something is looked at that comes soon, if at all.
const LOOK: Duration = Duration::from_millis(2);

impl Field {
    /// The store loses turns of writes that it was not told of yet, so that others take them: only
    /// the announcement tells who had one that it is lost.
    pub(super) async fn lose_turns(&self, time: Duration) {
        let primary = self.servers.primary().await;
        let end = Instant::now() + time;
        while Instant::now() < end {
            let lost: u64 = primary.ask(&["EVAL", LOSE_TURNS, "0"]).await;
            if lost > 0 {
                self.count("turns lost");
            }
            sleep(Duration::from_millis(30)).await;
        }
    }

    /// Another server takes over without the last entries of the log, and others get their numbers
    /// while a replica is stopped that has applied the ones that are lost. What these others are
    /// of, it has in its memory.
    pub(super) async fn rewind(self: &Arc<Self>, at: usize, mut chance: Chance) {
        let (stopped, other) = (&self.replicas[at], (at + 1) % REPLICAS);
        let follower = self.servers.follower().await;
        let mut known = self.known.lock().unwrap().clone();
        known.retain(|known| !known.is_deleted);
        let lost: Vec<Known> = known.iter().rev().take(LOST).cloned().collect();
        known.truncate(known.len().saturating_sub(LOST).min(LOST));
        self.read_all(&known, at).await;
        let primary = self.servers.primary().await;
        follower.fall_behind(Duration::ZERO).await;
        let wanted = tail(&primary).await + 2 * lost.len() as u64;
        let is_lost = async {
            while members(&primary).await.values().any(|applied| *applied < wanted) {
                sleep(LOOK).await;
            }
        };
        let renaming =
            tokio::spawn(Arc::clone(self).rename_all(lost, other, chance.below(1 << 30)));
        let _ = timeout(LOST_WITHIN, is_lost).await;
        stopped.hang();
        let last = tail(&primary).await;
        self.servers.take_over(follower, &self.replicas).await;
        let writes = Arc::clone(self).rename_all(known.clone(), other, chance.below(1 << 30));
        let writing = tokio::spawn(writes);
        let (next, end) = (self.servers.primary().await, Instant::now() + SHORT_OF_LEASE);
        while Instant::now() < end {
            if tail(&next).await >= last {
                self.count("numbers used again");
                break;
            }
            sleep(LOOK).await;
        }
        stopped.go_on();
        writing.await.unwrap();
        self.read_all(&known, at).await;
        renaming.await.unwrap();
    }

    /// Reads all of these twice, so that the replica has them in its memory if it can.
    async fn read_all(&self, known: &[Known], at: usize) {
        for _ in 0..2 {
            join_all(known.iter().map(|known| self.get_plainly(known, at))).await;
        }
    }

    async fn rename_all(self: Arc<Self>, known: Vec<Known>, at: usize, seed: u64) {
        let renamed = (0..).zip(known).map(|(number, known)| {
            let mut worker = Worker::new(Arc::clone(&self), Chance::of(seed, number), 0, 0);
            async move { worker.rename_at(known, at).await }
        });
        join_all(renamed).await;
    }

    /// A replica hears late of what the others write, again and again, and has its lease meanwhile.
    pub(super) async fn log_late(&self, at: usize) {
        let wire = &self.replicas[at].wire;
        for _ in 0..LATE {
            wire.lane(LOG, To::Client, Flow::Hold);
            sleep(LATE_FOR).await;
            wire.lane(LOG, To::Client, Flow::Pass);
            sleep(CAUGHT_UP_WITHIN).await;
        }
    }

    /// The others take a replica for one that lags, and say so when it does not lag any more. Then
    /// it is cut off, as long as its lease lasts.
    pub(super) async fn evict_late(&self, at: usize) {
        let (stopped, primary) = (&self.replicas[at], self.servers.primary().await);
        let others = || (1..REPLICAS).map(|more| &self.replicas[(at + more) % REPLICAS]);
        stopped.hang();
        sleep(SHORT_OF_LEASE).await;
        let known = members(&primary).await;
        let lags = known.iter().min_by_key(|(_, applied)| **applied).map(|(session, _)| session);
        for other in others() {
            other.wire.lane(COMMANDS, To::Server, Flow::Hold);
        }
        // What was sent before is carried out.
        sleep(Duration::from_millis(20)).await;
        stopped.go_on();
        let end = Instant::now() + IN_STEP_WITHIN;
        let mut is_in_step = false;
        while !is_in_step && Instant::now() < end {
            sleep(LOOK).await;
            let (now, tail) = (members(&primary).await, tail(&primary).await);
            is_in_step = lags.and_then(|session| now.get(session)).is_some_and(|at| *at >= tail);
        }
        // It has its lease now, and hears of nothing.
        for (lane, to) in [(LOG, To::Client), (COMMANDS, To::Server)] {
            stopped.wire.lane(lane, to, Flow::Hold);
        }
        if is_in_step {
            self.count("evictions late");
        }
        // What waits for the stopped one has given up by now, and sends that.
        sleep(Duration::from_millis(550)).await;
        for other in others() {
            other.wire.lane(COMMANDS, To::Server, Flow::Pass);
        }
        sleep(Duration::from_millis(1_400)).await;
        for (lane, to) in [(LOG, To::Client), (COMMANDS, To::Server)] {
            stopped.wire.lane(lane, to, Flow::Pass);
        }
        stopped.wire.cut();
    }
}
