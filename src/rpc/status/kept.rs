//! Refusals, kept while they repeat: as statuses, and as the headers that are sent.
//!
//! A process that is offered more than it can do answers mostly with these, and they differ in
//! little: making each would cost more than the rest of a refusal.
//!
//! To compress the details for HTTP/2 costs as much again, unless the connection has sent the same
//! before. So in a flood they are the same every time; the id of the call, which is not, is a
//! header of its own.

use std::{mem, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::Status;

use super::{
    call_id::{CALL_ID_BYTES, of_call},
    encoded::{GRPC_DETAILS, GRPC_MESSAGE},
    fit::header_bytes,
};
use crate::{
    call::CallId,
    error::{Error, Reason, Retry, metadata::CIRCUIT},
};

/// Response metadata of a refusal that may come again and again: the id of the call.
pub const REFUSED_CALL: HeaderName = HeaderName::from_static("x-call-id");
/// What that takes of headers, as [`header_bytes`] counts it.
const REFUSED_CALL_BYTES: usize = 64;

/// Instead of what a status does not have.
const EMPTY: HeaderValue = HeaderValue::from_static("");

/// How many are kept.
const MOST: usize = 32;
/// So many times in a row is a flood.
const MANY: u32 = 100;
/// What comes later is not in the same row.
const PAUSE: Duration = Duration::from_millis(100);
/// The part of HTTP/2's table of headers (4,096 bytes) that refusals may use. It has those that
/// were sent last, so more of them than fit would drive out each other and all else.
const ROOM: usize = 2_560;
/// How long a refusal has its room after it was sent last: what takes its place costs each
/// connection as much as a refusal that is not kept.
const RESERVED: Duration = Duration::from_secs(1);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));
static FLOODS: Floods = Floods(Mutex::new(Vec::new()));

/// The latest one last.
struct Kept(Mutex<Vec<Arc<Repeated>>>);

/// The floods under way, and when each refusal was sent last.
struct Floods(Mutex<Vec<(Arc<Repeated>, Instant)>>);

/// A refusal that may come again and again.
#[derive(Debug)]
pub struct Repeated {
    error: Error,
    status: Status,
    /// The status as it is sent.
    headers: HeaderMap,
    message: HeaderValue,
    details: HeaderValue,
    row: Mutex<Row>,
}

/// How often a refusal was sent without a pause, and when last.
#[derive(Debug)]
struct Row {
    length: u32,
    last: Instant,
}

/// The status of an error, made unless it is kept.
pub(super) fn status(error: &Error, make: impl FnOnce(&Error) -> Status) -> Status {
    if repeats(error) { KEPT.get(error, make).status.clone() } else { make(error) }
}

/// The refusal of an error that may repeat; see [`repeats`].
pub(super) fn repeated(
    error: &Error,
    make: impl FnOnce(&Error) -> Status,
) -> Option<Arc<Repeated>> {
    repeats(error).then(|| KEPT.get(error, make))
}

/// The refusal that was made with these details.
#[must_use]
pub fn with_details(details: &HeaderValue) -> Option<Arc<Repeated>> {
    let kept = KEPT.0.lock();
    let found = kept.iter().rev().find(|one| one.details == details);
    found.cloned()
}

/// Whether the same refusal may come again and again. What an upstream or a request says in an
/// error does not.
#[must_use]
pub fn repeats(error: &Error) -> bool {
    let is_of_load = match error.reason() {
        Reason::CallerQuotaExceeded | Reason::Overloaded => true,
        Reason::UpstreamUnavailable => error.metadatum(CIRCUIT).is_some(),
        _ => false,
    };
    is_of_load
        && error.retry() != Retry::No
        && error.upstream().is_none()
        && error.violations().is_empty()
}

impl Repeated {
    fn new(error: &Error, make: impl FnOnce(&Error) -> Status) -> Self {
        let (error, status) = (error.clone(), make(error));
        let headers = status.clone().into_http::<()>().into_parts().0.headers;
        let value = |name| headers.get(name).cloned().unwrap_or(EMPTY);
        let (message, details) = (value(GRPC_MESSAGE), value(GRPC_DETAILS));
        let row = Mutex::new(Row { length: 0, last: Instant::now() });
        Self { error, status, headers, message, details, row }
    }

