//! Answers that other clients read, or that are odd in one place only: the rest of them counts.

mod brief;
mod exact;
mod heads;
mod lists;
mod many;
mod secrets;
mod values;
