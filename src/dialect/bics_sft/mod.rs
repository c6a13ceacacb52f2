//! BICS SFT ("SIM for Things") service profiles.
//!
//! Four operations over HTTP POST and GET, documented at help.sft.bics.com (pages "Service Profile"
//! and "06. Service Profile"). The HTTP status 200 does not mean success, an inner result code
//! does; see `fault`. This file connects the pure parts and contains no wire format.

mod auth;
mod capabilities;
mod coerce;
mod decode;
mod effects;
mod encode;
mod fault;
mod radio;
mod service;
mod simulate;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;

use self::capabilities::{CAPABILITIES, NAME};
use super::{
    adapter::{
        Dialect, Edit, Item, Listing, Operations, ProfileUpdate, already_attached, not_attached,
    },
    client::DialectClient,
    registration::{Built, Form, Registration, Setting},
};
use crate::{
    error::{Error, Reason, Result, violation::Violations},
    model::{capability::Capabilities, note::Notes},
    pb::{self, Profile, Service},
    upstream::{Limits, Port, Reply, Request},
};

/// The registry entry of this dialect.
pub(super) const REGISTRATION: Registration = Registration {
    name: NAME,
    // A limit is documented, but not its value.
    limits: Limits::NONE,
    settings: &[
        Setting {
            key: "username",
            form: Form::Text,
            needed: "required without `access_token`",
            help: "Account to log in with.",
        },
        Setting {
            key: "password",
            form: Form::Secret,
            needed: "required without `access_token`",
            help: "Password of the account.",
        },
        Setting {
            key: "access_token",
            form: Form::Secret,
            needed: "none",
            help: "Fixed token instead of a login; it cannot be renewed, and the other keys of \
                   this table cannot be given beside it.",
        },
        Setting {
            key: "target_account_id",
            form: Form::Text,
            needed: "none",
            help: "Child account to work in, for resellers.",
        },
    ],
    build: |settings| {
        let auth = auth::SftAuth::from_settings(settings)?;
        Ok(Built { dialect: DialectClient::new(BicsSft), auth: Arc::new(auth) })
    },
};

struct BicsSft;

impl BicsSft {
    async fn list_all(&self, port: &dyn Port) -> Result<Vec<Item>> {
        let reply = port.send(encode::list()).await?;
        match fault::check(fault::Operation::Get, &reply)? {
            fault::Answer::NoData => Ok(Vec::new()),
            fault::Answer::Success(envelope) => Ok(decode::list(&envelope)?.or_logged(NAME)),
        }
    }

    /// A modify or delete failed without a reason. An unknown id is one possible reason.
    async fn explain(&self, port: &dyn Port, id: &str, failure: Error) -> Error {
        if !fault::may_mean_missing(&failure) {
            return failure;
        }
        match self.get(port, id).await {
            Err(error) if error.reason() == Reason::ProfileNotFound => error,
            _ => failure,
        }
    }
}

impl Dialect for BicsSft {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kind(&self) -> pb::Dialect {
        pb::Dialect::BicsSft
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn has_unique_names(&self) -> bool {
        true
    }

    fn lists_are_complete(&self) -> bool {
        true
    }

    fn affects_other_profiles(&self, current: Option<&Profile>, desired: &Profile) -> bool {
        // "Modify Service Profile": changes to the services of a base profile also apply to the
        // profiles below it.
        current.is_some_and(|current| service::on_wire(current) != service::on_wire(desired))
    }

    fn accepts_id(&self, id: &str) -> bool {
        wire::is_id(id)
    }

    fn example_id(&self) -> &'static str {
        "SP_361"
    }

    fn check_fields(
        &self,
        request: &Profile,
        touched: &(dyn Fn(&str) -> bool + Sync),
        violations: &mut Violations,
    ) {
        if touched("display_name") && request.display_name.is_empty() {
            violations.add("profile.display_name", "is required");
        }
        if touched("state") && request.state == 0 {
            violations.add("profile.state", "is required");
        }
        if touched("services") {
            service::check(&request.services, violations);
        }
        if touched("radio_access") {
            radio::check(&request.radio_access, violations);
        }
        if touched("services") && touched("radio_access") {
            radio::check_with_services(request, violations);
        }
    }

    fn check_whole(
        &self,
        desired: &Profile,
        current: Option<&Profile>,
        violations: &mut Violations,
    ) -> Result<()> {
        let unchanged = |current: &Profile| {
            service::on_wire(current) == service::on_wire(desired)
                && radio::code(&current.radio_access) == radio::code(&desired.radio_access)
        };
        if current.is_some_and(unchanged) {
            return Ok(());
        }
        radio::check_with_services(desired, violations);
        match current {
            Some(current) => service::refuse_loss(current, desired),
            None => Ok(()),
        }
    }

