//! `profilegateway.v1.BackendService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::{
    Limits, compression,
    servers::backend_service_server::{BackendService, BackendServiceServer},
    unary,
};
use crate::{
    gateway::Gateway,
    model::method::Method,
    pb::{
        Backend, CloseDoubtfulWriteRequest, CloseDoubtfulWriteResponse, GetBackendRequest,
        ListBackendsRequest, ListBackendsResponse, ListDoubtfulWritesRequest,
        ListDoubtfulWritesResponse, ListServicesRequest, ListServicesResponse, PurgeCacheRequest,
        PurgeCacheResponse,
    },
};

/// Describes the backends of a gateway.
#[derive(Clone)]
pub struct BackendRpc {
    gateway: Arc<Gateway>,
    limits: Limits,
}

impl BackendRpc {
    /// The gRPC service over a gateway.
    #[must_use]
    pub fn service(gateway: Arc<Gateway>, limits: Limits) -> BackendServiceServer<Self> {
        let (largest, compressed) = (limits.request_bytes, limits.min_compressed_bytes);
        let service =
            BackendServiceServer::new(Self { gateway, limits }).max_decoding_message_size(largest);
        let service = compression::with_each(service, BackendServiceServer::accept_compressed);
        match compressed {
            Some(_) => compression::with_each(service, BackendServiceServer::send_compressed),
            None => service,
        }
    }
}

#[async_trait]
impl BackendService for BackendRpc {
    async fn list_backends(
        &self,
        request: Request<ListBackendsRequest>,
    ) -> Result<Response<ListBackendsResponse>, Status> {
        unary(Method::ListBackends, request, &self.limits, async |call, _| {
            Ok(ListBackendsResponse { backends: self.gateway.list_backends(&call) })
        })
        .await
    }

    async fn get_backend(
        &self,
        request: Request<GetBackendRequest>,
    ) -> Result<Response<Backend>, Status> {
        unary(Method::GetBackend, request, &self.limits, async |call, message| {
            self.gateway.get_backend(&call, &message.name)
        })
        .await
    }

    async fn list_services(
        &self,
        request: Request<ListServicesRequest>,
    ) -> Result<Response<ListServicesResponse>, Status> {
        unary(Method::ListServices, request, &self.limits, async |call, message| {
            Ok(ListServicesResponse {
                services: self.gateway.list_services(&call, &message).await?,
            })
        })
        .await
    }

    async fn purge_cache(
        &self,
        request: Request<PurgeCacheRequest>,
    ) -> Result<Response<PurgeCacheResponse>, Status> {
        unary(Method::PurgeCache, request, &self.limits, async |call, message| {
            Ok(PurgeCacheResponse {
                purged_count: self.gateway.purge_cache(&call, &message).await?,
            })
        })
        .await
    }

    async fn list_doubtful_writes(
        &self,
        request: Request<ListDoubtfulWritesRequest>,
    ) -> Result<Response<ListDoubtfulWritesResponse>, Status> {
        unary(Method::ListDoubtfulWrites, request, &self.limits, async |call, message| {
            self.gateway.list_doubtful_writes(&call, &message).await
        })
        .await
    }

    async fn close_doubtful_write(
        &self,
        request: Request<CloseDoubtfulWriteRequest>,
    ) -> Result<Response<CloseDoubtfulWriteResponse>, Status> {
        unary(Method::CloseDoubtfulWrite, request, &self.limits, async |call, message| {
            Ok(CloseDoubtfulWriteResponse {
                doubtful_write: Some(self.gateway.close_doubtful_write(&call, &message).await?),
            })
        })
        .await
    }
}
