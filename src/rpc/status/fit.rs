//! Shortens a status until it fits into the headers that proxies let through. What is left out is
//! counted in the details; a text that is cut ends with `…`.

use std::collections::HashMap;

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, ErrorDetails, FieldViolation, StatusExt};

use crate::{
    error::metadata::{
        BACKEND, CALL_ID, DIALECT, OMITTED_METADATA, OMITTED_VIOLATIONS, OPERATION, UPSTREAM_CODE,
        UPSTREAM_STATUS,
    },
    text,
};

/// The field of the violation that stands for those left out.
const OTHERS: &str = "*";

/// A violation takes at least this, encoded and in base64.
const MIN_VIOLATION_BYTES: usize = 12;

/// What RFC 9113 (6.5.2) adds for each header.
const HEADER_OVERHEAD: usize = 32;

/// Of violations that do not all fit, so many have a description before others are named.
const DESCRIBED: usize = 8;

/// How far the parts of a status are cut.
#[derive(Clone, Copy)]
struct Cut {
    message: usize,
    text: usize,
    /// Whether metadata other than [`ESSENTIAL`] stay, and details that repeat in another form what
    /// the reason and the message say.
    all: bool,
}

/// From the mildest to the hardest.
const CUTS: [Cut; 7] = [
    Cut { message: MAX_MESSAGE_BYTES, text: MAX_TEXT_BYTES, all: true },
    Cut { message: MAX_MESSAGE_BYTES, text: 128, all: true },
    Cut { message: 256, text: 128, all: true },
    Cut { message: 256, text: 64, all: true },
    Cut { message: 128, text: 64, all: true },
    Cut { message: 128, text: 64, all: false },
    Cut { message: 64, text: 32, all: false },
];

/// Longest status message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 512;
/// Longest other text, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 256;

/// Metadata of `ErrorInfo` that stay when there is hardly any room.
const ESSENTIAL: [&str; 5] = [BACKEND, DIALECT, OPERATION, UPSTREAM_STATUS, UPSTREAM_CODE];

/// The size of headers as HTTP/2 counts it (RFC 9113, 6.5.2), which is above what is sent.
#[must_use]
pub fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD).sum()
}

/// The parts of a status.
pub(super) struct Parts {
    pub code: Code,
    pub message: String,
    pub details: ErrorDetails,
    pub violations: Vec<FieldViolation>,
}

impl Parts {
    /// The parts of a status that was made of parts, and how many violations it left out.
    pub(super) fn of(status: &Status) -> (Self, usize) {
        let details = status.get_error_details();
        let omitted = details.error_info().and_then(|info| info.metadata.get(OMITTED_VIOLATIONS));
        let omitted = omitted.and_then(|number| number.parse().ok()).unwrap_or(0);
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
        let mut violations = violations.unwrap_or_default().to_vec();
        if omitted > 0 {
            violations.pop_if(|last| last.field == OTHERS);
        }
        let (code, message) = (status.code(), status.message().to_owned());
        (Self { code, message, details, violations }, omitted)
    }

    /// The whole status; `omitted` violations are left out already.
    pub(super) fn whole(&self, omitted: usize) -> Status {
        let [mildest, ..] = CUTS;
        let all = self.violations.len();
        self.status(mildest, all, all, omitted)
    }

    /// As much of the status as fits into headers of so many bytes; `omitted` violations are left
    /// out already, as in [`Self::whole`].
    pub(super) fn fit(mut self, room: usize, mut omitted: usize) -> Status {
        // More cannot fit, whatever the cut.
        let all = self.violations.len();
        self.violations.truncate(room / MIN_VIOLATION_BYTES);
        let most = self.violations.len();
        omitted += all - most;
        let fitting = |cut, shown, described| {
            let status = self.status(cut, shown, described, omitted + most - shown);
            Some(status).filter(|status| size(status) <= room)
        };
        let whole = CUTS.iter().filter(|cut| cut.all).find_map(|cut| fitting(*cut, most, most));
        if let Some(status) = whole {
            return status;
        }
        for cut in CUTS.into_iter().filter(|cut| cut.text < 128) {
            // As many fields as possible, and then as many descriptions.
            let described = |shown: usize| shown.min(DESCRIBED);
            let named = largest(most, |shown| fitting(cut, shown, described(shown)));
            let Some((shown, named)) = named.filter(|(shown, _)| *shown >= described(most)) else {
                continue;
            };
            let more = largest(shown - described(shown), |more| {
                fitting(cut, shown, described(shown) + more)
            });
            return more.map_or(named, |(_, status)| status);
        }
        let [.., tightest] = CUTS;
        let some = largest(most, |shown| fitting(tightest, shown, shown));
        some.map_or_else(|| self.bare(), |(_, status)| status)
    }