    fn coerce(&self, draft: &mut Profile, notes: &mut Notes) {
        coerce::coerce(draft, notes);
    }

    fn request_id(&self, reply: &Reply) -> Option<String> {
        fault::request_id(reply)
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
impl Operations for BicsSft {
    async fn resolve(
        &self,
        _port: &dyn Port,
        desired: Profile,
        _current: Option<&Profile>,
    ) -> Result<Profile> {
        let services = service::known(&desired.services);
        Ok(Profile { services, ..desired })
    }

    async fn get(&self, port: &dyn Port, id: &str) -> Result<Item> {
        let reply = port.send(encode::get(id)).await?;
        match fault::check(fault::Operation::Get, &reply)? {
            fault::Answer::NoData => Err(fault::not_found(Some(&reply))),
            fault::Answer::Success(envelope) => decode::one(&envelope, id),
        }
    }

    async fn list(&self, port: &dyn Port) -> Result<Listing> {
        Ok(self.list_all(port).await?.into())
    }

    async fn create(&self, port: &dyn Port, profile: &Profile) -> Result<Option<String>> {
        let reply = port.send(encode::create(profile)).await?;
        match fault::check(fault::Operation::Create, &reply)? {
            fault::Answer::Success(envelope) => {
                Ok(decode::created_id(&envelope).filter(|id| self.accepts_id(id)))
            }
            fault::Answer::NoData => Err(fault::no_data_for_a_write()),
        }
    }

    async fn update(&self, port: &dyn Port, change: ProfileUpdate<'_>) -> Result<()> {
        let Some(request) = encode::modify(change) else {
            return Ok(());
        };
        let reply = port.send(request).await?;
        match fault::check(fault::Operation::Modify, &reply) {
            Ok(fault::Answer::Success(_)) => Ok(()),
            Ok(fault::Answer::NoData) => Err(fault::no_data_for_a_write()),
            Err(failure) => Err(self.explain(port, change.id, failure).await),
        }
    }

    async fn delete(&self, port: &dyn Port, id: &str) -> Result<()> {
        let reply = port.send(encode::delete(id)).await?;
        match fault::check(fault::Operation::Delete, &reply) {
            Ok(fault::Answer::Success(_)) => Ok(()),
            Ok(fault::Answer::NoData) => Err(fault::no_data_for_a_write()),
            Err(failure) => Err(self.explain(port, id, failure).await),
        }
    }

    async fn services(&self, _port: &dyn Port) -> Result<Vec<Service>> {
        Ok(service::catalog())
    }

    async fn edit(&self, _port: &dyn Port, current: &Profile, edit: &Edit) -> Result<Profile> {
        match edit {
            Edit::AttachService(service) => attach(current, service),
            Edit::DetachService(service) => detach(current, service),
            Edit::AttachTrafficLimit(..) | Edit::DetachTrafficLimit(..) => Err(Error::new(
                Reason::OperationNotSupported,
                "dialect bics-sft has no traffic limits",
            )),
        }
    }
}

fn attach(current: &Profile, service: &Service) -> Result<Profile> {
    let wanted = service::resolve_for_request(service)?;
    if current.services.iter().any(|s| s.id == wanted.id) {
        return Err(already_attached(wanted.name));
    }
    if radio::code(&current.radio_access).is_none() {
        let mut violations = Violations::default();
        violations.add(
            "service",
            "the profile has only NB-IoT, but this service needs a radio access; update \
             services and radio_access together",
        );
        violations.into_result()?;
    }
    let mut desired = current.clone();
    desired.services.push(wanted.into());
    Ok(desired)
}

fn detach(current: &Profile, service: &Service) -> Result<Profile> {
    let unwanted = service::resolve_for_request(service)?;
    let mut desired = current.clone();
    desired.services.retain(|s| s.id != unwanted.id);
    if desired.services.len() == current.services.len() {
        return Err(not_attached(unwanted.name));
    }
    if desired.services.is_empty() {
        // The radio access is for these services only, so it is removed with the last one.
        desired.radio_access.retain(|r| *r == i32::from(pb::RadioAccess::NbIot));
    }
    if service::on_wire(&desired).is_empty() {
        let mut violations = Violations::default();
        violations
            .add("service", "is the profile's only service, and a profile must have at least one");
        violations.into_result()?;
    }
    Ok(desired)
}

#[cfg(test)]
mod tests;
