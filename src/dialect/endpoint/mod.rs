//! Service profiles of the "endpoint" API, which BICS runs as a white label of emnify's platform.
//!
//! JSON over HTTP with a bearer token, documented at simforthings.bics.com (`/api/doc/…`, among
//! them `service-profile.html`) and docs.emnify.com. A profile's services and limits are separate
//! collections, so a write may take several requests; see `steps`. This file connects the parts.

mod auth;
mod brief;
mod capabilities;
mod catalog;
mod check;
mod coerce;
mod data_limits;
mod decode;
mod effects;
mod encode;
mod fault;
mod field_path;
mod limits;
mod list;
mod radio;
mod service;
mod simulate;
mod steps;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use self::{
    capabilities::{CAPABILITIES, NAME},
    catalog::Catalog,
    fault::Operation,
    steps::{Halted, Progress},
};
use super::{
    adapter::{
        Brief, Dialect, Edit, Item, ListPart, Listing, Named, Operations, ProfileUpdate, SoFar,
    },
    client::DialectClient,
    registration::{Built, Form, Registration, Setting},
};
use crate::{
    error::{Effect, Error, Reason, Result, metadata, violation::Violations},
    model::{capability::Capabilities, note::Notes, spelling::Sent},
    pb::{self, Profile, Service},
    upstream::{Port, Reply, Request},
};

/// The registry entry of this dialect.
pub(super) const REGISTRATION: Registration = Registration {
    name: NAME,
    limits: limits::DOCUMENTED,
    settings: &[
        Setting {
            key: "application_token",
            form: Form::Secret,
            needed: "required without `auth_token`",
            help: "Token to log in with.",
        },
        Setting {
            key: "auth_token",
            form: Form::Secret,
            needed: "none",
            help: "Fixed token instead of a login; it cannot be renewed, and \
                   `application_token` cannot be given beside it.",
        },
        Setting {
            key: data_limits::KEY,
            form: Form::Switch,
            needed: "`off`",
            help: "Whether reads look at the custom data limits of profiles; each profile takes \
                   one more request.",
        },
    ],
    build: |settings| {
        let auth = auth::EndpointAuth::from_settings(settings)?;
        let dialect = DialectClient::new(Endpoint { data_limits: data_limits::setting(settings) });
        Ok(Built { dialect, auth: Arc::new(auth) })
    },
};

struct Endpoint {
    /// Whether reads look at the data limits.
    data_limits: bool,
}

impl Endpoint {
    /// Removes a profile whose creation failed half way, including its services and limits.
    async fn remove_incomplete(&self, cleanup: &dyn Port, id: &str, halted: Halted) -> Error {
        // Without the profile, no step has an effect any more.
        let Err(failure) = steps::patiently(|| self.delete(cleanup, id)).await else {
            return halted.undone(Effect::None);
        };
        // A read decides whether a failed removal took effect.
        let gone = match self.get(cleanup, id).await {
            Err(error) => error.reason() == Reason::ProfileNotFound,
            Ok(_) => false,
        };
        if gone {
            return halted.undone(Effect::None);
        }
        let left = halted.left(id, &[], "incomplete after its creation", Some(&failure));
        match failure.effect() {
            Effect::None => left,
            // The request may have been lost, or may still take effect.
            Effect::Unconfirmed | Effect::Unknown => {
                left.with_metadata(metadata::REMOVAL, "may yet happen")
            }
        }
    }

