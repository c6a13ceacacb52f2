//! What callers may ask of lists. No IO.

pub mod page;
