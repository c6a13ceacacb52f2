//! The faults of the matrix. None of them lies: an upstream that refuses a request, as its vendor
//! documents it, and carries it out all the same cannot be found out.

use std::{borrow::Cow, time::Duration};

use super::rows::Row;
use crate::kit::chaos::Break;

/// A fault that one request of a write meets.
pub(super) struct Fault {
    pub(super) name: Cow<'static, str>,
    pub(super) how: How,
    /// Whether the outcome of the write cannot be known before the deadline.
    pub(super) may_be_unknown: bool,
    /// The call's deadline: short where a cell must end unknown.
    pub(super) time: &'static str,
    /// Whether the effect comes after the answer.
    pub(super) comes_late: bool,
    /// Whether the effect comes when the call is over.
    pub(super) outlasts: bool,
    /// Whether names are stored in another spelling.
    pub(super) respells: bool,
    /// The upstream that has it, or all.
    only: &'static str,
    /// The upstreams that do not.
    never: &'static [&'static str],
    /// The method that does not.
    not_method: &'static str,
}

pub(super) enum How {
    /// The sandbox's own: the fault, and how many requests meet it.
    Sandbox(Cow<'static, str>, u64),
    /// One of the connection.
    Chaos(Break),
    /// No listener where the request should go.
    Refused,
}

use How::{Chaos, Refused};

#[expect(non_snake_case, reason = "named like the other ways")]
fn Sandbox(fault: impl Into<Cow<'static, str>>, times: u64) -> How {
    How::Sandbox(fault.into(), times)
}

/// Time enough to find out.
const LONG: &str = "20s";
const SHORT: &str = "2s";

/// What can be known.
fn known(name: impl Into<Cow<'static, str>>, how: How) -> Fault {
    Fault {
        name: name.into(),
        how,
        may_be_unknown: false,
        time: LONG,
        comes_late: false,
        outlasts: false,
        respells: false,
        only: "",
        never: &[],
        not_method: "",
    }
}

/// What cannot.
fn unknown(name: impl Into<Cow<'static, str>>, how: How) -> Fault {
    Fault { may_be_unknown: true, time: SHORT, ..known(name, how) }
}

/// What can be known although the name is stored in another spelling.
fn respelled(name: &'static str, how: How) -> Fault {
    Fault { respells: true, ..known(name, how) }
}

fn of(upstream: &'static str, fault: Fault) -> Fault {
    Fault { only: upstream, ..fault }
}

fn not_of(upstreams: &'static [&'static str], fault: Fault) -> Fault {
    Fault { never: upstreams, ..fault }
}

fn not_method(method: &'static str, fault: Fault) -> Fault {
    Fault { not_method: method, ..fault }
}

fn within(time: &'static str, fault: Fault) -> Fault {
    Fault { time, ..fault }
}

/// Statuses that no dialect documents. Nothing says whether the write was carried out.
const UNDOCUMENTED: [u16; 10] = [302, 303, 399, 408, 425, 499, 501, 520, 600, 999];

/// Statuses that HTTP itself defines as refusals, and no dialect documents.
const REFUSALS: [u16; 2] = [405, 431];

