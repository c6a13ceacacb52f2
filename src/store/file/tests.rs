//! Files that were cut, changed, or left behind by a loss of power.

mod power;
mod torn;
