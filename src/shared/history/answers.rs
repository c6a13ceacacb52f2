//! What the scripts of a history answer.

use redis::{RedisError, Value};

use super::state::{HistoryId, HistoryRun, HistoryState, SharedChange, SharedEntry, Standing};
use crate::shared::{
    commands::{Words, unexpected},
    protocol::Refused,
};

type Result<T> = std::result::Result<T, RedisError>;

/// An answer, or why the server gives no other.
pub(super) type Answered<T> = std::result::Result<T, Refused>;

fn first(words: &mut Words) -> Result<Answered<String>> {
    let first: String = words.next()?;
    Ok(match first.as_str() {
        "EPOCH" => Err(Refused::Epoch),
        "DEMOTED" => Err(Refused::Demoted),
        _ => Ok(first),
    })
}

pub(super) fn done(value: Value) -> Result<Answered<bool>> {
    Ok(first(&mut Words::of(value)?)?.map(|first| first == "DONE"))
}

pub(super) fn state(value: Value) -> Result<Answered<HistoryState>> {
    let mut words = Words::of(value)?;
    if let Err(refused) = first(&mut words)? {
        return Ok(Err(refused));
    }
    let id: String = words.next()?;
    let (first, last): (u64, u64) = (words.next()?, words.next()?);
    let runs: String = words.next()?;
    let standing = match id.parse() {
        Ok(id) => Some(Standing { id: HistoryId(id), first, last, runs: read_runs(&runs) }),
        Err(_) if id.is_empty() => None,
        Err(_) => return Err(unexpected()),
    };
    let (looked, age, interval) = (words.next()?, words.millis()?, words.millis()?);
    let (failed, why): (u64, String) = (words.next()?, words.next()?);
    let has_turn: u8 = words.next()?;
    let (turn_left, note) = (words.millis()?, words.next()?);
    let (ended, tail): (u64, u64) = (words.next()?, words.next()?);
    Ok(Ok(HistoryState {
        standing,
        looked,
        age,
        interval,
        failed: (failed > 0).then_some((failed, why)),
        has_turn: has_turn == 1,
        turn_left,
        note,
        ended,
        now: tail + 1,
    }))
}

pub(super) fn list(value: Value) -> Result<(u64, Vec<SharedEntry>)> {
    let mut words = Words::of(value)?;
    let next: String = words.next()?;
    let next = next.parse().map_err(|_| unexpected())?;
    let pairs: Vec<Vec<u8>> = words.next()?;
    let mut pairs = pairs.into_iter();
    let mut entries = Vec::new();
    while let (Some(position), Some(value)) = (pairs.next(), pairs.next()) {
        let position = String::from_utf8(position).map_err(|_| unexpected())?;
        entries.push(SharedEntry { position, value: value.into() });
    }
    Ok((next, entries))
}

/// Changes by their numbers.
pub(super) type Numbered = Vec<(u64, SharedChange)>;

/// The changes, if the history is still the same.
pub(super) fn changes(value: Value) -> Result<Answered<Option<Numbered>>> {
    let mut words = Words::of(value)?;
    match first(&mut words)? {
        Err(refused) => return Ok(Err(refused)),
        Ok(first) if first != "CHANGES" => return Ok(Ok(None)),
        Ok(_) => {}
    }
    let all: Vec<(String, Vec<Vec<u8>>)> = words.next()?;
    let all = all.into_iter().map(|(id, fields)| change(&id, fields).ok_or_else(unexpected));
    all.collect::<Result<_>>().map(|all| Ok(Some(all)))
}

fn change(id: &str, fields: Vec<Vec<u8>>) -> Option<(u64, SharedChange)> {
    let number = id.split('-').next()?.parse().ok()?;
    let mut values = fields.into_iter().skip(1).step_by(2);
    let mut text = || String::from_utf8(values.next()?).ok();
    let (position, kind, fields) = (text()?, text()?.chars().next()?, text()?);
    let value = values.next()?.into();
    Some((number, SharedChange { position, kind, fields, value }))
}

/// Earlier histories as the server keeps them.
pub(super) fn runs(runs: &[HistoryRun]) -> String {
    runs.iter().map(|run| format!(" {}:{}", run.id.0, run.end)).collect()
}

/// One that cannot be read is not known.
fn read_runs(text: &str) -> Vec<HistoryRun> {
    let runs = text.split(' ').filter_map(|run| {
        let (id, end) = run.split_once(':')?;
        Some(HistoryRun { id: HistoryId(id.parse().ok()?), end: end.parse().ok()? })
    });
    runs.collect()
}
