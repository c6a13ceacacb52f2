//! The configuration as it may be shown: on `/config` and by `check --json`.
//!
//! Has the shape of the file, with defaults filled in, so that it can be compared with it.

use serde_json::{Map, Value, json};

use super::{
    auth,
    backend::{BackendSettings, CACHE, DIALECT, OptionValue, TLS},
    operators,
    types::Config,
};
use crate::{
    server::shown_time,
    settings::{REDACTED, Settings, shown as section},
};

// What is told beside the keys.
pub(super) const ACCESS: &str = "access";
pub(super) const WARNINGS: &str = "warnings";
pub(super) const CERTIFICATE: &str = "certificate";
pub(super) const ORIGIN: &str = "origin";

impl Config {
    /// Every value in force; secrets are `[redacted]`, durations are text with a unit, sizes are
    /// bytes.
    #[must_use]
    pub fn redacted(&self) -> Value {
        let backends = self.backends.iter().map(|(name, each)| (name.clone(), backend(each)));
        let mut shown = Map::new();
        self.addresses.show(&mut shown);
        self.admin.show(&mut shown);
        self.permissions.show(&mut shown);
        self.page_tokens.show(&mut shown);
        shown.insert("log".to_owned(), section(&self.log));
        shown.insert("memory".to_owned(), section(&self.memory));
        shown.insert("audit".to_owned(), section(&self.audit));
        shown.insert("reload".to_owned(), section(&self.reload));
        shown.insert("server".to_owned(), self.server());
        shown.insert("auth".to_owned(), auth::show(&self.auth));
        shown.insert(operators::OPERATORS.to_owned(), auth::each(&self.operators));
        shown.insert("callers".to_owned(), section(&self.callers));
        shown.insert("request_ids".to_owned(), section(&self.request_ids));
        shown.insert("store".to_owned(), self.store());
        shown.insert("backends".to_owned(), Value::Object(backends.collect()));
        if !self.auth.callers.is_empty() {
            shown.insert(ACCESS.to_owned(), self.access());
        }
        shown.insert(WARNINGS.to_owned(), json!(self.warnings));
        Value::Object(shown)
    }

    /// The store, with the server that replicas share, if they do.
    fn store(&self) -> Value {
        let mut shown = section(&self.store);
        if let (Some(shared), Some(shown)) = (&self.shared, shown.as_object_mut())
            && let Value::Object(shared) = section(shared)
        {
            shown.extend(shared);
        }
        shown
    }

    /// The same as text, with a note if there is one.
    #[must_use]
    pub fn as_json(&self, note: Option<&str>) -> String {
        let mut shown = self.redacted();
        if let (Some(members), Some(note)) = (shown.as_object_mut(), note) {
            members.insert("note".to_owned(), note.into());
        }
        format!("{shown:#}")
    }

    /// The section of the server, with whom its certificate is for.
    fn server(&self) -> Value {
        let (mut shown, mut tls) = (Map::new(), Map::new());
        self.server.show(&mut shown);
        self.tls.show(&mut tls);
        if let Some(secured) = &self.secured {
            let own = secured.certificate();
            let about = json!({ "names": own.names, "not_after": shown_time(own.not_after) });
            tls.insert(CERTIFICATE.to_owned(), about);
        }
        shown.insert(TLS.to_owned(), tls.into());
        Value::Object(shown)
    }
}

fn backend(backend: &BackendSettings) -> Value {
    let mut shown = Map::new();
    for (key, value) in &backend.options {
        let value = match value {
            OptionValue::Plain(text) => text.as_str(),
            OptionValue::Switch(word) => word,
            OptionValue::Secret(_) => REDACTED,
        };
        shown.insert((*key).to_owned(), value.into());
    }
    // After the options, so that no dialect's key can stand in for a common one.
    shown.insert(DIALECT.to_owned(), backend.dialect.into());
    backend.label.show(&mut shown);
    backend.upstream.show(&mut shown);
    backend.write.show(&mut shown);
    backend.watch.show(&mut shown);
    shown.insert(CACHE.to_owned(), section(&backend.cache));
    shown.insert(ORIGIN.to_owned(), json!(backend.origin));
    Value::Object(shown)
}
