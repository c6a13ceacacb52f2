//! The account: its service profiles, and the rules for their services and traffic limits.
//!
//! A request is fully checked before anything changes, so a refused one has no effect at all.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    catalog::{self, SERVICE, TRAFFIC_LIMIT, find, id_of, number},
    data_limits::{self, DataLimits},
    fields, seed,
    switches::Switches,
    wire::{DUPLICATED, FORBIDDEN, NOT_ALLOWED, Refusal},
};
use crate::store::{Members, Profiles};

#[derive(Clone)]
pub(super) struct Account {
    pub profiles: Profiles,
    pub data_limits: DataLimits,
}

impl Account {
    pub(super) fn new(max: usize, seeded: bool) -> Self {
        let profiles = if seeded { seed::profiles(max) } else { Profiles::new(max) };
        Self { profiles, data_limits: DataLimits::default() }
    }

    pub(super) fn get(&self, id: i64) -> Result<&Members, Refusal> {
        self.profiles.get(id).ok_or(no_profile(id))
    }

    fn get_mut(&mut self, id: i64) -> Result<&mut Members, Refusal> {
        self.profiles.get_mut(id).ok_or(no_profile(id))
    }

    pub(super) fn create(&mut self, body: &Members, switches: &Switches) -> Result<i64, Refusal> {
        let set = fields::read(body, true)?;
        check_privilege(&set, switches)?;
        let mut profile = fields::new_profile();
        profile.extend(set);
        // No document states a bound; this one is the sandbox's own.
        self.profiles.add(profile).ok_or(Refusal::Empty(StatusCode::INSUFFICIENT_STORAGE))
    }

    /// Members that the request does not name stay as they are.
    pub(super) fn patch(
        &mut self,
        id: i64,
        body: &Members,
        switches: &Switches,
    ) -> Result<(), Refusal> {
        let profile = self.get_mut(id)?;
        let set = fields::read(body, false)?;
        check_privilege(&set, switches)?;
        profile.extend(set);
        Ok(())
    }

    pub(super) fn delete(&mut self, id: i64) -> Result<(), Refusal> {
        let used = self.get(id)?.get("used_count").and_then(number).unwrap_or(0);
        if used > 0 {
            // Documented: 409. Inferred: code and text.
            return Err(conflict(
                NOT_ALLOWED,
                format!("Service profile with Id '{id}' is in use."),
            ));
        }
        self.remove(id);
        Ok(())
    }

    /// Removes a profile whatever the vendor's rules say; whether it was there.
    pub(super) fn remove(&mut self, id: i64) -> bool {
        self.data_limits.clear(id);
        self.profiles.remove(id)
    }

    /// The data limits, of a profile that is there.
    pub(super) fn data_limits(&mut self, id: i64) -> Result<&mut DataLimits, Refusal> {
        self.profiles.get(id).ok_or_else(data_limits::not_accessible)?;
        Ok(&mut self.data_limits)
    }

    pub(super) fn put_service(&mut self, id: i64, service: i64) -> Result<(), Refusal> {
        let profile = self.get_mut(id)?;
        let known = find(SERVICE, service).ok_or(no_service(service))?;
        if attached(profile, service).is_some() {
            // Documented: 409, as each service can be there once. Inferred: code and text.
            let message = format!(
                "Service with Id '{service}' is already assigned to Service profile with Id '{id}'."
            );
            return Err(conflict(DUPLICATED, message));
        }
        let mut added = known.clone();
        if let Some(members) = added.as_object_mut() {
            members.insert(TRAFFIC_LIMIT.to_owned(), json!([]));
        }
        array(profile.entry(SERVICE).or_insert(Value::Null))?.push(added);
        Ok(())
    }

