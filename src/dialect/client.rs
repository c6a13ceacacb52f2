//! Calls the operations of a dialect, and is the one place that keeps secrets out of what they
//! tell: out of errors, and out of what is read. Nor does an id pass that cannot be one. `reading`
//! keeps large answers off the async threads.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;

use super::{
    adapter::{
        Brief, Dialect, Edit, Item, ListPart, Listing, Named, Operations, ProfileUpdate, SoFar,
    },
    reading::Reading,
};
use crate::{
    error::{Error, Reason, Result},
    model::spelling::{as_changed, as_stored},
    pb::{Profile, Service},
    upstream::{Port, PortLayer, Reply, Request, Safety},
};

/// A dialect as the rest of the program calls it. An upstream may repeat what it was sent, so
/// secrets of the account behind `port` are removed from every error, and a read whose answer has
/// one fails.
#[derive(Clone)]
pub struct DialectClient(Arc<dyn Operations>);

impl DialectClient {
    /// Wraps a dialect's operations.
    #[must_use]
    pub fn new(dialect: impl Operations) -> Self {
        Self(Arc::new(dialect))
    }

    /// See [`Operations::resolve`].
    pub async fn resolve(
        &self,
        port: &dyn Port,
        desired: Profile,
        current: Option<&Profile>,
    ) -> Result<Profile> {
        let port = Searching::through(port);
        let reading = Reading::from(&port);
        port.told(reading.run(self.0.resolve(&reading, desired, current)).await)
    }

    /// See [`Operations::get`].
    pub async fn get(&self, port: &dyn Port, id: &str) -> Result<Item> {
        let port = Searching::through(port);
        let reading = Reading::from(&port);
        port.told(reading.run(self.0.get(&reading, id)).await)
    }

    /// See [`Operations::list`].
    pub async fn list(&self, port: &dyn Port) -> Result<Listing> {
        let port = Searching::through(port);
        let reading = Reading::from(&port);
        let listing = port.told(reading.run(self.0.list(&reading)).await)?;
        Ok(self.clean(listing, &port))
    }

    /// See [`Operations::list_in_parts`].
    pub async fn list_in_parts(&self, port: &dyn Port, so_far: &mut SoFar) -> Result<ListPart> {
        let port = Searching::through(port);
        let reading = Reading::from(&port);
        let part = reading.run(self.0.list_in_parts(&reading, so_far)).await;
        Ok(match port.told(part)? {
            ListPart::Complete(listing) => ListPart::Complete(self.clean(listing, &port)),
            ListPart::Rest(after) => ListPart::Rest(after),
        })
    }

