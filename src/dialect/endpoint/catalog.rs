//! The upstream's services and limits, and which of them a request specifies.
//!
//! A request specifies a service by id or type, and a limit by id or by volume and period; the wire
//! format has ids. No lookup is needed for what the profile already has, nor for an id alone.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    capabilities::NAME,
    decode, encode,
    fault::{self, Operation},
    service::{self, describe, describe_limit, is_meant_limit},
};
use crate::{
    dialect::adapter::{Edit, already_attached, not_attached},
    error::{Error, Reason, Result, violation::Violations},
    model::etag::id_order,
    pb::{Profile, Service, TrafficLimit},
    upstream::Port,
};

/// Concurrent lookups of one call, within the backend's own limits.
pub(super) const PARALLEL: usize = 8;

/// The catalog, fetched only as far as needed.
pub(super) struct Catalog<'a> {
    port: &'a dyn Port,
    services: Option<Vec<Service>>,
    limits: BTreeMap<String, Vec<TrafficLimit>>,
}

/// Why a service or limit of a request cannot be resolved.
enum Unresolved {
    /// The request is wrong: which field, and why.
    Wrong { what: What, why: String },
    /// The lookup failed.
    Failed(Error),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Service,
    Limit,
}

impl From<Error> for Unresolved {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn wrong(what: What, why: String) -> Unresolved {
    Unresolved::Wrong { what, why }
}

/// The whole catalog, each service with the limits that it can have.
pub(super) async fn whole(port: &dyn Port) -> Result<Vec<Service>> {
    let complete = |service: Service| async move {
        let traffic_limits = match limits_of(port, &service.id).await {
            // This error means that the service has no limits.
            Err(error) if error.reason() == Reason::ServiceNotAttached => Vec::new(),
            limits => limits?,
        };
        Ok::<_, Error>(Service { traffic_limits, ..service })
    };
    let services = services(port).await?;
    let mut services: Vec<Service> =
        stream::iter(services.into_iter().map(complete)).buffered(PARALLEL).try_collect().await?;
    services.sort_by(|a, b| id_order(&a.id).cmp(&id_order(&b.id)));
    for service in &mut services {
        service.traffic_limits.sort_by(|a, b| id_order(&a.id).cmp(&id_order(&b.id)));
    }
    Ok(services)
}

async fn services(port: &dyn Port) -> Result<Vec<Service>> {
    let reply = port.send(encode::catalog()).await?;
    Ok(fault::read(Operation::Catalog, &reply, decode::services)?.or_logged(NAME))
}

async fn limits_of(port: &dyn Port, service: &str) -> Result<Vec<TrafficLimit>> {
    let reply = port.send(encode::catalog_limits(service)).await?;
    Ok(fault::read(Operation::CatalogLimits, &reply, decode::limits)?.or_logged(NAME))
}

impl<'a> Catalog<'a> {
    pub(super) fn new(port: &'a dyn Port) -> Self {
        Self { port, services: None, limits: BTreeMap::new() }
    }

    /// Returns the profile with an id for each of its services and limits.
    pub(super) async fn resolve(
        &mut self,
        mut desired: Profile,
        current: Option<&Profile>,
    ) -> Result<Profile> {
        let there = current.map(|current| current.services.as_slice()).unwrap_or_default();
        let there = service::Found::new(there);
        let mut violations = Violations::default();
        let (mut resolved, mut ids) = (Vec::new(), HashSet::new());
        for wanted in std::mem::take(&mut desired.services) {
            match self.service(&wanted, &there).await {
                Ok(service) if !ids.insert(service.id.clone()) => {
                    let why = format!("contains service {} twice", service.id);
                    violations.add("profile.services", why);
                }
                Ok(service) => resolved.push(service),
                Err(Unresolved::Failed(error)) => return Err(error),
                Err(Unresolved::Wrong { what, why }) => {
                    let field = match what {
                        What::Service => "profile.services",
                        What::Limit => "profile.services.traffic_limits",
                    };
                    violations.add(field, why);
                }
            }
        }
        violations.into_result()?;
        desired.services = resolved;
        Ok(desired)
    }

    /// Returns the profile with one service or limit added or removed.
    pub(super) async fn edit(&mut self, current: &Profile, edit: &Edit) -> Result<Profile> {
        let mut desired = current.clone();
        let there = &current.services;
        match edit {
            Edit::AttachService(wanted) => {
                let found = service::Found::new(there);
                let service = self.service(wanted, &found).await.map_err(refuse)?;
                if there.iter().any(|other| other.id == service.id) {
                    return Err(already_attached(&describe(&service)));
                }
                desired.services.push(service);
            }
            Edit::DetachService(wanted) => {
                let service = attached(there, wanted)?;
                if !service.traffic_limits.is_empty() {
                    return Err(has_limits(service));
                }
                desired.services.retain(|other| other.id != service.id);
            }
            Edit::AttachTrafficLimit(wanted, limit) => {
                let service = attached(there, wanted)?;
                let limit = self.limit(service, limit).await.map_err(|error| match error {
                    Unresolved::Wrong { why, .. } => Error::new(Reason::TrafficLimitNotFound, why),
                    Unresolved::Failed(error) => error,
                })?;
                if service.traffic_limits.iter().any(|other| other.id == limit.id) {
                    return Err(limit_attached(service, &limit));
                }
                with_limits(&mut desired, &service.id, |limits| limits.push(limit));
            }
            Edit::DetachTrafficLimit(wanted, limit) => {
                let service = attached(there, wanted)?;
                let fits = |there: &&TrafficLimit| is_meant_limit(there, limit);
                let id = match service.traffic_limits.iter().find(fits) {
                    Some(there) => there.id.clone(),
                    None => return Err(limit_missing(service, limit)),
                };
                with_limits(&mut desired, &service.id, |limits| limits.retain(|l| l.id != id));
            }
        }
        Ok(desired)
    }

