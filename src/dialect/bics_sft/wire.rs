//! The envelope of every reply, read leniently: numbers instead of strings, nulls and unknown
//! members are not errors.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::upstream::{Reply, Unread};

/// The `Response` of a reply.
#[derive(Debug)]
pub(super) struct Envelope<'r>(&'r Map<String, Value>);

impl<'r> Envelope<'r> {
    /// Reads a reply's body, or says why it is not an envelope.
    pub(super) fn read(reply: &'r Reply) -> Result<Self, Unread> {
        let response = reply.json()?.get("Response").and_then(Value::as_object);
        let envelope = Self(response.ok_or(Unread::NotTheDialect)?);
        let has_code =
            envelope.inner_code().is_some() || envelope.outer_code().as_deref() == Some("401");
        if has_code { Ok(envelope) } else { Err(Unread::NotTheDialect) }
    }

    /// The code that decides the outcome.
    pub(super) fn inner_code(&self) -> Option<Cow<'r, str>> {
        scalar(self.result()?.get("resultCode")?)
    }

    /// The outer code, which is "0" in several documented failures and so decides nothing.
    pub(super) fn outer_code(&self) -> Option<Cow<'r, str>> {
        scalar(self.0.get("resultCode")?)
    }

    pub(super) fn description(&self) -> Option<Cow<'r, str>> {
        scalar(self.result()?.get("resultDescription")?)
    }

    /// The upstream's transaction id.
    pub(super) fn response_id(&self) -> Option<Cow<'r, str>> {
        scalar(self.0.get("responseId")?)
    }

    /// The new id in the reply to a create, directly in the envelope.
    pub(super) fn service_profile(&self) -> Option<Cow<'r, str>> {
        scalar(self.0.get("serviceProfile")?)
    }

    /// The payload of a read.
    pub(super) fn response_param(&self) -> Option<&'r Map<String, Value>> {
        self.0.get("responseParam")?.as_object()
    }

    fn result(&self) -> Option<&'r Map<String, Value>> {
        self.0.get("resultParam")?.as_object()
    }
}

/// A string, or a number in place of a string of digits.
pub(super) fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text.trim())),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}
