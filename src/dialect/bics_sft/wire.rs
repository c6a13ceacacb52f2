//! The envelope of every reply, read leniently: numbers instead of strings, nulls and unknown
//! members are not errors.

use crate::{
    model::object::Object,
    upstream::{Reply, Unread},
};

/// The `Response` of a reply.
#[derive(Debug)]
pub(super) struct Envelope<'r> {
    response: Object<'r>,
}

/// The parts of an answer, by level.
const PARTS: &[&[&str]] = &[&["Response"], &["resultParam", "responseParam"]];

impl<'r> Envelope<'r> {
    /// Reads a reply's body, or says why it is not an envelope.
    pub(super) fn read(reply: &'r Reply) -> Result<Self, Unread> {
        let body = Object::entering(&reply.body, PARTS);
        let body = body.ok_or_else(|| Unread::without_objects(&reply.body))?;
        let response = body.into_entered("Response").ok_or(Unread::NotTheDialect)?;
        let envelope = Self { response };
        let has_code =
            envelope.inner_code().is_some() || envelope.outer_code().as_deref() == Some("401");
        if has_code { Ok(envelope) } else { Err(Unread::NotTheDialect) }
    }

    /// The code that decides the outcome.
    pub(super) fn inner_code(&self) -> Option<String> {
        self.result()?.scalar("resultCode")
    }

    /// The outer code, which is "0" in several documented failures and so decides nothing.
    pub(super) fn outer_code(&self) -> Option<String> {
        self.response.scalar("resultCode")
    }

    pub(super) fn description(&self) -> Option<String> {
        self.result()?.scalar("resultDescription")
    }

    /// The upstream's transaction id.
    pub(super) fn response_id(&self) -> Option<String> {
        self.response.scalar("responseId")
    }

    /// The new id in the reply to a create, directly in the envelope.
    pub(super) fn service_profile(&self) -> Option<String> {
        self.response.scalar("serviceProfile")
    }

    /// The payload of a read.
    pub(super) fn response_param(&self) -> Option<&Object<'r>> {
        self.response.entered("responseParam")
    }

    fn result(&self) -> Option<&Object<'r>> {
        self.response.entered("resultParam")
    }
}

/// Whether this can be the id of a profile: `SP_` and a number; no counter exceeds 19 digits.
pub(super) fn is_id(id: &str) -> bool {
    id.strip_prefix("SP_").is_some_and(|number| {
        (1..=19).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
    })
}
