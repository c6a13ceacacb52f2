//! A write as all replicas know it: it has a turn, is announced, and is closed.

mod dropped;

use std::{
    fmt,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Agreement,
    ask::{unavailable, unexpected},
    reference::RequestRef,
};
use crate::{
    error::{Effect, Error, Reason, Result},
    shared::{
        membership::NoAnswer,
        protocol::{
            Answer, Close, Closed, Command, EpochId, Open, Opened, Outcome, OwnWrite, Target, Time,
            Token, WriteId,
        },
    },
    upstream::Permit,
};

/// What is changed by what writes nothing.
const NOTHING: &str = "-";
/// How long after its declared end no replica remembers that a write is under way, beside what the
/// protocol says.
const SLACK: Duration = Duration::from_secs(5);

/// A write. It holds the turn of what it is named by until it is closed; if it is dropped before,
/// it is closed apart from its call.
pub struct SharedWrite {
    agreement: Arc<Agreement>,
    id: WriteId,
    /// What it is one of at a time, and its token; `None` if it only holds a request id.
    turn: Option<(Target, Token)>,
    /// The request id of one that has no turn.
    request: Option<RequestRef>,
    /// After this, it sends nothing.
    until: Instant,
    sends_until: Time,
    /// The store may know of it.
    is_known: AtomicBool,
    /// The store has said that it has what it needs.
    is_confirmed: AtomicBool,
    /// It was about to send something.
    has_begun: AtomicBool,
    /// It has sent something.
    has_sent: AtomicBool,
    /// There is no store, and it goes without it.
    is_alone: AtomicBool,
    state: Mutex<State>,
}

/// A turn: of what, and the token of who has it.
pub(super) type TakenTurn = (Target, Token);

/// How far it is.
#[derive(Default)]
struct State {
    target: Option<Target>,
    is_open: bool,
    is_closed: bool,
    /// What it has made, for the caches of all replicas.
    made: Option<Arc<str>>,
}

/// Whether no one asks for it any more.
fn is_forgotten(request: Option<&RequestRef>, outcome: &Outcome) -> bool {
    request.is_some_and(|request| !request.is_named) && *outcome != Outcome::Unknown
}

