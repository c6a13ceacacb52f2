//! That each broken promise is found, and that nothing else is taken for one.

mod account;

use serde_json::json;

use super::{
    Call, Effect, Found, History, Kind, Lie, Read, Said, Services, Trouble, What, effects,
};
use crate::kit::{
    history::{Moment, display_name},
    tap::Passed,
};

const ID: &str = "SP_7";

fn at(tick: u64) -> Moment {
    Moment { tick, ms: tick * 100 }
}

/// A write of its own to replica 0, by a call from one tick to another.
fn call(kind: Kind, (start, end): (u64, u64), said: Said) -> Call {
    let (start, end) = (at(start), at(end));
    Call { kind, write: start.tick, profile: 1, replica: 0, start, end, said }
}

/// The same as another attempt at the write that began then, to replica 1.
fn again(write: u64, call: Call) -> Call {
    Call { write, replica: 1, ..call }
}

fn effect(what: What, tick: u64) -> Effect {
    Effect { ms: tick * 100, id: ID.to_owned(), what }
}

fn created(tick: u64) -> Effect {
    effect(What::Created(1, 0, services(&["4"])), tick)
}

fn renamed(version: u64, tick: u64) -> Effect {
    effect(What::Changed(Some(version), None), tick)
}

fn changed(ids: &[&str], tick: u64) -> Effect {
    effect(What::Changed(None, Some(services(ids))), tick)
}

