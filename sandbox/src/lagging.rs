//! A state whose reads may lag behind its writes.

use tokio::time::Instant;

use super::simulator::Carry;

/// The state, and an older one that reads show for a while.
pub(super) struct Lagging<S> {
    /// As it is.
    pub now: S,
    shown: Option<(S, Instant)>,
}

impl<S: Clone> Lagging<S> {
    pub(super) fn new(now: S) -> Self {
        Self { now, shown: None }
    }

    /// Prepares for a request; the result has to be passed to [`Self::after`].
    pub(super) fn before(&mut self, carry: Carry, reads: bool) -> Saved<S> {
        match &mut self.shown {
            Some((shown, until)) if reads && Instant::now() < *until => {
                std::mem::swap(&mut self.now, shown);
                Saved::Swapped
            }
            _ if reads || carry == Carry::Out => Saved::Nothing,
            _ => Saved::State(self.now.clone()),
        }
    }

    /// Ends a request.
    pub(super) fn after(&mut self, carry: Carry, saved: Saved<S>) {
        match (saved, carry, &mut self.shown) {
            (Saved::Swapped, _, Some((shown, _))) => std::mem::swap(&mut self.now, shown),
            (Saved::State(state), Carry::Pretended, _) => self.now = state,
            (Saved::State(state), Carry::OutUnseen(time), _) => {
                self.shown = Some((state, Instant::now() + time));
            }
            _ => {}
        }
    }
}

/// What [`Lagging::before`] has set aside.
pub(super) enum Saved<S> {
    Nothing,
    /// Reads see the older state.
    Swapped,
    State(S),
}
