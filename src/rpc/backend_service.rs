//! `profilegateway.v1.BackendService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::{later, unary};
use crate::{
    gateway::Gateway,
    pb::{
        Backend, GetBackendRequest, ListBackendsRequest, ListBackendsResponse, ListServicesRequest,
        ListServicesResponse, PurgeCacheRequest, PurgeCacheResponse,
        backend_service_server::BackendService,
    },
};

/// Describes the backends of a gateway.
#[derive(Clone)]
pub struct BackendRpc(Arc<Gateway>);

impl BackendRpc {
    /// Over this gateway.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self(gateway)
    }
}

#[async_trait]
impl BackendService for BackendRpc {
    async fn list_backends(
        &self,
        request: Request<ListBackendsRequest>,
    ) -> Result<Response<ListBackendsResponse>, Status> {
        unary(request, async |_, _| Ok(ListBackendsResponse { backends: self.0.list_backends() }))
            .await
    }

    async fn get_backend(
        &self,
        request: Request<GetBackendRequest>,
    ) -> Result<Response<Backend>, Status> {
        unary(request, async |call, message| self.0.get_backend(&call, &message.name)).await
    }

    async fn list_services(
        &self,
        request: Request<ListServicesRequest>,
    ) -> Result<Response<ListServicesResponse>, Status> {
        unary(request, async |call, message| {
            Ok(ListServicesResponse { services: self.0.list_services(&call, &message).await? })
        })
        .await
    }

    async fn purge_cache(
        &self,
        request: Request<PurgeCacheRequest>,
    ) -> Result<Response<PurgeCacheResponse>, Status> {
        unary(request, async |call, _| later(&call, "PurgeCache")).await
    }
}