    /// See [`Operations::list_briefly`].
    pub async fn list_briefly(&self, port: &dyn Port, fields: &[&'static str]) -> Result<Brief> {
        let port = Searching::through(port);
        let reading = Reading::from(&port);
        let listed = reading.run(self.0.list_briefly(&reading, fields)).await;
        Ok(match port.told(listed)? {
            Brief::Whole(listing) => Brief::Whole(self.clean(listing, &port)),
            Brief::Fields(mut items, fields) => {
                self.keep_valid(&mut items);
                Brief::Fields(items, fields)
            }
        })
    }

    /// See [`Operations::find_by_name`].
    pub async fn find_by_name(&self, port: &dyn Port, display_name: &str) -> Result<Named> {
        let port = Searching::through(port);
        let reading = Reading::from(&port);
        let named = reading.run(self.0.find_by_name(&reading, display_name)).await;
        let mut named = port.told(named)?;
        self.keep_valid(&mut named.items);
        named.all.retain(|id| self.0.accepts_id(id));
        Ok(named)
    }

    /// See [`Operations::create`].
    pub async fn create(&self, port: &dyn Port, profile: &Profile) -> Result<Option<String>> {
        let reading = Reading::from(port);
        let id = reading.run(self.0.create(&reading, profile)).await;
        let id = id.map_err(|error| redacted(error, port))?;
        Ok(id.filter(|id| self.0.accepts_id(id)))
    }

    /// See [`Operations::finish`].
    pub async fn finish(
        &self,
        port: &dyn Port,
        cleanup: Option<&dyn Port>,
        found: &Item,
        desired: &Profile,
    ) -> Result<()> {
        let reading = Reading::from(port);
        let finished = reading.run(self.0.finish(&reading, cleanup, found, desired)).await;
        finished.map_err(|error| redacted(error, port))
    }

    /// See [`Operations::update`].
    pub async fn update(&self, port: &dyn Port, change: ProfileUpdate<'_>) -> Result<()> {
        let reading = Reading::from(port);
        reading.run(self.0.update(&reading, change)).await.map_err(|error| redacted(error, port))
    }

    /// See [`Operations::delete`].
    pub async fn delete(&self, port: &dyn Port, id: &str) -> Result<()> {
        let reading = Reading::from(port);
        reading.run(self.0.delete(&reading, id)).await.map_err(|error| redacted(error, port))
    }

    /// See [`Operations::services`].
    pub async fn services(&self, port: &dyn Port) -> Result<Vec<Service>> {
        let port = Searching::through(port);
        let reading = Reading::from(&port);
        port.told(reading.run(self.0.services(&reading)).await)
    }

    /// See [`Dialect::is_applied`]. A text that the upstream stores in another spelling counts.
    #[must_use]
    pub fn is_applied(&self, change: ProfileUpdate<'_>, found: &Profile) -> bool {
        let stored = as_changed(change.current, change.desired, found);
        stored.is_ok_and(|desired| {
            self.0.is_applied(ProfileUpdate { desired: &desired, ..change }, found)
        })
    }

    /// See [`Dialect::agrees`]. A text that the upstream stores in another spelling counts.
    #[must_use]
    pub fn agrees(&self, change: ProfileUpdate<'_>, found: &Profile) -> bool {
        let stored = as_changed(change.current, change.desired, found);
        stored.is_ok_and(|desired| {
            self.0.agrees(ProfileUpdate { desired: &desired, ..change }, found)
        })
    }

    /// Whether a profile that was read after an acknowledged creation agrees with it, as after a
    /// change of an empty profile, and nothing that later steps add is missing.
    #[must_use]
    pub fn agrees_as_new(&self, desired: &Profile, found: &Profile) -> bool {
        let change = ProfileUpdate { id: "", current: &Profile::default(), desired };
        self.0.is_finished(desired, found) && self.agrees(change, found)
    }

    /// See [`Dialect::is_created`]. A text that the upstream stores in another spelling counts.
    #[must_use]
    pub fn is_created(&self, desired: &Profile, found: &Profile) -> bool {
        as_stored(desired, found).is_ok_and(|desired| self.0.is_created(&desired, found))
    }

    /// See [`Operations::edit`].
    pub async fn edit(&self, port: &dyn Port, current: &Profile, edit: &Edit) -> Result<Profile> {
        let port = Searching::through(port);
        let reading = Reading::from(&port);
        port.told(reading.run(self.0.edit(&reading, current, edit)).await)
    }

    /// The listing without secrets in the errors of its profiles.
    fn clean(&self, mut listing: Listing, port: &dyn Port) -> Listing {
        self.keep_valid(&mut listing.items);
        let unreadable = listing.unreadable.into_iter();
        let unreadable = unreadable.map(|(id, error)| (id, redacted(error, port))).collect();
        Listing { unreadable, ..listing }
    }

    /// Dialects leave out what has no valid id, and count it: whatever one overlooks goes no
    /// further.
    fn keep_valid(&self, items: &mut Vec<Item>) {
        items.retain(|item| self.0.accepts_id(&item.id));
    }
}

impl Deref for DialectClient {
    type Target = dyn Dialect;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for DialectClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DialectClient").field(&self.0.name()).finish()
    }
}

/// Sends through a port, and looks for secrets in what is read.
struct Searching<'p> {
    port: &'p dyn Port,
    found: AtomicBool,
}

impl<'p> Searching<'p> {
    fn through(port: &'p dyn Port) -> Self {
        Self { port, found: AtomicBool::new(false) }
    }

    /// The result of what was sent, unless an answer to it has a secret.
    fn told<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Ok(_) if self.found.load(Ordering::Relaxed) => Err(Error::new(
                Reason::UpstreamContractViolation,
                "the upstream's answer repeats the gateway's own credentials, so nothing of it is \
                 shown",
            )),
            result => result.map_err(|error| redacted(error, self.port)),
        }
    }
}

#[async_trait]
impl PortLayer for Searching<'_> {
    fn inner(&self) -> &dyn Port {
        self.port
    }

    async fn pass(&self, request: Request) -> Result<Reply> {
        let is_read = request.safety == Safety::Read;
        let reply = self.port.send(request).await?;
        // What fails is an error, which is cleaned; of what answers a write, only an id is shown.
        if is_read && reply.status.is_success() && self.port.repeats_secret(&reply.body).await {
            self.found.store(true, Ordering::Relaxed);
        }
        Ok(reply)
    }
}