    /// What the caller is told.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The status, without the id of a call.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The headers of a response that is only this refusal, without the id of a call.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Writes the refusal of a call to the headers or trailers of its response, if they take no
    /// more than `room` bytes then. Returns whether they do.
    pub fn write(self: &Arc<Self>, call: CallId, room: usize, headers: &mut HeaderMap) -> bool {
        if !headers.contains_key(GRPC_DETAILS) {
            headers.insert(GRPC_MESSAGE, self.message.clone());
            headers.insert(GRPC_DETAILS, self.details.clone());
        }
        if header_bytes(headers) + REFUSED_CALL_BYTES + CALL_ID_BYTES > room {
            return false;
        }
        if !self.is_flood(Instant::now())
            && let Some(details) = headers.get_mut(GRPC_DETAILS)
            && let Some(mut named) = of_call(details, call)
        {
            named.set_sensitive(true);
            *details = named;
        }
        if let Ok(mut id) = HeaderValue::from_str(call.shown().as_str()) {
            id.set_sensitive(true);
            headers.insert(REFUSED_CALL, id);
        }
        true
    }

    /// Counts that it is sent now. Whether it is always the same from now on.
    fn is_flood(self: &Arc<Self>, now: Instant) -> bool {
        self.row.lock().goes_on(now) >= MANY && FLOODS.has_room(self, now)
    }

    /// What it takes of the table.
    fn size(&self) -> usize {
        header_bytes(&self.headers)
    }
}

impl Row {
    /// How often it was sent, with now.
    fn goes_on(&mut self, now: Instant) -> u32 {
        let last = mem::replace(&mut self.last, now);
        let is_later = now.saturating_duration_since(last) >= PAUSE;
        self.length = if is_later { 1 } else { self.length.saturating_add(1) };
        self.length
    }
}

impl Kept {
    fn get(&self, error: &Error, make: impl FnOnce(&Error) -> Status) -> Arc<Repeated> {
        let mut kept = self.0.lock();
        if let Some(one) = kept.iter().rev().find(|other| is_same(&other.error, error)) {
            return Arc::clone(one);
        }
        let new = Arc::new(Repeated::new(error, make));
        if kept.len() >= MOST {
            kept.remove(0);
        }
        kept.push(Arc::clone(&new));
        new
    }
}

impl Floods {
    /// Whether the tables of headers have room for one, beside those that were sent lately.
    fn has_room(&self, refusal: &Arc<Repeated>, now: Instant) -> bool {
        let mut floods = self.0.lock();
        let known = floods.iter_mut().find(|(other, _)| Arc::ptr_eq(other, refusal));
        if let Some((_, sent)) = known {
            *sent = now;
            return true;
        }
        floods.retain(|(_, sent)| now.saturating_duration_since(*sent) < RESERVED);
        let taken: usize = floods.iter().map(|(other, _)| other.size()).sum();
        let fits = taken + refusal.size() <= ROOM;
        if fits {
            floods.push((Arc::clone(refusal), now));
        }
        fits
    }
}

