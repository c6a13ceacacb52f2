//! Files that were cut, changed, or left behind by a loss of power, and disks that fail for a
//! while.

mod failing;
mod power;
mod torn;
