//! The checked configuration, composed of the settings of the rooms.

use std::collections::BTreeMap;

use super::{backend::BackendSettings, permissions::PermissionSettings, reload::ReloadSettings};
use crate::{
    auth::AuthRules,
    caller::CallerSettings,
    gateway::idempotency::RequestIdSettings,
    query::PageSettings,
    resources::MemorySettings,
    server::{AddressSettings, AdminSettings, Operators, ServerSettings, ServerTlsSettings, Tls},
    shared::SharedSettings,
    store::StoreSettings,
    telemetry::{AuditSettings, LogSettings},
};

/// Where secrets are, by the path of their keys: `env` or `file`, and its value.
pub(crate) type References = BTreeMap<Vec<String>, (&'static str, String)>;

/// Everything that the program is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the ports are.
    pub addresses: AddressSettings,
    /// How strictly the permissions of files are taken.
    pub permissions: PermissionSettings,
    /// Who may use the admin port.
    pub admin: AdminSettings,
    /// Who may use it by a name.
    pub operators: Operators,
    /// Who has to prove what, and may do what.
    pub auth: AuthRules,
    /// How page tokens are sealed.
    pub page_tokens: PageSettings,
    /// How the program writes its log.
    pub log: LogSettings,
    /// Where the audit log goes.
    pub audit: AuditSettings,
    /// How often changed files are looked for.
    pub reload: ReloadSettings,
    /// How many bytes the process may hold.
    pub memory: MemorySettings,
    /// How the server behaves.
    pub server: ServerSettings,
    /// TLS on the gRPC port, as it is configured.
    pub tls: ServerTlsSettings,
    /// The same with the files that it names, if it names any.
    pub secured: Option<Tls>,
    /// Who is one caller, and how much one may hold.
    pub callers: CallerSettings,
    /// How long repeats of writes are recognized.
    pub request_ids: RequestIdSettings,
    /// Where the gateway keeps what has to outlive its process.
    pub store: StoreSettings,
    /// The server that replicas share, if they do.
    pub shared: Option<SharedSettings>,
    /// The upstreams by name. Empty only if there is no file and no variable names one.
    pub backends: BTreeMap<String, BackendSettings>,
    /// What is allowed but should be noticed, each with its origin.
    pub warnings: Vec<String>,
    /// Where its secrets are.
    pub(crate) references: References,
}
