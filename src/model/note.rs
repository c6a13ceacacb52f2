//! Notes on what happens to the fields of a write or translation.

use crate::{
    error::violation::Violation,
    pb::{Note, NoteKind},
};

/// Collects notes: one for each field and kind, with the descriptions joined.
#[derive(Debug, Default)]
pub struct Notes(Vec<Note>);

impl Notes {
    /// The value is lost.
    pub fn lost(&mut self, field: &str, why: impl Into<String>) {
        self.add(field, NoteKind::Lost, why.into());
    }

    /// The upstream or the gateway chooses a value.
    pub fn defaulted(&mut self, field: &str, why: impl Into<String>) {
        self.add(field, NoteKind::Defaulted, why.into());
    }

    /// Part of the value is lost.
    pub fn narrowed(&mut self, field: &str, why: impl Into<String>) {
        self.add(field, NoteKind::Narrowed, why.into());
    }

    /// The field was not read, so it is unknown whether it has a value.
    pub fn not_read(&mut self, field: &str, why: impl Into<String>) {
        self.add(field, NoteKind::NotRead, why.into());
    }

    /// The value is kept, but there is something to know about it.
    pub fn caution(&mut self, field: &str, why: impl Into<String>) {
        self.add(field, NoteKind::Caution, why.into());
    }

    /// The write would be refused because of the value.
    pub fn refused(&mut self, violation: &Violation) {
        let field = violation.field.strip_prefix("profile.").unwrap_or(&violation.field);
        self.add(field, NoteKind::Refused, violation.description.clone());
    }

    fn add(&mut self, field: &str, kind: NoteKind, why: String) {
        let same = |note: &&mut Note| note.field == field && note.kind() == kind;
        match self.0.iter_mut().find(same) {
            Some(note) if note.description.contains(&why) => {}
            Some(note) => note.description = format!("{}; {why}", note.description),
            None => {
                self.0.push(Note { field: field.to_owned(), kind: kind.into(), description: why });
            }
        }
    }

    /// The notes, sorted by field.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<Note> {
        self.0.sort_by(|a, b| (&a.field, a.kind).cmp(&(&b.field, b.kind)));
        self.0
    }
}
