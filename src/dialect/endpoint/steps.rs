//! The requests that turn one profile into another, in an order that the upstream accepts, and the
//! outcome of a write that fails half way.
//!
//! A profile is not written in one request: its members are one PATCH, and each service and limit
//! has its own request. A limit is removed before its service and added after it.

use std::{collections::HashSet, fmt, future::Future, hash::Hash};

use serde_json::{Map, Value};

use super::{decode, encode, fault, fault::Operation, wire};
use crate::{
    dialect::adapter::ProfileUpdate,
    error::{
        Effect, Error, Reason, Result,
        metadata::{FAILED_STEP, PROFILE_ID, STEPS_APPLIED, STEPS_UNDONE},
    },
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

    /// The service that it adds or removes, or the service and the limit.
    fn item(&self) -> Option<(&str, Option<&str>)> {
        match self {
            Self::Patch(_) => None,
            Self::RemoveService(service) | Self::AddService(service) => Some((service, None)),
            Self::RemoveLimit { service, limit } | Self::AddLimit { service, limit } => {
                Some((service, Some(limit)))
            }
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
    let ids = |services: &[Service]| -> Vec<String> {
        services.iter().map(|service| service.id.clone()).collect()
    };
    let (there, asked) = (ids(current), ids(desired));
    let remove_limit = |(service, limit)| Step::RemoveLimit { service, limit };
    let add_limit = |(service, limit)| Step::AddLimit { service, limit };
    let steps = without(&had, &wanted)
        .map(remove_limit)
        .chain(without(&there, &asked).map(Step::RemoveService))
        .chain(without(&asked, &there).map(Step::AddService))
        .chain(without(&wanted, &had).map(add_limit));
    Ok(steps.collect())
}

/// What is among the first and not among the others, in order. Each is looked at once.
pub(super) fn without<T: Clone + Eq + Hash>(items: &[T], others: &[T]) -> impl Iterator<Item = T> {
    let others: HashSet<&T> = others.iter().collect();
    items.iter().filter(move |item| !others.contains(item)).cloned()
}

/// The steps that add to a new profile what it lacks of the desired services and limits.
pub(super) fn additions(found: &Profile, desired: &Profile) -> Result<Vec<Step>> {
    let mut steps = between_services(&found.services, &desired.services)?;
    steps.retain(|step| matches!(step, Step::AddService(_) | Step::AddLimit { .. }));
    Ok(steps)
}

/// Whether a profile shows a change, apart from the members that replies do not say.
pub(super) fn show(
    change: ProfileUpdate<'_>,
    found: &Profile,
    untold: impl Fn(&str, &Value) -> bool,
) -> bool {
    let asked = encode::differences(change.current, change.desired);
    let missing = encode::differences(found, change.desired);
    let left = |current: &Profile| between_services(&current.services, &change.desired.services);
    let has_services =
        || Ok::<_, Error>(concerning(left(found)?, &left(change.current)?).is_empty());
    !asked.iter().any(|(key, value)| missing.contains_key(key) && !untold(key, value))
        && has_services().unwrap_or_default()
}

/// Those of the steps that concern what the `touched` ones change. A service that leaves takes all
/// of its limits with it.
pub(super) fn concerning(steps: Vec<Step>, touched: &[Step]) -> Vec<Step> {
    let items: HashSet<_> = touched.iter().map(Step::item).collect();
    let has_item = |step: &Step| items.contains(&step.item());
    let members = touched.iter().filter_map(|step| match step {
        Step::Patch(members) => Some(members.keys()),
        _ => None,
    });
    let members: HashSet<&String> = members.flatten().collect();
    let has_member = |key: &String| members.contains(key);
    let leaving = steps.iter().filter_map(|step| match step {
        Step::RemoveService(id) if has_item(step) => Some(id),
        _ => None,
    });
    let leaving: HashSet<&String> = leaving.collect();
    let leaves = |id: &String| leaving.contains(id);
    let kept = steps.iter().filter_map(|step| match step {
        Step::Patch(members) => {
            let members = members.iter().filter(|(key, _)| has_member(key));
            let members: Map<String, Value> =
                members.map(|(key, value)| (key.clone(), value.clone())).collect();
            (!members.is_empty()).then_some(Step::Patch(members))
        }
        Step::RemoveLimit { service, .. } if leaves(service) => Some(step.clone()),
        step => has_item(step).then(|| step.clone()),
    });
    kept.collect()
}

/// What a write has done before its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing.
    Fresh,
    /// Other steps, which these undo.
    Begun,
    /// It has created the profile, which no other client has a reason to change yet.
    Created,
}

/// How often a throttled step is sent again. The pauses of the port come to minutes before.
const MAX_THROTTLED: usize = 64;

/// Runs the steps until one fails.
pub(super) async fn run(
    port: &dyn Port,
    id: &str,
    steps: &[Step],
    progress: Progress,
) -> Result<(), Halted> {
    let mut applied = Vec::new();
    for step in steps {
        let is_fresh = progress == Progress::Fresh && applied.is_empty();
        let sent = match is_fresh {
            true => send(port, id, step).await,
            false => patiently(|| send(port, id, step)).await,
        };
        match sent {
            Ok(()) => {}
            Err(failure)
                if progress == Progress::Created && shows(port, id, step, &failure).await => {}
            Err(failure) => return Err(Halted { applied, at: step.to_string(), failure }),
        }
        applied.push(step.to_string());
    }
    Ok(())
}

async fn send(port: &dyn Port, id: &str, step: &Step) -> Result<()> {
    let reply = port.send(step.request(id)).await?;
    fault::written(step.operation(), &reply)
}

/// Sends a request of a write that has begun. A throttled request was not carried out, so it is
/// sent again once the port lets it through, which is when the upstream's pause ends. What the port
/// itself refuses would come too late.
pub(super) async fn patiently<F>(mut send: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let mut answer = send().await;
    for _ in 0..MAX_THROTTLED {
        if !answer.as_ref().is_err_and(is_throttled) {
            break;
        }
        answer = match send().await {
            // Not sent: the upstream's own answer says more.
            Err(refusal) if refusal.upstream().is_none() && refusal.effect() == Effect::None => {
                break;
            }
            next => next,
        };
    }
    answer
}

/// Whether the upstream itself has answered that it is throttling.
fn is_throttled(failure: &Error) -> bool {
    failure.reason() == Reason::UpstreamThrottled && failure.upstream().is_some()
}

/// Whether a new profile has what the upstream refuses to add to it. A conflict says so, which is
/// not believed without a look. The vendor documents one refusal (422) for whatever is wrong with a
/// limit, and its services may have it from the start.
async fn shows(port: &dyn Port, id: &str, step: &Step, failure: &Error) -> bool {
    let (service, limit) = match step {
        Step::AddService(service) => (service, None),
        Step::AddLimit { service, limit } => (service, Some(limit)),
        Step::Patch(_) | Step::RemoveLimit { .. } | Step::RemoveService(_) => return false,
    };
    let is_refused = matches!(
        failure.reason(),
        Reason::ServiceAlreadyAttached
            | Reason::TrafficLimitAlreadyAttached
            | Reason::ProcessingFailed
    );
    if !is_refused {
        return false;
    }
    let Ok(reply) = port.send(encode::get(id)).await else { return false };
    let found = fault::read(Operation::Get, &reply, |reply| decode::one(reply, id));
    found.is_ok_and(|item| {
        let mut services = item.profile.services.iter().filter(|there| there.id == *service);
        services.any(|there| {
            limit.is_none_or(|limit| there.traffic_limits.iter().any(|there| there.id == *limit))
        })
    })
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
    /// The error if all applied steps have been undone: the failing step's error. `effect`: what is
    /// known of that step now.
    pub(super) fn undone(self, effect: Effect) -> Error {
        let Self { mut applied, at, failure } = self;
        let done = applied.join(", ");
        applied.reverse();
        let message = format!(
            "{}; it failed at \"{at}\" after \"{}\", which was undone{}",
            text::cut(failure.message(), 512),
            text::cut(&done, 256),
            if effect == Effect::None { "" } else { "; the failed step may still take effect" }
        );
        let failure = match failure.reason() {
            Reason::WriteOutcomeUnknown => {
                Error::new(Reason::DeadlineExceeded, "").with_kind(failure.kind())
            }
            _ => failure,
        };
        failure
            .with_message(message)
            .with_effect(effect)
            .with_metadata(FAILED_STEP, at)
            .with_metadata(STEPS_APPLIED, done)
            .with_metadata(STEPS_UNDONE, applied.join(", "))
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
            "the profile is left {left}: it failed at \"{at}\" ({}) after \"{}\", and undoing \
             that failed{}; read it and update or delete it",
            text::cut(failure.message(), 256),
            text::cut(&applied.join(", "), 256),
            why.map(|why| format!(" ({})", text::cut(why.message(), 160))).unwrap_or_default(),
        );
        let error = Error::new(Reason::PartiallyApplied, message)
            .with_metadata(PROFILE_ID, id)
            .with_metadata(FAILED_STEP, at)
            .with_metadata(STEPS_APPLIED, applied.join(", "))
            .with_metadata(STEPS_UNDONE, undone.join(", "));
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
            .with_metadata(FAILED_STEP, at)
            .with_metadata(STEPS_APPLIED, done)
    }
}
