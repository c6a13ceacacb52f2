//! What each script is given. The scripts say it in the same order.

use std::time::Duration;

use redis::ScriptInvocation;

use super::keys::Keys;
use crate::shared::protocol::{
    Adopt, Begin, Close, Command, ENDED_AFTER, EpochId, Join, Open, Outcome, RecordState,
    RequestRecord, Restore, TakeTurn, Target, Token,
};

/// Records are kept so long after an attempt that has not ended.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn add(
    call: &mut ScriptInvocation<'_>,
    keys: &Keys,
    epoch: Option<&EpochId>,
    command: &Command,
) {
    for key in keys.common() {
        call.key(key);
    }
    match command {
        Command::Join(_) => call.arg(""),
        Command::Members { epoch } | Command::Evict { epoch, .. } => call.arg(&**epoch),
        // Without an epoch, it is refused.
        _ => call.arg(epoch.map_or("-", |epoch| &**epoch)),
    };
    match command {
        Command::Join(Join { session, leaves, token, settle, grace }) => {
            call.arg(session.0).arg(leaves.map_or_else(String::new, |left| left.0.to_string()));
            call.arg(token.0).arg(millis(*settle)).arg(millis(*grace));
            call.arg(session.process().number());
        }
        Command::Renew { session, applied } => {
            call.arg(session.0).arg(*applied).arg(session.process().number());
        }
        Command::Members { .. } | Command::Count => {}
        Command::Evict { sessions, below, .. } => {
            call.arg(*below);
            for session in sessions {
                call.arg(session.0);
            }
        }
        Command::Begin(Begin { request, fingerprint, attempt, lasts, grace, doubted }) => {
            call.key(keys.of("req", request));
            call.arg(&**fingerprint).arg(attempt.0);
            call.arg(millis(*lasts)).arg(millis(*grace)).arg(millis(KEPT)).arg(token(*doubted));
        }
        Command::TakeTurn(TakeTurn { profile, token, lasts, grace }) => {
            call.key(keys.of("turn", profile));
            call.arg(token.0).arg(millis(*lasts)).arg(millis(*grace));
        }
        Command::Open(open) => add_open(call, keys, open),
        Command::Close(close) => add_close(call, keys, close),
        Command::Purge { target } => {
            call.arg(target.as_deref().unwrap_or_default());
        }
        Command::Restore(restore) => add_restore(call, keys, restore),
        Command::Adopt(Adopt { process, limit, also_own, grace }) => {
            call.arg(process.number()).arg(*limit).arg(u8::from(*also_own));
            call.arg(millis(*grace)).arg(millis(ENDED_AFTER));
        }
        Command::Settled { requests } => {
            for (request, attempt) in requests {
                call.key(keys.of("req", request));
                call.arg(token(*attempt));
            }
        }
    }
}

fn add_open(call: &mut ScriptInvocation<'_>, keys: &Keys, open: &Open) {
    let request = open.request.as_ref();
    add_keys(call, keys, open.turn.as_ref(), request.map(|(request, _)| &**request));
    call.arg(open.write.0).arg(&*open.target).arg(millis(open.lasts));
    call.arg(token(open.turn.as_ref().map(|(_, token)| *token)));
    call.arg(token(request.map(|(_, attempt)| *attempt)));
    call.arg(open.intent.as_deref().unwrap_or_default());
    call.arg(open.unnamed.as_deref().unwrap_or_default());
    call.arg(open.write.process().number()).arg(millis(KEPT));
}

fn add_close(call: &mut ScriptInvocation<'_>, keys: &Keys, close: &Close) {
    let request = close.request.as_ref();
    let name = request.map(|(request, _)| &**request);
    add_keys(call, keys, close.turn.as_ref(), name);
    call.arg(close.write.0).arg(&*close.target).arg(letter(&close.outcome));
    call.arg(token(close.turn.as_ref().map(|(_, token)| *token)));
    call.arg(token(request.map(|(_, attempt)| *attempt)));
    call.arg(close.intent.as_deref().unwrap_or_default());
    call.arg(result(&close.outcome)).arg(millis(close.kept)).arg(name.unwrap_or_default());
    call.arg(close.write.process().number()).arg(close.made.as_deref().unwrap_or_default());
}

fn add_restore(call: &mut ScriptInvocation<'_>, keys: &Keys, restore: &Restore) {
    let record = restore.record.as_ref();
    add_keys(call, keys, restore.turn.as_ref(), record.map(|record| &*record.request));
    call.arg(restore.write.0).arg(&*restore.target);
    call.arg(restore.left.map_or_else(|| "-1".to_owned(), |left| millis(left).to_string()));
    call.arg(u8::from(restore.is_open));
    call.arg(token(restore.turn.as_ref().map(|(_, token)| *token)));
    call.arg(&*restore.known_in).arg(millis(restore.grace));
    let Some(RequestRecord { fingerprint, attempt, generation, state, intent, ended, .. }) = record
    else {
        call.arg("");
        return;
    };
    call.arg(attempt.0).arg(&**fingerprint).arg(*generation);
    let (state, span, result) = match state {
        RecordState::Running { left } => ("R", *left, &[][..]),
        RecordState::Ended(outcome, ago) => (letter(outcome), *ago, result(outcome)),
    };
    call.arg(state).arg(millis(span)).arg(intent.as_deref().unwrap_or_default());
    call.arg(ended.map_or_else(String::new, |ago| millis(ago).to_string()));
    call.arg(result).arg(millis(restore.kept)).arg(restore.write.process().number());
}

/// The keys of the turn and of the request id. One that is not needed is the first key again.
fn add_keys(
    call: &mut ScriptInvocation<'_>,
    keys: &Keys,
    turn: Option<&(Target, Token)>,
    request: Option<&str>,
) {
    let unused = || keys.common()[0].clone();
    call.key(turn.map_or_else(unused, |(profile, _)| keys.of("turn", profile)));
    call.key(request.map_or_else(unused, |request| keys.of("req", request)));
}

fn token(token: Option<Token>) -> String {
    token.map_or_else(String::new, |token| token.0.to_string())
}

fn letter(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done(_) => "D",
        Outcome::Nothing => "N",
        Outcome::NoEffect => "E",
        Outcome::Unknown => "U",
    }
}

fn result(outcome: &Outcome) -> &[u8] {
    match outcome {
        Outcome::Done(result) => result,
        Outcome::Nothing | Outcome::NoEffect | Outcome::Unknown => &[],
    }
}

/// The server counts milliseconds.
pub(in crate::shared) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
