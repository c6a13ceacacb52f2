//! `profilegateway.v1.ProfileService`.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use tonic::{Request, Response, Status, async_trait};

use super::{later, unary};
use crate::{
    gateway::Gateway,
    model::capability::Method,
    pb::{
        AttachServiceRequest, AttachTrafficLimitRequest, BatchGetProfilesRequest,
        BatchGetProfilesResponse, CreateProfileRequest, DeleteProfileRequest, DetachServiceRequest,
        DetachTrafficLimitRequest, DiffProfilesRequest, DiffProfilesResponse, GetProfileRequest,
        ListProfilesRequest, ListProfilesResponse, PreviewWriteRequest, PreviewWriteResponse,
        Profile, TranslateProfileRequest, TranslateProfileResponse, UpdateProfileRequest,
        WatchProfilesRequest, WatchProfilesResponse, profile_service_server::ProfileService,
    },
};

/// Serves profiles from a gateway.
#[derive(Clone)]
pub struct ProfileRpc(Arc<Gateway>);

impl ProfileRpc {
    /// Over this gateway.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self(gateway)
    }
}

#[async_trait]
impl ProfileService for ProfileRpc {
    type WatchProfilesStream =
        Pin<Box<dyn Stream<Item = Result<WatchProfilesResponse, Status>> + Send>>;

    async fn get_profile(
        &self,
        request: Request<GetProfileRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(request, async |call, message| self.0.get_profile(&call, &message).await).await
    }

    async fn list_profiles(
        &self,
        request: Request<ListProfilesRequest>,
    ) -> Result<Response<ListProfilesResponse>, Status> {
        unary(request, async |call, message| self.0.list_profiles(&call, &message).await).await
    }

    async fn create_profile(
        &self,
        request: Request<CreateProfileRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(request, async |call, message| self.0.create_profile(&call, message).await).await
    }

    async fn update_profile(
        &self,
        request: Request<UpdateProfileRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(request, async |call, message| self.0.update_profile(&call, message).await).await
    }

    async fn delete_profile(
        &self,
        request: Request<DeleteProfileRequest>,
    ) -> Result<Response<()>, Status> {
        unary(request, async |call, message| self.0.delete_profile(&call, message).await).await
    }

    async fn attach_service(
        &self,
        request: Request<AttachServiceRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(request, async |call, message| self.0.attach_service(&call, message).await).await
    }

    async fn detach_service(
        &self,
        request: Request<DetachServiceRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(request, async |call, message| self.0.detach_service(&call, message).await).await
    }

    async fn attach_traffic_limit(
        &self,
        request: Request<AttachTrafficLimitRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(request, async |call, message| {
            self.0.require_method(&call, &message.name, Method::AttachTrafficLimit)?;
            later(&call, Method::AttachTrafficLimit.name())
        })
        .await
    }

    async fn detach_traffic_limit(
        &self,
        request: Request<DetachTrafficLimitRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(request, async |call, message| {
            self.0.require_method(&call, &message.name, Method::DetachTrafficLimit)?;
            later(&call, Method::DetachTrafficLimit.name())
        })
        .await
    }

    async fn batch_get_profiles(
        &self,
        request: Request<BatchGetProfilesRequest>,
    ) -> Result<Response<BatchGetProfilesResponse>, Status> {
        unary(request, async |call, _| later(&call, "BatchGetProfiles")).await
    }

    async fn preview_write(
        &self,
        request: Request<PreviewWriteRequest>,
    ) -> Result<Response<PreviewWriteResponse>, Status> {
        unary(request, async |call, _| later(&call, "PreviewWrite")).await
    }

    async fn translate_profile(
        &self,
        request: Request<TranslateProfileRequest>,
    ) -> Result<Response<TranslateProfileResponse>, Status> {
        unary(request, async |call, _| later(&call, "TranslateProfile")).await
    }

    async fn diff_profiles(
        &self,
        request: Request<DiffProfilesRequest>,
    ) -> Result<Response<DiffProfilesResponse>, Status> {
        unary(request, async |call, _| later(&call, "DiffProfiles")).await
    }

    async fn watch_profiles(
        &self,
        request: Request<WatchProfilesRequest>,
    ) -> Result<Response<Self::WatchProfilesStream>, Status> {
        unary(request, async |call, _| later(&call, "WatchProfiles")).await
    }
}
