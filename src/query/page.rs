//! Pages over a whole list (AIP-158): the upstreams have no pages, so the gateway makes them.
//!
//! A token holds the position of the last item sent and nothing else, encrypted: the position has
//! values of that item. It belongs to its query and to its caller, so it can neither be changed nor
//! used for another.

use std::ops::Range;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::ExposeSecret as _;
use sha2::{Digest, Sha256};

use super::{seal::Sealer, settings::PageSettings};
use crate::error::{Result, violation::Violations};

/// Page size when the request names none.
pub const DEFAULT_PAGE_SIZE: usize = 50;
/// Largest page.
pub const MAX_PAGE_SIZE: usize = 1000;
/// Most that the tag and the length of a profile in a response take.
pub const FRAME_BYTES: usize = 6;
const KEY_ID_BYTES: usize = 4;
/// Enough for the longest position that `query::sort` makes; a longer text is not a token.
const MAX_TOKEN_BYTES: usize = 32 * 1024;

/// A list of profiles without those of backends that fail.
pub const PARTIAL: &str = "partial";

/// The parts of a call that a token belongs to. Page size and read mask may change between
/// pages.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Who calls.
    pub caller: &'a str,
    /// `parent` as the request has it.
    pub parent: &'a str,
    /// Which list it is; nothing for that of profiles.
    pub variant: &'a str,
    /// `filter` as the request has it.
    pub filter: &'a str,
    /// `order_by` as the request has it.
    pub order_by: &'a str,
}

/// Makes and opens tokens.
pub struct PageTokens {
    sealer: Sealer,
    /// Tells tokens of this key from others; it begins each token.
    key_id: [u8; KEY_ID_BYTES],
    max_bytes: usize,
}

/// The part of a list to return.
#[derive(Debug)]
pub struct Page {
    size: usize,
    max_bytes: usize,
    after: Option<String>,
}

/// The room of a page that is being filled.
#[derive(Debug)]
pub struct Room {
    left: usize,
    empty: bool,
}

impl PageTokens {
    /// Tokens under this key, for pages of at most so many bytes. Processes that share the
    /// key understand each other's tokens.
    #[must_use]
    pub fn new(key: [u8; 32], max_bytes: usize) -> Self {
        let digest =
            Sha256::new().chain_update(b"page token key id 2").chain_update(key).finalize();
        let mut key_id = [0; KEY_ID_BYTES];
        key_id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self { sealer: Sealer::new(&key, "page token"), key_id, max_bytes }
    }

    /// Tokens under the configured key, or with a random one that only this process has.
    #[must_use]
    pub fn from_settings(settings: &PageSettings) -> Self {
        let key = settings.page_token_key.as_ref();
        let key = key.map(|key| Sha256::digest(key.expose_secret()).into());
        Self::new(key.unwrap_or_else(rand::random), settings.max_page_bytes)
    }

    /// Most bytes of profiles in one response.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// What `page_size` and `page_token` of a request ask for.
    pub fn open(&self, query: &Query<'_>, page_size: i32, token: &str) -> Result<Page> {
        let mut violations = Violations::default();
        let size = match usize::try_from(page_size) {
            Ok(0) => DEFAULT_PAGE_SIZE,
            Ok(size) => size.min(MAX_PAGE_SIZE),
            Err(_) => {
                violations.add("page_size", "must not be negative");
                0
            }
        };
        let after = match token {
            "" => None,
            token => {
                let position = self.position(query, token);
                position.map_err(|why| violations.add("page_token", why)).ok()
            }
        };
        violations.into_result()?;
        Ok(Page { size, max_bytes: self.max_bytes, after })
    }

    /// The token for the page after `position`.
    pub fn seal(&self, query: &Query<'_>, position: &str) -> Result<String> {
        let sealed = self.sealer.seal(&parts(query), position.as_bytes())?;
        Ok(URL_SAFE_NO_PAD.encode([&self.key_id[..], &sealed].concat()))
    }

    /// The position in a token, or what is wrong with it.
    fn position(&self, query: &Query<'_>, token: &str) -> Result<String, &'static str> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(NOT_OF_THIS_QUERY);
        }
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| NOT_OF_THIS_QUERY)?;
        let (key_id, sealed) = token.split_first_chunk().ok_or(NOT_OF_THIS_QUERY)?;
        if *key_id != self.key_id {
            return Err(OF_ANOTHER_KEY);
        }
        let position = self.sealer.open(&parts(query), sealed);
        position.and_then(|text| String::from_utf8(text).ok()).ok_or(NOT_OF_THIS_QUERY)
    }
}

/// What a token belongs to.
fn parts<'q>(query: &Query<'q>) -> [&'q [u8]; 5] {
    [
        query.caller.as_bytes(),
        query.parent.as_bytes(),
        query.variant.as_bytes(),
        query.filter.as_bytes(),
        query.order_by.as_bytes(),
    ]
}

const NOT_OF_THIS_QUERY: &str =
    "is not a next_page_token of this same query for this same caller; start again without it";