impl fmt::Debug for SharedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWrite").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SharedWrite {
    /// A write that is about to ask for this turn.
    pub(super) fn new(agreement: &Arc<Agreement>, turn: TakenTurn, until: Instant) -> Self {
        Self {
            agreement: Arc::clone(agreement),
            id: agreement.membership.new_write(),
            turn: Some(turn),
            request: None,
            until,
            sends_until: agreement.time_of(until),
            is_known: AtomicBool::new(false),
            is_confirmed: AtomicBool::new(false),
            has_begun: AtomicBool::new(false),
            has_sent: AtomicBool::new(false),
            is_alone: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// One that asks for a request id, and holds it while nothing is announced under it.
    pub(super) fn holding(agreement: &Arc<Agreement>, request: RequestRef, until: Instant) -> Self {
        let mut this = Self::new(agreement, (NOTHING.into(), request.attempt), until);
        (this.turn, this.request) = (None, Some(request));
        this
    }

    /// The server has granted it in this epoch. `earlier` is what an earlier attempt intended, and
    /// how long ago that ended.
    pub(super) fn is_granted(
        &self,
        generation: u64,
        earlier: Option<(Arc<[u8]>, Duration)>,
        epoch: Option<EpochId>,
    ) {
        let Some(request) = self.request.clone() else { return };
        let RequestRef { name, fingerprint, attempt, .. } = request;
        let now = self.agreement.membership.now();
        let earlier = earlier.map(|(intent, ended)| (intent, now.saturating_sub(ended)));
        self.note(|own| {
            own.known_in = epoch.unwrap_or_else(|| "".into());
            own.request = Some((name, fingerprint, attempt, generation));
            (own.intent, own.intent_ended) = earlier.unzip();
        });
    }

    /// Whether the store may know of it, so that it has to be closed.
    pub(super) fn is_known(&self, is_known: bool) {
        self.is_known.store(is_known, SeqCst);
    }

    /// It was not granted, so there is nothing to close.
    pub(super) fn never_began<T>(self, told: T) -> T {
        self.is_known(false);
        told
    }

    /// It is a part of a write that has sent something.
    pub(crate) fn goes_on(&self) {
        self.has_sent.store(true, SeqCst);
    }

    /// What it holds was closed elsewhere, or is not held.
    pub(crate) fn is_over(&self) {
        self.state.lock().is_closed = true;
    }

    /// The server has given it the turn, in this epoch.
    pub(super) fn has_turn(&self, epoch: Option<EpochId>) {
        self.note(|own| {
            own.turn.clone_from(&self.turn);
            own.known_in = epoch.unwrap_or_else(|| "".into());
        });
    }

    /// The request id of another one is this one's from now on, if the other has one.
    pub(crate) fn take_request(&self, of: &Self) {
        self.agreement.membership.own(|own| {
            let Some(mut other) = own.running(of.id).cloned() else { return };
            if other.request.is_none() {
                return;
            }
            let mut known = own.running(self.id).cloned().unwrap_or_else(|| self.unknown());
            known.request = other.request.take();
            (known.intent, known.intent_ended) = (other.intent.take(), other.intent_ended.take());
            // If either has lost what it had, nothing is sent.
            known.sends_until = known.sends_until.min(other.sends_until);
            known.known_in = other.known_in.clone();
            match other.turn.is_some() {
                true => own.note(&other),
                false => own.forget(of.id),
            }
            own.note(&known);
        });
    }

    pub(super) fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// It goes on without the store.
    pub(super) fn goes_alone(&self) {
        self.is_alone.store(true, SeqCst);
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone.load(SeqCst)
    }

    /// Says what it may change, before it is announced.
    pub(crate) fn about(&self, target: Target) {
        self.state.lock().target = Some(target);
    }

    /// Announces it: the store has to say that it has its turn, and its attempt if it has one, and
    /// has what it intends then. It may be announced again.
    ///
    /// # Errors
    ///
    /// `STORE_UNAVAILABLE` if nothing may be sent.
    pub(crate) async fn open(
        &self,
        request: Option<&RequestRef>,
        intent: Option<Arc<[u8]>>,
        end: Instant,
    ) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let target = self.target();
        self.state.lock().is_open = true;
        let unnamed = request.filter(|request| !request.is_named);
        self.note(|own| {
            own.target = target.clone();
            own.is_open = true;
            if let Some(RequestRef { name, fingerprint, attempt, .. }) = unnamed.cloned() {
                own.request.get_or_insert((name, fingerprint, attempt, 1));
            }
            if let (Some(_), Some(intent)) = (request, &intent) {
                (own.intent, own.intent_ended) = (Some(Arc::clone(intent)), None);
            }
        });
        let command = Command::Open(Open {
            write: self.id,
            target,
            lasts: Agreement::lasts(self.until),
            turn: self.turn.clone(),
            request: request.map(RequestRef::attempt),
            intent,
            unnamed: unnamed.map(|request| Arc::clone(&request.fingerprint)),
        });
        match self.agreement.ask_kept(&command, end).await {
            Ok(Answer::Opened(Opened::Opened)) => {
                self.is_confirmed.store(true, SeqCst);
                self.agreement.has_lease(end).await;
                Ok(())
            }
            Ok(Answer::Opened(Opened::Lost)) => {
                self.sends_nothing();
                Err(lost("nothing was sent"))
            }
            Ok(_) => Err(unexpected()),
            Err(why) => Err(unavailable(&why)),
        }
    }

    /// Closes it, asking until `end`; it sends nothing from now on.
    pub(crate) async fn close(
        &self,
        outcome: Outcome,
        request: Option<&RequestRef>,
        intent: Option<Arc<[u8]>>,
        end: Instant,
    ) -> Result<Option<Closed>, NoAnswer> {
        self.state.lock().is_closed = true;
        if self.is_alone() {
            return Ok(None);
        }
        let ended = (outcome.clone(), self.agreement.membership.now());
        self.note(|own| {
            if matches!(ended.0, Outcome::Done(_) | Outcome::NoEffect) {
                // Nothing has to be found out any more.
                (own.intent, own.intent_ended) = (None, None);
            }
            if is_forgotten(request, &ended.0) {
                own.request = None;
            }
            own.ended = Some(ended);
        });
        let command = self.closing(outcome, request, intent);
        match self.agreement.ask_until(&command, end).await {
            Ok(Answer::Closed(closed)) => Ok(Some(closed)),
            Ok(_) => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// Until when to try to close it: later, no replica remembers it.
    pub(crate) fn forgotten_at(&self) -> Instant {
        self.agreement.forgotten_at(self.until)
    }

    fn closing(
        &self,
        outcome: Outcome,
        request: Option<&RequestRef>,
        intent: Option<Arc<[u8]>>,
    ) -> Command {
        Command::Close(Close {
            write: self.id,
            target: self.target(),
            turn: self.turn.clone(),
            request: request.map(RequestRef::attempt),
            kept: match is_forgotten(request, &outcome) {
                true => Duration::ZERO,
                false => self.agreement.membership.kept(),
            },
            made: match outcome {
                Outcome::Done(_) => self.state.lock().made.clone(),
                Outcome::Nothing | Outcome::NoEffect | Outcome::Unknown => None,
            },
            outcome,
            intent,
        })
    }

    /// Says what it has made, before it is closed.
    pub(crate) fn has_made(&self, made: Arc<str>) {
        self.state.lock().made = Some(made);
    }

    fn target(&self) -> Target {
        let of_turn = || self.turn.as_ref().map_or_else(|| NOTHING.into(), |(of, _)| of.clone());
        self.state.lock().target.clone().unwrap_or_else(of_turn)
    }

    fn sends_nothing(&self) {
        self.note(|own| own.sends_until = Time::ZERO);
    }

    /// Changes what a new epoch is told of it.
    fn note(&self, change: impl FnOnce(&mut OwnWrite)) {
        self.agreement.membership.own(|own| {
            let mut known = own.running(self.id).cloned().unwrap_or_else(|| self.unknown());
            change(&mut known);
            own.note(&known);
        });
    }

    fn unknown(&self) -> OwnWrite {
        OwnWrite {
            write: self.id,
            target: self.target(),
            known_in: "".into(),
            sends_until: self.sends_until,
            is_open: false,
            turn: None,
            request: None,
            intent: None,
            intent_ended: None,
            ended: None,
        }
    }
}

impl Agreement {
    /// When no replica remembers a write any more that sends nothing after `until`.
    pub(crate) fn forgotten_at(&self, until: Instant) -> Instant {
        let timing = self.membership.timing();
        until + Effect::SETTLES_WITHIN + timing.lease * 2 + SLACK
    }
}

/// Right before each request that may change something.
impl Permit for SharedWrite {
    fn check(&self) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let membership = &self.agreement.membership;
        let may_send = match self.has_sent.load(SeqCst) {
            true => {
                let now = membership.now();
                membership.own(|own| own.may_send(self.id, now))
            }
            false => membership.may_begin(self.id),
        };
        if !may_send || !self.is_confirmed.load(SeqCst) {
            return Err(match self.has_sent.load(SeqCst) {
                true => lost("the rest of it was not sent"),
                false => lost("nothing was sent"),
            });
        }
        self.has_begun.store(true, SeqCst);
        Ok(())
    }

    fn sent(&self) {
        self.has_sent.store(true, SeqCst);
    }
}

/// The error of a request that is not sent.
fn lost(so: &str) -> Error {
    let message = format!(
        "the write has no turn in the store that replicas share any more, or this replica cannot \
         know whether it has it; {so}"
    );
    Error::new(Reason::StoreUnavailable, message)
}
