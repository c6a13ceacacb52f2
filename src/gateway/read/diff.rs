//! Two profiles side by side.

use crate::{
    call::Call,
    error::Result,
    gateway::{
        door::{Allowed, Reads},
        read::get,
    },
    model::{diff::differences, method::Method, name::ProfileName, note::Notes},
    pb::DiffProfilesResponse,
};

/// Compares two profiles, which may be of different backends.
pub(crate) async fn profiles(
    call: &Call,
    method: Method,
    (left_backend, left): (&Allowed<Reads>, &ProfileName),
    (right_backend, right): (&Allowed<Reads>, &ProfileName),
) -> Result<DiffProfilesResponse> {
    let (left, right) = tokio::join!(
        get::whole(left_backend, call, method, left),
        get::whole(right_backend, call, method, right),
    );
    let mut notes = Notes::default();
    for backend in [left_backend, right_backend] {
        for (field, why) in backend.dialect().not_read() {
            notes.not_read(field, *why);
        }
    }
    let differences = differences(&left?, &right?)?;
    Ok(DiffProfilesResponse { differences, notes: notes.into_vec() })
}