    /// A status that names `shown` violations, the first of them with their descriptions.
    fn status(&self, cut: Cut, shown: usize, described: usize, omitted: usize) -> Status {
        let short = |value: &str| text::cut(value, cut.text).into_owned();
        let mut details = ErrorDetails::new();
        if let Some(info) = self.details.error_info() {
            let metadata = cut.metadata(&info.metadata, omitted);
            details.set_error_info(info.reason.clone(), info.domain.clone(), metadata);
        }
        let shown = self.violations.iter().take(shown).enumerate();
        let mut fields: Vec<FieldViolation> = shown
            .map(|(n, one)| {
                let description =
                    if n < described { short(&one.description) } else { "…".into() };
                FieldViolation::new(short(&one.field), description)
            })
            .collect();
        if omitted > 0 {
            let others = format!("and {omitted} more violations");
            fields.push(FieldViolation::new(OTHERS, others));
        }
        if !fields.is_empty() {
            details.set_bad_request(fields);
        }
        if let Some(retry) = self.details.retry_info() {
            details.set_retry_info(retry.retry_delay);
        }
        if cut.all {
            self.add_repeating(&mut details, short);
        }
        let message = text::cut(&self.message, cut.message);
        Status::with_error_details_vec(self.code, message, in_order(&details))
    }