/// Failures that are read back, because no dialect documents them as refusals: in the words of the
/// sandbox, without the members that say when the effect comes.
fn unconfirmed() -> Vec<Fault> {
    let of_all = [
        ("405 page", r#""kind":"status","status":405"#),
        ("402", r#""kind":"status","status":402,"body":"""#),
        ("410 object", r#""kind":"status","status":410,"body":"{}""#),
        ("404 page", r#""kind":"status","status":404"#),
    ];
    let of_two = [("400 page", r#""kind":"status","status":400"#)];
    let of_sft = [
        ("10239", r#""kind":"result","code":"10239","commit":"late""#),
        ("7777", r#""kind":"result","code":"7777","commit":"late""#),
    ];
    let of_pcc = [
        (
            "422",
            r#""kind":"status","status":422,"body":"{\"message\":\"failed\",\"errorCode\":1}""#,
        ),
        ("503", r#""kind":"status","status":503,"body":"""#),
        ("503 of a mesh", r#""kind":"status","status":503,"body":"{\"message\":\"no upstream\"}""#),
    ];
    let fault = |(name, order): (&'static str, &'static str)| known(name, Sandbox(order, 1));
    let own = ("500", r#""kind":"status","status":500,"body":"{}""#);
    of_all
        .into_iter()
        .map(fault)
        .chain(of_two.into_iter().map(|order| not_of(&["pcc"], fault(order))))
        .chain([not_of(&["sft"], fault(own))])
        .chain(of_sft.into_iter().map(|order| of("sft", fault(order))))
        .chain(of_pcc.into_iter().map(|order| of("pcc", fault(order))))
        .collect()
}

/// The same with an effect that comes so many milliseconds after the answer.
fn unconfirmed_late(ms: u64) -> impl Iterator<Item = Fault> {
    unconfirmed().into_iter().map(move |fault| {
        let How::Sandbox(order, times) = fault.how else { panic!("it has no order") };
        let how = Sandbox(format!(r#"{{{order},"late_ms":{ms}}}"#), times);
        Fault { name: format!("{}, {ms} ms late", fault.name).into(), how, ..fault }
    })
}

fn status(status: u16, members: &str) -> How {
    Sandbox(format!(r#"{{"kind":"status","status":{status}{members}}}"#), 1)
}

pub(super) fn faults() -> Vec<Fault> {
    let undocumented = UNDOCUMENTED.into_iter().flat_map(|number| {
        let effect = status(number, r#","commit":"before""#);
        [
            unknown(format!("{number}, no effect"), status(number, "")),
            known(format!("{number}, effect"), effect),
        ]
    });
    let refusals = REFUSALS.into_iter().flat_map(|number| {
        let effect = status(number, r#","commit":"before""#);
        [
            known(format!("{number}, no effect"), status(number, "")),
            known(format!("{number}, effect"), effect),
        ]
    });
    let late = [524, 303].map(|number| {
        within("8s", known(format!("{number}, late"), status(number, r#","late_ms":700"#)))
    });
    undocumented
        .chain(refusals)
        .chain(late)
        .chain(unconfirmed_late(700))
        .chain(unconfirmed_late(2500).map(|fault| Fault { outlasts: true, ..fault }))
        .chain(named())
        .chain(of_sft())
        .chain(without_a_body())
        .chain(failed_codes())
        .chain(of_dialects())
        .collect()
}

/// Faults that have no number.
fn named() -> Vec<Fault> {
    vec![
        // Reads show the state before the write for longer than they need to be answered.
        known("reads lag", Sandbox(r#"{"kind":"lag","ms":600}"#, 1)),
        // The documented answer to a deletion is the only one that is not read back.
        not_method(
            "DeleteProfile",
            known("acknowledged, not done", Sandbox(r#"{"kind":"ignore"}"#, 1)),
        ),
        known("refused", Refused),
        unknown("reset in the request", Chaos(Break::InRequest)),
        known("reset before the answer, at the connection", Chaos(Break::BeforeAnswer)),
        known("reset after the answer's head", Chaos(Break::AfterHead)),
        unknown("reset, no effect", Sandbox(r#"{"kind":"reset"}"#, 1)),
        known("reset, effect", Sandbox(r#"{"kind":"reset","commit":"before"}"#, 1)),
        unknown("closed, no effect", Sandbox(r#"{"kind":"drop"}"#, 1)),
        known("closed, effect", Sandbox(r#"{"kind":"drop","commit":"before"}"#, 1)),
        known("cut in the body", Sandbox(r#"{"kind":"truncate"}"#, 1)),
        unknown("time out, no effect", Sandbox(r#"{"kind":"hang"}"#, 1)),
        within("4s", known("time out, effect", Sandbox(r#"{"kind":"hang","commit":"before"}"#, 1))),
        // The request has three quarters of the time; then it is looked for.
        within("8s", known("late", Sandbox(r#"{"kind":"delay","ms":6300,"commit":"after"}"#, 1))),
        Fault {
            comes_late: true,
            ..unknown("too late", Chaos(Break::Hold(Duration::from_millis(3000))))
        },
        // The vendor's own internal error: it is done with the request.
        not_of(
            &["sft"],
            known("500, no effect", Sandbox(r#"{"kind":"status","status":500,"body":"{}"}"#, 1)),
        ),
        not_of(
            &["sft"],
            known(
                "500, effect",
                Sandbox(r#"{"kind":"status","status":500,"body":"{}","commit":"before"}"#, 1),
            ),
        ),
        unknown("500 page, no effect", Sandbox(r#"{"kind":"status","status":500}"#, 1)),
        known(
            "500 page, effect",
            Sandbox(r#"{"kind":"status","status":500,"commit":"before"}"#, 1),
        ),
        unknown("502, no effect", Sandbox(r#"{"kind":"status","status":502}"#, 1)),
        known("502, effect", Sandbox(r#"{"kind":"status","status":502,"commit":"before"}"#, 1)),
        unknown("503, no effect", Sandbox(r#"{"kind":"status","status":503}"#, 1)),
        known("503, effect", Sandbox(r#"{"kind":"status","status":503,"commit":"before"}"#, 1)),
        unknown("504, no effect", Sandbox(r#"{"kind":"status","status":504}"#, 1)),
        known("504, effect", Sandbox(r#"{"kind":"status","status":504,"commit":"before"}"#, 1)),
        unknown("page, no effect", Sandbox(r#"{"kind":"html"}"#, 1)),
        known("page, effect", Sandbox(r#"{"kind":"html","commit":"before"}"#, 1)),
    ]
}

/// Faults that only SFT has.
fn of_sft() -> Vec<Fault> {
    vec![
        of("sft", unknown("nothing, no effect", Sandbox(r#"{"kind":"empty"}"#, 1))),
        of("sft", known("nothing, effect", Sandbox(r#"{"kind":"empty","commit":"before"}"#, 1))),
        of(
            "sft",
            unknown(
                "no envelope, no effect",
                Sandbox(r#"{"kind":"body","body":"{\"Response\":{}}"}"#, 1),
            ),
        ),
        of(
            "sft",
            known(
                "no envelope, effect",
                Sandbox(r#"{"kind":"body","body":"{\"Response\":{}}","commit":"before"}"#, 1),
            ),
        ),
        of("sft", known("not UTF-8", Sandbox(r#"{"kind":"invalid_utf8"}"#, 1))),
        of("sft", known("7777, no effect", Sandbox(r#"{"kind":"result","code":"7777"}"#, 1))),
        of(
            "sft",
            known(
                "7777, effect",
                Sandbox(r#"{"kind":"result","code":"7777","commit":"before"}"#, 1),
            ),
        ),
        of("sft", known("10239, no effect", Sandbox(r#"{"kind":"result","code":"10239"}"#, 1))),
        of(
            "sft",
            known(
                "10239, effect",
                Sandbox(r#"{"kind":"result","code":"10239","commit":"before"}"#, 1),
            ),
        ),
        of("sft", unknown("10240, no effect", Sandbox(r#"{"kind":"result","code":"10240"}"#, 1))),
        of(
            "sft",
            known(
                "10240, effect",
                Sandbox(r#"{"kind":"result","code":"10240","commit":"before"}"#, 1),
            ),
        ),
        of(
            "sft",
            known(
                "10240, late",
                Sandbox(r#"{"kind":"result","code":"10240","commit":"late","late_ms":700}"#, 1),
            ),
        ),
    ]
}

/// SFT's codes for an operation that failed: they do not say at which point. A deletion of what
/// does not exist is answered like one that failed, so one that was carried out cannot be told
/// from it.
fn failed_codes() -> impl Iterator<Item = Fault> {
    ["1324", "1326", "1330"].into_iter().flat_map(|code| {
        let result =
            |more: &str| Sandbox(format!(r#"{{"kind":"result","code":"{code}"{more}}}"#), 1);
        [
            of("sft", known(format!("{code}, no effect"), result(""))),
            not_method(
                "DeleteProfile",
                of("sft", known(format!("{code}, effect"), result(r#","commit":"before""#))),
            ),
        ]
    })
}

/// A success that only some operations have.
fn without_a_body() -> [Fault; 2] {
    let effect = status(200, r#","body":"","commit":"before""#);
    [
        not_of(&["sft"], unknown("200 and nothing, no effect", status(200, r#","body":"""#))),
        not_of(&["sft"], known("200 and nothing, effect", effect)),
    ]
}

/// Faults that some dialects have.
fn of_dialects() -> Vec<Fault> {
    vec![
        of(
            "pcc",
            known(
                "503 without a body, effect",
                Sandbox(r#"{"kind":"status","status":503,"body":"","commit":"before"}"#, 1),
            ),
        ),
        of("pcc", unknown("207, no effect", Sandbox(r#"{"kind":"status","status":207}"#, 1))),
        of(
            "pcc",
            known("207, effect", Sandbox(r#"{"kind":"status","status":207,"commit":"before"}"#, 1)),
        ),
        not_of(&["sft"], known("401 once", Sandbox(r#"{"kind":"status","status":401}"#, 1))),
        not_of(&["sft"], known("401 always", Sandbox(r#"{"kind":"status","status":401}"#, 0))),
        of("sft", known("401 once", Sandbox(r#"{"kind":"result","code":"401"}"#, 1))),
        of("sft", known("401 always", Sandbox(r#"{"kind":"result","code":"401"}"#, 0))),
        known("429", Sandbox(r#"{"kind":"status","status":429,"retry_after_seconds":7}"#, 1)),
        respelled("escaped name", Sandbox(r#"{"kind":"respell","how":"escape"}"#, 1)),
        respelled(
            "escaped name, lost",
            Sandbox(r#"{"kind":"respell","how":"escape","lost":true}"#, 1),
        ),
        respelled("folded name", Sandbox(r#"{"kind":"respell","how":"fold"}"#, 1)),
        known("gzip in capitals", Sandbox(r#"{"kind":"coding","coding":"GZIP"}"#, 1)),
        known("an unknown coding", Sandbox(r#"{"kind":"coding","coding":"br"}"#, 1)),
        unknown("no HTTP, no effect", Sandbox(r#"{"kind":"bad_head"}"#, 1)),
        known("no HTTP, effect", Sandbox(r#"{"kind":"bad_head","commit":"before"}"#, 1)),
        of("sft", known("echo, no effect", Sandbox(r#"{"kind":"echo","code":"7777"}"#, 1))),
        of(
            "sft",
            known("echo, effect", Sandbox(r#"{"kind":"echo","code":"7777","commit":"before"}"#, 1)),
        ),
        // The vendor's own internal error, in its own words.
        not_of(&["sft"], known("echo, no effect", Sandbox(r#"{"kind":"echo","code":"500"}"#, 1))),
        not_of(
            &["sft"],
            known("echo, effect", Sandbox(r#"{"kind":"echo","code":"500","commit":"before"}"#, 1)),
        ),
    ]
}

impl Fault {
    pub(super) fn is_of(&self, row: &Row) -> bool {
        let meant = self.only.is_empty() || self.only == row.upstream;
        // What of a write of several steps comes too late is what was meant to be undone by then.
        let late = (self.comes_late || self.outlasts) && row.has_steps();
        let never = self.never.contains(&row.upstream) || self.not_method == row.method;
        meant && !never && !late
    }
}
