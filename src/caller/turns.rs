//! A line in which callers take turns: a request waits for at most one of each other caller,
//! however many they have.
//!
//! One has the turn at a time, or as many as the line has turns.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use super::identity::CallerId;

/// The line.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// How many turns no one has.
    free: usize,
    /// Who waits, by caller; the caller whose turn comes next is the first.
    waiting: VecDeque<(CallerId, VecDeque<Waiter>)>,
    /// How many requests each caller has in this line, those with a turn among them.
    counts: HashMap<CallerId, usize>,
    /// For so long one waits before those of its caller that came later overtake it.
    overtaken_after: Option<Duration>,
}

/// One who waits.
#[derive(Debug)]
struct Waiter {
    turn: oneshot::Sender<Turn>,
    /// It has had a turn already.
    has_begun: bool,
    since: Instant,
}

/// A turn. Passes on when it is dropped.
#[derive(Debug)]
pub struct Turn(Option<Turns>);

/// Where among those of its caller one waits again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Before them.
    First,
    /// Behind them.
    Last,
}

impl Default for Turns {
    /// A line with one turn.
    fn default() -> Self {
        Self::of(1)
    }
}

impl Turns {
    /// A line in which so many have a turn at a time.
    #[must_use]
    pub fn of(turns: usize) -> Self {
        let (waiting, counts) = Default::default();
        let state = State { free: turns, waiting, counts, overtaken_after: None };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The same line, in which the last of a caller comes first once the first has waited so long.
    /// Where more come than leave, no one would be in time otherwise.
    #[must_use]
    pub fn overtaken_after(self, wait: Duration) -> Self {
        self.0.lock().overtaken_after = Some(wait);
        self
    }

    /// A turn, if one is free. That overtakes no one: turns are passed on to those who wait.
    #[must_use]
    pub fn try_take(&self) -> Option<Turn> {
        let mut state = self.0.lock();
        state.free = state.free.checked_sub(1)?;
        Some(Turn(Some(self.clone())))
    }

    /// A turn, as soon as it comes.
    #[must_use]
    pub fn wait(&self, caller: CallerId) -> oneshot::Receiver<Turn> {
        let (waiter, receiver) = Waiter::new(false);
        let mut state = self.0.lock();
        match state.free.checked_sub(1) {
            None => state.line_up(caller, waiter),
            Some(free) => {
                state.free = free;
                drop(state);
                let turn = Turn(Some(self.clone()));
                // Its receiver is here.
                let _ = waiter.turn.send(turn);
            }
        }
        receiver
    }

    /// Passes a turn on, and waits for another one. Other callers come first.
    #[must_use]
    pub fn wait_again(
        &self,
        caller: CallerId,
        rank: Rank,
        before: Turn,
    ) -> oneshot::Receiver<Turn> {
        let (waiter, receiver) = Waiter::new(true);
        self.0.lock().line_up_again(caller, waiter, rank);
        drop(before);
        receiver
    }

    /// Whether others of this caller wait, and whether other callers do.
    #[must_use]
    pub fn who_waits(&self, caller: CallerId) -> (bool, bool) {
        let state = self.0.lock();
        let waits = |own: &VecDeque<Waiter>| own.iter().any(|one| !one.has_left());
        let of =
            |own: bool| state.waiting.iter().any(|(id, all)| (*id == caller) == own && waits(all));
        (of(true), of(false))
    }

    /// Notes that a request of a caller is in the line.
    pub fn enter(&self, caller: CallerId) {
        *self.0.lock().counts.entry(caller).or_default() += 1;
    }

    /// Notes that it has left.
    pub fn leave(&self, caller: CallerId) {
        let counts = &mut self.0.lock().counts;
        if let Some(count) = counts.get_mut(&caller) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&caller);
            }
        }
    }

    /// How many requests leave until the last of a caller has left. With `None`, all that wait.
    #[must_use]
    pub fn ahead(&self, caller: Option<CallerId>) -> usize {
        let state = self.0.lock();
        let own = caller.map_or(usize::MAX, |id| state.counts.get(&id).copied().unwrap_or(0));
        let each = state.counts.iter().map(|(id, count)| match Some(*id) == caller {
            true => *count,
            false => (*count).min(own),
        });
        each.sum()
    }
}