fn services(ids: &[&str]) -> Services {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn rename(version: u64) -> Kind {
    Kind::Rename(version, None)
}

fn attach(id: &str) -> Kind {
    Kind::Attach(id.to_owned())
}

fn read(seen: Option<(u64, &[&str])>, start: u64, end: u64) -> Read {
    let seen = seen.map(|(version, ids)| (version, Some(services(ids))));
    Read {
        id: ID.to_owned(),
        start: at(start),
        end: at(end),
        seen,
        how: "get".to_owned(),
        is_remembered: false,
    }
}

fn failed() -> Said {
    Said::Failed("X".to_owned())
}

fn refused() -> Said {
    Said::Refused("X".to_owned())
}

/// A profile that two callers rename and attach a service to at once, and that is looked at.
fn honest() -> History {
    History {
        calls: vec![
            call(Kind::Create, (1, 4), Said::Ok),
            call(rename(1), (11, 15), Said::Ok),
            call(attach("2"), (12, 16), Said::Ok),
        ],
        reads: vec![
            read(Some((0, &["4"])), 5, 7),
            read(Some((0, &["4"])), 12, 13),
            read(Some((1, &["4"])), 16, 17),
            read(Some((1, &["2", "4"])), 17, 18),
        ],
        effects: vec![created(2), renamed(1, 13), changed(&["2", "4"], 14)],
        ..History::default()
    }
}

fn lies_of(spoil: impl FnOnce(&mut History)) -> Vec<Found> {
    let mut history = honest();
    spoil(&mut history);
    history.lies()
}

#[track_caller]
fn assert_lies(expected: &[Lie], spoil: impl FnOnce(&mut History)) {
    let lies = lies_of(spoil);
    let kinds: Vec<Lie> = lies.iter().map(|found| found.lie).collect();
    assert_eq!(kinds, expected, "{lies:#?}");
    assert!(lies.iter().all(|found| !found.is_excused), "{lies:#?}");
}

#[test]
fn an_honest_history_breaks_nothing() {
    // The last read began after the attachment was acknowledged, one before it did not.
    assert_lies(&[], |history| {
        history.reads.push(read(Some((1, &["2", "4"])), 20, 21));
        // A write that is lost, and its repeat at another replica, which finds it or does it.
        history.calls.push(call(rename(2), (22, 24), Said::Unknown));
        history.calls.push(again(22, call(rename(2), (25, 27), refused())));
        history.calls.push(again(22, call(rename(2), (28, 30), Said::Ok)));
        history.effects.push(renamed(2, 29));
        // One that was never answered, and happens late.
        history.calls.push(call(attach("3"), (31, 33), Said::Unknown));
        history.reads.push(read(Some((2, &["2", "4"])), 34, 36));
        history.effects.push(changed(&["2", "3", "4"], 35));
        history.reads.push(read(Some((2, &["2", "3", "4"])), 36, 37));
        history.calls.push(call(Kind::Delete, (40, 43), Said::Ok));
        history.effects.push(effect(What::Deleted, 42));
        history.reads.push(read(None, 44, 45));
    });
    // A creation that was taken back.
    assert_lies(&[], |history| {
        *history = History::default();
        history.calls.push(call(Kind::Create, (1, 5), failed()));
        history.effects = vec![created(2), effect(What::Deleted, 3)];
        history.reads.push(read(None, 6, 7));
    });
}

#[test]
fn what_happens_twice_is_found() {
    assert_lies(&[Lie::DoneTwice], |history| history.effects.insert(2, renamed(1, 13)));
    // The repeat has written again over another one, and says so.
    assert_lies(&[Lie::DoneTwice, Lie::StaleRead], |history| {
        history.calls.push(call(rename(2), (17, 19), Said::Ok));
        history.calls.push(again(11, call(rename(1), (20, 24), Said::Ok)));
        history.effects.extend([renamed(2, 18), renamed(1, 22)]);
        history.reads.push(read(Some((1, &["2", "4"])), 20, 21));
    });
    assert_lies(&[Lie::DoneTwice], |history| {
        let other = Effect { id: "SP_8".to_owned(), ..created(3) };
        history.effects.push(other);
    });
    // An attachment that is done twice has taken back what came in between.
    assert_lies(&[Lie::LostChange], |history| {
        history.calls.push(call(Kind::Detach("2".to_owned()), (20, 22), Said::Ok));
        history.effects.extend([changed(&["4"], 21), changed(&["2", "4"], 23)]);
    });
}

#[test]
fn false_answers_are_found() {
    assert_lies(&[Lie::OkWithoutEffect], |history| {
        history.calls.push(call(rename(2), (20, 22), Said::Ok));
    });
    assert_lies(&[Lie::OkWithoutEffect], |history| {
        history.calls.push(call(rename(2), (20, 22), Said::Ok));
        history.effects.push(renamed(2, 23));
    });
    assert_lies(&[Lie::OkWithoutEffect], |history| {
        history.calls.push(call(attach("3"), (20, 22), Said::Ok));
    });
    // Two that say that they have attached it, and it was attached once.
    assert_lies(&[Lie::OkWithoutEffect], |history| {
        history.calls.push(call(attach("2"), (10, 17), Said::Ok));
    });
    let kinds = [(failed(), Lie::FailureWithEffect), (refused(), Lie::RefusedWithEffect)];
    for (said, lie) in kinds {
        assert_lies(&[lie], |history| {
            history.calls.push(call(rename(2), (20, 22), said.clone()));
            history.effects.push(renamed(2, 21));
        });
        assert_lies(&[Lie::LostChange], |history| {
            history.calls.push(call(attach("3"), (20, 22), said.clone()));
            history.effects.push(changed(&["2", "3", "4"], 21));
        });
    }
    // The repeat on another replica takes the caller's own success for another's.
    assert_lies(&[Lie::FailureWithEffect], |history| {
        history.calls[0].said = Said::Unknown;
        history.calls.push(again(1, call(Kind::Create, (5, 8), failed())));
    });
}

#[test]
fn lost_changes_are_found() {
    // Both have read a profile without the other's service.
    assert_lies(&[Lie::LostChange, Lie::StaleRead], |history| {
        history.calls.push(call(attach("3"), (10, 19), Said::Ok));
        history.effects.push(changed(&["3", "4"], 15));
        history.reads.push(read(Some((1, &["2", "4"])), 20, 21));
    });
    assert_lies(&[Lie::OkWithoutEffect], |history| {
        history.effects.push(effect(What::Deleted, 20));
    });
}

#[test]
fn stale_and_invented_reads_are_found() {
    for seen in [Some((0, &["4"][..])), Some((1, &["4"])), Some((0, &["2", "4"]))] {
        let lie = if seen == Some((0, &["2", "4"])) { Lie::ReadOfNothing } else { Lie::StaleRead };
        assert_lies(&[lie], |history| history.reads.push(read(seen, 17, 18)));
        assert_lies(&[lie], |history| {
            let mut list = read(seen, 17, 18);
            list.how = "list".to_owned();
            list.seen = seen.map(|(version, ids)| (version, Some(services(ids))));
            history.reads.push(list);
        });
    }
    // A list that shows no services.
    assert_lies(&[Lie::StaleRead], |history| {
        history.reads.push(Read { seen: Some((0, None)), ..read(None, 17, 18) });
    });
    assert_lies(&[Lie::ReadOfNothing], |history| history.reads.push(read(None, 17, 18)));
    // A profile that is back.
    assert_lies(&[Lie::StaleRead], |history| {
        history.calls.push(call(Kind::Delete, (20, 22), Said::Ok));
        history.effects.push(effect(What::Deleted, 21));
        history.reads.push(read(Some((1, &["2", "4"])), 23, 24));
    });
    // Before it was written.
    assert_lies(&[Lie::ReadOfNothing], |history| {
        history.reads.push(read(Some((1, &["4"])), 5, 6));
    });
}

#[test]
fn memory_that_answers_without_a_lease_is_found() {
    let silent = Trouble::Silent { from: 1_700, to: 5_000 };
    // Before the store is silent, under the lease, after it, and when the store may answer again.
    for (start, end, expected) in [
        (16, 18, &[][..]),
        (18, 19, &[]),
        (37, 38, &[]),
        (39, 40, &[Lie::ReadWithoutLease]),
        (49, 51, &[]),
    ] {
        for is_remembered in [true, false] {
            let expected = if is_remembered { expected } else { &[] };
            assert_lies(expected, |history| {
                history.troubles.0.push(silent);
                let read = read(Some((1, &["2", "4"])), start, end);
                history.reads.push(Read { is_remembered, ..read });
            });
        }
    }
}

#[test]
fn a_write_that_was_answered_when_its_time_was_up_may_not_show_yet() {
    for (cut, expected) in [(0, &[Lie::StaleRead][..]), (400, &[]), (500, &[Lie::StaleRead])] {
        assert_lies(expected, |history| {
            history.cut = cut;
            history.reads.push(read(Some((1, &["4"])), 17, 18));
        });
    }
}

fn passed(id: &str, from: u64, to: Option<u64>) -> Passed {
    let body = json!({"Request": {"requestParam": {"serviceProfile": {"id": id}}}}).to_string();
    let line = "POST /api/ModifyServiceProfile".to_owned();
    Passed { line, body, from: at(from), to: to.map(at) }
}

#[test]
fn two_writes_at_once_are_found() {
    assert_lies(&[], |history| {
        history.passed = vec![passed(ID, 2, Some(4)), passed(ID, 5, Some(6))];
        history.passed.push(passed("SP_8", 3, Some(4)));
        let login = Passed { line: "POST /api/login".to_owned(), ..passed(ID, 2, None) };
        history.passed.push(login);
    });
    for to in [Some(4), Some(9), None] {
        assert_lies(&[Lie::AtOnce], |history| {
            history.passed = vec![passed(ID, 2, to), passed(ID, 3, Some(6))];
        });
    }
    // One creation, on two replicas.
    assert_lies(&[Lie::AtOnce], |history| {
        let body = || json!({"name": display_name(1, 0)}).to_string();
        let create = |from, to| Passed { body: body(), ..passed("", from, Some(to)) };
        history.passed = vec![create(2, 4), create(3, 6)];
    });
}

#[test]
fn an_etag_that_goes_through_twice_is_found() {
    let with = |version, etag: &str| Kind::Rename(version, Some(etag.to_owned()));
    assert_lies(&[Lie::SameEtagTwice], |history| {
        history.calls.push(call(with(2, "a"), (20, 22), Said::Ok));
        history.calls.push(call(with(3, "a"), (21, 24), Said::Ok));
        history.effects.extend([renamed(2, 21), renamed(3, 23)]);
    });
    assert_lies(&[], |history| {
        history.calls.push(call(with(2, "a"), (20, 22), Said::Ok));
        history.calls.push(call(with(3, "a"), (21, 24), failed()));
        history.calls.push(call(with(4, "b"), (25, 27), Said::Ok));
        history.effects.extend([renamed(2, 21), renamed(4, 26)]);
    });
}

#[test]
fn only_what_was_lost_with_its_writer_is_excused() {
    let twice = |troubles: &[Trouble]| {
        let found = lies_of(|history| {
            history.calls.push(again(11, call(rename(1), (20, 24), Said::Ok)));
            history.calls.push(call(rename(2), (17, 19), Said::Ok));
            history.effects.extend([renamed(2, 18), renamed(1, 22)]);
            history.troubles.0 = troubles.to_vec();
        });
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0].is_excused
    };
    let lost = Trouble::Lost { from: 1600, to: 1700 };
    let killed = |replica| Trouble::Killed { replica, ms: 1650 };
    let away = |replica| Trouble::Away { replica, from: 1300, to: 1900 };
    for (troubles, is_excused) in [
        (&[][..], false),
        (&[lost], false),
        (&[killed(0)], false),
        (&[lost, killed(2)], false),
        (&[lost, killed(0)], true),
        (&[lost, away(0)], true),
        (&[away(0)], false),
    ] {
        assert_eq!(twice(troubles), is_excused, "{troubles:?}");
    }
    let stale = lies_of(|history| {
        history.troubles.0 = vec![lost, killed(0)];
        history.reads.push(read(Some((0, &["4"])), 18, 19));
    });
    assert!(!stale[0].is_excused, "no trouble excuses a stale read");
}