    /// Adds the details that clients can do without.
    fn add_repeating(&self, details: &mut ErrorDetails, short: impl Fn(&str) -> String) {
        if let Some(info) = self.details.resource_info() {
            let (kind, description) = (info.resource_type.clone(), short(&info.description));
            details.set_resource_info(kind, short(&info.resource_name), "", description);
        }
        let failed = self.details.precondition_failure();
        for one in failed.map_or(&[][..], |failed| &failed.violations) {
            let (subject, description) = (short(&one.subject), short(&one.description));
            details.add_precondition_failure_violation(one.r#type.clone(), subject, description);
        }
        let failed = self.details.quota_failure();
        for one in failed.map_or(&[][..], |failed| &failed.violations) {
            details.add_quota_failure_violation(short(&one.subject), short(&one.description));
        }
        if let Some(info) = self.details.request_info() {
            details.set_request_info(short(&info.request_id), info.serving_data.clone());
        }
    }

    /// What clients act on, for room that holds no more.
    fn bare(&self) -> Status {
        let mut details = ErrorDetails::new();
        if let Some(info) = self.details.error_info() {
            details.set_error_info(info.reason.clone(), info.domain.clone(), HashMap::new());
        }
        if let Some(retry) = self.details.retry_info() {
            details.set_retry_info(retry.retry_delay);
        }
        Status::with_error_details_vec(self.code, "", in_order(&details))
    }
}

/// The details as they are sent: `ErrorInfo` first, because all clients look for it, and those who
/// look from a shell take the first.
fn in_order(details: &ErrorDetails) -> Vec<ErrorDetail> {
    let parts: [Option<ErrorDetail>; 7] = [
        details.error_info().cloned().map(Into::into),
        details.retry_info().cloned().map(Into::into),
        details.quota_failure().cloned().map(Into::into),
        details.precondition_failure().cloned().map(Into::into),
        details.bad_request().cloned().map(Into::into),
        details.request_info().cloned().map(Into::into),
        details.resource_info().cloned().map(Into::into),
    ];
    parts.into_iter().flatten().collect()
}

impl Cut {
    fn metadata(self, all: &HashMap<String, String>, omitted: usize) -> HashMap<String, String> {
        // The numbers change, and the id of the call is added to what was cut.
        let made = |key: &str| [OMITTED_VIOLATIONS, OMITTED_METADATA, CALL_ID].contains(&key);
        let stays = |key: &str| self.all || ESSENTIAL.contains(&key);
        let mut shown = HashMap::new();
        let mut left_out: usize =
            all.get(OMITTED_METADATA).and_then(|number| number.parse().ok()).unwrap_or(0);
        for (key, value) in all.iter().filter(|(key, _)| !made(key)) {
            if stays(key) {
                shown.insert(key.clone(), text::cut(value, self.text).into_owned());
            } else {
                left_out += 1;
            }
        }
        for (key, number) in [(OMITTED_VIOLATIONS, omitted), (OMITTED_METADATA, left_out)] {
            if number > 0 {
                shown.insert(key.to_owned(), number.to_string());
            }
        }
        shown
    }
}

/// The largest number up to `most` for which there is a status.
fn largest(most: usize, status: impl Fn(usize) -> Option<Status>) -> Option<(usize, Status)> {
    if let Some(status) = status(most) {
        return Some((most, status));
    }
    let (mut beyond, mut number, mut best) = (most, 0, status(0)?);
    while number + 1 < beyond {
        let middle = number.midpoint(beyond);
        match status(middle) {
            Some(status) => (number, best) = (middle, status),
            None => beyond = middle,
        }
    }
    Some((number, best))
}

/// The size of a status in headers or trailers.
fn size(status: &Status) -> usize {
    let mut headers = HeaderMap::new();
    match status.add_header(&mut headers) {
        Ok(()) => header_bytes(&headers),
        Err(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        error::{Error, Reason, UpstreamFacts, violation::Violation},
        rpc::status,
    };

    fn missing(count: usize) -> Error {
        let error = Error::new(Reason::ProfileNotFound, "many do not exist: ".repeat(50));
        (0..count).fold(error, |error, n| {
            error.with_violation(Violation {
                field: format!("names[{n}]"),
                description: format!("backends/sft/profiles/SP_{n} does not exist"),
                reason: Reason::ProfileNotFound,
            })
        })
    }

    /// How many violations are named, and how many are counted.
    fn violations(status: &Status) -> (usize, usize) {
        let details = status.get_error_details();
        let fields = &details.bad_request().unwrap().field_violations;
        let named = fields.iter().filter(|one| one.field != OTHERS).count();
        let counted = details.error_info().unwrap().metadata.get(OMITTED_VIOLATIONS);
        let counted = counted.map_or(0, |number| number.parse().unwrap());
        let said = fields.last().filter(|one| one.field == OTHERS);
        let expected = (counted > 0).then(|| format!("and {counted} more violations"));
        assert_eq!(said.map(|one| one.description.clone()), expected);
        (named, counted)
    }

    #[test]
    fn a_status_takes_no_more_than_its_room_and_counts_what_it_leaves_out() {
        for count in [1, 8, 25, 60, 1000] {
            let whole = status::status(&missing(count));
            for room in [900, 1024, 2000, 3000, 5000, 16 * 1024] {
                let status = status::fitted(&whole, room);
                assert!(size(&status) <= room, "{count} in {room}: {}", size(&status));
                let details = status.get_error_details();
                assert_eq!(details.error_info().unwrap().reason, "PROFILE_NOT_FOUND");
                let (named, counted) = violations(&status);
                assert_eq!(named + counted, count, "in {room}");
                assert!(room < 2000 || named >= count.min(DESCRIBED), "{named} in {room}");
                // Once more changes nothing.
                assert_eq!(violations(&status::fitted(&status, room)), (named, counted));
            }
        }
    }

    #[test]
    fn the_reason_is_the_first_detail_in_any_room() {
        for error in [
            Error::new(Reason::Overloaded, "full").with_resource("backends/sft"),
            Error::new(Reason::UpstreamThrottled, "slow down").with_resource("backends/sft"),
            Error::new(Reason::ProfileInUse, "in use").with_resource("backends/sft/profiles/SP_2"),
            missing(3),
        ] {
            let whole = status::status(&error);
            for status in [status::fitted(&whole, 400), status::fitted(&whole, 3000), whole] {
                let details = tonic_types::Status::decode(status.details()).unwrap().details;
                let kinds: Vec<&str> = details.iter().map(|one| one.type_url.as_str()).collect();
                assert!(kinds[0].ends_with("google.rpc.ErrorInfo"), "{kinds:?}");
            }
        }
    }

    #[test]
    fn what_clients_act_on_stays_in_any_room() {
        let long = "é{}\"\n".repeat(500);
        let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];
        let error = Error::new(Reason::Overloaded, long.clone()).with_resource(long.clone());
        let error = keys.iter().fold(error, |error, key| error.with_metadata(key, long.clone()));
        let error = error.with_metadata("backend", "sft").with_upstream(UpstreamFacts {
            status: Some(200),
            code: Some(long.clone()),
            message: Some(long.clone()),
            request_id: Some(long),
        });
        let whole = status::status(&error);
        for room in [400, 1024, 2000, 3000] {
            let status = status::fitted(&whole, room);
            assert!(size(&status) <= room, "{room}: {}", size(&status));
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
            assert!(details.retry_info().is_some());
            if room > 1024 {
                let metadata = &details.error_info().unwrap().metadata;
                assert_eq!(metadata["backend"], "sft");
                assert!(metadata.contains_key("a") || metadata[OMITTED_METADATA] == "15");
            }
        }
    }
}
