//! The scripts on a real server answer as the model does.

mod model;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use redis::{AsyncCommands, aio::MultiplexedConnection, cmd};

use self::model::Model;
use super::{
    Advance, Fill, HistoryId, HistoryRun, HistoryState, SharedChange, SharedEntry, Turn,
    answers::Answered,
    commands::{By, HistoryScripts, Most, Named, read_list, sent},
};
use crate::shared::{
    commands::{Keys, Scripts, read_log},
    protocol::{
        Answer, Close, Command, EntryKind, EpochId, Join, Outcome, Session, Token, WriteId,
    },
    redis_server::RedisServer,
};

/// The tests set the time, in a key.
const CLOCK: &str = "local function now() return tonumber(redis.call('GET', 'now')) end\n";
const MOST: Most = Most { changes: 4, bytes: 60 };
const GRACE: Duration = Duration::from_secs(2);

/// A real server beside the model of one.
struct Both {
    _redis: RedisServer,
    real: MultiplexedConnection,
    common: Scripts,
    scripts: HistoryScripts,
    of: Named,
    model: Model,
    now: Duration,
    epochs: Vec<EpochId>,
    rng: TestRng,
}

impl Both {
    async fn new() -> Self {
        let redis = RedisServer::start(&[]).await;
        let (keys, name) = (Keys::new("test"), "account/history/a".to_owned());
        let mut this = Self {
            real: redis.connect().await,
            _redis: redis,
            common: Scripts::with_clock(CLOCK),
            scripts: HistoryScripts::new(CLOCK, MOST),
            of: Named { keys, name, account: "account".to_owned() },
            model: Model::default(),
            now: Duration::from_millis(1_800_000_000_000),
            epochs: Vec::new(),
            rng: TestRng::deterministic_rng(RngAlgorithm::ChaCha),
        };
        this.pass(0).await;
        this.join().await;
        this
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.rng.next_u32() % limit
    }

