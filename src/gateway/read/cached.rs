//! Reads of one backend, through its cache.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    cache::{Resource, Value},
    call::Call,
    error::{Error, Reason, Result},
    gateway::Backend,
    model::{etag::id_order, name::BackendName},
    pb::{Encoded, Profile, Service},
    upstream::Session,
};

impl Backend {
    /// One profile.
    pub(crate) async fn profile(
        self: &Arc<Self>,
        call: &Call,
        id: &str,
    ) -> Result<Encoded<Profile>> {
        let resource = Resource::Profile(id.into());
        let (this, id) = (Arc::clone(self), id.to_owned());
        let value = self.read(call, &resource, |session| async move {
            let item = this.dialect().get(&session, &id).await;
            let item = item.map_err(|error| this.noted(error))?;
            Ok(Value::Profile(Encoded::of(&this.present(item))))
        });
        match value.await? {
            Value::Profile(profile) => Ok(profile),
            other => Err(confused(&other)),
        }
    }

    /// All profiles, ordered by id.
    pub(crate) async fn profiles(self: &Arc<Self>, call: &Call) -> Result<Arc<crate::cache::List>> {
        let this = Arc::clone(self);
        let value = self.read(call, &Resource::Profiles, |session| async move {
            let items = this.dialect().list(&session).await;
            let mut items = items.map_err(|error| this.noted(error))?;
            items.sort_by(|a, b| id_order(&a.id).cmp(&id_order(&b.id)));
            let each = items.into_iter().map(|item| {
                let id = item.id.as_str().into();
                (id, Encoded::of(&this.present(item)))
            });
            Ok(Value::Profiles(Arc::new(each.collect())))
        });
        match value.await? {
            Value::Profiles(profiles) => Ok(profiles),
            other => Err(confused(&other)),
        }
    }

    /// The services that a profile can hold.
    pub(crate) async fn services(self: &Arc<Self>, call: &Call) -> Result<Arc<Vec<Service>>> {
        let this = Arc::clone(self);
        let value = self.read(call, &Resource::Services, |session| async move {
            let services = this.dialect().services(&session).await;
            let mut services = services.map_err(|error| this.noted(error))?;
            services.iter_mut().for_each(|service| name_service(this.name(), service));
            Ok(Value::Services(Arc::new(services)))
        });
        match value.await? {
            Value::Services(services) => Ok(services),
            other => Err(confused(&other)),
        }
    }

    async fn read<F>(
        self: &Arc<Self>,
        call: &Call,
        resource: &Resource,
        load: impl FnOnce(Session) -> F,
    ) -> Result<Value>
    where
        F: Future<Output = Result<Value>> + Send + 'static,
    {
        let load = |deadline: Instant| load(self.session_until(call, deadline));
        let (value, served) =
            self.cache().read(resource, call.cache_control, call.deadline, load).await;
        call.record.set_cache(served);
        value
    }
}

fn name_service(backend: &BackendName, service: &mut Service) {
    service.name = format!("{backend}/services/{}", service.id);
    for limit in &mut service.traffic_limits {
        limit.name = format!("{}/trafficLimits/{}", service.name, limit.id);
    }
}

/// A key gave a value of another kind: a fault of this program.
fn confused(value: &Value) -> Error {
    Error::new(Reason::GatewayInternal, "a fault in the cache").with_internal(format!("{value:?}"))
}
