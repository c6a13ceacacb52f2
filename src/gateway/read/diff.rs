//! Two profiles side by side.

use crate::{
    call::Call,
    error::Result,
    gateway::{Backend, Gateway, read::get::decoded},
    model::{diff::differences, name::ProfileName},
    pb::{DiffProfilesRequest, DiffProfilesResponse, Profile},
};
use std::sync::Arc;

const OPERATION: &str = "DiffProfiles";

impl Gateway {
    /// Compares two profiles, also of different backends.
    pub async fn diff_profiles(
        &self,
        call: &Call,
        request: &DiffProfilesRequest,
    ) -> Result<DiffProfilesResponse> {
        let left = self.named(call, OPERATION, "left", &request.left)?;
        let right = self.named(call, OPERATION, "right", &request.right)?;
        let (left, right) =
            tokio::join!(profile(call, OPERATION, left), profile(call, OPERATION, right));
        Ok(DiffProfilesResponse { differences: differences(&left?, &right?)? })
    }

    /// A profile that a request names, which may exist.
    pub(crate) fn named(
        &self,
        call: &Call,
        operation: &'static str,
        field: &str,
        name: &str,
    ) -> Result<(&Arc<Backend>, ProfileName)> {
        let name = ProfileName::parse(field, name)?;
        let backend = self.backend(call, name.backend(), operation)?;
        backend.require_id(operation, &name)?;
        Ok((backend, name))
    }
}

/// A profile through its backend's cache.
pub(crate) async fn profile(
    call: &Call,
    operation: &'static str,
    (backend, name): (&Arc<Backend>, ProfileName),
) -> Result<Profile> {
    let profile = backend.profile(call, name.id()).await;
    decoded(&profile.map_err(|error| backend.explain_profile(operation, &name, error))?)
}
