//! Adapts a profile of another backend to what this upstream supports.

use crate::{
    model::note::Notes,
    pb::{Profile, RadioAccess},
};

/// this upstream cannot switch off 2G; added, and there is no 5G.
pub(super) fn coerce(draft: &mut Profile, notes: &mut Notes) {
    const FIELD: &str = "radio_access";
    let (r2g, r5g) = (RadioAccess::RadioAccess2g.into(), RadioAccess::RadioAccess5g.into());
    if draft.radio_access.is_empty() {
        return;
    }
    if draft.radio_access.contains(&r5g) {
        draft.radio_access.retain(|access| *access != r5g);
        notes.narrowed(FIELD, "this upstream has no 5G");
    }
    if !draft.radio_access.contains(&r2g) {
        draft.radio_access.push(r2g);
        notes.defaulted(FIELD, "this upstream cannot switch off 2G; added");
    }
}