    async fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        let _: () = self.real.set("now", self.now.as_millis() as u64).await.expect("the time");
    }

    /// Begins an epoch, if the server has no valid one.
    async fn join(&mut self) {
        let join = Command::Join(Join {
            session: Session(self.rng.next_u64()),
            leaves: None,
            token: Token(self.rng.next_u64()),
            settle: GRACE,
            grace: GRACE,
        });
        let joined = self.common.run(&mut self.real, &self.of.keys, None, &join).await;
        let Ok(Ok(Answer::Joined(joined))) = joined else { panic!("{joined:?}") };
        self.model.epoch = Some(joined.epoch.clone());
        assert_eq!(joined.tail, self.model.tail);
        self.epochs.push(joined.epoch);
    }

    fn epoch(&mut self) -> EpochId {
        let back = if self.below(10) == 0 { self.below(3) as usize } else { 0 };
        self.epochs[self.epochs.len().saturating_sub(1 + back)].clone()
    }

    /// Writes to the account, or to another one.
    async fn close(&mut self, target: &str) {
        let close = Command::Close(Close {
            write: WriteId(1),
            target: target.into(),
            turn: None,
            request: None,
            outcome: Outcome::Done([1][..].into()),
            intent: None,
            kept: GRACE,
            made: None,
        });
        let epoch = self.model.epoch.clone();
        let closed = self.common.run(&mut self.real, &self.of.keys, epoch.as_ref(), &close).await;
        assert!(matches!(closed, Ok(Ok(Answer::Closed(_)))), "{closed:?}");
        self.model.tail += 1;
        if target.starts_with("account/") {
            self.model.ended = self.model.tail + 1;
        }
    }

    async fn turn(&mut self, turn: Turn<'_>) -> Answered<HistoryState> {
        let (epoch, fresh) = (self.epoch(), self.rng.next_u64() | 1);
        let real = self.scripts.turn(&mut self.real, &self.of, (&epoch, fresh), turn).await;
        let expected = self.model.turn((&epoch, fresh), turn, self.now);
        assert_eq!(real.expect("an answer"), expected);
        expected
    }

    async fn fill(&mut self, token: Token) -> Answered<bool> {
        let (epoch, mut expected) = (self.epoch(), BTreeMap::new());
        for _ in 0..self.below(5) {
            let (position, value) = (self.position(), self.value());
            expected.insert(position, value);
        }
        let list = expected.into_iter().map(|(position, value)| SharedEntry { position, value });
        let fill = Fill {
            id: HistoryId(self.rng.next_u64() | 1),
            runs: vec![HistoryRun { id: HistoryId(u64::MAX), end: u64::from(self.below(9)) }],
            list: list.collect(),
            first: 1 + u64::from(self.below(9)),
            changes: self.changes(),
            looked: u64::from(self.below(3)),
            interval: GRACE,
        };
        let mut real = Ok(true);
        for call in self.scripts.fill(&self.of, By { epoch: &epoch, token }, &fill) {
            real = sent(&mut self.real, &call).await.expect("an answer");
        }
        let expected = self.model.fill((&epoch, token), &fill, self.now);
        assert_eq!(real, expected);
        expected
    }

    async fn advance(&mut self, token: Token, state: &HistoryState) -> Answered<bool> {
        let epoch = self.epoch();
        let standing = state.standing.as_ref();
        let late = u64::from(self.below(8) == 0);
        let advance = Advance {
            id: standing.map_or(HistoryId(1), |standing| standing.id),
            after: standing.map_or(0, |standing| standing.last) + late,
            changes: self.changes(),
            looked: state.now,
            interval: 2 * GRACE,
        };
        let mut real = Ok(true);
        for call in self.scripts.advance(&self.of, By { epoch: &epoch, token }, &advance) {
            real = sent(&mut self.real, &call).await.expect("an answer");
        }
        let expected = self.model.advance((&epoch, token), &advance, (self.now, MOST));
        assert_eq!(real, expected);
        expected
    }

    async fn failed(&mut self, token: Token, state: &HistoryState) -> Answered<bool> {
        let (epoch, failed) = (self.epoch(), (state.now, "because"));
        let by = By { epoch: &epoch, token };
        let real = self.scripts.failed(&mut self.real, &self.of, by, failed).await;
        let expected = self.model.failed((&epoch, token), failed, self.now);
        assert_eq!(real.expect("an answer"), expected);
        expected
    }

    fn position(&mut self) -> String {
        format!("at\0{}", self.below(6))
    }

    fn value(&mut self) -> Arc<[u8]> {
        let length = self.below(12) as usize;
        vec![0xfe; length].into()
    }

    fn changes(&mut self) -> Vec<SharedChange> {
        let change = |this: &mut Self| SharedChange {
            position: this.position(),
            kind: ['a', 'c', 'r'][this.below(3) as usize],
            fields: ["", "rats,b"][this.below(2) as usize].to_owned(),
            value: this.value(),
        };
        (0..self.below(4)).map(|_| change(self)).collect()
    }

    /// What both have is the same.
    async fn compare(&mut self) {
        let (mut list, mut at) = (BTreeMap::new(), 0);
        loop {
            let read = read_list(&mut self.real, &self.of, at).await;
            let (next, entries) = read.expect("the list");
            list.extend(entries.into_iter().map(|entry| (entry.position, entry.value)));
            at = next;
            if at == 0 {
                break;
            }
        }
        assert_eq!(list, self.model.history.list);
        let epoch = self.model.epoch.clone().expect("an epoch");
        let fresh = self.rng.next_u64() | 1;
        let state = self.scripts.turn(&mut self.real, &self.of, (&epoch, fresh), Turn::Ask).await;
        let state = state.expect("an answer");
        assert_eq!(state, self.model.turn((&epoch, fresh), Turn::Ask, self.now));
        let Ok(HistoryState { standing: Some(standing), .. }) = state else { return };
        let all = (standing.first, standing.last);
        let read = self.scripts.read(&mut self.real, &self.of, (&epoch, standing.id), all).await;
        assert_eq!(read.expect("changes"), Ok(Some(self.model.history.changes.clone())));
        let read = self.scripts.read(&mut self.real, &self.of, (&epoch, HistoryId(1)), all).await;
        assert_eq!(read.expect("an answer"), Ok(None), "of another history");
    }
}

