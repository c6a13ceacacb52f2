//! The cache by itself: generations in every interleaving, and reads on a clock that stands still.

mod bench;
mod interleavings;
mod schedules;