    pub(super) fn delete_service(&mut self, id: i64, service: i64) -> Result<(), Refusal> {
        let profile = self.get_mut(id)?;
        // Inferred: a service that is not attached is not found.
        let found = attached(profile, service).ok_or(no_service(service))?;
        let limits = found.get(TRAFFIC_LIMIT).and_then(Value::as_array);
        if limits.is_some_and(|limits| !limits.is_empty()) {
            // Documented: 409. Inferred: code and text.
            let message = format!("Service with Id '{service}' still has traffic limits.");
            return Err(conflict(NOT_ALLOWED, message));
        }
        array(profile.entry(SERVICE).or_insert(Value::Null))?
            .retain(|other| id_of(other) != Some(service));
        Ok(())
    }

    /// Returns whether the limit was not attached before.
    pub(super) fn put_limit(
        &mut self,
        id: i64,
        service: i64,
        limit: i64,
        switches: &Switches,
    ) -> Result<bool, Refusal> {
        let limits = self.limits(id, service)?;
        let known = find(TRAFFIC_LIMIT, limit).ok_or(no_limit(limit))?;
        if catalog::limit_service(known) != Some(service) {
            // Inferred: the documents' general 422.
            return Err(Refusal::EmptyPage);
        }
        if limits.iter().any(|other| id_of(other) == Some(limit)) {
            return match switches.limit_twice_status {
                409 => Err(conflict(
                    DUPLICATED,
                    format!("Traffic limit with Id '{limit}' is already assigned."),
                )),
                422 => Err(Refusal::EmptyPage),
                _ => Ok(false),
            };
        }
        limits.push(catalog::as_attached(known));
        Ok(true)
    }

    pub(super) fn delete_limit(
        &mut self,
        id: i64,
        service: i64,
        limit: i64,
    ) -> Result<(), Refusal> {
        let limits = self.limits(id, service)?;
        let before = limits.len();
        limits.retain(|other| id_of(other) != Some(limit));
        // Inferred: a limit that is not attached is not found.
        if limits.len() < before { Ok(()) } else { Err(no_limit(limit)) }
    }

    /// The limits attached to a service of a profile. Observed: 422 without a body when it has no
    /// such service.
    fn limits(&mut self, id: i64, service: i64) -> Result<&mut Vec<Value>, Refusal> {
        let services = array(self.get_mut(id)?.entry(SERVICE).or_insert(Value::Null))?;
        let found = services.iter_mut().find(|other| id_of(other) == Some(service));
        let members = found.and_then(Value::as_object_mut).ok_or(Refusal::EmptyPage)?;
        array(members.entry(TRAFFIC_LIMIT).or_insert(Value::Null))
    }
}

fn attached(profile: &Members, service: i64) -> Option<&Value> {
    profile.get(SERVICE)?.as_array()?.iter().find(|other| id_of(other) == Some(service))
}

/// The array in a member; a member of another type, which a raw profile may have, becomes an empty
/// one.
fn array(member: &mut Value) -> Result<&mut Vec<Value>, Refusal> {
    if !member.is_array() {
        *member = json!([]);
    }
    member.as_array_mut().ok_or(Refusal::Empty(StatusCode::INTERNAL_SERVER_ERROR))
}

/// Documented: retail needs a privilege. Inferred: 403 without it.
fn check_privilege(set: &Members, switches: &Switches) -> Result<(), Refusal> {
    if set.get("retail") == Some(&Value::Bool(true)) && !switches.retail_allowed {
        let message = "You do not have the necessary permissions to access this entry point.";
        return Err(Refusal::error(StatusCode::FORBIDDEN, FORBIDDEN, message));
    }
    Ok(())
}

fn conflict(code: u32, message: String) -> Refusal {
    Refusal::error(StatusCode::CONFLICT, code, message)
}

fn no_profile(id: i64) -> Refusal {
    Refusal::Missing { what: "Service profile", id }
}

fn no_service(id: i64) -> Refusal {
    Refusal::Missing { what: "Service", id }
}

fn no_limit(id: i64) -> Refusal {
    Refusal::Missing { what: "Traffic limit", id }
}
