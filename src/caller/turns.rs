//! A line in which callers take turns: a request waits for at most one of each other caller,
//! however many they have.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::identity::CallerId;

/// The line.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Someone has the turn.
    taken: bool,
    /// Who waits, by caller; the caller whose turn comes next is the first.
    waiting: VecDeque<(CallerId, VecDeque<oneshot::Sender<Turn>>)>,
    /// How many requests each caller has in this line, that with the turn among them.
    counts: HashMap<CallerId, usize>,
}

/// The turn. Passes on when it is dropped.
#[derive(Debug)]
pub struct Turn(Option<Turns>);

impl Turns {
    /// The turn, if it is free. That overtakes no one: it is passed on to those who wait.
    #[must_use]
    pub fn try_take(&self) -> Option<Turn> {
        let mut state = self.0.lock();
        let free = !std::mem::replace(&mut state.taken, true);
        free.then(|| Turn(Some(self.clone())))
    }

    /// The turn, as soon as it comes.
    #[must_use]
    pub fn wait(&self, caller: CallerId) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.0.lock();
        if state.taken {
            match state.waiting.iter_mut().find(|(other, _)| *other == caller) {
                Some((_, own)) => {
                    // Those who have left are forgotten before there is more room for them.
                    if own.len() == own.capacity() {
                        own.retain(|waiter| !waiter.is_closed());
                    }
                    own.push_back(sender);
                }
                None => state.waiting.push_back((caller, VecDeque::from([sender]))),
            }
        } else {
            state.taken = true;
            drop(state);
            let turn = Turn(Some(self.clone()));
            // Its receiver is here.
            let _ = sender.send(turn);
        }
        receiver
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

impl State {
    /// The first waiter of the next caller, which then goes to the end of the line.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some((caller, mut own)) = self.waiting.pop_front() {
            let Some(first) = own.pop_front() else { continue };
            if !own.is_empty() {
                self.waiting.push_back((caller, own));
            }
            return Some(first);
        }
        self.taken = false;
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(mut turns) = self.0.take() else { return };
        loop {
            let next = turns.0.lock().next();
            let Some(next) = next else { return };
            // One who has left gives it back.
            match next.send(Self(Some(turns))) {
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
}
