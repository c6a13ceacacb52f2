//! Pauses of logins with several sets of credentials, beside a model.

use std::{collections::BTreeMap, time::Duration};

use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use redis::cmd;

use super::logins::{LASTS, SPANS, Shared, left, refused, why};
use crate::shared::commands::{KnownLogins, LoginEnd, LoginPause, LoginTurn, RefusedKind};

const ALL: [&str; 3] = ["old", "new", "newer"];
const KINDS: [RefusedKind; 2] = [RefusedKind::Credentials, RefusedKind::Tokens];

/// What the server knows of one set of credentials.
#[derive(Default)]
struct Own {
    began: String,
    done: u64,
    /// When it is over, how long it is, and what was refused.
    pause: Option<(u64, u64, RefusedKind)>,
}

/// The server: each set of credentials knows nothing of the others.
#[derive(Default)]
struct Model {
    own: BTreeMap<&'static str, Own>,
    turn: Option<(u64, u64)>,
}

fn seconds(span: Duration) -> u64 {
    span.as_secs()
}

impl Own {
    fn known(&self, now: u64) -> KnownLogins {
        let pause = self.pause.map(|(until, span, kind)| LoginPause {
            left: Duration::from_secs(until.saturating_sub(now)),
            span: Duration::from_secs(span),
            why: why(kind),
        });
        KnownLogins { began: self.began.clone(), pause }
    }

    fn begins(&mut self, token: u64) {
        if self.began.is_empty() {
            self.began = token.to_string();
        }
    }

    fn waits(&mut self, until: u64, span: u64, kind: RefusedKind) {
        if self.pause.is_none_or(|(before, ..)| before < until) {
            self.pause = Some((until, span, kind));
        }
    }

    fn is_refused(&mut self, now: u64, kind: RefusedKind) {
        if self.pause.is_some_and(|(until, _, before)| until > now && before == kind) {
            return;
        }
        let before = self.pause.filter(|(.., before)| *before == kind);
        let span = before.map_or(0, |(_, span, _)| (2 * span).min(seconds(SPANS.longest)));
        let span = span.max(seconds(SPANS.first));
        self.waits(now + span, span, kind);
    }
}

impl Model {
    fn turn(&mut self, of: &'static str, holder: u64, tells: &KnownLogins, now: u64) -> LoginTurn {
        let own = self.own.entry(of).or_default();
        if let Some(pause) = tells.pause.as_ref().filter(|pause| !pause.left.is_zero())
            && (own.began.is_empty() || own.began != tells.began)
        {
            own.waits(now + seconds(pause.left), seconds(pause.span), pause.why.kind);
        }
        own.begins(holder);
        let known = own.known(now);
        if left(&known).is_some_and(|left| left > 0) {
            return LoginTurn::Paused(known);
        }
        match self.turn {
            Some((other, until)) if other != holder && now < until => {
                LoginTurn::Busy(Duration::from_secs(until - now), known)
            }
            _ => {
                self.turn = Some((holder, now + seconds(LASTS)));
                LoginTurn::Go
            }
        }
    }

    fn done(&mut self, of: &'static str, holder: u64, end: &LoginEnd, now: u64) -> KnownLogins {
        self.turn.take_if(|(other, _)| *other == holder);
        let own = self.own.entry(of).or_default();
        if own.done != holder {
            own.done = holder;
            match end {
                LoginEnd::Refused(why) => own.is_refused(now, why.kind),
                LoginEnd::Accepted => {
                    own.pause.take_if(|(.., kind)| *kind == RefusedKind::Credentials);
                }
                LoginEnd::Other => {}
            }
        }
        own.begins(holder);
        own.known(now)
    }

    fn pause(&mut self, of: &'static str, token: u64, kind: RefusedKind, now: u64) -> KnownLogins {
        let own = self.own.entry(of).or_default();
        own.is_refused(now, kind);
        own.begins(token);
        own.known(now)
    }

    fn end(&mut self, of: &'static str, kind: Option<RefusedKind>, now: u64) -> bool {
        let own = self.own.entry(of).or_default();
        let ended = own.pause.take_if(|(.., before)| kind.is_none_or(|kind| kind == *before));
        ended.is_some_and(|(until, ..)| until > now)
    }
}

/// The real server and the model, which are asked the same.
struct Both {
    shared: Shared,
    model: Model,
    now: u64,
    /// What was last told of each.
    knows: BTreeMap<&'static str, KnownLogins>,
    goes: u32,
}

impl Both {
    async fn turn(&mut self, of: &'static str, holder: u64) {
        let tells = self.knows.get(of).cloned().unwrap_or_default();
        let expected = self.model.turn(of, holder, &tells, self.now);
        let answer = self.shared.turn_with(of, holder, &tells).await;
        assert_eq!(answer, expected, "{of} {holder} {tells:?}");
        match expected {
            LoginTurn::Paused(known) => drop(self.knows.insert(of, known)),
            LoginTurn::Busy(..) => {}
            LoginTurn::Go => self.goes += 1,
        }
    }

    async fn done(&mut self, of: &'static str, holder: u64, end: &LoginEnd) {
        let expected = self.model.done(of, holder, end, self.now);
        assert_eq!(self.shared.done(of, holder, end).await, expected, "{of} {holder} {end:?}");
        self.knows.insert(of, expected);
    }

    async fn pause(&mut self, of: &'static str, token: u64, kind: RefusedKind) {
        let expected = self.model.pause(of, token, kind, self.now);
        assert_eq!(self.shared.pause_of(of, token, kind).await, expected, "{of} {token} {kind:?}");
        self.knows.insert(of, expected);
    }

    async fn end(&mut self, of: &'static str, kind: Option<RefusedKind>) {
        let expected = self.model.end(of, kind, self.now);
        assert_eq!(self.shared.end(of, kind).await, expected, "{of} {kind:?}");
    }

    async fn lose_all(&mut self) {
        self.model = Model::default();
        let emptied = cmd("FLUSHALL").query_async::<()>(&mut self.shared.connection).await;
        emptied.expect("it is emptied");
        self.shared.advance(0).await;
    }
}

#[tokio::test]
async fn sets_of_credentials_pause_as_if_there_were_no_others() {
    let shared = Shared::new().await;
    let (model, knows) = (Model::default(), BTreeMap::new());
    let mut both = Both { shared, model, now: 0, knows, goes: 0 };
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut below = move |limit: u32| rng.next_u32() % limit;
    let (mut paused, mut free) = (0, 0);
    for round in 0..6000_u64 {
        let (of, kind) = (ALL[below(3) as usize], KINDS[below(2) as usize]);
        // Some are said again.
        let token = 1 + round - u64::from(below(3)).min(round);
        let passed = [0, 0, 0, 20, 300, 700][below(6) as usize];
        both.now += passed;
        both.shared.advance(passed).await;
        match below(120) {
            0..50 => both.turn(of, token).await,
            50..90 => {
                let ends = [refused(), refused(), LoginEnd::Other, LoginEnd::Accepted];
                both.done(of, token, &ends[below(4) as usize]).await;
            }
            90..110 => both.pause(of, token, kind).await,
            110..119 => both.end(of, (below(2) == 0).then_some(kind)).await,
            _ => both.lose_all().await,
        }
        let is_paused = both.knows.get(of).is_some_and(|known| known.pause.is_some());
        *(if is_paused { &mut paused } else { &mut free }) += 1;
    }
    assert!(both.goes > 100 && paused > 100 && free > 100, "{} {paused} {free}", both.goes);
}
