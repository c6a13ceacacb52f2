//! Pages over the writes in doubt of some backends.

use prost::Message as _;

use super::{Doubts, describe::backend_of};
use crate::{
    call::Call,
    error::Result,
    gateway::{
        door::{Operates, SelectedBackends},
        idempotency::Doubt,
    },
    model::method::Method,
    pb::{DoubtfulWrite, ListDoubtfulWritesRequest, ListDoubtfulWritesResponse},
    query::page::{FRAME_BYTES, Page, PageTokens, Query},
    resources::{Processors, Work, coding},
};

/// Tells the tokens of this list from those of profiles.
const VARIANT: &str = "doubtful writes";
/// How many are looked at at a time.
const AT_ONCE: usize = 256;

/// About what it takes to describe one, in nanoseconds: what it was to do is decoded, and some of
/// it encoded.
fn cost(doubt: &Doubt) -> usize {
    3_000 + 2 * coding(doubt.intent.len())
}

/// Whether the caller may look after the backend of this name.
type MaySee<'a> = dyn Fn(&str) -> bool + Sync + 'a;

impl Doubts {
    /// A page of the writes in doubt of these backends.
    pub(crate) async fn list(
        &self,
        (backends, may_see): (&SelectedBackends<Operates>, &MaySee<'_>),
        call: &Call,
        request: &ListDoubtfulWritesRequest,
        page_tokens: &PageTokens,
        processors: &Processors,
    ) -> Result<ListDoubtfulWritesResponse> {
        const METHOD: Method = Method::ListDoubtfulWrites;
        let caller = call.record.caller().id().to_string();
        let query = Query {
            caller: &caller,
            parent: &request.parent,
            variant: VARIANT,
            filter: "",
            order_by: "",
        };
        let page = page_tokens.open(&query, request.page_size, &request.page_token);
        let page = page.map_err(|e| backends.decorate(METHOD, e))?;
        let found = self.page((backends, may_see), call, &page, processors).await;
        let (doubtful_writes, last) = found.map_err(|e| backends.decorate(METHOD, e))?;
        let next_page_token =
            last.map(|last| page_tokens.seal(&query, &last.to_string())).transpose()?;
        Ok(ListDoubtfulWritesResponse {
            doubtful_writes,
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }

    /// What is on a page, and the number of the last of them if there are more.
    async fn page(
        &self,
        (backends, may_see): (&SelectedBackends<Operates>, &MaySee<'_>),
        call: &Call,
        page: &Page,
        processors: &Processors,
    ) -> Result<(Vec<DoubtfulWrite>, Option<u64>)> {
        // All of them have also those of backends that are not configured any more.
        let single = backends.as_single().map(|backend| backend.name());
        let mut after = page.after().and_then(|after| after.parse().ok()).unwrap_or(0);
        let (mut room, mut found, mut last) = (page.room(), Vec::new(), None);
        loop {
            let doubts = self.store().doubts(after, AT_ONCE).await?;
            let Some(next) = doubts.last().map(|doubt| doubt.number) else {
                return Ok((found, None));
            };
            let is_asked = |doubt: &&Doubt| {
                let name = backend_of(doubt);
                single.is_none_or(|single| name == *single) && may_see(name.id())
            };
            let nanoseconds = doubts.iter().filter(is_asked).map(cost).sum();
            let caller = call.record.caller();
            let mut work = Work::of(processors, caller, call.deadline, nanoseconds).await?;
            for doubt in doubts.iter().filter(is_asked) {
                work.done(cost(doubt)).await;
                let write = self.describe(doubt);
                if found.len() == page.size() || !room.take(write.encoded_len() + FRAME_BYTES) {
                    return Ok((found, last));
                }
                found.push(write);
                last = Some(doubt.number);
            }
            after = next;
            tokio::task::yield_now().await;
        }
    }
}