impl Waiter {
    fn new(has_begun: bool) -> (Self, oneshot::Receiver<Turn>) {
        let (turn, receiver) = oneshot::channel();
        (Self { turn, has_begun, since: Instant::now() }, receiver)
    }

    fn has_left(&self) -> bool {
        self.turn.is_closed()
    }
}

impl State {
    /// Lets one more wait, behind the others of its caller.
    fn line_up(&mut self, caller: CallerId, waiter: Waiter) {
        match self.waiting.iter_mut().find(|(other, _)| *other == caller) {
            Some((_, own)) => {
                // Those who have left are forgotten before there is more room for them.
                if own.len() == own.capacity() {
                    own.retain(|waiter| !waiter.has_left());
                }
                own.push_back(waiter);
            }
            None => self.waiting.push_back((caller, VecDeque::from([waiter]))),
        }
    }

    /// Lets one wait again whose caller has just had a turn: the other callers come first.
    fn line_up_again(&mut self, caller: CallerId, waiter: Waiter, rank: Rank) {
        let at = self.waiting.iter().position(|(other, _)| *other == caller);
        let own = at.and_then(|at| self.waiting.remove(at));
        let mut own = own.map(|(_, own)| own).unwrap_or_default();
        match rank {
            Rank::First => own.push_front(waiter),
            Rank::Last => own.push_back(waiter),
        }
        self.waiting.push_back((caller, own));
    }

    /// A waiter of the next caller, which then goes to the end of the line.
    fn next(&mut self) -> Option<Waiter> {
        while let Some((caller, mut own)) = self.waiting.pop_front() {
            let Some(next) = next_of(&mut own, self.overtaken_after) else { continue };
            if !own.is_empty() {
                self.waiting.push_back((caller, own));
            }
            return Some(next);
        }
        self.free += 1;
        None
    }
}

