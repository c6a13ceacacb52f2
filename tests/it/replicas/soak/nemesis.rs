//! Brings trouble, alone and in pairs, and lets replicas recover in between.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{Plan, REPLICAS, field::Field, troubles::What};
use crate::kit::chance::Chance;

pub(super) struct Nemesis {
    field: Arc<Field>,
    chance: Chance,
    /// How many troubles are left.
    left: usize,
    /// What there is, and what is left of it in this turn: each comes once before any comes again.
    all: Vec<What>,
    turn: Vec<What>,
}

impl Nemesis {
    pub(super) fn new(field: Arc<Field>, plan: Plan) -> Self {
        let (chance, left, all) = (Chance::of(plan.seed, 0), plan.troubles, plan.kinds);
        Self { field, chance, left, all, turn: Vec::new() }
    }

    /// Goes on until all calls are over.
    pub(super) async fn trouble(mut self) {
        while self.left > 0 && !self.field.is_over() {
            sleep(Duration::from_millis(300 + self.chance.below(1_200))).await;
            let first = self.next();
            let at = self.chance.below(REPLICAS as u64);
            let at = usize::try_from(at).unwrap();
            let second = if self.chance.one_in(2) { self.next_to(first) } else { None };
            let other = (at + 1) % REPLICAS;
            let after = Duration::from_millis(self.chance.below(1_000));
            let (one, two) = (self.of(), self.of());
            let one = first.happen(&self.field, at, one);
            let two = async {
                let Some(second) = second else { return };
                sleep(after).await;
                second.happen(&self.field, other, two).await;
            };
            tokio::join!(one, two);
        }
        self.field.had_all_troubles();
    }

    fn of(&mut self) -> Chance {
        Chance::of(self.chance.below(1 << 30), 3)
    }

    fn next(&mut self) -> What {
        self.left = self.left.saturating_sub(1);
        if self.turn.is_empty() {
            self.turn.clone_from(&self.all);
        }
        let at = self.chance.below(self.turn.len() as u64);
        self.turn.swap_remove(usize::try_from(at).unwrap())
    }

    /// One that can come with another, if there is one.
    fn next_to(&mut self, first: What) -> Option<What> {
        if !self.all.iter().any(|second| first.goes_with(*second)) {
            return None;
        }
        loop {
            let second = self.next();
            if first.goes_with(second) {
                return Some(second);
            }
        }
    }
}
