//! Lists of one backend or of all, cut into pages.

use std::{cell::RefCell, ops::Range, sync::Arc};

use futures_util::future::join_all;
use prost::Message;
use tracing::Level;

use crate::{
    cache::List,
    call::Call,
    caller::{Caller, Held},
    error::{Result, violation::Violations},
    gateway::{
        backend::Backend,
        door::{Allowed, Reads, SelectedBackends},
        read::{
            cached, unread,
            view::{decoded, masked},
        },
    },
    model::{mask::ReadMask, method::Method, name::ProfileName},
    pb::{Encoded, ListProfilesRequest, ListProfilesResponse, Profile, encoded},
    query::{
        filter::Filter,
        page::{FRAME_BYTES, PARTIAL, Page, PageTokens, Query, Room},
        sort::{self, OrderBy},
    },
    resources::{Processors, Work, coding, is_long_list, off_thread_if},
    upstream::Class,
};

const METHOD: Method = Method::ListProfiles;

/// The checked options of a request.
struct ListOptions {
    mask: ReadMask,
    filter: Filter,
    order: OrderBy,
    page: Page,
}

/// Lists profiles: those that pass the filter, in the requested order, or by backend and then by
/// id.
pub(crate) async fn profiles(
    backends: &SelectedBackends<Reads>,
    call: &Call,
    request: &ListProfilesRequest,
    page_tokens: &PageTokens,
    processors: &Processors,
) -> Result<Encoded<ListProfilesResponse>> {
    let caller = call.record.caller().id().to_string();
    let query = Query {
        caller: &caller,
        parent: &request.parent,
        variant: if request.return_partial_success { PARTIAL } else { "" },
        filter: &request.filter,
        order_by: &request.order_by,
    };
    let options = check(&query, request, page_tokens);
    let ListOptions { mask, filter, order, page } =
        options.map_err(|error| backends.decorate(METHOD, error))?;

    let masked = request.read_mask.as_ref().is_some_and(|mask| !mask.paths.is_empty());
    let among = |backend: &Backend| shown(backend, masked, &mask, &filter, &order);
    let partial = request.return_partial_success;
    let mut found = collect(call, backends.all(), partial, &among).await?;
    let selects = !request.filter.is_empty() || !request.order_by.is_empty();
    let nanoseconds = found.cost(selects.then_some(&filter), &mask, page.size());
    let caller = call.record.caller();
    let mut work = Work::of(processors, caller, call.deadline, nanoseconds).await?;
    if selects {
        found.select(&filter, &order, caller, &mut work).await?;
    }
    let range = page.cut(found.len(), |n| found.position(n));
    let (profiles, end) = filled(&found, range, &mask, page.room(), &mut work).await?;
    drop(work);
    let last = end.checked_sub(1).filter(|_| end < found.len());
    let next_page_token =
        last.map(|last| page_tokens.seal(&query, &found.position(last))).transpose()?;
    let response = encoded::ListProfilesResponse {
        profiles,
        next_page_token: next_page_token.unwrap_or_default(),
        total_size: i32::try_from(found.len()).unwrap_or(i32::MAX),
        unreachable: found.unreachable,
    };
    Ok(Encoded::from_bytes(response.encode_to_vec()))
}

/// The fields that a request names, if the backend's own list shows all of them.
fn shown(
    backend: &Backend,
    masked: bool,
    mask: &ReadMask,
    filter: &Filter,
    order: &OrderBy,
) -> Result<Option<Vec<&'static str>>> {
    let parts: [unread::Asks<'_>; 2] =
        [("read_mask", &|field| mask.names(field)), ("filter", &|field| filter.names(field))];
    unread::check(backend, &parts)?;
    let (fields, named) = (backend.dialect().listed_fields(), RefCell::new(Vec::new()));
    let has = |path: &str| {
        let field = fields.iter().find(|field| **field == path);
        named.borrow_mut().extend(field);
        field.is_some()
    };
    let only = masked && mask.reads_only(has) && filter.reads_only(has) && order.reads_only(has);
    Ok(only.then(|| named.into_inner()))
}

/// The profiles of a page that have room in it, and the index after the last of them.
async fn filled(
    found: &Found<'_>,
    range: Range<usize>,
    mask: &ReadMask,
    mut room: Room,
    work: &mut Work,
) -> Result<(Vec<Encoded<Profile>>, usize)> {
    let mut profiles = Vec::with_capacity(range.len());
    for n in range.clone() {
        let Some(profile) = found.profile(n) else { continue };
        work.done(mask.cost(profile.bytes().len())).await;
        let profile = masked(mask, profile.clone())?;
        if !room.take(profile.bytes().len() + FRAME_BYTES) {
            return Ok((profiles, n));
        }
        profiles.push(profile);
    }
    Ok((profiles, range.end))
}

/// Checks the whole request, and reports everything that is wrong with it.
fn check(
    query: &Query<'_>,
    request: &ListProfilesRequest,
    page_tokens: &PageTokens,
) -> Result<ListOptions> {
    let mut violations = Violations::default();
    let mask = violations.collect(ReadMask::parse(request.read_mask.as_ref()));
    let filter = violations.collect(Filter::parse(&request.filter));
    let order = violations.collect(OrderBy::parse(&request.order_by));
    let page = violations.collect(page_tokens.open(query, request.page_size, &request.page_token));
    violations.into_result()?;
    Ok(ListOptions { mask: mask?, filter: filter?, order: order?, page: page? })
}

/// About how long it takes to find out whether a profile passes the filter, in nanoseconds.
fn selecting(filter: &Filter, profile: &Encoded<Profile>) -> usize {
    let bytes = profile.bytes().len();
    coding(bytes) + filter.cost(bytes)
}

