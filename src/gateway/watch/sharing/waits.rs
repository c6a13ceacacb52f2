//! Which streams wait for which look.

use std::collections::VecDeque;

use crate::shared::{history::Looked, protocol::EpochId};

/// At most so many looks are waited for.
const MOST: usize = 100;

/// Numbers that streams wait for, each with its look.
#[derive(Debug, Default)]
pub(super) struct Waits {
    epoch: Option<EpochId>,
    /// The latest number that was added.
    added: u64,
    /// In their order, both of numbers and of looks.
    waiting: VecDeque<(u64, Looked)>,
}

impl Waits {
    /// All numbers up to this one wait for such a look. In a new epoch, where looks have other
    /// numbers, those that were added before do, too.
    pub(super) fn add(&mut self, number: u64, epoch: &EpochId, look: Looked) {
        let is_new = self.epoch.as_ref() != Some(epoch);
        if is_new {
            self.epoch = Some(epoch.clone());
            if let Some((last, _)) = self.waiting.pop_back() {
                self.waiting.clear();
                self.waiting.push_back((last, look));
            }
        }
        if number > self.added {
            self.added = number;
            let look = self.waiting.back().map_or(look, |(_, last)| look.max(*last));
            // One for each look is enough.
            self.waiting.pop_back_if(|(_, last)| *last == look);
            self.waiting.push_back((number, look));
        }
        if self.waiting.len() > MOST {
            // Those of the first wait for the next one, too.
            self.waiting.pop_front();
        }
    }

    /// A look has ended well: takes out the latest number that waits for it.
    pub(super) fn take(&mut self, looked: Looked) -> Option<u64> {
        let mut taken = None;
        while let Some((number, _)) = self.waiting.pop_front_if(|(_, look)| *look <= looked) {
            taken = Some(number);
        }
        taken
    }

    /// The latest number that waits for a look that has failed, or for an earlier one.
    pub(super) fn failed_by(&self, failed: Looked) -> Option<u64> {
        let failed = self.waiting.iter().take_while(|(_, look)| *look <= failed);
        failed.last().map(|(number, _)| *number)
    }

    /// Whether any waits for a later look than this.
    pub(super) fn want_after(&self, tried: Looked) -> bool {
        self.waiting.back().is_some_and(|(_, look)| *look > tried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_waits_for_a_look_that_begins_late_enough() {
        let (mut waits, epoch) = (Waits::default(), EpochId::from("e"));
        waits.add(1, &epoch, 5);
        waits.add(2, &epoch, 5);
        waits.add(3, &epoch, 8);
        waits.add(3, &epoch, 20);
        assert!(waits.want_after(7) && !waits.want_after(8));
        assert_eq!(waits.failed_by(4), None);
        assert_eq!(waits.failed_by(6), Some(2));
        assert_eq!(waits.take(4), None);
        assert_eq!(waits.take(7), Some(2));
        assert_eq!(waits.take(7), None);
        assert_eq!(waits.take(9), Some(3));
    }

    #[test]
    fn numbers_of_an_earlier_epoch_wait_for_a_look_of_this_one() {
        let mut waits = Waits::default();
        waits.add(1, &"e".into(), 70);
        waits.add(2, &"e".into(), 80);
        waits.add(2, &"f".into(), 3);
        assert_eq!(waits.take(2), None);
        assert_eq!(waits.take(3), Some(2));
    }
}
