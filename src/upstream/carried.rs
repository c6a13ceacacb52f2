//! The headers that carry a token, made once for all requests that it is sent with.

use std::sync::OnceLock;

use http::{HeaderName, HeaderValue};

use crate::error::Result;

/// The headers of one token.
#[derive(Debug, Default)]
pub(super) struct CarriedToken(OnceLock<Vec<(HeaderName, HeaderValue)>>);

impl CarriedToken {
    /// The headers of the token, which is the same each time, made by the first call.
    pub(super) fn headers(
        &self,
        make: impl FnOnce() -> Result<Vec<(HeaderName, HeaderValue)>>,
    ) -> Result<&[(HeaderName, HeaderValue)]> {
        if let Some(made) = self.0.get() {
            return Ok(made);
        }
        let made = make()?;
        Ok(self.0.get_or_init(|| made))
    }
}
