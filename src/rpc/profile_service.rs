//! `profilegateway.v1.ProfileService`.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Limits, compression, omit,
    servers::profile_service_server::{ProfileService, ProfileServiceServer},
    streaming, unary,
};
use crate::{
    gateway::Gateway,
    model::method::Method,
    pb::{
        AttachServiceRequest, AttachTrafficLimitRequest, BatchGetProfilesRequest,
        BatchGetProfilesResponse, CreateProfileRequest, DeleteProfileRequest, DetachServiceRequest,
        DetachTrafficLimitRequest, DiffProfilesRequest, DiffProfilesResponse, Encoded,
        GetProfileRequest, ListProfilesRequest, ListProfilesResponse, PreviewWriteRequest,
        PreviewWriteResponse, Profile, TranslateProfileRequest, TranslateProfileResponse,
        UpdateProfileRequest, WatchProfilesRequest, WatchProfilesResponse,
    },
};

/// Serves profiles from a gateway.
#[derive(Clone)]
pub struct ProfileRpc {
    gateway: Arc<Gateway>,
    limits: Limits,
}

impl ProfileRpc {
    /// The gRPC service over a gateway.
    #[must_use]
    pub fn service(gateway: Arc<Gateway>, limits: Limits) -> ProfileServiceServer<Self> {
        let (largest, compressed) = (limits.request_bytes, limits.min_compressed_bytes);
        let service =
            ProfileServiceServer::new(Self { gateway, limits }).max_decoding_message_size(largest);
        let service = compression::with_each(service, ProfileServiceServer::accept_compressed);
        match compressed {
            Some(_) => compression::with_each(service, ProfileServiceServer::send_compressed),
            None => service,
        }
    }
}

#[async_trait]
impl ProfileService for ProfileRpc {
    type WatchProfilesStream =
        Pin<Box<dyn Stream<Item = Result<Encoded<WatchProfilesResponse>, Status>> + Send>>;

    async fn get_profile(
        &self,
        request: Request<GetProfileRequest>,
    ) -> Result<Response<Encoded<Profile>>, Status> {
        unary(Method::GetProfile, request, &self.limits, async |call, message| {
            self.gateway.get_profile(&call, &message).await
        })
        .await
    }

    async fn list_profiles(
        &self,
        request: Request<ListProfilesRequest>,
    ) -> Result<Response<Encoded<ListProfilesResponse>>, Status> {
        unary(Method::ListProfiles, request, &self.limits, async |call, message| {
            self.gateway.list_profiles(&call, &message).await
        })
        .await
    }

    async fn create_profile(
        &self,
        request: Request<CreateProfileRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(Method::CreateProfile, request, &self.limits, async |call, message| {
            let written = self.gateway.create_profile(&call, message).await?;
            Ok(omit::fitting(&call, written, self.limits.response_bytes))
        })
        .await
    }

    async fn update_profile(
        &self,
        request: Request<UpdateProfileRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(Method::UpdateProfile, request, &self.limits, async |call, message| {
            let written = self.gateway.update_profile(&call, message).await?;
            Ok(omit::fitting(&call, written, self.limits.response_bytes))
        })
        .await
    }

    async fn delete_profile(
        &self,
        request: Request<DeleteProfileRequest>,
    ) -> Result<Response<()>, Status> {
        unary(Method::DeleteProfile, request, &self.limits, async |call, message| {
            self.gateway.delete_profile(&call, message).await
        })
        .await
    }

    async fn attach_service(
        &self,
        request: Request<AttachServiceRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(Method::AttachService, request, &self.limits, async |call, message| {
            let written = self.gateway.attach_service(&call, message).await?;
            Ok(omit::fitting(&call, written, self.limits.response_bytes))
        })
        .await
    }

    async fn detach_service(
        &self,
        request: Request<DetachServiceRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(Method::DetachService, request, &self.limits, async |call, message| {
            let written = self.gateway.detach_service(&call, message).await?;
            Ok(omit::fitting(&call, written, self.limits.response_bytes))
        })
        .await
    }

    async fn attach_traffic_limit(
        &self,
        request: Request<AttachTrafficLimitRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(Method::AttachTrafficLimit, request, &self.limits, async |call, message| {
            let written = self.gateway.attach_traffic_limit(&call, message).await?;
            Ok(omit::fitting(&call, written, self.limits.response_bytes))
        })
        .await
    }

    async fn detach_traffic_limit(
        &self,
        request: Request<DetachTrafficLimitRequest>,
    ) -> Result<Response<Profile>, Status> {
        unary(Method::DetachTrafficLimit, request, &self.limits, async |call, message| {
            let written = self.gateway.detach_traffic_limit(&call, message).await?;
            Ok(omit::fitting(&call, written, self.limits.response_bytes))
        })
        .await
    }

    async fn batch_get_profiles(
        &self,
        request: Request<BatchGetProfilesRequest>,
    ) -> Result<Response<Encoded<BatchGetProfilesResponse>>, Status> {
        unary(Method::BatchGetProfiles, request, &self.limits, async |call, message| {
            self.gateway.batch_get_profiles(&call, &message).await
        })
        .await
    }

    async fn preview_write(
        &self,
        request: Request<PreviewWriteRequest>,
    ) -> Result<Response<PreviewWriteResponse>, Status> {
        unary(Method::PreviewWrite, request, &self.limits, async |call, message| {
            self.gateway.preview_write(&call, message).await
        })
        .await
    }

    async fn translate_profile(
        &self,
        request: Request<TranslateProfileRequest>,
    ) -> Result<Response<TranslateProfileResponse>, Status> {
        unary(Method::TranslateProfile, request, &self.limits, async |call, message| {
            self.gateway.translate_profile(&call, &message).await
        })
        .await
    }

    async fn diff_profiles(
        &self,
        request: Request<DiffProfilesRequest>,
    ) -> Result<Response<DiffProfilesResponse>, Status> {
        unary(Method::DiffProfiles, request, &self.limits, async |call, message| {
            self.gateway.diff_profiles(&call, &message).await
        })
        .await
    }

    async fn watch_profiles(
        &self,
        request: Request<WatchProfilesRequest>,
    ) -> Result<Response<Self::WatchProfilesStream>, Status> {
        let begun =
            streaming(Method::WatchProfiles, request, &self.limits, async |call, message| {
                let watcher = self.gateway.watch_profiles(&call, &message).await?;
                Ok(stream::unfold(watcher, async |mut watcher| {
                    let next = watcher.next().await?;
                    Some((next, watcher))
                }))
            });
        begun.await
    }
}
