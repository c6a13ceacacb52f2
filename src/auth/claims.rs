//! What a token says.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The claims of a token. Those that are named here have to be of their type.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "iss")]
    issuer: String,
    #[serde(rename = "sub")]
    subject: String,
    /// Seconds since 1970, like all times of a token.
    #[serde(rename = "exp")]
    expires: f64,
    #[serde(rename = "iat")]
    issued: Option<f64>,
    #[serde(rename = "jti")]
    id: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Claims {
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(super) fn expires(&self) -> f64 {
        self.expires
    }

    pub(super) fn issued(&self) -> Option<f64> {
        self.issued
    }

    /// Whether a claim is this text, or a list with it.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        match self.others.get(name) {
            Some(Value::String(text)) => text == value,
            Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(value)),
            _ => false,
        }
    }
}
