//! What a dialect supports: one table, which validation uses and `GetBackend` returns.

use crate::{
    model::{
        fields,
        method::{Method, Needs},
    },
    pb::{self, FieldSupport},
};

/// How a dialect supports a field of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// The dialect does not have it.
    No,
    /// It can be read; writes ignore it.
    ReadOnly,
    /// It can be set on creation and not changed later.
    CreateOnly,
    /// It can be set on creation and changed later.
    ReadWrite,
}

/// One field that a dialect has. Fields that are not in its table are not supported.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Path in the profile: one of [`fields::SETTABLE`] or [`fields::OUTPUT_ONLY`].
    pub path: &'static str,
    /// How it is supported.
    pub support: Support,
    /// Whether a creation must set it.
    pub required: bool,
    /// The allowed values, where there are few.
    pub allowed: &'static [&'static str],
    /// What the upstream sets in a new profile that leaves it unset, in words.
    pub default: Option<&'static str>,
    /// What else callers should know of it; empty if there is nothing.
    pub note: &'static str,
}

impl Field {
    /// A field that can be set on creation and changed later.
    #[must_use]
    pub const fn read_write(path: &'static str) -> Self {
        Self {
            path,
            support: Support::ReadWrite,
            required: false,
            allowed: &[],
            default: None,
            note: "",
        }
    }

    /// A field that can be read, and that writes ignore.
    #[must_use]
    pub const fn read_only(path: &'static str) -> Self {
        Self { support: Support::ReadOnly, ..Self::read_write(path) }
    }

    /// A field that can be set on creation and not changed later.
    #[must_use]
    pub const fn create_only(path: &'static str) -> Self {
        Self { support: Support::CreateOnly, ..Self::read_write(path) }
    }

    /// The same field, required on creation.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// The same field with its allowed values.
    #[must_use]
    pub const fn allowing(self, allowed: &'static [&'static str]) -> Self {
        Self { allowed, ..self }
    }

    /// The same field with what the upstream gives it when it is left unset.
    #[must_use]
    pub const fn defaulting(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// The same field with what else callers should know of it.
    #[must_use]
    pub const fn noting(self, note: &'static str) -> Self {
        Self { note, ..self }
    }
}

/// What a dialect can do.
#[derive(Debug)]
pub struct Capabilities {
    /// The methods that it supports, of those that depend on the dialect.
    pub methods: &'static [Method],
    /// The fields that it supports.
    pub fields: &'static [Field],
}

impl Capabilities {
    /// Whether the dialect itself supports the method.
    #[must_use]
    pub fn has(&self, method: Method) -> bool {
        self.methods.contains(&method)
    }

    /// Whether the gateway offers the method for the dialect.
    fn supports(&self, method: Method) -> bool {
        match method.needs() {
            Needs::Itself => self.has(method),
            Needs::Nothing | Needs::NoUpstream => true,
            Needs::Lists => self.has(Method::ListProfiles),
        }
    }

    /// The dialect's entry for a field, if it has it.
    #[must_use]
    pub fn field(&self, path: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.path == path)
    }

    /// What can be done with a field.
    #[must_use]
    pub fn support(&self, path: &str) -> Support {
        self.field(path).map_or(Support::No, |field| field.support)
    }

    /// The table as callers see it. What a `request_id` guarantees depends on what keeps the ids.
    #[must_use]
    pub fn describe(&self, request_id_guarantee: &str) -> pb::Capabilities {
        let described = |needs| {
            let methods = Method::ALL.iter().filter(move |method| method.needs() == needs);
            methods.map(|method| pb::MethodCapability {
                method: method.name().to_owned(),
                supported: self.supports(*method),
            })
        };
        pb::Capabilities {
            methods: described(Needs::Itself)
                .chain(described(Needs::Nothing))
                .chain(described(Needs::Lists))
                .collect(),
            fields: fields::OUTPUT_ONLY
                .iter()
                .chain(fields::SETTABLE)
                .map(|path| self.describe_field(path))
                .collect(),
            etag_guarantee: "checked against a fresh upstream read just before the write; the \
                             upstream itself has no such check, so a write of another client \
                             between the two goes unnoticed"
                .to_owned(),
            request_id_guarantee: request_id_guarantee.to_owned(),
        }
    }

    fn describe_field(&self, path: &str) -> pb::FieldCapability {
        let field = self.field(path);
        let support = match self.support(path) {
            Support::No => FieldSupport::NotSupported,
            Support::ReadOnly => FieldSupport::ReadOnly,
            Support::CreateOnly => FieldSupport::CreateOnly,
            Support::ReadWrite => FieldSupport::ReadWrite,
        };
        pb::FieldCapability {
            field: path.to_owned(),
            support: support.into(),
            required_on_create: field.is_some_and(|f| f.required),
            allowed_values: field
                .map(|f| f.allowed.iter().map(|v| (*v).to_owned()).collect())
                .unwrap_or_default(),
            note: field.map(|f| f.note.to_owned()).unwrap_or_default(),
        }
    }
}
