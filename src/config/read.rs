//! From what was written to the checked [`Config`]: each room takes its own settings.

use std::{collections::BTreeMap, fs::Metadata};

use super::{
    auth,
    backend::{self, BackendSettings},
    fit,
    operators::{self, OPERATORS},
    permissions::{self, PermissionSettings},
    raw::Raw,
    store,
    types::{Config, References},
};
use crate::{
    dialect::Registration,
    query::PageSettings,
    server::{AddressSettings, AdminSettings, Operators, ServerSettings, ServerTlsSettings, Tls},
    settings::{Certificates, Env, Errors, Row, Section, Settings, whole},
};

/// What the text of a configuration does not say, and its checks need.
#[derive(Clone, Copy, Default)]
pub(super) struct Context<'c> {
    /// The configuration, if it is a file.
    pub(super) file: Option<&'c Metadata>,
    /// The certificate that clients of this process see.
    pub(super) certificate: Option<&'c Certificates>,
}

/// The tables at the top level.
pub(super) const SECTIONS: [&str; 11] = [
    "log",
    "audit",
    "reload",
    "server",
    OPERATORS,
    "auth",
    "callers",
    "memory",
    "request_ids",
    "store",
    "backends",
];

/// The whole configuration. What is wrong goes to `errors`, and then the result must not be used.
pub(super) fn config(
    raw: Raw,
    context: Context<'_>,
    env: &Env,
    dialects: &[Registration],
    errors: &mut Errors,
) -> Config {
    let whole_file = raw.origin.clone();
    let mut root = Section::new(String::new(), raw.origin, raw.root, env, errors);
    let addresses: AddressSettings = Settings::read(&mut root);
    let admin: AdminSettings = Settings::read(&mut root);
    let permissions: PermissionSettings = Settings::read(&mut root);
    let page_tokens: PageSettings = Settings::read(&mut root);
    let log = whole(root.child("log"));
    let audit = whole(root.child("audit"));
    let reload = whole(root.child("reload"));
    let (server, tls, secured, fits) = server(root.child("server"), context.certificate);
    let callers = whole(root.child("callers"));
    let memory = whole(root.child("memory"));
    let request_ids = whole(root.child("request_ids"));
    let (backends, has_backends) = backends(&mut root, raw.from_file, dialects);
    let (auth, open_port) =
        auth::read(&mut root, &backends, &addresses.listen, fits.then_some(&tls));
    let operators = operators::read(&mut root, &admin);
    let (store, shared) = store::read(&mut root, has_backends, &page_tokens);
    root.finish();
    let mut warnings = errors.take_warnings();
    warnings.extend(permissions::check(&permissions, context.file, &whole_file, errors));
    warnings.extend(backends.values().filter_map(backend::warning));
    // A trial run of the sandbox has no replicas.
    if !backends.is_empty() && page_tokens.page_token_key.is_none() {
        warnings.push(NO_PAGE_TOKEN_KEY.to_owned());
    }
    warnings.extend(fit::warnings(&memory, &callers, &server, &backends));
    warnings.extend(open_admin_port(&admin, &operators, &addresses).into_iter().chain(open_port));
    warnings.extend(store.warning().filter(|_| has_backends));
    Config {
        addresses,
        admin,
        operators,
        permissions,
        auth,
        page_tokens,
        log,
        audit,
        reload,
        server,
        tls,
        secured,
        callers,
        memory,
        request_ids,
        store,
        shared,
        backends,
        warnings,
        references: References::new(),
    }
}

/// The section, what it makes of TLS, and whether that has no mistake.
fn server(
    mut section: Section<'_>,
    in_force: Option<&Certificates>,
) -> (ServerSettings, ServerTlsSettings, Option<Tls>, bool) {
    let settings = ServerSettings::read(&mut section);
    let mut of_tls = section.child(backend::TLS);
    let before = of_tls.mistakes();
    let tls = ServerTlsSettings::read(&mut of_tls);
    // What does not fit together is not looked at any further.
    let secured = match of_tls.mistakes() == before {
        true => Tls::load(&tls, in_force, &mut of_tls),
        false => None,
    };
    of_tls.finish();
    let fits = section.mistakes() == before;
    section.finish();
    (settings, tls, secured, fits)
}

/// The backends that can be used, and whether there are any at all.
fn backends(
    root: &mut Section<'_>,
    needed: bool,
    dialects: &[Registration],
) -> (BTreeMap<String, BackendSettings>, bool) {
    let before = root.mistakes();
    let mut section = root.child("backends");
    // Not if `backends` is not a table: that has been reported.
    if needed && section.is_empty() && section.mistakes() == before {
        section.fault("no backend is configured, add at least one `[backends.NAME]` section");
    }
    let has_backends = !section.is_empty();
    (backend::all(section, dialects), has_backends)
}

/// What is noticed only with several replicas, or after a restart.
pub(super) const NO_PAGE_TOKEN_KEY: &str =
    "`page_token_key` is not set: a page token is valid only in the process that issued it";

/// What is to be noticed of an admin port that is open to the network.
fn open_admin_port(
    admin: &AdminSettings,
    operators: &Operators,
    addresses: &AddressSettings,
) -> Option<String> {
    let is_guarded = admin.admin_token.is_some() || !operators.is_empty();
    let is_open = !is_guarded && !addresses.admin_listen.is_local();
    is_open.then(|| OPEN_ADMIN_PORT.to_owned())
}

/// What the network may have been expected to prevent.
pub(super) const OPEN_ADMIN_PORT: &str = "`admin_listen` is not a loopback address and \
    neither `admin_token` nor an operator's token is set: any client that reaches the port can \
    read `/config`, `/levers` and `/metrics`, and end pauses";

/// The rows at the top level.
pub(super) fn root_rows() -> Vec<Row> {
    [
        AddressSettings::rows(),
        AdminSettings::rows(),
        PermissionSettings::rows(),
        PageSettings::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
