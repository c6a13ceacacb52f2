//! Writes as they are asked for, and what their answers mean.

use std::time::Duration;

use profile_gateway::pb::{
    AttachServiceRequest, CreateProfileRequest, DeleteProfileRequest, DetachServiceRequest,
    Profile, Service, UpdateProfileRequest, profile_service_client::ProfileServiceClient,
};
use tokio::time::timeout;
use tonic::{Code, Response, Status, transport::Channel};
use tonic_types::StatusExt as _;

use super::field::Known;
use crate::{
    kit::{history::display_name, model},
    replicas::history::{Kind, Said},
};

/// How long a caller waits for a replica that does not answer.
const PATIENCE: Duration = Duration::from_secs(6);

/// A write as it is asked for, again and again.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Create(CreateProfileRequest),
    Update(UpdateProfileRequest),
    Delete(DeleteProfileRequest),
    Attach(AttachServiceRequest),
    Detach(DetachServiceRequest),
}

/// The creation of the profile with this number.
pub(super) fn create(backend: &str, number: u64) -> Ask {
    let display_name = display_name(number, 0);
    let profile = match backend {
        "sft" => model::profile(&display_name),
        _ => Profile { display_name, ..Profile::default() },
    };
    let parent = format!("backends/{backend}");
    Ask::Create(CreateProfileRequest { parent, profile: Some(profile), ..Default::default() })
}

/// What makes a profile what this write says.
pub(super) fn change(known: &Known, kind: &Kind) -> Ask {
    let name = known.name.clone();
    let service = |id: &String| Some(Service { id: id.clone(), ..Service::default() });
    match kind {
        Kind::Create => create(known.backend, known.number),
        Kind::Rename(version, etag) => {
            let display_name = display_name(known.number, *version);
            let etag = etag.clone().unwrap_or_default();
            let profile = Some(Profile { name, display_name, etag, ..Profile::default() });
            let update_mask = Some(model::mask(&["display_name"]));
            Ask::Update(UpdateProfileRequest { profile, update_mask, ..Default::default() })
        }
        Kind::Attach(id) => {
            Ask::Attach(AttachServiceRequest { name, service: service(id), ..Default::default() })
        }
        Kind::Detach(id) => {
            Ask::Detach(DetachServiceRequest { name, service: service(id), ..Default::default() })
        }
        Kind::Delete => Ask::Delete(DeleteProfileRequest { name, ..Default::default() }),
    }
}

impl Ask {
    pub(super) fn request_id(&mut self) -> &mut String {
        match self {
            Self::Create(request) => &mut request.request_id,
            Self::Update(request) => &mut request.request_id,
            Self::Delete(request) => &mut request.request_id,
            Self::Attach(request) => &mut request.request_id,
            Self::Detach(request) => &mut request.request_id,
        }
    }

    /// Asks this replica. A caller that gets no answer gives up.
    pub(super) async fn send(
        self,
        client: ProfileServiceClient<Channel>,
    ) -> Result<Option<Profile>, Status> {
        let answer = timeout(PATIENCE, self.sent(client)).await;
        answer.unwrap_or_else(|_| Err(Status::unknown("no answer")))
    }

    async fn sent(
        self,
        mut client: ProfileServiceClient<Channel>,
    ) -> Result<Option<Profile>, Status> {
        let answer = match self {
            Self::Create(request) => client.create_profile(request).await,
            Self::Update(request) => client.update_profile(request).await,
            Self::Attach(request) => client.attach_service(request).await,
            Self::Detach(request) => client.detach_service(request).await,
            Self::Delete(request) => return client.delete_profile(request).await.map(|_| None),
        };
        answer.map(Response::into_inner).map(Some)
    }
}

/// Its reason, unless no gateway has answered.
pub(super) fn reason(status: &Status) -> Option<String> {
    status.get_error_details().error_info().map(|info| info.reason.clone())
}

/// What a caller knows after this answer.
pub(super) fn said<T>(result: &Result<T, Status>) -> Said {
    let Err(status) = result else { return Said::Ok };
    let Some(reason) = reason(status) else { return Said::Unknown };
    match reason.as_str() {
        "WRITE_OUTCOME_UNKNOWN" | "PARTIALLY_APPLIED" | "WRITE_NOT_APPLIED" => Said::Unknown,
        _ => match status.code() {
            // They say that this call has sent nothing, and that another one may.
            Code::Unavailable
            | Code::Aborted
            | Code::ResourceExhausted
            | Code::DeadlineExceeded
            | Code::Cancelled => Said::Refused(reason),
            _ => Said::Failed(reason),
        },
    }
}
