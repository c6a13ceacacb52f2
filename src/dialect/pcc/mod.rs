//! Provisioning profiles of a PCC suite (its SPCM).
//!
//! Five operations on one path with ordinary HTTP statuses, HTTP Basic and a tenant header,
//! documented on the vendor's pages "Provisioning profiles API". This file connects the pure parts
//! and contains no wire format.

mod auth;
mod capabilities;
mod decode;
mod effects;
mod encode;
mod fault;
mod members;
mod simulate;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;

use self::{
    capabilities::{CAPABILITIES, NAME},
    fault::Operation,
    wire::Members,
};
use super::{
    adapter::{Dialect, Edit, Item, Listing, Operations, ProfileUpdate},
    client::DialectClient,
    registration::{Built, Form, Registration, Setting},
};
use crate::{
    error::{Effect, Error, Reason, Result, violation::Violations},
    model::{capability::Capabilities, note::Notes},
    pb::{self, Profile, Service},
    upstream::{Limits, Port, Reply, Request, Safety},
};

/// The registry entry of this dialect.
pub(super) const REGISTRATION: Registration = Registration {
    name: NAME,
    // No limit is documented; overload is a 503.
    limits: Limits::NONE,
    settings: &[
        Setting {
            key: "tenant",
            form: Form::Text,
            needed: "required",
            help: "Tenant that the profiles belong to; sent with every request.",
        },
        Setting {
            key: "username",
            form: Form::Text,
            needed: "required",
            help: "User of the HTTP Basic credentials.",
        },
        Setting {
            key: "password",
            form: Form::Secret,
            needed: "required",
            help: "Password of the user.",
        },
    ],
    build: |settings| {
        let auth = auth::BasicAuth::from_settings(settings)?;
        Ok(Built { dialect: DialectClient::new(Pcc), auth: Arc::new(auth) })
    },
};

struct Pcc;

impl Pcc {
    /// The raw object of one profile.
    async fn object(&self, port: &dyn Port, id: &str) -> Result<Members<'static>> {
        let reply = port.send(encode::get(id)).await?;
        fault::check(Operation::Get, &reply)?;
        decode::object(Safety::Read, &reply, id).map(Members::into_owned)
    }

    /// Whether a write to one profile succeeded. If a page says that there is no such profile, a
    /// read decides.
    async fn check(
        &self,
        port: &dyn Port,
        id: &str,
        operation: Operation,
        reply: &Reply,
    ) -> Result<()> {
        match fault::check(operation, reply) {
            Err(failure)
                if failure.reason() == Reason::ProfileNotFound
                    && failure.effect() != Effect::None => {}
            result => return result,
        }
        match self.object(port, id).await {
            Err(error) if error.reason() == Reason::ProfileNotFound => Err(error),
            _ => Err(fault::not_missing(reply)),
        }
    }
}

impl Dialect for Pcc {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kind(&self) -> pb::Dialect {
        pb::Dialect::Pcc
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn has_unique_names(&self) -> bool {
        // Inferred from the text of 409, "item already exists, such as a plan, group, or name".
        true
    }

    fn lists_are_complete(&self) -> bool {
        true
    }

    fn affects_other_profiles(&self, current: Option<&Profile>, desired: &Profile) -> bool {
        // The vendor does not document whether another profile stops being the default.
        desired.default_profile == Some(true)
            && current.is_none_or(|current| current.default_profile != Some(true))
    }

    fn accepts_id(&self, id: &str) -> bool {
        wire::is_id(id)
    }

    fn example_id(&self) -> &'static str {
        "39"
    }

    fn check_fields(
        &self,
        request: &Profile,
        touched: &(dyn Fn(&str) -> bool + Sync),
        violations: &mut Violations,
    ) {
        // The vendor documents no length limit for names and no format for locales.
        if touched("display_name") && request.display_name.is_empty() {
            violations.add("profile.display_name", "is required");
        }
        if touched("default_profile") && request.default_profile.is_none() {
            violations.add("profile.default_profile", "is required");
        }
    }

    fn check_whole(
        &self,
        _desired: &Profile,
        _current: Option<&Profile>,
        _violations: &mut Violations,
    ) -> Result<()> {
        // No field depends on another, and updates keep everything outside the model.
        Ok(())
    }

    fn coerce(&self, draft: &mut Profile, notes: &mut Notes) {
        if draft.default_profile.is_none() {
            draft.default_profile = Some(false);
            notes.defaulted("default_profile", "required by this upstream; set to false");
        }
    }

    fn simulate(&self, request: &Request) -> Reply {
        simulate::simulate(request)
    }

    fn is_applied(&self, change: ProfileUpdate<'_>, found: &Profile) -> bool {
        encode::is_applied(change, found)
    }

    fn agrees(&self, change: ProfileUpdate<'_>, found: &Profile) -> bool {
        encode::agrees(change, found)
    }

    fn is_created(&self, desired: &Profile, found: &Profile) -> bool {
        let change = ProfileUpdate { id: "", current: &Profile::default(), desired };
        encode::agrees(change, found)
    }
}

#[async_trait]
impl Operations for Pcc {
    async fn get(&self, port: &dyn Port, id: &str) -> Result<Item> {
        let object = self.object(port, id).await?;
        Ok(Item { id: id.to_owned(), profile: decode::profile(&object) })
    }

    async fn list(&self, port: &dyn Port) -> Result<Listing> {
        let reply = port.send(encode::list()).await?;
        fault::check(Operation::List, &reply)?;
        Ok(decode::list(&reply)?.or_logged(NAME).into())
    }

    async fn create(&self, port: &dyn Port, profile: &Profile) -> Result<Option<String>> {
        let reply = port.send(encode::create(profile)).await?;
        fault::check(Operation::Create, &reply)?;
        if reply.status == http::StatusCode::NO_CONTENT {
            // Documented: created, but without a body, and so without an id.
            return Ok(None);
        }
        decode::created_id(&reply).map(Some)
    }

    async fn update(&self, port: &dyn Port, change: ProfileUpdate<'_>) -> Result<()> {
        if encode::is_empty(change) {
            return Ok(());
        }
        let fresh = self.object(port, change.id).await?;
        let Some(update) = encode::update(change, fresh) else {
            return Ok(());
        };
        let reply = port.send(update.request).await?;
        let operation = Operation::Update { renames: update.renames };
        self.check(port, change.id, operation, &reply).await?;
        if reply.status == http::StatusCode::NO_CONTENT {
            return Ok(());
        }
        decode::object(Safety::Write, &reply, change.id).map(|_| ())
    }

    async fn delete(&self, port: &dyn Port, id: &str) -> Result<()> {
        let reply = port.send(encode::delete(id)).await?;
        self.check(port, id, Operation::Delete, &reply).await
    }

    async fn services(&self, _port: &dyn Port) -> Result<Vec<Service>> {
        Err(without_services())
    }

    async fn edit(&self, _port: &dyn Port, _current: &Profile, _edit: &Edit) -> Result<Profile> {
        Err(without_services())
    }
}

fn without_services() -> Error {
    Error::new(Reason::OperationNotSupported, "dialect pcc has no services")
}

#[cfg(test)]
mod tests;
