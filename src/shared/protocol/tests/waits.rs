//! What the model does not reach: waits that are cut, and what a replica remembers of its writes.

use std::time::Duration;

use super::{
    server::{Data, Server},
    world::{KEPT, TIMING},
};
use crate::shared::protocol::{
    Acknowledgement, Answer, Closed, Command, Entry, EntryKind, EpochId, Memory, Next, Outcome,
    OwnWrite, OwnWrites, Refused, Renewal, Replica, Restored, Session, Step, Target, Time, Token,
    WriteId,
};

fn at(millis: u64) -> Time {
    Duration::from_millis(millis)
}

/// A wait that began at 10 s, for a member that lags.
fn lagging(earlier_until: Time, cut_at: Time) -> Acknowledgement {
    let members = [(Session(1), 7), (Session(2), 6)].into();
    let closed = Closed { epoch: "now".into(), number: 7, members, was_mine: true };
    Acknowledgement::new(&closed, Some(Session(1)), earlier_until, cut_at, at(10_000), TIMING)
}

fn poll() -> Step {
    Step::Poll(Command::Members { epoch: "now".into() })
}

#[test]
fn a_wait_polls_more_and_more_rarely() {
    let mut wait = lagging(Time::ZERO, Time::MAX);
    let mut polls = Vec::new();
    for now in 10_000..10_200 {
        if wait.step(at(now)) == poll() {
            polls.push(now - 10_000);
            wait.polled(&[(Session(2), 6)].into(), at(now));
        }
    }
    assert_eq!(polls, [1, 3, 7, 15, 31, 63, 95, 127, 159, 191]);
    wait.polled(&[(Session(2), 7)].into(), at(10_200));
    assert_eq!(wait.step(at(10_200)), Step::Answer);
}

#[test]
fn a_member_that_has_left_is_not_waited_for() {
    let mut wait = lagging(Time::ZERO, Time::MAX);
    wait.polled(&[(Session(1), 7), (Session(3), 0)].into(), at(10_001));
    assert_eq!(wait.step(at(10_001)), Step::Answer);
}

#[test]
fn a_wait_ends_with_the_leases_of_those_who_lag() {
    let mut wait = lagging(Time::ZERO, Time::MAX);
    wait.cannot_poll();
    assert_eq!(wait.step(at(10_001)), Step::Wait(at(12_060)));
    let (epoch, sessions) = ("now".into(), vec![Session(2)]);
    let evict = Command::Evict { epoch, sessions, below: 7 };
    assert_eq!(wait.step(at(12_060)), Step::Evict(evict));
}

#[test]
fn a_wait_in_a_new_epoch_outlasts_the_leases_of_the_one_before() {
    let mut wait = lagging(at(11_500), Time::MAX);
    wait.polled(&[(Session(2), 7)].into(), at(10_001));
    assert_eq!(wait.step(at(10_001)), Step::Wait(at(11_500)));
    assert_eq!(wait.step(at(11_500)), Step::Answer);
}

#[test]
fn a_wait_is_cut_before_the_deadline_and_goes_on() {
    let mut wait = lagging(Time::ZERO, at(10_500));
    assert_eq!(wait.step(at(10_500)), Step::Cut);
    wait.cut();
    assert_eq!(wait.step(at(10_500)), poll());
    wait.polled(&[(Session(2), 7)].into(), at(10_501));
    assert_eq!(wait.step(at(10_501)), Step::Answer);
}

struct Nothing;

impl Memory for Nothing {
    fn opened(&mut self, _: WriteId, _: &Target) {}
    fn closed(&mut self, _: WriteId, _: &Target, _: bool) {}
    fn outdate(&mut self, _: Option<&Target>) {}
}

/// A replica that has joined, and has its lease.
fn member(server: &mut Server, session: u64) -> Replica {
    let mut replica = Replica::new(TIMING);
    let join = replica.join(Session(session), Token(session));
    let answer = server.answer(None, &Command::Join(join), at(0));
    let Ok(Answer::Joined(joined)) = answer else { panic!("{answer:?}") };
    replica.joined(Session(session), &joined, at(0), &mut Nothing);
    let sent = replica.renew(at(0)).expect("a member");
    replica.renewed(&sent, Ok(Renewal::Valid), at(0));
    assert!(replica.may_serve(at(1)));
    replica
}

/// A writer that has joined a new epoch must not take its members for those that may still have a
/// lease of the one before.
#[test]
fn members_of_another_epoch_acknowledge_nothing() {
    let mut server = Server { history: 1, ..Server::default() };
    let _here = member(&mut server, 1);
    let there = member(&mut server, 2);
    let (epoch, _) = there.member().expect("a member");
    let poll = Command::Members { epoch: epoch.clone() };
    assert!(server.answer(Some(epoch), &poll, at(1)).is_ok());
    server.data = Data::default();
    let here = member(&mut server, 3);
    let (now, _) = here.member().expect("a member");
    assert_eq!(server.answer(Some(now), &poll, at(2)), Err(Refused::Epoch));
}

#[test]
fn entries_of_another_history_and_gaps_end_a_membership() {
    let mut server = Server { history: 1, ..Server::default() };
    for (number, epoch, next) in
        [(1, None, Next::Renew), (2, None, Next::Join), (1, Some("former"), Next::Join)]
    {
        let mut replica = member(&mut server, 1);
        let own = replica.member().map(|(epoch, _)| epoch.clone()).expect("a member");
        let epoch = epoch.map_or(own, EpochId::from);
        let entry = Entry { number, epoch, kind: EntryKind::Purged { target: None } };
        assert_eq!(replica.read(&[entry], at(1), &mut Nothing), next);
        assert_eq!(replica.may_serve(at(1)), next == Next::Renew);
    }
}

fn write(number: u64) -> OwnWrite {
    OwnWrite {
        write: WriteId(number),
        target: "p".into(),
        known_in: "before".into(),
        sends_until: at(60_000),
        is_open: true,
        turn: Some(("p".into(), Token(number))),
        request: Some(("r".into(), "f".into(), Token(number), 1)),
        intent: None,
        intent_ended: None,
        ended: None,
    }
}

#[test]
fn a_write_that_lost_its_turn_sends_nothing_more() {
    let mut own = OwnWrites::default();
    own.note(&write(1));
    assert!(own.may_send(WriteId(1), at(59_999)));
    assert!(!own.may_send(WriteId(1), at(60_000)), "its time is over");
    let lost = Restored { has_turn: false, has_record: true };
    own.restored(WriteId(1), lost, &"now".into());
    assert!(!own.may_send(WriteId(1), at(1)));
}

#[test]
fn what_a_replica_restores_is_bounded() {
    let mut own = OwnWrites::default();
    for number in 0..20_000 {
        let ended = Some((Outcome::Nothing, at(number)));
        own.note(&OwnWrite { ended, ..write(number) });
    }
    assert_eq!(own.to_restore(at(20_000), TIMING, KEPT).len(), 16_384);
    let restored = own.to_restore(at(10 * 60_000 + 19_998), TIMING, KEPT);
    assert_eq!(restored.len(), 1, "the others ended too long ago");
    assert!(restored[0].turn.is_none() && restored[0].left.is_none());
}
