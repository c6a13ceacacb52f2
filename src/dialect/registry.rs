//! The registry: one line for each dialect.

use super::{bics_sft, endpoint, pcc, registration::Registration};

/// All dialects.
pub const REGISTRY: &[Registration] =
    &[bics_sft::REGISTRATION, endpoint::REGISTRATION, pcc::REGISTRATION];
