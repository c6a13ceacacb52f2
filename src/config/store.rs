//! What outlives the process, and what replicas share: `[store]`.

use crate::{
    query::PageSettings,
    settings::{Row, Section, Settings as _},
    shared::SharedSettings,
    store::{StoreKind, StoreSettings},
};

/// What replicas cannot agree on by themselves, and must not be told by the server: who could write
/// to that could make tokens.
const NO_KEY: &str = "`store.kind` is `shared`, and `page_token_key` is not set: replicas have to \
    accept the tokens of each other; set it to the same secret on all of them";

/// Staging and production would take the writes of each other for their own.
const UNNAMED: &str = "is `default`: another installation at the same server would share all that \
    this one knows; give each a name of its own";

/// The settings of the store, and those of the server that replicas share.
pub(super) fn read(
    root: &mut Section<'_>,
    has_backends: bool,
    page_tokens: &PageSettings,
) -> (StoreSettings, Option<SharedSettings>) {
    let mut section = root.child("store");
    let mut store = StoreSettings::read(&mut section);
    store.needs_a_place(has_backends, &mut section);
    if store.kind != StoreKind::Shared {
        section.finish_with(&format!(
            "known keys: {}; with `kind = \"shared\"` also {}",
            names(&StoreSettings::rows()),
            names(&SharedSettings::rows())
        ));
        return (store, None);
    }
    let shared = SharedSettings::read(&mut section);
    if shared.is_unnamed() {
        section.caution("namespace", UNNAMED);
    }
    section.finish();
    if page_tokens.page_token_key.is_none() {
        root.conflict(["page_token_key", "store"], NO_KEY);
    }
    (store, Some(shared))
}

fn names(rows: &[Row]) -> String {
    rows.iter().map(|row| row.key).collect::<Vec<_>>().join(", ")
}
