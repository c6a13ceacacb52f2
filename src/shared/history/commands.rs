//! The commands of a history as scripts of the server. Each runs as a whole or not at all, and is
//! refused in another epoch.

use std::time::Duration;

use redis::{RedisError, Script, ScriptInvocation, aio::ConnectionLike};

use super::{
    answers::{self, Answered},
    state::{Advance, Fill, HistoryId, HistoryState, Looked, SharedChange, SharedEntry, Turn},
};
use crate::shared::{
    commands::{CLOCK, Keys, PRELUDE, millis},
    protocol::{EpochId, Token},
};

/// How long the server keeps a history at which no one looks.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// At most so many changes, or parts of the list, are sent at once.
const MOST_AT_ONCE: usize = 256;
/// The bytes of these.
const BYTES_AT_ONCE: usize = 512 << 10;
/// How many parts of a list, or changes, are asked for at once.
const READ_AT_ONCE: usize = 128;

/// How much of the changes is kept, in addition to twice the size of the list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) changes: usize,
    pub(super) bytes: usize,
}

/// As much as a process keeps of its own.
pub(super) const MOST: Most = Most { changes: 4096, bytes: 8 << 20 };

/// Which history: its key, and the account that it is of.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The names of the keys.
    pub(super) keys: Keys,
    /// Tells it from others; in the log, it wakes those who read it.
    pub(super) name: String,
    /// As the targets of writes begin.
    pub(super) account: String,
}

/// Who adds to a history, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    /// The epoch of the replica.
    pub(super) epoch: &'a EpochId,
    /// Its turn.
    pub(super) token: Token,
}

/// The scripts.
#[derive(Debug)]
pub(super) struct HistoryScripts {
    turn: Script,
    fill: Script,
    advance: Script,
    failed: Script,
    read: Script,
    most: Most,
}

impl Default for HistoryScripts {
    fn default() -> Self {
        Self::new(CLOCK, MOST)
    }
}

impl HistoryScripts {
    /// Those that ask this function for the time.
    pub(super) fn new(clock: &str, most: Most) -> Self {
        let common = include_str!("../scripts/history.lua");
        let script = |body: &str| Script::new(&format!("{clock}{PRELUDE}{common}{body}"));
        Self {
            turn: script(include_str!("../scripts/history_turn.lua")),
            fill: script(include_str!("../scripts/history_fill.lua")),
            advance: script(include_str!("../scripts/history_advance.lua")),
            failed: script(include_str!("../scripts/history_failed.lua")),
            read: script(include_str!("../scripts/history_read.lua")),
            most,
        }
    }

    /// Says what there is, and gives the turn. `fresh` is the id of the history, if this epoch
    /// goes on with one of an earlier epoch.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails.
    pub(super) async fn turn(
        &self,
        connection: &mut impl ConnectionLike,
        of: &Named,
        (epoch, fresh): (&EpochId, u64),
        turn: Turn<'_>,
    ) -> Result<Answered<HistoryState>, RedisError> {
        let (token, lasts, note) = match turn {
            Turn::Ask => (String::new(), Duration::ZERO, ""),
            Turn::Take { token, lasts, note } => (token.0.to_string(), lasts, note),
            Turn::Leave(token) => (token.0.to_string(), Duration::ZERO, ""),
        };
        let mut call = begun(&self.turn, of, epoch);
        call.arg(fresh).arg(token).arg(millis(lasts)).arg(note).arg(millis(KEPT));
        call.arg(&of.name).arg(&of.account);
        answers::state(call.invoke_async(connection).await?)
    }

