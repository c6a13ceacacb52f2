//! Writes: checked, journaled, sent once, and read back until their outcome is known.

pub(super) mod audit;
pub(super) mod change;
pub(super) mod create;
pub(super) mod edit;
pub(super) mod intent;
pub(super) mod locks;
pub(super) mod reconcile;
pub(super) mod run;
pub(super) mod session;
