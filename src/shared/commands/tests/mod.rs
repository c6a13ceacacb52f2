//! The scripts on a real server answer as the model of the server does, which the protocol is
//! proved with.

mod logins;
mod rate;
mod refused;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use redis::{AsyncCommands, aio::MultiplexedConnection, cmd};

use super::{Keys, Scripts, read_log};
use crate::shared::{
    protocol::{
        Adopt, Answer, Begin, Close, Command, EpochId, Join, Open, Outcome, RecordState, Refused,
        RequestRecord, Restore, Session, TakeTurn, Target, Token, WriteId,
        tests::server::{Data, Server},
    },
    redis_server::RedisServer,
};

/// The tests set the time, in a key.
const CLOCK: &str = "local function now() return tonumber(redis.call('GET', 'now')) end\n";

const MINUTE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(2);

/// Makes commands up, of few names, so that they meet.
struct Source {
    rng: TestRng,
    epochs: Vec<EpochId>,
}

impl Source {
    fn below(&mut self, limit: u32) -> u32 {
        self.rng.next_u32() % limit
    }

    fn is(&mut self) -> bool {
        self.below(2) == 0
    }

    fn number(&mut self) -> u64 {
        u64::MAX - u64::from(self.below(4))
    }

    /// An id of one of two processes.
    fn id(&mut self) -> u64 {
        self.number() - (u64::from(self.below(4) / 3) << 32)
    }

    fn span(&mut self) -> Duration {
        MINUTE + Duration::from_millis(u64::from(self.below(10_000)))
    }

    fn text(&mut self, name: &str) -> Arc<str> {
        format!("{name} {}", self.below(2)).into()
    }

    fn bytes(&mut self) -> Arc<[u8]> {
        [0xff, 1 + self.below(3) as u8][..].into()
    }

    fn turn(&mut self) -> Option<(Target, Token)> {
        self.is().then(|| (self.text("profile"), Token(self.number())))
    }

    fn outcome(&mut self) -> Outcome {
        match self.below(4) {
            0 => Outcome::Done(self.bytes()),
            1 => Outcome::Nothing,
            2 => Outcome::NoEffect,
            _ => Outcome::Unknown,
        }
    }

    fn epoch(&mut self) -> EpochId {
        let last = self.epochs.len() as u32;
        let back = if self.below(8) == 0 { self.below(last.max(1)) } else { 0 };
        let index = last.checked_sub(1 + back.min(last.saturating_sub(1)));
        index.map_or_else(|| "none".into(), |index| self.epochs[index as usize].clone())
    }

    fn command(&mut self) -> Command {
        match self.below(21) {
            0..=5 => self.of_members(),
            6..=15 => self.of_writes(),
            16 => Command::Purge { target: self.is().then(|| self.text("profile")) },
            17 => Command::Adopt(Adopt {
                process: WriteId(self.id()).process(),
                limit: 9,
                also_own: self.is(),
                grace: GRACE,
            }),
            18 => Command::Count,
            19 => Command::Settled {
                requests: vec![
                    (self.text("request"), None),
                    (self.text("request"), Some(Token(self.number()))),
                ],
            },
            _ => Command::Restore(self.restore()),
        }
    }

    fn of_members(&mut self) -> Command {
        match self.below(6) {
            0 | 1 => Command::Join(Join {
                session: Session(self.id()),
                leaves: self.is().then(|| Session(self.id())),
                token: Token(self.number()),
                settle: MINUTE,
                grace: GRACE,
            }),
            2 | 3 => {
                let session = Session(self.id());
                Command::Renew { session, applied: u64::from(self.below(12)) }
            }
            4 => Command::Members { epoch: self.epoch() },
            _ => {
                let sessions = vec![Session(self.id()), Session(self.id())];
                Command::Evict { epoch: self.epoch(), sessions, below: u64::from(self.below(12)) }
            }
        }
    }

