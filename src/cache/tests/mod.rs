//! The cache on its own: generations in every interleaving, and reads on a paused clock.

mod bench;
mod followers;
mod interleavings;
mod lagging;
mod schedules;
mod shares;
mod waits;