/// The bytes of a selected profile's index, and of the allocation of its position.
const SELECTED: usize = 64;
/// The memory of what is selected is taken in steps of so many bytes.
const STEP: usize = 64 * 1024;

/// The lists of some backends, one after the other; nothing is copied.
struct Found<'a> {
    lists: Vec<(&'a Backend, Arc<List>)>,
    /// Position and index of each selected profile, in order; `None` selects all in list order.
    selected: Option<Vec<(String, usize)>>,
    unreachable: Vec<String>,
    /// The memory of what was selected.
    taken: Option<Held>,
}

impl Found<'_> {
    fn len(&self) -> usize {
        match &self.selected {
            Some(selected) => selected.len(),
            None => self.lists.iter().map(|(_, list)| list.len()).sum(),
        }
    }

    /// About how long it takes to select profiles, if they are selected, and to make a page of so
    /// many, in nanoseconds.
    fn cost(&self, filter: Option<&Filter>, mask: &ReadMask, page: usize) -> usize {
        let each = || self.lists.iter().flat_map(|(_, list)| list.iter());
        let select = filter.map_or(0, |filter| {
            each().map(|(_, profile)| selecting(filter, profile)).fold(0, usize::saturating_add)
        });
        let masked = each().take(page).map(|(_, profile)| mask.cost(profile.bytes().len()));
        masked.fold(select, usize::saturating_add)
    }

    /// Keeps the profiles that pass the filter, in the given order.
    async fn select(
        &mut self,
        filter: &Filter,
        order: &OrderBy,
        caller: &Arc<Caller>,
        work: &mut Work,
    ) -> Result<()> {
        let Some((first, _)) = self.lists.first() else { return Ok(()) };
        // The positions, by which the profiles are sorted.
        let (taken, mut bytes) = (first.cache().loads().take_for(caller, STEP)?, 0);
        let mut selected = Vec::new();
        let profiles = self.lists.iter().flat_map(|(_, list)| list.iter());
        for (n, (_, profile)) in profiles.enumerate() {
            work.done(selecting(filter, profile)).await;
            let profile = decoded(profile)?;
            if filter.matches(&profile) {
                let position = order.position(&profile);
                bytes += position.len() + SELECTED;
                if bytes > taken.weight() {
                    taken.resize(bytes + STEP)?;
                }
                selected.push((position, n));
            }
        }
        off_thread_if(is_long_list(selected.len()), || selected.sort_unstable());
        self.selected = Some(selected);
        self.taken = Some(taken);
        Ok(())
    }

    fn nth(&self, n: usize) -> Option<(&Backend, &str, &Encoded<Profile>)> {
        let mut n = match &self.selected {
            Some(selected) => selected.get(n)?.1,
            None => n,
        };
        for (backend, list) in &self.lists {
            match list.get(n) {
                Some((id, profile)) => return Some((backend, id, profile)),
                None => n -= list.len(),
            }
        }
        None
    }

    fn profile(&self, n: usize) -> Option<&Encoded<Profile>> {
        self.nth(n).map(|(_, _, profile)| profile)
    }

    fn position(&self, n: usize) -> String {
        if let Some(selected) = &self.selected {
            return selected.get(n).map(|(position, _)| position.clone()).unwrap_or_default();
        }
        self.nth(n)
            .map(|(backend, id, _)| {
                sort::sort_key(&ProfileName::of(backend.name(), id).to_string())
            })
            .unwrap_or_default()
    }
}

/// The fields that a request names, if they are all among those that a backend's own list shows.
type Among<'a> = dyn Fn(&Backend) -> Result<Option<Vec<&'static str>>> + Sync + 'a;

/// All profiles of some backends, which are read concurrently, and the names of those that failed.
async fn collect<'a>(
    call: &Call,
    backends: &'a [Allowed<Reads>],
    partial: bool,
    among: &Among<'_>,
) -> Result<Found<'a>> {
    let reads = backends.iter().map(|backend| async move {
        let profiles = match among(backend)? {
            Some(fields) => cached::listed_briefly(backend, call, Class::List, fields).await?,
            None => cached::listed(backend, call, Class::List).await?,
        };
        if partial {
            return Ok(profiles);
        }
        let list = cached::readable(backend, profiles)?;
        Ok(cached::Profiles { list, unreadable: Arc::default() })
    });
    let answers: Vec<Result<cached::Profiles>> = join_all(reads).await;
    let mut found =
        Found { lists: Vec::new(), selected: None, unreachable: Vec::new(), taken: None };
    for (backend, answer) in backends.iter().zip(answers) {
        match answer.map_err(|error| backend.decorate(METHOD, error)) {
            Ok(profiles) => {
                let unreadable = profiles.unreadable.iter();
                let names =
                    unreadable.map(|(id, _)| ProfileName::of(backend.name(), id).to_string());
                found.unreachable.extend(names);
                found.lists.push((backend, profiles.list));
            }
            Err(error) if partial => {
                if tracing::enabled!(target: "gateway", Level::WARN)
                    && call.record.caller().may_log()
                {
                    tracing::warn!(
                        target: "gateway", backend = backend.name().id(), %error,
                        "left out of a partial list"
                    );
                }
                found.unreachable.push(backend.name().to_string());
            }
            // With several backends, the message has to name the one that failed.
            Err(error) if backends.len() > 1 => {
                let name = backend.name().to_string();
                let named = error.message().starts_with(&format!("{name}/"));
                return Err(if named { error } else { error.about(&name) });
            }
            Err(error) => return Err(error),
        }
    }
    // Sorted by the key that page tokens use: unlike the bare names, `sft-emea/` sorts before
    // `sft/`.
    found.lists.sort_by_cached_key(|(backend, _)| format!("{}/", backend.name().id()));
    Ok(found)
}