    fn of_writes(&mut self) -> Command {
        match self.below(10) {
            0..=2 => Command::Begin(Begin {
                request: self.text("request"),
                fingerprint: if self.below(9) == 0 { "other" } else { "same" }.into(),
                attempt: Token(self.number()),
                lasts: self.span(),
                grace: GRACE,
                doubted: self.is().then(|| Token(self.number())),
            }),
            3 | 4 => Command::TakeTurn(TakeTurn {
                profile: self.text("profile"),
                token: Token(self.number()),
                lasts: self.span(),
                grace: GRACE,
            }),
            5 | 6 => Command::Open(Open {
                write: WriteId(self.id()),
                target: self.text("profile"),
                lasts: self.span(),
                turn: self.turn(),
                request: self.is().then(|| (self.text("request"), Token(self.number()))),
                intent: self.is().then(|| self.bytes()),
                unnamed: self.is().then(|| "same".into()),
            }),
            _ => Command::Close(Close {
                write: WriteId(self.id()),
                target: self.text("profile"),
                turn: self.turn(),
                request: self.is().then(|| (self.text("request"), Token(self.number()))),
                outcome: self.outcome(),
                intent: self.is().then(|| self.bytes()),
                kept: if self.below(4) == 0 { Duration::ZERO } else { 2 * MINUTE },
                made: self.is().then(|| self.text("made")),
            }),
        }
    }

    fn restore(&mut self) -> Restore {
        let state = match self.is() {
            true => RecordState::Running { left: self.span() },
            false => RecordState::Ended(self.outcome(), self.span()),
        };
        let record = RequestRecord {
            request: self.text("request"),
            fingerprint: "same".into(),
            attempt: Token(self.number()),
            generation: 1 + u64::from(self.below(4)),
            state,
            intent: self.is().then(|| self.bytes()),
            ended: self.is().then(|| self.span()),
        };
        Restore {
            write: WriteId(self.id()),
            target: self.text("profile"),
            left: self.is().then(|| self.span()),
            is_open: self.is(),
            turn: self.turn(),
            record: self.is().then_some(record),
            known_in: self.epoch(),
            grace: GRACE,
            kept: 2 * MINUTE,
        }
    }
}

/// What happens to both servers between two commands.
async fn disturb(source: &mut Source, server: &mut Server, real: &mut MultiplexedConnection) {
    match source.below(60) {
        0 => {
            server.history += 1;
            let changed = cmd("DEBUG").arg("CHANGE-REPL-ID").query_async::<()>(real).await;
            changed.expect("the history changes");
        }
        1 => {
            server.data = Data::default();
            cmd("FLUSHALL").query_async::<()>(real).await.expect("the server is emptied");
        }
        _ => {}
    }
}

/// The names in an answer, without its values.
fn kind(answer: &Result<Answer, Refused>) -> String {
    let text = format!("{answer:?}");
    let end = text.find([' ', '{', ')']).unwrap_or(text.len());
    text[..end].to_owned()
}

#[tokio::test]
async fn scripts_answer_as_the_model_does() {
    let redis = RedisServer::start(&[]).await;
    let mut real = redis.connect().await;
    let (scripts, keys) = (Scripts::with_clock(CLOCK), Keys::new("test"));
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut source = Source { rng, epochs: Vec::new() };
    let mut server = Server { history: 1, ..Server::default() };
    let mut now = Duration::from_millis(1_800_000_000_000);
    let (mut last, mut seen) = (String::new(), BTreeMap::<String, u32>::new());
    for _ in 0..25_000 {
        disturb(&mut source, &mut server, &mut real).await;
        now += Duration::from_millis(match source.below(20) {
            0 => 70_000,
            1..4 => 700,
            _ => u64::from(source.below(3)),
        });
        let (epoch, command) = (source.epoch(), source.command());
        let _: () = real.set("now", now.as_millis() as u64).await.expect("the time is set");
        let answer = scripts.run(&mut real, &keys, Some(&epoch), &command).await;
        let expected = server.answer(Some(&epoch), &command, now);
        last = format!("{}\n{epoch} {command:?} -> {expected:?}", &last[last.len() / 2..]);
        assert_eq!(answer.expect("an answer"), expected, "{last}");
        *seen.entry(kind(&expected)).or_default() += 1;
        if let Ok(Answer::Joined(joined)) = expected
            && source.epochs.last() != Some(&joined.epoch)
        {
            source.epochs.push(joined.epoch);
        }
    }
    assert_eq!(seen.len(), 25, "each kind of answer has to come: {seen:?}");
    assert!(seen.values().all(|count| *count > 20), "{seen:?}");
    let entries = read_log(&mut real, &keys, 0, 1_000_000, Duration::from_millis(1)).await;
    assert_eq!(entries.expect("the log").entries, server.read(0));
}
