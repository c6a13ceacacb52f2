//! The read cache as callers see it: the eight rules of the contract, each by its number, and what
//! callers and operators may ask of it.

mod absence;
mod asked;
mod bounds;
mod fills;
mod flights;
mod history;
mod operating;
mod pauses;
pub mod reads;
mod stale;
mod writes;
