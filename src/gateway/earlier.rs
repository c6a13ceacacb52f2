//! What the gateway knows of earlier writes, also those of earlier processes.

use std::{io, sync::Arc};

use serde_json::{Value, json};

use super::{
    agreement::Agreement,
    idempotency::{self, IdempotencyStore, KeptState, Ledger, Shared},
    write::{
        claims::Claims,
        intent::{IntentKind, WriteIntent},
    },
};
use crate::store::{self, Entry, Store};

/// What earlier writes have left.
pub struct EarlierWrites {
    /// Those that are under way, in doubt, or remembered for their repeats.
    pub(crate) requests: Arc<dyn IdempotencyStore>,
    /// The creations in doubt.
    pub(crate) claims: Claims,
    /// With other replicas, if they share a store.
    pub(crate) agreement: Option<Arc<Agreement>>,
}

impl EarlierWrites {
    /// With these ids, and with what the store has of creations.
    ///
    /// # Errors
    ///
    /// When it has what this release cannot read.
    pub fn load(requests: Arc<dyn IdempotencyStore>, store: Arc<dyn Store>) -> io::Result<Self> {
        Ok(Self { requests, claims: Claims::load(store)?, agreement: None })
    }

    /// The same of this process, and of all replicas if they share a store.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn among(
        agreement: Option<Arc<Agreement>>,
        ledger: Arc<Ledger>,
        store: Arc<dyn Store>,
    ) -> io::Result<Self> {
        let Some(agreement) = agreement else { return Self::load(ledger, store) };
        let shared = Shared::new(ledger, Arc::clone(&agreement));
        let earlier = Self::load(Arc::new(shared), store)?;
        let claims = earlier.claims.among_replicas();
        Ok(Self { claims, agreement: Some(agreement), ..earlier })
    }
}

/// Reads what a store has of creations.
///
/// # Errors
///
/// When this release cannot read it.
pub fn check_creations(creations: &[Entry], claims: &[Entry]) -> io::Result<()> {
    Claims::check(creations, claims)
}

/// A write as the store keeps it, for people and their programs.
///
/// # Errors
///
/// When this release cannot read it.
pub fn describe(entry: &Entry) -> io::Result<Value> {
    let (_, key, kept) = idempotency::read(entry)?;
    let state = match kept.state() {
        KeptState::Sent => "sent",
        KeptState::Unknown => "unknown",
        KeptState::Done => "done",
        KeptState::Closed => "closed",
    };
    let mut shown = json!({
        "caller": key.caller.to_string(),
        "request_id": key.is_named.then(|| key.id.to_string()),
        "method": kept.method,
        "resource": kept.resource,
        "state": state,
        "sent": kept.sent,
        "call_id": kept.call_id,
        "sent_at": shown(kept.sent_at),
        "until": shown(kept.until),
        "ended_at": (kept.ended_at != 0).then(|| shown(kept.ended_at)),
    });
    if let (Ok(IntentKind::Create(creation)), Some(members)) =
        (WriteIntent::read(&kept.intent), shown.as_object_mut())
    {
        members.insert("display_name".to_owned(), creation.profile.display_name.into());
    }
    Ok(shown)
}

/// A time for people; empty if no clock shows it.
fn shown(kept: u64) -> String {
    let shown = |time| humantime::format_rfc3339_millis(time).to_string();
    store::time(kept).map(shown).unwrap_or_default()
}
