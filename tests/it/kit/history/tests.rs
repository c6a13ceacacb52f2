//! That each kind of lie is found, and that nothing else is taken for one.

use serde_json::json;

use super::{
    Call, Done, Effect, History, Kind, Lie, Moment, Read, Said, display_name, effects, version,
};

fn at(tick: u64) -> Moment {
    Moment { tick, ms: tick * 10 }
}

/// A write of its own by a call from one tick to another.
fn call(kind: Kind, version: u64, (start, end): (u64, u64), said: Said) -> Call {
    let (start, end) = (at(start), at(end));
    Call { kind, write: start.tick, profile: 1, version, start, end, said }
}

/// The same as another attempt at the write that began then.
fn again(write: u64, call: Call) -> Call {
    Call { write, ..call }
}

fn effect(done: Done, version: u64, tick: u64) -> Effect {
    Effect { ms: tick * 10, done, id: "7".to_owned(), name: Some((1, version)) }
}

fn read(seen: Option<u64>, start: u64, end: u64) -> Read {
    Read { profile: 1, start: at(start), end: at(end), seen, how: "get".to_owned() }
}

/// A profile that was created as version 0 and changed to version 1, and was looked at in between.
fn honest() -> History {
    History {
        calls: vec![
            call(Kind::Create, 0, (1, 4), Said::Ok),
            call(Kind::Update, 1, (6, 9), Said::Ok),
        ],
        reads: vec![read(Some(0), 5, 7), read(Some(1), 7, 8), read(Some(1), 10, 11)],
        effects: vec![effect(Done::Created, 0, 2), effect(Done::Modified, 1, 7)],
    }
}

fn failed() -> Said {
    Said::Failed("X".to_owned())
}

#[track_caller]
fn assert_lies(expected: &[Lie], spoil: impl FnOnce(&mut History)) {
    let mut history = honest();
    spoil(&mut history);
    let lies = history.lies();
    let kinds: Vec<Lie> = lies.iter().map(|(lie, _)| *lie).collect();
    assert_eq!(kinds, expected, "{lies:#?}");
}

#[test]
fn an_honest_history_has_no_lies() {
    assert_lies(&[], |_| {});
    // A lost update, late, and its repeat that finds it.
    assert_lies(&[], |history| {
        history.calls.push(call(Kind::Update, 2, (12, 14), Said::Unknown));
        history.calls.push(again(12, call(Kind::Update, 2, (15, 18), Said::Ok)));
        history.effects.push(effect(Done::Modified, 2, 16));
        history.reads.push(read(Some(1), 13, 16));
        history.reads.push(read(Some(2), 17, 18));
    });
    // A failure, then a repeat that goes through.
    assert_lies(&[], |history| {
        history.calls.push(call(Kind::Update, 2, (12, 14), failed()));
        history.calls.push(again(12, call(Kind::Update, 2, (15, 18), Said::Ok)));
        history.effects.push(effect(Done::Modified, 2, 16));
    });
    // A creation that was taken back.
    assert_lies(&[], |history| {
        *history = History::default();
        history.calls.push(call(Kind::Create, 0, (1, 5), failed()));
        history.effects = vec![effect(Done::Created, 0, 2), effect(Done::Deleted, 0, 3)];
        history.effects[1].name = None;
        history.reads.push(read(None, 6, 7));
    });
    // The same, then one that stayed, until it was deleted.
    assert_lies(&[], |history| {
        *history = History::default();
        history.calls.push(call(Kind::Create, 0, (1, 5), failed()));
        history.calls.push(again(1, call(Kind::Create, 0, (6, 9), Said::Ok)));
        history.calls.push(call(Kind::Delete, 0, (10, 12), Said::Ok));
        let second = |effect| Effect { id: "8".to_owned(), ..effect };
        history.effects = vec![
            effect(Done::Created, 0, 2),
            effect(Done::Deleted, 0, 3),
            second(effect(Done::Created, 0, 7)),
            second(effect(Done::Deleted, 0, 11)),
        ];
    });
    // A deletion that failed, and another one that did not.
    assert_lies(&[], |history| {
        history.calls.push(call(Kind::Delete, 0, (12, 14), failed()));
        history.calls.push(call(Kind::Delete, 0, (15, 17), Said::Ok));
        history.effects.push(effect(Done::Deleted, 0, 16));
    });
    // Neither of these is known to be there, or to be gone.
    assert_lies(&[], |history| {
        history.calls.push(call(Kind::Delete, 0, (12, 14), Said::Unknown));
        history.reads.extend([read(None, 13, 14), read(Some(1), 15, 16), read(None, 15, 16)]);
    });
}

#[test]
fn a_write_that_is_done_twice_is_found() {
    assert_lies(&[Lie::DoneTwice, Lie::DoneTwice], |history| {
        history.effects.push(Effect { id: "8".to_owned(), ..effect(Done::Created, 0, 8) });
    });
    assert_lies(&[Lie::DoneTwice], |h| h.effects.push(effect(Done::Modified, 1, 8)));
    // A repeat of a creation of unknown outcome, without looking first.
    assert_lies(&[Lie::DoneTwice, Lie::DoneTwice], |history| {
        history.calls[0] = call(Kind::Create, 0, (1, 2), Said::Unknown);
        history.calls.push(again(1, call(Kind::Create, 0, (3, 4), Said::Ok)));
        history.effects.insert(1, Effect { id: "8".to_owned(), ..effect(Done::Created, 0, 3) });
    });
    assert_lies(&[Lie::DoneTwice], |history| {
        history.calls.push(call(Kind::Edit, 0, (12, 14), Said::Ok));
        history.calls.remove(1);
        history.effects.remove(1);
        history.reads.truncate(1);
        history.effects.push(effect(Done::Edited, 0, 13));
        history.effects.push(effect(Done::Edited, 0, 13));
    });
}