    /// Undoes what an update did before it failed, by turning what the update touches of the found
    /// profile into what it was before. `first_of_several`: the first of several steps failed,
    /// whose effect alone is not the whole change.
    async fn undo(
        &self,
        port: &dyn Port,
        change: ProfileUpdate<'_>,
        mut halted: Halted,
        first_of_several: bool,
    ) -> Result<()> {
        let may_be_half = first_of_several && halted.failure.effect() == Effect::Unconfirmed;
        let nothing_done = halted.applied.is_empty() && !may_be_half;
        if nothing_done || halted.failure.effect() == Effect::Unknown {
            // There is nothing to undo, or nothing is certain yet: reading back later decides.
            return Err(halted.unsettled());
        }
        let found = match self.get(port, change.id).await {
            Ok(item) => item.profile,
            Err(error) if error.reason() == Reason::ProfileNotFound => return Err(error),
            Err(error) => {
                return Err(halted.left(change.id, &[], "partially changed", Some(&error)));
            }
        };
        if self.is_applied(change, &found) {
            return Ok(());
        }
        // Other clients may have changed the rest meanwhile.
        let touched = steps::between(change.current, change.desired)?;
        let back = steps::concerning(steps::between(&found, change.current)?, &touched);
        if halted.applied.is_empty() {
            if back.is_empty() {
                return Err(halted.unsettled());
            }
            halted.applied.push(halted.at.clone());
        }
        if let Err(stuck) = steps::run(port, change.id, &back, Progress::Begun).await {
            let left = "partially changed";
            return Err(halted.left(change.id, &stuck.applied, left, Some(&stuck.failure)));
        }
        let stays = check::unclearable(&found, change.current);
        let ours = check::unclearable(change.desired, change.current);
        let is_ours = |path: &&str| ours.iter().any(|(other, _)| other == path);
        let stays: Vec<&str> = stays.iter().map(|(path, _)| *path).filter(is_ours).collect();
        if stays.is_empty() {
            let effect = halted.failure.effect();
            return Err(halted.undone(effect));
        }
        let undone: Vec<String> = back.iter().map(ToString::to_string).collect();
        let left = format!("with {} changed, which cannot be cleared", stays.join(", "));
        Err(halted.left(change.id, &undone, &left, None))
    }
}

impl Dialect for Endpoint {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kind(&self) -> pb::Dialect {
        pb::Dialect::Endpoint
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn has_unique_names(&self) -> bool {
        // Not documented. If an account has such a rule after all, its 409 says so.
        false
    }

    fn lists_are_complete(&self) -> bool {
        // The upstream's lists are incomplete (page "List"); reading the full profiles takes extra
        // requests.
        false
    }

    fn listed_fields(&self) -> Vec<&'static str> {
        brief::fields()
    }

    fn accepts_id(&self, id: &str) -> bool {
        wire::is_id(id)
    }

    fn example_id(&self) -> &'static str {
        "390"
    }

    fn check_fields(
        &self,
        request: &Profile,
        touched: &(dyn Fn(&str) -> bool + Sync),
        violations: &mut Violations,
    ) {
        check::request(request, touched, violations);
    }

    fn check_whole(
        &self,
        desired: &Profile,
        current: Option<&Profile>,
        violations: &mut Violations,
    ) -> Result<()> {
        let unclearable = current.map(|current| check::unclearable(current, desired));
        for (path, why) in unclearable.into_iter().flatten() {
            violations.add(format!("profile.{path}"), why);
        }
        Ok(())
    }

    fn coerce(&self, draft: &mut Profile, notes: &mut Notes) {
        coerce::coerce(draft, notes);
    }

    fn not_read(&self) -> &'static [(&'static str, &'static str)] {
        if self.data_limits { &[] } else { &[data_limits::NOT_READ] }
    }

    fn caution(&self, current: Option<&Profile>, desired: &Profile, notes: &mut Notes) {
        check::caution(current, desired, notes);
    }

    fn simulate(&self, request: &Request) -> Reply {
        simulate::simulate(request)
    }

    fn is_applied(&self, change: ProfileUpdate<'_>, found: &Profile) -> bool {
        steps::show(change, found, |_, _| false)
    }

    fn agrees(&self, change: ProfileUpdate<'_>, found: &Profile) -> bool {
        steps::show(change, found, |key, value| encode::is_untold(key, value, found))
    }

    fn is_created(&self, desired: &Profile, found: &Profile) -> bool {
        let missing = encode::differences(found, desired);
        let differs = |(key, value): (&String, &Value)| {
            missing.contains_key(key) && !encode::is_untold(key, value, found)
        };
        !encode::creation(desired).iter().any(differs)
    }

    fn is_finished(&self, desired: &Profile, found: &Profile) -> bool {
        steps::additions(found, desired).is_ok_and(|steps| steps.is_empty())
    }
}