    /// Begins a history, in parts that are not one until the last is there.
    pub(super) fn fill<'a>(
        &'a self,
        of: &'a Named,
        by: By<'a>,
        fill: &'a Fill,
    ) -> impl Iterator<Item = ScriptInvocation<'a>> {
        let last = fill.first - 1 + fill.changes.len() as u64;
        let list = fill.list.iter().map(Part::Entry);
        let all: Vec<_> = list.chain(fill.changes.iter().map(Part::Change)).collect();
        let parts = in_parts(all);
        let end = parts.len() - 1;
        parts.into_iter().enumerate().map(move |(number, part)| {
            let mut call = begun(&self.fill, of, by.epoch);
            call.arg(by.token.0).arg(fill.id.0).arg(u8::from(number == 0));
            call.arg(u8::from(number == end)).arg(fill.first).arg(last);
            call.arg(answers::runs(&fill.runs)).arg(fill.looked).arg(millis(fill.interval));
            call.arg(millis(KEPT)).arg(&of.name);
            part.iter().for_each(|part| part.add_to(&mut call));
            call
        })
    }

    /// Adds what a look has found, in parts. Each of them is true for itself.
    pub(super) fn advance<'a>(
        &'a self,
        of: &'a Named,
        by: By<'a>,
        advance: &'a Advance,
    ) -> impl Iterator<Item = ScriptInvocation<'a>> {
        let parts = in_parts(advance.changes.iter().map(Part::Change).collect());
        let (end, mut after) = (parts.len() - 1, advance.after);
        parts.into_iter().enumerate().map(move |(number, part)| {
            let mut call = begun(&self.advance, of, by.epoch);
            call.arg(by.token.0).arg(advance.id.0).arg(after).arg(u8::from(number == end));
            call.arg(advance.looked).arg(millis(advance.interval));
            call.arg(self.most.changes).arg(self.most.bytes).arg(millis(KEPT)).arg(&of.name);
            part.iter().for_each(|part| part.add_to(&mut call));
            after += part.len() as u64;
            call
        })
    }

    /// Says that a look has failed.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails.
    pub(super) async fn failed(
        &self,
        connection: &mut impl ConnectionLike,
        of: &Named,
        by: By<'_>,
        (looked, why): (Looked, &str),
    ) -> Result<Answered<bool>, RedisError> {
        let mut call = begun(&self.failed, of, by.epoch);
        call.arg(by.token.0).arg(looked).arg(why).arg(&of.name);
        answers::done(call.invoke_async(connection).await?)
    }

    /// Reads changes of a history from this number on, to this one at most. They are fewer if there
    /// are many. Gives none of them if it is another history by now.
    ///
    /// # Errors
    ///
    /// If the connection or the server fails.
    pub(super) async fn read(
        &self,
        connection: &mut impl ConnectionLike,
        of: &Named,
        (epoch, id): (&EpochId, HistoryId),
        (first, last): (u64, u64),
    ) -> Result<Answered<Option<Vec<(u64, SharedChange)>>>, RedisError> {
        let mut call = begun(&self.read, of, epoch);
        call.arg(id.0).arg(first).arg(last).arg(READ_AT_ONCE);
        answers::changes(call.invoke_async(connection).await?)
    }
}

/// Adds a part that was made, and says whether it was taken.
///
/// # Errors
///
/// If the connection or the server fails.
pub(super) async fn sent(
    connection: &mut impl ConnectionLike,
    call: &ScriptInvocation<'_>,
) -> Result<Answered<bool>, RedisError> {
    answers::done(call.invoke_async(connection).await?)
}

/// Reads a part of the list; the first at zero. Gives where the next one is.
///
/// # Errors
///
/// If the connection or the server fails.
pub(super) async fn read_list(
    connection: &mut (impl ConnectionLike + Send + Sync),
    of: &Named,
    at: u64,
) -> Result<(u64, Vec<SharedEntry>), RedisError> {
    let mut scan = redis::cmd("HSCAN");
    scan.arg(of.keys.of("list", &of.name)).arg(at).arg("COUNT").arg(READ_AT_ONCE);
    answers::list(scan.query_async(connection).await?)
}

fn begun<'a>(script: &'a Script, of: &Named, epoch: &EpochId) -> ScriptInvocation<'a> {
    let mut call = script.prepare_invoke();
    for key in of.keys.common() {
        call.key(key);
    }
    for kind in ["history", "list", "changes"] {
        call.key(of.keys.of(kind, &of.name));
    }
    call.arg(&**epoch);
    call
}

/// What is sent of a history.
#[derive(Clone, Copy)]
enum Part<'a> {
    Entry(&'a SharedEntry),
    Change(&'a SharedChange),
}

impl Part<'_> {
    fn add_to(&self, call: &mut ScriptInvocation<'_>) {
        match self {
            Part::Entry(entry) => {
                call.arg(&entry.position).arg("").arg("").arg(&*entry.value);
            }
            Part::Change(change) => {
                call.arg(&change.position).arg(change.kind.to_string());
                call.arg(&change.fields).arg(&*change.value);
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Part::Entry(entry) => entry.position.len() + entry.value.len(),
            Part::Change(change) => change.position.len() + change.value.len(),
        }
    }
}

/// At least one part, which may be empty.
fn in_parts(all: Vec<Part<'_>>) -> Vec<Vec<Part<'_>>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for one in all {
        if part.len() >= MOST_AT_ONCE || bytes >= BYTES_AT_ONCE {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += one.bytes();
        part.push(one);
    }
    parts.push(part);
    parts
}