/// Whether two errors have the same status: all of an error that a status shows.
fn is_same(one: &Error, other: &Error) -> bool {
    let facts = |error: &Error| (error.reason(), error.kind(), error.retry());
    facts(one) == facts(other)
        && one.message() == other.message()
        && one.resource() == other.resource()
        && one.metadata() == other.metadata()
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use tonic_types::StatusExt as _;

    use super::*;
    use crate::{
        error::{Kind, UpstreamFacts, violation::Violation},
        rpc::status::made,
    };

    #[test]
    fn a_status_is_made_once_for_each_error() {
        let (kept, times) = (Kept(Mutex::default()), Cell::new(0));
        let plain = || Error::new(Reason::Overloaded, "full");
        let errors = [
            plain(),
            Error::new(Reason::CallerQuotaExceeded, "full"),
            plain().with_message("full for now"),
            plain().with_kind(Kind::ResourceExhausted),
            plain().with_retry(Retry::After(Some(Duration::from_secs(7)))),
            plain().with_resource("backends/sft"),
            plain().with_metadata("backend", "sft"),
            plain().with_metadata("backend", "iot"),
        ];
        for _ in 0..3 {
            for error in &errors {
                let status = kept.get(error, |error| {
                    times.set(times.get() + 1);
                    made(error)
                });
                let status = &status.status;
                let made = made(error);
                assert_eq!((status.code(), status.message()), (made.code(), made.message()));
                let details = |status: &Status| {
                    format!("{:?}", {
                        let details = status.get_error_details();
                        let info = details.error_info().cloned().unwrap();
                        let mut metadata: Vec<_> = info.metadata.into_iter().collect();
                        metadata.sort();
                        let (retry, about) = (details.retry_info(), details.resource_info());
                        (info.reason, metadata, retry.cloned(), about.cloned())
                    })
                };
                assert_eq!(details(status), details(&made));
            }
        }
        assert_eq!(times.get(), errors.len());
    }

    #[test]
    fn few_are_kept() {
        let kept = Kept(Mutex::default());
        for n in 0..1000 {
            kept.get(&Error::new(Reason::Overloaded, n.to_string()), made);
        }
        let messages: Vec<String> =
            kept.0.lock().iter().map(|one| one.error.message().to_owned()).collect();
        assert_eq!((messages.len(), &*messages[0], &*messages[31]), (MOST, "968", "999"));
    }

    #[test]
    fn only_refusals_are_kept() {
        let refusal = Error::new(Reason::Overloaded, "full");
        assert!(repeats(&refusal));
        assert!(repeats(&Error::new(Reason::CallerQuotaExceeded, "full")));
        let unavailable = Error::new(Reason::UpstreamUnavailable, "silent");
        assert!(!repeats(&unavailable));
        assert!(repeats(&unavailable.with_metadata(CIRCUIT, "open")));
        assert!(!repeats(&Error::new(Reason::ProfileNotFound, "not there")));
        // It names what was asked for.
        assert!(!repeats(&refusal.clone().with_retry(Retry::No)));
        assert!(!repeats(&refusal.clone().with_upstream(UpstreamFacts::default())));
        let (field, description) = ("name".to_owned(), "is wrong".to_owned());
        let violation = Violation { field, description, reason: Reason::ValidationFailed };
        assert!(!repeats(&refusal.with_violation(violation)));
    }

    fn refusal(message: &str) -> Arc<Repeated> {
        Arc::new(Repeated::new(&Error::new(Reason::Overloaded, message), made))
    }

    /// What is sent of one call: the id in the header and that in the details, whether HTTP/2 keeps
    /// the details, and the details.
    fn sent(refusal: &Arc<Repeated>) -> (String, Option<String>, bool, HeaderValue) {
        let mut headers = refusal.headers().clone();
        assert!(refusal.write(CallId::default(), usize::MAX, &mut headers));
        let info = Status::from_header_map(&headers).unwrap().get_error_details();
        let named = info.error_info().unwrap().metadata.get("call_id").cloned();
        let id = headers[REFUSED_CALL].to_str().unwrap().to_owned();
        assert!(headers[REFUSED_CALL].is_sensitive(), "it would fill the table of headers");
        let details = headers[GRPC_DETAILS].clone();
        (id, named, !details.is_sensitive(), details)
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_flood_refusals_are_the_same_but_for_the_header_with_the_id() {
        let refusal = refusal("a flood");
        for _ in 0..2 {
            for _ in 1..MANY {
                let (id, named, is_kept, _) = sent(&refusal);
                assert_eq!((named, is_kept), (Some(id), false));
            }
            let (first, ..) = sent(&refusal);
            for _ in 0..MANY {
                let (id, named, is_kept, details) = sent(&refusal);
                assert_ne!(id, first);
                assert_eq!((named, is_kept), (None, true));
                assert_eq!(details, refusal.headers()[GRPC_DETAILS]);
            }
            tokio::time::advance(PAUSE).await;
        }
    }

    #[test]
    fn there_are_only_as_many_floods_as_the_table_of_headers_has_room_for() {
        let floods = Floods(Mutex::default());
        let all: Vec<_> = (0..20).map(|n| refusal(&format!("flood {n}"))).collect();
        let began = Instant::now();
        let fit = |now| all.iter().filter(|one| floods.has_room(one, now)).count();
        let first = fit(began);
        let used: usize = all.iter().take(first).map(|one| one.size()).sum();
        assert!((1..20).contains(&first) && used <= ROOM, "{first}: {used}");
        // The same ones, for as long as they go on.
        let later = began + RESERVED - Duration::from_millis(1);
        assert!(floods.has_room(&all[0], later) && !floods.has_room(&all[19], later));
        assert!(floods.has_room(&all[19], began + RESERVED), "the others are over");
        assert!(floods.has_room(&all[0], began + RESERVED));
    }

    #[test]
    fn a_refusal_is_found_by_its_details_and_written_only_where_it_fits() {
        let error = Error::new(Reason::CallerQuotaExceeded, "found by its details");
        let kept = repeated(&error, made).unwrap();
        let mut headers = kept.headers().clone();
        assert!(Arc::ptr_eq(&with_details(&headers[GRPC_DETAILS]).unwrap(), &kept));
        assert!(with_details(&HeaderValue::from_static("other")).is_none());
        assert!(!kept.write(CallId::default(), header_bytes(&headers), &mut headers));
        assert_eq!(&headers, kept.headers());
        // A service leaves all but the code to be written.
        let mut bare = HeaderMap::new();
        assert!(kept.write(CallId::default(), usize::MAX, &mut bare));
        assert_eq!(bare[GRPC_MESSAGE], "found%20by%20its%20details");
        let room = header_bytes(&bare);
        assert!(room <= header_bytes(&headers) + REFUSED_CALL_BYTES + CALL_ID_BYTES);
    }
}