#[async_trait]
impl Operations for Endpoint {
    async fn resolve(
        &self,
        port: &dyn Port,
        desired: Profile,
        current: Option<&Profile>,
    ) -> Result<Profile> {
        Catalog::new(port).resolve(desired, current).await
    }

    async fn get(&self, port: &dyn Port, id: &str) -> Result<Item> {
        self.one(port, id).await
    }

    async fn list(&self, port: &dyn Port) -> Result<Listing> {
        let short = self.short(port).await?;
        self.full(port, short.into_iter().map(|short| short.id).collect()).await
    }

    async fn list_in_parts(&self, port: &dyn Port, so_far: &mut SoFar) -> Result<ListPart> {
        let short = self.short(port).await?;
        self.part(port, short, so_far).await
    }

    async fn list_briefly(&self, port: &dyn Port, fields: &[&'static str]) -> Result<Brief> {
        let reply = port.send(encode::list()).await?;
        let (listed, shown) = fault::read(Operation::List, &reply, brief::read)?;
        let items = listed.or_logged(NAME);
        if fields.iter().all(|field| shown.contains(field)) {
            return Ok(Brief::Fields(items, shown));
        }
        let ids = items.into_iter().map(|item| item.id).collect();
        self.full(port, ids).await.map(Brief::Whole)
    }

    async fn find_by_name(&self, port: &dyn Port, display_name: &str) -> Result<Named> {
        let sent = Sent::new(display_name);
        let mut short = self.short(port).await?;
        let all = short.iter().map(|short| short.id.clone()).collect();
        let mut remains = Vec::new();
        short.retain(|short| {
            let Some(name) = short.name.as_deref() else { return true };
            let is_alike = sent.likeness(name).is_some();
            if !is_alike && sent.may_leave(name) {
                remains.push(short.id.clone());
            }
            is_alike
        });
        let ids = short.into_iter().map(|short| short.id).collect();
        let Listing { items, unreadable } = self.full(port, ids).await?;
        // Any of these could be the one that is looked for.
        if let Some((_, error)) = unreadable.into_iter().next() {
            return Err(error);
        }
        let mut named = Named::among(items, &sent);
        named.remains.append(&mut remains);
        Ok(Named { all, ..named })
    }

    async fn create(&self, port: &dyn Port, profile: &Profile) -> Result<Option<String>> {
        // Before anything is sent: whether the services can be added later.
        steps::additions(&Profile::default(), profile)?;
        let reply = port.send(encode::create(profile)).await?;
        fault::written(Operation::Create, &reply)?;
        Ok(decode::created_id(&reply))
    }

    async fn finish(
        &self,
        port: &dyn Port,
        cleanup: Option<&dyn Port>,
        found: &Item,
        desired: &Profile,
    ) -> Result<()> {
        let (id, steps) = (&found.id, steps::additions(&found.profile, desired)?);
        let Err(mut halted) = steps::run(port, id, &steps, Progress::Created).await else {
            return Ok(());
        };
        halted.applied.insert(0, format!("create profile {id}"));
        match cleanup {
            Some(cleanup) => Err(self.remove_incomplete(cleanup, id, halted).await),
            None => Err(halted.unsettled()),
        }
    }

    async fn update(&self, port: &dyn Port, change: ProfileUpdate<'_>) -> Result<()> {
        let steps = steps::between(change.current, change.desired)?;
        match steps::run(port, change.id, &steps, Progress::Fresh).await {
            Ok(()) => Ok(()),
            Err(halted) => {
                let first_of_several = halted.applied.is_empty() && steps.len() > 1;
                self.undo(port, change, halted, first_of_several).await
            }
        }
    }

    async fn delete(&self, port: &dyn Port, id: &str) -> Result<()> {
        let reply = port.send(encode::delete(id)).await?;
        fault::written(Operation::Delete, &reply)
    }

    async fn services(&self, port: &dyn Port) -> Result<Vec<Service>> {
        catalog::whole(port).await
    }

    async fn edit(&self, port: &dyn Port, current: &Profile, edit: &Edit) -> Result<Profile> {
        check::edit(edit)?;
        Catalog::new(port).edit(current, edit).await
    }
}

#[cfg(test)]
mod tests;
