//! What metrics of backends have in common.

use std::sync::Arc;

use super::labels::{label_values, labels};

labels! {
    /// The labels of what is counted for each backend.
    pub(crate) struct BackendLabels {
        pub(crate) backend: Arc<str>,
    }
}

label_values! {
    /// How something ended.
    pub(crate) enum Ended {
        Ok = "ok",
        Failed = "failed",
    }
}
