//! The headers that carry a token, made once for all requests that it is sent with.

use std::sync::OnceLock;

use http::{HeaderName, HeaderValue};
use secrecy::SecretString;

use super::credentials::Auth;
use crate::error::Result;

/// The headers of one token.
#[derive(Debug, Default)]
pub(super) struct CarriedToken(OnceLock<Vec<(HeaderName, HeaderValue)>>);

impl CarriedToken {
    /// The headers of the token, which is the same each time.
    pub(super) fn headers(
        &self,
        auth: &dyn Auth,
        token: &SecretString,
    ) -> Result<&[(HeaderName, HeaderValue)]> {
        if let Some(made) = self.0.get() {
            return Ok(made);
        }
        let made = auth.headers(token)?;
        Ok(self.0.get_or_init(|| made))
    }
}