/// The first of those who are there, or the last if the first has waited for too long. What has
/// begun comes before either: it would be for nothing.
fn next_of(own: &mut VecDeque<Waiter>, overtaken_after: Option<Duration>) -> Option<Waiter> {
    while own.front()?.has_left() {
        own.pop_front();
    }
    let waits = own.front().filter(|first| !first.has_begun).map(|first| first.since.elapsed());
    if waits.zip(overtaken_after).is_none_or(|(waits, most)| waits < most) {
        return own.pop_front();
    }
    let begun = own.iter().position(|waiter| waiter.has_begun && !waiter.has_left());
    let latest = || own.iter().rposition(|waiter| !waiter.has_left());
    own.remove(begun.or_else(latest)?)
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(mut turns) = self.0.take() else { return };
        loop {
            let next = turns.0.lock().next();
            let Some(next) = next else { return };
            // One who has left gives it back.
            match next.turn.send(Self(Some(turns))) {
                Ok(()) => return,
                Err(mut back) => match back.0.take() {
                    Some(same) => turns = same,
                    None => return,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(n: u8) -> CallerId {
        CallerId::network([192, 0, 2, n].into(), 32, 64)
    }

    #[test]
    fn callers_take_turns_and_each_has_its_order() {
        let turns = Turns::default();
        let mut turn = turns.try_take();
        assert!(turns.try_take().is_none());
        let order = [(1, 'a'), (1, 'b'), (1, 'c'), (2, 'd'), (2, 'e'), (3, 'f')];
        let mut waiting: Vec<_> =
            order.iter().map(|(n, name)| (*name, turns.wait(caller(*n)))).collect();
        let mut seen = String::new();
        while !waiting.is_empty() {
            drop(turn.take());
            let (at, next) = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(at, (_, waiter))| Some((at, waiter.try_recv().ok()?)))
                .unwrap();
            turn = Some(next);
            seen.push(waiting.remove(at).0);
        }
        assert_eq!(seen, "adfbec");
        drop(turn);
        assert!(turns.try_take().is_some());
    }

    #[test]
    fn who_has_left_is_passed_over() {
        let turns = Turns::default();
        let turn = turns.try_take();
        let (first, mut second) = (turns.wait(caller(1)), turns.wait(caller(2)));
        drop(first);
        drop(turn);
        let turn = second.try_recv().unwrap();
        // One who leaves with the turn at hand passes it on too.
        let (third, mut fourth) = (turns.wait(caller(1)), turns.wait(caller(2)));
        drop(turn);
        drop(third);
        drop(fourth.try_recv().unwrap());
        assert!(turns.try_take().is_some());
    }

    #[test]
    fn who_leaves_takes_no_room() {
        let turns = Turns::default();
        let _turn = turns.try_take();
        for _ in 0..10_000 {
            drop(turns.wait(caller(1)));
        }
        let state = turns.0.lock();
        assert!(state.waiting.iter().all(|(_, own)| own.len() < 10), "{:?}", state.waiting.len());
    }

    #[test]
    fn of_others_only_as_many_are_ahead_as_a_caller_has_itself() {
        let turns = Turns::default();
        (0..30).for_each(|_| turns.enter(caller(1)));
        turns.enter(caller(2));
        assert_eq!(turns.ahead(Some(caller(2))), 2);
        assert_eq!(turns.ahead(Some(caller(1))), 31);
        assert_eq!(turns.ahead(None), 31);
        turns.leave(caller(2));
        assert_eq!(turns.ahead(Some(caller(2))), 0);
    }

    #[test]
    fn as_many_have_a_turn_as_there_are() {
        let turns = Turns::of(2);
        let held = [turns.try_take().unwrap(), turns.try_take().unwrap()];
        assert!(turns.try_take().is_none());
        let mut waits = turns.wait(caller(1));
        assert!(waits.try_recv().is_err());
        assert_eq!(turns.who_waits(caller(1)), (true, false));
        assert_eq!(turns.who_waits(caller(2)), (false, true));
        drop(held);
        drop(waits.try_recv().unwrap());
        assert_eq!(turns.who_waits(caller(2)), (false, false));
        assert!(turns.try_take().is_some());
    }

    #[test]
    fn who_passes_its_turn_on_comes_after_other_callers_and_where_it_wants_among_its_own() {
        for (rank, expected) in [(Rank::First, "cab"), (Rank::Last, "cba")] {
            let turns = Turns::default();
            let first = turns.try_take().unwrap();
            let (b, c) = (turns.wait(caller(1)), turns.wait(caller(2)));
            let a = turns.wait_again(caller(1), rank, first);
            let (mut seen, mut waiting) = (String::new(), vec![('a', a), ('b', b), ('c', c)]);
            while let Some(at) = waiting.iter_mut().position(|(name, waiter)| {
                let turn = waiter.try_recv();
                seen.extend(turn.is_ok().then_some(*name));
                turn.is_ok()
            }) {
                waiting.remove(at);
            }
            assert_eq!(seen, expected, "{rank:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_of_a_caller_comes_first_once_the_first_has_waited_for_too_long() {
        const WAIT: Duration = Duration::from_millis(100);
        let turns = Turns::default().overtaken_after(WAIT);
        let turn = turns.try_take().unwrap();
        let mut waiting: Vec<_> = "abcd".chars().map(|c| (c, turns.wait(caller(1)))).collect();
        waiting.push(('e', turns.wait(caller(2))));
        let again = turns.wait_again(caller(1), Rank::Last, turn);
        waiting.push(('f', again));
        let mut next = || {
            let at = |(n, (_, waiter)): (usize, &mut (char, oneshot::Receiver<Turn>))| {
                Some((n, waiter.try_recv().ok()?))
            };
            let (n, turn) = waiting.iter_mut().enumerate().find_map(at).unwrap();
            (waiting.remove(n).0, turn)
        };
        let (first, turn) = next();
        assert_eq!(first, 'e', "the other caller's turn");
        drop(turn);
        let (first, turn) = next();
        assert_eq!(first, 'a', "none has waited for too long");
        tokio::time::advance(WAIT).await;
        drop(turn);
        let (first, turn) = next();
        assert_eq!(first, 'f', "it has begun");
        drop(turn);
        let (first, turn) = next();
        assert_eq!(first, 'd');
        let later = turns.wait(caller(1));
        waiting.push(('g', later));
        drop(turn);
        let mut rest = String::new();
        while let Some(at) = waiting.iter_mut().position(|(name, waiter)| {
            let turn = waiter.try_recv();
            rest.extend(turn.is_ok().then_some(*name));
            turn.is_ok()
        }) {
            waiting.remove(at);
        }
        assert_eq!(rest, "gcb");
    }
}
