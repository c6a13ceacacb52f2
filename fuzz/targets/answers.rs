//! An upstream that answers everything with the same bytes.

use async_trait::async_trait;
use bytes::Bytes;
use futures_executor::block_on;
use http::{HeaderMap, HeaderValue, StatusCode};
use profile_gateway::{
    dialect::{Item, ProfileUpdate, REGISTRY, Settings},
    error::Result,
    pb::Profile,
    upstream::{Port, Reply, Request},
};

struct Answers(Reply);

#[async_trait]
impl Port for Answers {
    async fn send(&self, _request: Request) -> Result<Reply> {
        Ok(self.0.clone())
    }

    fn redact(&self, _text: &str) -> Option<String> {
        None
    }

    async fn repeats_secret(&self, _body: &Bytes) -> bool {
        false
    }
}

/// Has a dialect read and write over an upstream whose answers are `data`: a status, a content
/// type, a body.
pub(crate) fn decode(dialect: &str, settings: &[(&str, &str)], id: &str, data: &[u8]) {
    let Some((head, body)) = data.split_first_chunk::<2>() else { return };
    let status = [200, 201, 204, 207, 400, 401, 403, 404, 409, 412, 422, 429, 500, 503];
    let status = StatusCode::from_u16(status[usize::from(head[0]) % status.len()]).unwrap();
    let kind = ["application/json", "text/html", "application/xml"][usize::from(head[1]) % 3];
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(kind));
    let port = Answers(Reply::new(status, headers, Bytes::copy_from_slice(body)));
    let registration = REGISTRY.iter().find(|known| known.name == dialect).unwrap();
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned().into());
    let settings: Settings = settings.iter().map(own).collect();
    let built = (registration.build)(&settings).ok().unwrap();
    block_on(async {
        let dialect = &built.dialect;
        let read = dialect.get(&port, id).await;
        let _ = dialect.list(&port).await;
        let _ = dialect.services(&port).await;
        let current = read.map(|item| item.profile).unwrap_or_default();
        let desired = Profile { display_name: "other".to_owned(), ..current.clone() };
        let change = ProfileUpdate { id, current: &current, desired: &desired };
        let _ = dialect.update(&port, change).await;
        let _ = dialect.is_applied(change, &current);
        let _ = dialect.create(&port, &desired).await;
        let found = Item { id: id.to_owned(), profile: current.clone() };
        let _ = dialect.finish(&port, Some(&port), &found, &desired).await;
        let _ = dialect.delete(&port, id).await;
    });
    let _ = built.auth.tokens(&port.0);
    let _ = built.auth.is_refused(&port.0);
}