#[test]
fn two_primaries_excuse_what_happens_while_they_are_there() {
    for (from, to, is_excused) in
        [(1_700, 1_800, true), (1_850, 2_000, true), (1_950, 3_000, false)]
    {
        let found = lies_of(|history| {
            history.troubles.0 = vec![Trouble::Split { from, to }];
            history.reads.push(read(Some((0, &["4"])), 18, 19));
            history.reads.push(read(Some((0, &["4"])), 60, 61));
        });
        let excused: Vec<bool> = found.iter().map(|found| found.is_excused).collect();
        assert_eq!(excused, [is_excused, false], "{found:#?}");
    }
}

#[test]
fn the_journal_is_read() {
    let name = display_name(3, 5);
    let request = |mut fields: serde_json::Value| {
        fields["name"] = name.clone().into();
        json!({"Request": {"requestParam": {"serviceProfile": fields}}})
    };
    let journal = [
        json!({"at_ms": 1, "effect": {"created": "SP_9"},
               "body": request(json!({"service": "4|2"}))}),
        json!({"at_ms": 2, "effect": {"modified": "SP_9", "cascaded": ["SP_1"]},
               "body": request(json!({"id": "SP_9"}))}),
        json!({"at_ms": 3, "effect": null, "body": {}}),
        json!({"at_ms": 4, "effect": {"created": 12}, "body": {"name": name.clone()}}),
        json!({"at_ms": 5, "effect": {"attached": "12/4"}, "body": null}),
        json!({"at_ms": 6, "effect": {"attached": "12/4/11"}, "body": null}),
        json!({"at_ms": 7, "effect": {"detached": "12/4"}, "body": null}),
        json!({"at_ms": 8, "effect": {"deleted": 12}, "body": null}),
    ];
    let found: Vec<_> = effects(&journal).into_iter().map(|e| (e.ms, e.id, e.what)).collect();
    let expected = [
        (1, "SP_9", What::Created(3, 5, services(&["2", "4"]))),
        (2, "SP_9", What::Changed(Some(5), None)),
        (4, "12", What::Created(3, 5, services(&[]))),
        (5, "12", What::Attached("4".to_owned())),
        (7, "12", What::Detached("4".to_owned())),
        (8, "12", What::Deleted),
    ];
    assert_eq!(found, expected.map(|(ms, id, what)| (ms, id.to_owned(), what)));
}