/// What there is for one that has lost the turn, or has it.
fn seen(state: &Answered<HistoryState>) -> String {
    match state {
        Err(_) => "refused".to_owned(),
        Ok(state) => {
            let HistoryState { standing, looked, failed, has_turn, ended, .. } = state;
            let (is_there, failed) = (standing.is_some(), failed.is_some());
            format!("{is_there} {} {failed} {has_turn} {}", *looked > 0, ended > looked)
        }
    }
}

impl Both {
    async fn empty(&mut self) {
        self.real.send_packed_command(&cmd("FLUSHDB")).await.expect("it is emptied");
        self.model = Model::default();
        self.pass(0).await;
        self.join().await;
    }

    /// The server has another history from now on.
    async fn begin_history(&mut self) {
        let changed = cmd("DEBUG").arg("CHANGE-REPL-ID").exec_async(&mut self.real).await;
        changed.expect("the history of the server changes");
        self.join().await;
    }

    async fn any_turn(&mut self, which: u32, token: Token) -> Answered<HistoryState> {
        let note = ["", "paces"][self.below(2) as usize];
        let turn = match which {
            12 => Turn::Leave(token),
            13..=14 => Turn::Ask,
            _ => Turn::Take { token, lasts: Duration::from_millis(2_000), note },
        };
        self.turn(turn).await
    }
}

#[tokio::test]
async fn scripts_answer_as_the_model_does() {
    let mut both = Both::new().await;
    let (mut counts, mut states) = (BTreeMap::<String, u32>::new(), BTreeMap::<String, u32>::new());
    let mut state = both.turn(Turn::Ask).await.expect("an answer");
    for round in 0..6_000 {
        let passes = u64::from(both.below(400));
        both.pass(passes).await;
        let token = Token(u64::from(both.below(2)));
        let (name, answer) = match both.below(20) {
            0 if round % 7 == 0 => {
                both.empty().await;
                continue;
            }
            1 if round % 3 == 0 => {
                both.begin_history().await;
                continue;
            }
            2 => {
                let target = ["account/p/1", "account/new", "other/p/1"][both.below(3) as usize];
                both.close(target).await;
                continue;
            }
            3..=4 => ("fill", both.fill(token).await),
            5..=10 => ("advance", both.advance(token, &state).await),
            11 => ("failed", both.failed(token, &state).await),
            other => {
                let now = both.any_turn(other, token).await;
                *states.entry(seen(&now)).or_default() += 1;
                state = now.unwrap_or(state);
                continue;
            }
        };
        *counts.entry(format!("{name} {answer:?}")).or_default() += 1;
        if round % 10 == 0 {
            both.compare().await;
        }
    }
    assert_eq!(counts.len(), 9, "each answer has to come: {counts:?}");
    assert!(counts.values().all(|count| *count > 5), "{counts:?}");
    assert!(states.len() > 12, "{states:?}");
    let log = read_log(&mut both.real, &both.of.keys, 0, 1_000_000, GRACE).await.expect("the log");
    let news = |kind: &EntryKind| match kind {
        EntryKind::Looked { history } => **history == *both.of.name,
        _ => false,
    };
    assert!(log.entries.iter().any(|entry| news(&entry.kind)));
}

#[tokio::test]
async fn what_is_not_whole_is_not_there() {
    for key in ["list", "changes"] {
        let mut both = Both::new().await;
        let token = Token(1);
        let turn = Turn::Take { token, lasts: GRACE, note: "" };
        both.turn(turn).await.expect("the turn");
        loop {
            both.fill(token).await.expect("it is filled");
            if !both.model.history.list.is_empty() && !both.model.history.changes.is_empty() {
                break;
            }
        }
        assert!(both.turn(turn).await.expect("an answer").standing.is_some());
        let key = both.of.keys.of(key, &both.of.name);
        let _: () = both.real.del(key).await.expect("a part is gone");
        let (epoch, fresh) = (both.epoch(), 3);
        let state = both.scripts.turn(&mut both.real, &both.of, (&epoch, fresh), Turn::Ask).await;
        let state = state.expect("an answer").expect("the same epoch");
        assert_eq!((state.standing, state.looked), (None, 0));
    }
}
