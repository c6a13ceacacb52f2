//! Lists of one backend or of all, cut into pages.

use futures_util::future::join_all;

use crate::{
    error::{Error, Reason, Result},
    gateway::{Backend, Call, Gateway},
    model::{
        capability::Method,
        etag::id_order,
        mask::ReadMask,
        name::{BackendName, Parent, ProfileName},
    },
    pb::{ListProfilesRequest, ListProfilesResponse, Profile},
    query::page::{self, Query},
};

const OPERATION: &str = Method::ListProfiles.name();

impl Gateway {
    /// Lists profiles, ordered by backend and then by id.
    pub async fn list_profiles(
        &self,
        call: &Call,
        request: &ListProfilesRequest,
    ) -> Result<ListProfilesResponse> {
        let parent = Parent::parse("parent", &request.parent)?;
        let backends: Vec<&Backend> = match &parent {
            Parent::All => {
                call.record.set_backend("-");
                self.backends.values().map(AsRef::as_ref).collect()
            }
            Parent::One(name) => vec![self.backend(call, name, OPERATION)?],
        };
        // Only a list of one backend can say which one it is about.
        let explained = |error| match (&parent, backends.as_slice()) {
            (Parent::One(_), [backend]) => backend.explain(OPERATION, error),
            _ => error,
        };
        for (field, value) in [("filter", &request.filter), ("order_by", &request.order_by)] {
            if !value.is_empty() {
                let message = format!("{field} is not supported by this release");
                return Err(explained(Error::new(Reason::OperationNotSupported, message)));
            }
        }
        let mask = ReadMask::parse(request.read_mask.as_ref()).map_err(explained)?;
        let query = Query { parent: &request.parent, partial: request.return_partial_success };
        let page = self
            .page_tokens
            .open(&query, request.page_size, &request.page_token)
            .map_err(explained)?;

        let (mut profiles, unreachable) =
            self.collect(call, &backends, request.return_partial_success).await?;
        // As a whole and by the very key that a page is cut by: `sft-emea/` sorts before `sft/`, which
        // is not the order of the backends' names.
        profiles.sort_by_cached_key(|profile| position(&profile.name));
        let total_size = i32::try_from(profiles.len()).unwrap_or(i32::MAX);
        let page::Cut { items, last } = page.cut(profiles, |profile| position(&profile.name));
        let next_page_token = match last {
            Some(position) => self.page_tokens.seal(&query, &position),
            None => String::new(),
        };
        let profiles: Vec<Profile> =
            items.into_iter().map(|profile| mask.apply(profile)).collect::<Result<_>>()?;
        Ok(ListProfilesResponse { profiles, next_page_token, total_size, unreachable })
    }

    /// All profiles of some backends, asked side by side, and the names of those that failed.
    async fn collect(
        &self,
        call: &Call,
        backends: &[&Backend],
        partial: bool,
    ) -> Result<(Vec<Profile>, Vec<String>)> {
        let lists = join_all(backends.iter().map(|backend| list_one(call, backend))).await;
        let (mut profiles, mut unreachable) = (Vec::new(), Vec::new());
        for (backend, list) in backends.iter().zip(lists) {
            match list {
                Ok(list) => profiles.extend(list),
                Err(error) if partial => {
                    tracing::warn!(
                        target: "gateway", backend = backend.name().id(), %error,
                        "left out of a partial list"
                    );
                    unreachable.push(backend.name().to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok((profiles, unreachable))
    }
}

async fn list_one(call: &Call, backend: &Backend) -> Result<Vec<Profile>> {
    let items = backend
        .dialect()
        .list(&backend.session(call))
        .await
        .map_err(|error| backend.explain(OPERATION, error))?;
    Ok(items.into_iter().map(|item| backend.present(item)).collect())
}

/// A key that orders profiles by backend and then by id, numbers by value.
fn position(name: &str) -> String {
    let Ok(name) = ProfileName::parse("name", name) else {
        return name.to_owned();
    };
    let (prefix, digits, number) = id_order(name.id());
    let backend: &BackendName = name.backend();
    format!("{}/{prefix}/{digits:04}/{number}/{}", backend.id(), name.id())
}