#[test]
fn an_ok_without_an_effect_is_found() {
    assert_lies(&[Lie::OkWithoutEffect], |history| {
        history.calls.truncate(1);
        history.reads.truncate(1);
        history.effects.clear();
    });
    assert_lies(&[Lie::OkWithoutEffect], |history| history.effects[1].ms = 95);
    for kind in [Kind::Delete, Kind::Edit] {
        assert_lies(&[Lie::OkWithoutEffect], |history| {
            history.calls.push(call(kind, 0, (12, 14), Said::Ok));
            if kind == Kind::Edit {
                history.calls.remove(1);
                history.effects.remove(1);
                history.reads.truncate(1);
            }
        });
    }
}

#[test]
fn a_failure_with_an_effect_is_found() {
    assert_lies(&[Lie::FailureWithEffect], |history| {
        history.calls.push(call(Kind::Update, 2, (12, 14), failed()));
        history.effects.push(effect(Done::Modified, 2, 13));
    });
    // Later than it was told, and before a repeat that is told the same.
    assert_lies(&[Lie::FailureWithEffect], |history| {
        history.calls.push(call(Kind::Update, 2, (12, 14), Said::Unknown));
        history.calls.push(again(12, call(Kind::Update, 2, (20, 21), failed())));
        history.effects.push(effect(Done::Modified, 2, 30));
    });
    assert_lies(&[Lie::FailureWithEffect], |history| {
        history.calls.push(call(Kind::Delete, 0, (12, 14), failed()));
        history.effects.push(effect(Done::Deleted, 0, 13));
    });
    // A creation that was not taken back.
    assert_lies(&[Lie::FailureWithEffect], |history| {
        *history = History::default();
        history.calls.push(call(Kind::Create, 0, (1, 5), failed()));
        history.effects = vec![effect(Done::Created, 0, 2)];
    });
    // The repeat is right; the first answer was not.
    assert_lies(&[Lie::FailureWithEffect], |history| {
        history.calls.push(call(Kind::Update, 2, (12, 14), failed()));
        history.calls.push(again(12, call(Kind::Update, 2, (15, 18), Said::Ok)));
        history.effects.push(effect(Done::Modified, 2, 13));
    });
}

#[test]
fn reads_that_cannot_be_are_found() {
    assert_lies(&[Lie::StaleRead], |history| history.reads.push(read(Some(0), 10, 11)));
    assert_lies(&[Lie::ReadOfNothing], |history| history.reads.push(read(Some(1), 4, 5)));
    assert_lies(&[Lie::ReadOfNothing], |history| history.reads.push(read(Some(9), 10, 11)));
    assert_lies(&[Lie::ReadOfNothing], |history| {
        history.calls.push(call(Kind::Update, 2, (12, 14), failed()));
        history.reads.push(read(Some(2), 13, 15));
    });
    assert_lies(&[Lie::Lost], |history| history.reads.push(read(None, 5, 6)));
    assert_lies(&[Lie::BackFromTheDead], |history| {
        history.calls.push(call(Kind::Delete, 0, (12, 14), Said::Ok));
        history.effects.push(effect(Done::Deleted, 0, 13));
        history.reads.push(read(Some(1), 15, 16));
        history.reads.push(read(None, 15, 16));
    });
}

#[test]
fn a_journal_is_read() {
    assert_eq!(version(&display_name(12, 3)), Some((12, 3)));
    assert_eq!(version("History of 3"), None);
    let entry = |effect, body| json!({"at_ms": 5, "effect": effect, "body": body});
    let found = effects(&[
        entry(json!({"created": "7"}), json!({"a": [{"name": display_name(1, 0)}]})),
        entry(json!(null), json!({"name": display_name(1, 0)})),
        entry(json!({"cascaded": ["8"], "modified": "7"}), json!({"name": display_name(1, 1)})),
        entry(json!({"attached": "7/38/12"}), json!(null)),
        entry(json!({"deleted": "7"}), json!(null)),
    ]);
    let told: Vec<_> = found.iter().map(|e| (e.done, e.id.as_str(), e.name)).collect();
    let expected = [
        (Done::Created, "7", Some((1, 0))),
        (Done::Modified, "7", Some((1, 1))),
        (Done::Edited, "7", None),
        (Done::Deleted, "7", None),
    ];
    assert_eq!(told, expected);
}

// Regression: a repeat that was told what the first attempt had believed was taken for a lie.
#[test]
fn what_was_believed_without_a_look_may_have_been_ignored_since_the_first_attempt() {
    let told = |ignored_at: u64| {
        let mut history = History::default();
        history.calls.push(call(Kind::Create, 0, (1, 4), Said::Unknown));
        history.calls.push(again(1, call(Kind::Create, 0, (5, 7), Said::Unread)));
        history.happened(&[json!({"fault": "ignore", "at_ms": ignored_at, "effect": null})]);
        (history.calls[1].said.clone(), history.lies().len())
    };
    for during in [10, 30, 70] {
        assert_eq!(told(during), (Said::Unknown, 0), "{during}");
    }
    for outside in [9, 71] {
        assert_eq!(told(outside), (Said::Ok, 1), "{outside}");
    }
}
