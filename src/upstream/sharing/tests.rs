//! What an upstream asks other replicas, which are made up, and what it does with the answers.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::{
    error::Reason,
    shared::{
        commands::{
            AskedWindow, KnownWindow, LoginEnd, LoginPause, LoginTurn, PauseSpans, RefusedKind,
            ReservedLogin, SharedRate, Stopped, Throttled, WhyPaused,
        },
        protocol::Token,
    },
    store::Memory,
    upstream::limits::{Limits, RateLimit, WindowLimit},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Others that answer what they are made to.
#[derive(Default)]
pub(in super::super) struct Fake {
    pub(in super::super) away: AtomicBool,
    asked: Mutex<Vec<Reserve>>,
    pub(in super::super) answers: Mutex<VecDeque<Reserved>>,
    /// Each answer takes a permit.
    gate: Option<Semaphore>,
    pub(in super::super) turns: Mutex<VecDeque<LoginTurn>>,
    pub(in super::super) ends: Mutex<Vec<LoginEnd>>,
    pub(in super::super) pauses: Mutex<Vec<Duration>>,
    /// What is answered to those who may wait longer.
    pub(in super::super) looks: Mutex<VecDeque<Reserved>>,
    pub(in super::super) throttled: Mutex<Vec<Throttled>>,
    /// There is a pause, which operators end.
    pub(in super::super) pausing: AtomicBool,
}

#[async_trait]
impl Replicas for Fake {
    fn is_up(&self) -> bool {
        !self.away.load(Ordering::Relaxed)
    }

    async fn login_turn(
        &self,
        _: (&str, Token),
        _: Duration,
        _: &KnownLogins,
    ) -> Option<LoginTurn> {
        self.turns.lock().pop_front().filter(|_| self.is_up())
    }

    async fn login_done(
        &self,
        _: (&str, Token),
        end: &LoginEnd,
        spans: PauseSpans,
    ) -> Option<KnownLogins> {
        self.ends.lock().push(end.clone());
        let pause =
            |why: &WhyPaused| LoginPause { left: spans.first, span: spans.first, why: why.clone() };
        let pause = match end {
            LoginEnd::Refused(why) => Some(pause(why)),
            LoginEnd::Accepted | LoginEnd::Other => None,
        };
        Some(KnownLogins { began: "1".to_owned(), pause })
    }

    async fn login_pause(
        &self,
        _: (&str, Token),
        spans: PauseSpans,
        _: &WhyPaused,
    ) -> Option<KnownLogins> {
        self.pauses.lock().push(spans.first);
        None
    }

    async fn login_end(&self, _: &str, _: Option<RefusedKind>) -> Option<bool> {
        Some(false).filter(|_| self.is_up())
    }

    async fn reserve(&self, batch: &Reserve) -> Option<Reserved> {
        self.asked.lock().push(batch.clone());
        if let Some(gate) = &self.gate {
            gate.acquire().await.ok()?.forget();
        }
        let answer = self.answers.lock().pop_front();
        answer.filter(|_| self.is_up())
    }

    async fn look(&self, _: &Reserve) -> Option<Reserved> {
        self.looks.lock().pop_front().filter(|_| self.is_up())
    }

    async fn reserve_login(&self, _: &[AskedWindow]) -> Option<ReservedLogin> {
        None
    }

    async fn throttled(&self, _: Option<SharedRate>, pause: Throttled) -> Option<Duration> {
        self.throttled.lock().push(pause);
        None
    }

    async fn end_pause(&self) -> Option<bool> {
        let ended = self.pausing.swap(false, Ordering::Relaxed);
        Some(ended).filter(|_| self.is_up())
    }
}

pub(in super::super) fn sharing(fake: &Arc<Fake>) -> Arc<Sharing> {
    let key = Arc::new(StoreKey::load(&Memory::default()).unwrap());
    let account = Account {
        upstream: Vec::new(),
        names: Vec::new(),
        secrets: Vec::new(),
        backend: "b".to_owned(),
    };
    Arc::new(Sharing::new(Arc::clone(fake) as Arc<dyn Replicas>, key, &account))
}

fn pace(limits: &Limits) -> Pace {
    Pace::new(limits, HOUR, || 0.0, Instant::now())
}

fn rated() -> Limits {
    let (per_second, burst) = (NonZeroU32::new(100), NonZeroU32::new(50));
    let rate = per_second.zip(burst).map(|(per_second, burst)| RateLimit { per_second, burst });
    Limits { rate, ..Limits::NONE }
}