    /// The service that a request specifies, with the specified limits: one that the profile has,
    /// or one of the catalog.
    async fn service(
        &mut self,
        wanted: &Service,
        there: &service::Found<'_>,
    ) -> Result<Service, Unresolved> {
        let found = there.find(wanted).map_err(|why| wrong(What::Service, why))?;
        let found = match found {
            Some(found) => found.clone(),
            None if wanted.r#type == 0 => Service { id: wanted.id.clone(), ..Service::default() },
            None => {
                let found = service::find(self.services().await?, wanted);
                let found = found.map_err(|why| wrong(What::Service, why))?.cloned();
                let found = found.ok_or_else(|| {
                    let why = format!("the upstream has no service {}", describe(wanted));
                    wrong(What::Service, why)
                })?;
                Service { traffic_limits: Vec::new(), ..found }
            }
        };
        let (mut limits, mut ids) = (Vec::new(), HashSet::new());
        let attached: HashMap<&str, &TrafficLimit> =
            found.traffic_limits.iter().map(|limit| (limit.id.as_str(), limit)).collect();
        for wanted in &wanted.traffic_limits {
            let limit = match attached.get(wanted.id.as_str()) {
                Some(there) if is_meant_limit(there, wanted) => (*there).clone(),
                _ if wanted.id.is_empty() => self.limit(&found, wanted).await?,
                _ => self.other_limit(&found, wanted).await?,
            };
            if !ids.insert(limit.id.clone()) {
                return Err(wrong(What::Limit, format!("contains limit {} twice", limit.id)));
            }
            limits.push(limit);
        }
        Ok(Service { traffic_limits: limits, ..found })
    }

    /// The limit that a request specifies: one that the service has in the profile, or one that it
    /// can have.
    async fn limit(
        &mut self,
        service: &Service,
        wanted: &TrafficLimit,
    ) -> Result<TrafficLimit, Unresolved> {
        match service.traffic_limits.iter().find(|l| is_meant_limit(l, wanted)) {
            Some(found) => Ok(found.clone()),
            None => self.other_limit(service, wanted).await,
        }
    }

    /// The same of a limit that the service does not have in the profile.
    async fn other_limit(
        &mut self,
        service: &Service,
        wanted: &TrafficLimit,
    ) -> Result<TrafficLimit, Unresolved> {
        if wanted.volume.is_none() && wanted.period.is_none() {
            return Ok(TrafficLimit { id: wanted.id.clone(), ..TrafficLimit::default() });
        }
        // The first match in the upstream's order; other matches are equal in everything that was
        // specified.
        let limits = self.limits(&service.id).await?;
        limits.iter().find(|limit| is_meant_limit(limit, wanted)).cloned().ok_or_else(|| {
            let why = format!(
                "the upstream has no limit {} for service {}",
                describe_limit(wanted),
                describe(service)
            );
            wrong(What::Limit, why)
        })
    }

    async fn services(&mut self) -> Result<&[Service]> {
        if self.services.is_none() {
            self.services = Some(services(self.port).await?);
        }
        Ok(self.services.as_deref().unwrap_or_default())
    }

    async fn limits(&mut self, service: &str) -> Result<&[TrafficLimit]> {
        if !self.limits.contains_key(service) {
            let limits = limits_of(self.port, service).await?;
            self.limits.insert(service.to_owned(), limits);
        }
        Ok(self.limits.get(service).map(Vec::as_slice).unwrap_or_default())
    }
}

/// The error of an edit whose service or limit does not exist.
fn refuse(unresolved: Unresolved) -> Error {
    match unresolved {
        Unresolved::Failed(error) => error,
        Unresolved::Wrong { what: What::Service, why } => Error::invalid_field("service", why),
        Unresolved::Wrong { what: What::Limit, why } => {
            Error::invalid_field("service.traffic_limits", why)
        }
    }
}

/// The profile's service that an edit refers to.
fn attached<'s>(there: &'s [Service], wanted: &Service) -> Result<&'s Service> {
    service::find(there, wanted)
        .map_err(|why| Error::invalid_field("service", why))?
        .ok_or_else(|| not_attached(&describe(wanted)))
}

fn with_limits(profile: &mut Profile, service: &str, change: impl FnOnce(&mut Vec<TrafficLimit>)) {
    if let Some(service) = profile.services.iter_mut().find(|other| other.id == service) {
        change(&mut service.traffic_limits);
    }
}

fn has_limits(service: &Service) -> Error {
    let ids: Vec<&str> = service.traffic_limits.iter().map(|limit| limit.id.as_str()).collect();
    let message = format!(
        "service {} still has traffic limits ({}); detach them first",
        describe(service),
        ids.join(", ")
    );
    Error::new(Reason::ServiceHasTrafficLimits, message)
}

fn limit_attached(service: &Service, limit: &TrafficLimit) -> Error {
    let message =
        format!("service {} already has limit {}", describe(service), describe_limit(limit));
    Error::new(Reason::TrafficLimitAlreadyAttached, message)
}

fn limit_missing(service: &Service, limit: &TrafficLimit) -> Error {
    let message =
        format!("service {} does not have limit {}", describe(service), describe_limit(limit));
    Error::new(Reason::TrafficLimitNotFound, message)
}
