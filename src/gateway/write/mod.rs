//! Writes: each is checked, journaled, sent once, and read back until its outcome is known.
//!
//! Each file uses only those below it: `check` → `run` → `settler`, `validate` → `create`,
//! `change` → `confirm`, `completion` → `doubts` → `audit` → `prepare`, `candidates` → `request`,
//! `claims` → `intent`, `settle`, `reconcile`, `outcome`, `demand`, `disabled`, `locks`, `session`,
//! `settings`.

pub(super) mod audit;
pub(super) mod candidates;
pub(super) mod change;
pub(super) mod check;
pub(super) mod claims;
pub(super) mod completion;
pub(super) mod confirm;
pub(super) mod create;
pub(super) mod demand;
pub(super) mod disabled;
pub(super) mod doubts;
pub(super) mod intent;
pub(super) mod locks;
pub(super) mod outcome;
pub(super) mod prepare;
pub(super) mod reconcile;
pub(super) mod request;
pub(super) mod run;
pub(super) mod session;
pub(super) mod settings;
pub(super) mod settle;
pub(super) mod settler;
pub(super) mod validate;