fn joins(sharing: &Sharing, pace: &Pace, class: Class) -> (oneshot::Receiver<Permit>, bool) {
    match sharing.join(class, pace, Instant::now()) {
        Asks::Waits(receiver, is_first) => (receiver, is_first),
        Asks::Has(permit) => panic!("{permit:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_question_is_under_way_goes_as_the_next_one() {
    let granted = |granted| Reserved { granted, members: 3, ..Reserved::default() };
    let interval = Duration::from_millis(10);
    let stopped = Some((Stopped::Rate, SECOND));
    let second = Reserved { last: 2 * interval, first: interval, interval, stopped, ..granted(2) };
    let fake = Fake { gate: Some(Semaphore::new(0)), ..Fake::default() };
    fake.answers.lock().extend([granted(1), second]);
    let fake = Arc::new(fake);
    let (sharing, pace) = (sharing(&fake), Arc::new(pace(&rated())));
    let (mut first, is_first) = joins(&sharing, &pace, Class::Call);
    assert!(is_first);
    let (serving, paced) = (Arc::clone(&sharing), Arc::clone(&pace));
    let served = tokio::spawn(async move { serving.serve(&paced, &Credentials::default()).await });
    tokio::task::yield_now().await;
    let classes = [Class::Watch, Class::Call, Class::List, Class::Settling];
    let mut waiting = classes.map(|class| joins(&sharing, &pace, class));
    assert!(waiting.iter().all(|(_, is_first)| !is_first));
    let (left, _) = joins(&sharing, &pace, Class::Call);
    drop(left);
    fake.gate.as_ref().unwrap().add_permits(2);
    served.await.unwrap();
    let now = Instant::now();
    assert_eq!(first.try_recv(), Ok(Permit::At(now)));
    let permits = waiting.each_mut().map(|(waits, _)| waits.try_recv().unwrap());
    let at = |times: u32| Permit::At(now + times * interval);
    assert_eq!(permits, [Permit::Again(now), at(2), Permit::Again(now), at(1)]);
    let asked: Vec<_> = fake.asked.lock().iter().map(|batch| batch.wanted).collect();
    assert_eq!(asked, [[0, 1, 0, 0], [1, 1, 1, 1]], "who has left is not asked for");
    // What was stopped waits with the others of this replica, until there is some room.
    let turn = pace.when(Class::Settling, 1, now);
    assert_eq!(turn.at, now + SECOND - Duration::from_millis(125));
}

#[tokio::test(start_paused = true)]
async fn without_others_each_has_its_part_of_the_rate_and_starts_with_nothing() {
    let fake = Arc::new(Fake::default());
    fake.answers.lock().push_back(Reserved { members: 4, rate: 100.0, ..Reserved::default() });
    let (sharing, pace) = (sharing(&fake), pace(&rated()));
    sharing.ask([0; 4], &pace, &Credentials::default()).await.unwrap();
    fake.away.store(true, Ordering::Relaxed);
    let permit = || match sharing.join(Class::Call, &pace, Instant::now()) {
        Asks::Has(permit) => permit,
        Asks::Waits(..) => panic!("it is asked"),
    };
    assert!(pace.take(Class::Settling, Instant::now()).is_ok());
    assert_eq!(permit(), Permit::Again(Instant::now()), "it has passed the whole limit");
    let sent = |pace: &Pace| {
        (0..100).filter(|_| pace.take(Class::Settling, Instant::now()).is_ok()).count()
    };
    assert_eq!(sent(&pace), 0);
    assert_eq!(permit(), Permit::At(Instant::now()));
    tokio::time::advance(SECOND / 5).await;
    assert_eq!(sent(&pace), 5);
    tokio::time::advance(60 * SECOND).await;
    assert_eq!(sent(&pace), 12, "the burst, too");
    // When they are back, they learn of what was sent.
    fake.away.store(false, Ordering::Relaxed);
    fake.answers.lock().push_back(Reserved { members: 4, rate: 100.0, ..Reserved::default() });
    sharing.ask([0; 4], &pace, &Credentials::default()).await.unwrap();
    assert_eq!(fake.asked.lock().last().unwrap().alone, 17);
    assert!(!pace.is_alone());
    tokio::time::advance(SECOND).await;
    assert_eq!(sent(&pace), 50);
}

#[tokio::test(start_paused = true)]
async fn windows_are_those_of_all_and_without_others_each_request_counts_for_all() {
    let length = 60 * SECOND;
    let requests = Some(WindowLimit { requests: 100, length });
    let fake = Arc::new(Fake::default());
    let (sharing, pace) = (sharing(&fake), pace(&Limits { requests, ..Limits::NONE }));
    let known = |counts: &[(u64, u32)]| Reserved {
        members: 4,
        windows: vec![KnownWindow {
            began: "1".to_owned(),
            into: SECOND / 2,
            counts: counts.to_vec(),
        }],
        ..Reserved::default()
    };
    let ask = async |counts: &[(u64, u32)]| {
        fake.answers.lock().push_back(known(counts));
        sharing.ask([0; 4], &pace, &Credentials::default()).await.unwrap();
    };
    ask(&[(0, 10), (30, 50)]).await;
    let now = Instant::now();
    let room = |class| pace.room(class, Instant::now());
    assert_eq!((room(Class::Settling), room(Class::Watch)), (Some(40), Some(0)));
    let turn = pace.when(Class::Watch, 1, now);
    assert_eq!(turn.at, now + 30 * SECOND + SECOND / 2, "when those of the others are over");
    assert!(pace.alone(now));
    assert_eq!(room(Class::Settling), Some(10), "a part of what was left");
    let sent = || (0..100).filter(|_| pace.take(Class::Settling, Instant::now()).is_ok()).count();
    assert_eq!(sent(), 10);
    ask(&[(0, 99)]).await;
    let told = fake.asked.lock().last().unwrap().windows[0].clone();
    assert_eq!((told.alone, told.least, &*told.began), (10, 100, "1"));
    assert_eq!(room(Class::Settling), Some(1));
    ask(&[(0, 99)]).await;
    assert_eq!(fake.asked.lock().last().unwrap().windows[0].alone, 0, "told once");
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_others_is_one_here_until_one_of_them_ends_it() {
    let fake = Arc::new(Fake::default());
    let (sharing, pace) = (sharing(&fake), pace(&Limits::NONE));
    let hear = async |pause, strikes, ends| {
        let answer = Reserved { members: 2, pause, strikes, ends, ..Reserved::default() };
        fake.answers.lock().push_back(answer);
        sharing.ask([0; 4], &pace, &Credentials::default()).await.unwrap();
        pace.pause_left(Instant::now())
    };
    assert_eq!(hear(Duration::ZERO, 0, 3).await, Duration::ZERO);
    assert_eq!(hear(HOUR, 2, 3).await, HOUR);
    assert_eq!(hear(SECOND, 2, 3).await, HOUR, "what is longer holds");
    assert_eq!(hear(Duration::ZERO, 2, 3).await, HOUR, "the server has lost it");
    assert_eq!(hear(Duration::ZERO, 2, 4).await, Duration::ZERO, "an operator has ended it");
    assert_eq!(hear(24 * HOUR, 2, 4).await, HOUR, "none is longer than the longest");
    assert_eq!(hear(Duration::ZERO, 2, 5).await, Duration::ZERO);
    let epoch = pace.epoch();
    assert_eq!(pace.throttled(None, epoch, Instant::now()), 4 * SECOND, "the third in a row");
}

#[tokio::test]
async fn the_error_of_a_refusal_is_the_same_on_all_replicas() {
    use crate::{error::Error, error::UpstreamFacts, upstream::credentials::why};
    let facts = UpstreamFacts {
        status: Some(400),
        code: Some("10126".to_owned()),
        message: Some("no \u{e4}".to_owned()),
        request_id: None,
    };
    let error = Error::new(Reason::UpstreamAccountLocked, "it said no").with_upstream(facts);
    let why = why(&error, false);
    let pause = LoginPause { left: 300 * SECOND, span: 300 * SECOND, why };
    let known = KnownLogins { began: "1".to_owned(), pause: Some(pause) };
    let other = Credentials::default();
    let again = other.take_over(&known, other.round(), Instant::now()).unwrap();
    assert_eq!((again.reason(), again.upstream()), (error.reason(), error.upstream()));
    assert!(again.message().starts_with("it said no; not retried for "), "{}", again.message());
    let other = Credentials::default();
    other.take_over(&known, other.round() + 1, Instant::now()).unwrap();
    assert!(other.paused_until().is_none(), "the secrets are others now");
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_when_the_one_that_asks_ends_without_an_answer() {
    let fake = Arc::new(Fake { gate: Some(Semaphore::new(0)), ..Fake::default() });
    let (sharing, pace) = (sharing(&fake), Arc::new(pace(&Limits::NONE)));
    let (first, is_first) = joins(&sharing, &pace, Class::Call);
    assert!(is_first);
    let (serving, paced) = (Arc::clone(&sharing), Arc::clone(&pace));
    let served = tokio::spawn(async move { serving.serve(&paced, &Credentials::default()).await });
    tokio::task::yield_now().await;
    let (second, is_first) = joins(&sharing, &pace, Class::Call);
    assert!(!is_first);
    served.abort();
    assert!(first.await.is_err() && second.await.is_err());
    assert!(joins(&sharing, &pace, Class::Call).1, "the next one has another begin");
}

#[tokio::test(start_paused = true)]
async fn whether_logins_pause_is_learned_when_the_latest_question_had_no_answer() {
    let fake = Arc::new(Fake::default());
    let (sharing, pace, own) = (sharing(&fake), pace(&Limits::NONE), Credentials::default());
    assert!(!sharing.learns(&own).await, "nothing was heard yet");
    fake.looks.lock().push_back(Reserved::default());
    assert!(!sharing.learns(&own).await, "it was just tried");
    tokio::time::advance(AWAY).await;
    assert!(sharing.learns(&own).await);
    assert!(sharing.ask([0; 4], &pace, &own).await.is_none());
    let why = crate::upstream::credentials::why(&crate::upstream::credentials::rejected(), false);
    let pause = LoginPause { left: HOUR, span: HOUR, why };
    let logins = KnownLogins { began: "1".to_owned(), pause: Some(pause) };
    fake.looks.lock().push_back(Reserved { logins, ..Reserved::default() });
    assert!(!sharing.was_refused());
    assert!(sharing.learns(&own).await && sharing.was_refused());
    fake.answers.lock().push_back(Reserved::default());
    sharing.ask([0; 4], &pace, &own).await.unwrap();
    assert!(sharing.learns(&own).await && !sharing.was_refused(), "the latest has its answer");
}