fn redacted(error: Error, port: &dyn Port) -> Error {
    error.without_secrets(|text| port.redact(text))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;
    use crate::dialect::{REGISTRY, Settings, recorder::now};

    const SECRET: &str = "token-of-the-account";

    /// An upstream that gives the same answer to everything, for an account with one secret.
    struct Echo(Reply);

    #[async_trait]
    impl Port for Echo {
        async fn send(&self, _: Request) -> Result<Reply> {
            Ok(self.0.clone())
        }

        fn redact(&self, text: &str) -> Option<String> {
            text.contains(SECRET).then(|| text.replace(SECRET, "[redacted]"))
        }

        async fn repeats_secret(&self, body: &Bytes) -> bool {
            body.windows(SECRET.len()).any(|part| part == SECRET.as_bytes())
        }
    }

    /// The same, but for a list that shows one profile.
    struct EchoOfProfiles(Echo);

    #[async_trait]
    impl PortLayer for EchoOfProfiles {
        fn inner(&self) -> &dyn Port {
            &self.0
        }

        async fn pass(&self, request: Request) -> Result<Reply> {
            match request.path.ends_with("/service_profile") {
                true => Ok(Reply::new(StatusCode::OK, HeaderMap::new(), r#"[{"id":1}]"#.into())),
                false => self.0.send(request).await,
            }
        }
    }

    fn dialects() -> Vec<DialectClient> {
        let settings: Settings = ["username", "password", "tenant", "auth_token"]
            .map(|key| (key.to_owned(), "x".into()))
            .into();
        let build = |known: &crate::dialect::Registration| {
            let takes = |key: &str| known.settings.iter().any(|setting| setting.key == key);
            let settings = settings.iter().filter(|(key, _)| takes(key));
            let settings = settings.map(|(key, value)| (key.clone(), value.clone())).collect();
            (known.build)(&settings).ok().unwrap().dialect
        };
        REGISTRY.iter().map(build).collect()
    }

    /// Everything about an error that anyone can see.
    fn told(error: &Error) -> String {
        format!("{error:?} {:?} {:?}", error.violations(), error.metadata())
    }

    fn errors(dialect: &DialectClient, reply: Reply) -> Vec<Error> {
        let listed = now(dialect.list(&EchoOfProfiles(Echo(reply.clone()))));
        let unreadable = listed.ok().into_iter().flat_map(|listing| listing.unreadable);
        let unreadable: Vec<Error> = unreadable.map(|(_, error)| error).collect();
        let (port, id) = (Echo(reply), "1");
        let current = Profile { display_name: "a".into(), ..Profile::default() };
        let desired = Profile { display_name: "b".into(), ..Profile::default() };
        let change = ProfileUpdate { id, current: &current, desired: &desired };
        let results = [
            now(dialect.get(&port, id)).err(),
            now(dialect.list(&port)).err(),
            now(dialect.find_by_name(&port, "a")).err(),
            now(dialect.create(&port, &desired)).err(),
            now(dialect.update(&port, change)).err(),
            now(dialect.delete(&port, id)).err(),
            now(dialect.services(&port)).err(),
        ];
        results.into_iter().flatten().chain(unreadable).collect()
    }

    #[test]
    fn errors_never_contain_secrets_that_an_upstream_repeats() {
        let bodies = [
            // SFT: the code, the description, the transaction, the name of a child entity.
            r#"{"Response": {"responseId": "S", "resultCode": "0",
                "resultParam": {"resultCode": "S", "resultDescription": "S"}}}"#,
            r#"{"Response": {"responseId": "1", "resultCode": "0", "resultParam":
                {"resultCode": "10085", "resultDescription": "is assigned by S. Please"}}}"#,
            // Endpoint: the message, overall and for a field.
            r#"{"error_code": 1201, "message": "S"}"#,
            r#"{"error_code": 1400, "errors":
                [{"error_code": 1402, "message": "S - S is required"}]}"#,
            // PCC: the message, the code, a field and its description.
            r#"{"message": "S", "errorCode": "S", "errors": []}"#,
            r#"{"errors": [{"field": "S", "description": "S"}]}"#,
            // A proxy.
            "S",
        ];
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/plain"));
        headers.insert("x-amzn-requestid", HeaderValue::from_static(SECRET));
        for body in bodies {
            let mut repeated = 0;
            for status in [200, 207, 400, 401, 403, 404, 409, 412, 422, 429, 500, 503] {
                let status = StatusCode::from_u16(status).unwrap();
                let body = body.replace('S', SECRET);
                let reply = Reply::new(status, headers.clone(), body.into());
                for error in dialects().iter().flat_map(|d| errors(d, reply.clone())) {
                    let told = told(&error);
                    assert!(!told.contains(SECRET), "{told}");
                    repeated += usize::from(told.contains("[redacted]"));
                }
            }
            assert!(repeated > 0, "{body} never appears");
        }
    }
}
