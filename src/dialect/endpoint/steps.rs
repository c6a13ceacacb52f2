//! The requests that turn one profile into another, in an order that the upstream accepts, and the
//! outcome of a write that fails half way.
//!
//! A profile is not written in one request: its members are one PATCH, and each service and limit
//! has its own request. A limit is removed before its service and added after it.

use std::fmt;

use serde_json::{Map, Value};

use super::{encode, fault, fault::Operation, wire};
use crate::{
    error::{Effect, Error, Reason, Result},
    pb::{Profile, Service},
    text,
    upstream::{Port, Request},
};

/// One request of a write to an existing profile.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Patch(Map<String, Value>),
    RemoveLimit { service: String, limit: String },
    RemoveService(String),
    AddService(String),
    AddLimit { service: String, limit: String },
}

impl Step {
    fn request(&self, id: &str) -> Request {
        match self {
            Self::Patch(members) => encode::patch(id, members),
            Self::RemoveLimit { service, limit } => encode::remove_limit(id, service, limit),
            Self::RemoveService(service) => encode::remove_service(id, service),
            Self::AddService(service) => encode::add_service(id, service),
            Self::AddLimit { service, limit } => encode::add_limit(id, service, limit),
        }
    }

    const fn operation(&self) -> Operation {
        match self {
            Self::Patch(_) => Operation::Patch,
            Self::RemoveLimit { .. } => Operation::RemoveLimit,
            Self::RemoveService(_) => Operation::RemoveService,
            Self::AddService(_) => Operation::AddService,
            Self::AddLimit { .. } => Operation::AddLimit,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Patch(_) => f.write_str("change members"),
            Self::RemoveLimit { service, limit } => {
                write!(f, "detach limit {limit} of service {service}")
            }
            Self::RemoveService(service) => write!(f, "detach service {service}"),
            Self::AddService(service) => write!(f, "attach service {service}"),
            Self::AddLimit { service, limit } => {
                write!(f, "attach limit {limit} to service {service}")
            }
        }
    }
}

/// The steps from one profile to another. Fails if a service or limit has no id.
pub(super) fn between(current: &Profile, desired: &Profile) -> Result<Vec<Step>> {
    let members = encode::differences(current, desired);
    let patch = (!members.is_empty()).then_some(Step::Patch(members));
    let services = between_services(&current.services, &desired.services)?;
    Ok(patch.into_iter().chain(services).collect())
}

/// The same for services and their limits only.
pub(super) fn between_services(current: &[Service], desired: &[Service]) -> Result<Vec<Step>> {
    let limits = |services: &[Service]| -> Vec<(String, String)> {
        let each = services.iter().flat_map(|service| {
            service.traffic_limits.iter().map(|limit| (service.id.clone(), limit.id.clone()))
        });
        each.collect()
    };
    let resolved = |id: &String| wire::is_id(id);
    let (had, wanted) = (limits(current), limits(desired));
    if !desired.iter().all(|service| resolved(&service.id))
        || !wanted.iter().all(|(_, limit)| resolved(limit))
    {
        return Err(Error::new(
            Reason::GatewayInternal,
            "a service or limit has no id; nothing was sent",
        ));
    }
    let has = |services: &[Service], id: &str| services.iter().any(|service| service.id == id);
    let gone = had.iter().filter(|limit| !wanted.contains(limit));
    let new = wanted.iter().filter(|limit| !had.contains(limit));
    let mut steps: Vec<Step> = Vec::new();
    steps.extend(gone.cloned().map(|(service, limit)| Step::RemoveLimit { service, limit }));
    let left = current.iter().filter(|service| !has(desired, &service.id));
    steps.extend(left.map(|service| Step::RemoveService(service.id.clone())));
    let joined = desired.iter().filter(|service| !has(current, &service.id));
    steps.extend(joined.map(|service| Step::AddService(service.id.clone())));
    steps.extend(new.cloned().map(|(service, limit)| Step::AddLimit { service, limit }));
    Ok(steps)
}

/// Runs the steps until one fails.
pub(super) async fn run(port: &dyn Port, id: &str, steps: &[Step]) -> Result<(), Halted> {
    let mut applied = Vec::new();
    for step in steps {
        let sent = port.send(step.request(id)).await;
        if let Err(failure) = sent.and_then(|reply| fault::written(step.operation(), &reply)) {
            return Err(Halted { applied, at: step.to_string(), failure });
        }
        applied.push(step.to_string());
    }
    Ok(())
}

/// A write that failed at one of its steps.
#[derive(Debug)]
pub(super) struct Halted {
    /// The steps that succeeded.
    pub(super) applied: Vec<String>,
    /// The step that failed.
    pub(super) at: String,
    /// Why it failed.
    pub(super) failure: Error,
}

impl Halted {
    /// The error if all applied steps have been undone: the failing step's error, except that its
    /// outcome is now known.
    pub(super) fn undone(self) -> Error {
        let Self { mut applied, at, failure } = self;
        let done = applied.join(", ");
        applied.reverse();
        let message = format!(
            "{}; it failed at \"{at}\" after \"{}\", which was undone",
            text::cut(failure.message(), 512),
            text::cut(&done, 256)
        );
        let failure = match failure.reason() {
            Reason::WriteOutcomeUnknown => {
                Error::new(Reason::DeadlineExceeded, "").with_kind(failure.kind())
            }
            _ => failure,
        };
        failure
            .with_message(message)
            .with_effect(Effect::None)
            .with_metadata("failed_step", at)
            .with_metadata("steps_applied", done)
            .with_metadata("steps_undone", applied.join(", "))
    }

    /// The error if something could not be undone. `left` describes the profile's state.
    pub(super) fn left(
        self,
        id: &str,
        undone: &[String],
        left: &str,
        why: Option<&Error>,
    ) -> Error {
        let Self { applied, at, failure } = self;
        let message = format!(
            "profile {id} is left {left}: it failed at \"{at}\" ({}) after \"{}\", and undoing \
             that failed{}; read it and update or delete it",
            text::cut(failure.message(), 256),
            text::cut(&applied.join(", "), 256),
            why.map(|why| format!(" ({})", text::cut(why.message(), 160))).unwrap_or_default(),
        );
        let error = Error::new(Reason::PartiallyApplied, message)
            .with_metadata("profile_id", id)
            .with_metadata("failed_step", at)
            .with_metadata("steps_applied", applied.join(", "))
            .with_metadata("steps_undone", undone.join(", "));
        match failure.upstream() {
            Some(facts) => error.with_upstream(facts.clone()),
            None => error,
        }
    }

    /// The failing step's own error with the steps before it. The resulting state is not known yet.
    pub(super) fn unsettled(self) -> Error {
        let Self { applied, at, failure } = self;
        if applied.is_empty() {
            return failure;
        }
        let done = applied.join(", ");
        let message = format!(
            "{}; it failed at \"{at}\" after \"{}\"",
            text::cut(failure.message(), 512),
            text::cut(&done, 256)
        );
        failure
            .with_message(message)
            .with_metadata("failed_step", at)
            .with_metadata("steps_applied", done)
    }
}