const OF_ANOTHER_KEY: &str = "was issued by another process of the gateway or under another \
    page_token_key; start again without it, and give all replicas the same page_token_key";

impl Page {
    /// The most items that it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The position after which it begins; `None` at the beginning.
    #[must_use]
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The bytes that the page may still hold: at first, all.
    #[must_use]
    pub fn room(&self) -> Room {
        Room { left: self.max_bytes, empty: true }
    }

    /// Finds the items of the page in a list of this length that is sorted by `position`, which is
    /// computed for a few items only.
    #[must_use]
    pub fn cut(&self, length: usize, position: impl Fn(usize) -> String) -> Range<usize> {
        let start = self.after.as_ref().map_or(0, |after| {
            let (mut low, mut high) = (0, length);
            while low < high {
                let middle = low.midpoint(high);
                if position(middle) <= *after {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            low
        });
        start..length.min(start.saturating_add(self.size))
    }
}

impl Room {
    /// Whether an item of this size has room. The first always has: without it, the list could not
    /// be read any further.
    pub fn take(&mut self, size: usize) -> bool {
        let first = std::mem::take(&mut self.empty);
        let left = self.left.checked_sub(size);
        self.left = left.unwrap_or(0);
        first || left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: Query<'static> =
        Query { caller: "c", parent: "backends/a", variant: "", filter: "", order_by: "" };

    #[test]
    fn pages_cover_the_list_once() {
        let tokens = PageTokens::new([7; 32], 100);
        let list: Vec<String> = (0..25).map(|n| format!("{n:03}")).collect();
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = tokens.open(&QUERY, 10, &token).unwrap();
            let cut = page.cut(list.len(), |n| list[n].clone());
            seen.extend_from_slice(&list[cut.clone()]);
            if cut.end == list.len() {
                break;
            }
            token = tokens.seal(&QUERY, seen.last().unwrap()).unwrap();
        }
        assert_eq!(seen, list);
    }

    #[test]
    fn a_token_survives_a_removed_item() {
        let tokens = PageTokens::new([7; 32], 100);
        let token = tokens.seal(&QUERY, "b").unwrap();
        let page = tokens.open(&QUERY, 10, &token).unwrap();
        let cut = page.cut(3, |n| ["a", "c", "d"][n].to_owned());
        assert_eq!(cut, 1..3);
    }

    #[test]
    fn foreign_tokens_are_refused() {
        let tokens = PageTokens::new([7; 32], 100);
        let good = tokens.seal(&QUERY, "position").unwrap();
        let mut changed = URL_SAFE_NO_PAD.decode(&good).unwrap();
        *changed.last_mut().unwrap() ^= 1;
        let others = [
            Query { caller: "d", ..QUERY },
            Query { parent: "backends/b", ..QUERY },
            Query { variant: PARTIAL, ..QUERY },
            Query { filter: "a", ..QUERY },
            Query { order_by: "a", ..QUERY },
        ]
        .map(|query| tokens.seal(&query, "position").unwrap());
        let other_key = PageTokens::new([8; 32], 100).seal(&QUERY, "position").unwrap();
        let long = "A".repeat(100_000);
        let changed = URL_SAFE_NO_PAD.encode(changed);
        let mut bad = vec![&*changed, &*long, "!", "AA", &good[..10]];
        bad.extend(others.iter().map(String::as_str));
        let refused = |token: &str| {
            let error = tokens.open(&QUERY, 0, token).unwrap_err();
            assert_eq!(error.violations()[0].field, "page_token", "{token:.40}");
            error.violations()[0].description.clone()
        };
        for bad in bad {
            assert_eq!(refused(bad), NOT_OF_THIS_QUERY, "{bad:.40}");
        }
        assert_eq!(refused(&other_key), OF_ANOTHER_KEY);
        assert!(tokens.open(&QUERY, -1, "").is_err());
    }

    #[test]
    fn a_token_shows_nothing_of_its_position() {
        let tokens = PageTokens::new([7; 32], 100);
        let position = "a name that the read mask hid";
        let token = tokens.seal(&QUERY, position).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        assert!(position.as_bytes().windows(3).all(|part| !bytes.windows(3).any(|b| b == part)));
    }

    #[test]
    fn a_page_ends_at_its_bytes_and_holds_at_least_one_item() {
        let page = PageTokens::new([7; 32], 100).open(&QUERY, 0, "").unwrap();
        let taken = |sizes: &[usize]| {
            let mut room = page.room();
            sizes.iter().take_while(|size| room.take(**size)).count()
        };
        assert_eq!(taken(&[50, 50, 1]), 2);
        assert_eq!(taken(&[50, 51, 1]), 1);
        assert_eq!(taken(&[101, 0]), 2);
        assert_eq!(taken(&[101, 1]), 1);
        assert_eq!(taken(&[usize::MAX, 1]), 1);
    }

    #[test]
    fn sizes_have_a_default_and_a_ceiling() {
        let tokens = PageTokens::new([7; 32], 100);
        let size = |asked| tokens.open(&QUERY, asked, "").unwrap().size;
        assert_eq!((size(0), size(7), size(5000)), (50, 7, 1000));
    }
}
