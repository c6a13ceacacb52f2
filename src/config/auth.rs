//! `[auth]` with its tables: roles, issuers of tokens, and callers, held against each other and
//! against the backends.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::{backend::BackendSettings, types::Config, workloads::Workloads};
use crate::{
    auth::{
        AuthRules, AuthSettings, EVERY_BACKEND, Grants, IssuerSettings, Mode, PrincipalSettings,
        RoleSettings, check_keys,
    },
    caller::{Name, QuotaSettings},
    server::ServerTlsSettings,
    settings::{
        ChangedKeys, ListenAddress, Node, Section, Settings, Value, quoted, shown as shown_section,
        whole,
    },
    text,
};

/// The tables in it.
pub(super) const ISSUERS: &str = "jwt";
pub(super) const ROLES: &str = "roles";
pub(super) const CALLERS: &str = "callers";
/// The table in that of each caller.
pub(super) const QUOTA: &str = "quota";
/// All of them.
pub(super) const TABLES: [&str; 3] = [ISSUERS, ROLES, CALLERS];

type Backends = BTreeMap<String, BackendSettings>;

/// The rules, and what is to be noticed of a port that serves everyone. Where that is not said, it
/// is a mistake.
pub(super) fn read(
    root: &mut Section<'_>,
    backends: &Backends,
    listen: &ListenAddress,
    tls: Option<&ServerTlsSettings>,
) -> (AuthRules, Option<String>) {
    let workloads = |settings: &AuthSettings| Workloads::of(listen, tls, settings);
    let rules = rules(root.child("auth"), backends, workloads);
    let AuthSettings { mode, allow_unauthenticated, .. } = rules.settings;
    if mode == Mode::Required || listen.is_local() {
        return (rules, None);
    }
    if !allow_unauthenticated {
        root.refuse("listen", MUST_BE_SAID);
    }
    (rules, allow_unauthenticated.then(|| OPEN.to_owned()))
}

/// The rules, held against each other. Without backends, which are those of the sandbox then, any
/// name of one will do.
fn rules<'t>(
    mut section: Section<'_>,
    backends: &Backends,
    workloads: impl FnOnce(&AuthSettings) -> Workloads<'t>,
) -> AuthRules {
    let settings: AuthSettings = Settings::read(&mut section);
    let workloads = workloads(&settings);
    workloads.check_proxies(&settings, &mut section);
    let issuers = tables(section.child(ISSUERS), |_, section| issuer(section));
    let roles = tables(section.child(ROLES), |_, section| role(section, backends));
    let callers = {
        let mut read = |name: &str, section: &mut Section<'_>| {
            caller(name, section, &roles, &issuers, &workloads)
        };
        let all = tables(section.child(CALLERS), &mut read);
        all.into_values().collect::<Vec<_>>()
    };
    let (callers, quotas): (Vec<_>, BTreeMap<_, _>) =
        callers.into_iter().map(|(name, proof, quota)| ((name, proof), (name, quota))).unzip();
    distinct(&callers, &mut section);
    distinct_issuers(&issuers, &mut section);
    let callers: BTreeMap<Name, PrincipalSettings> = callers.into_iter().collect();
    if settings.mode == Mode::Required && callers.is_empty() && section.mistakes() == 0 {
        let message = "`auth.mode` is `required`, and no caller is configured: every call would be \
                       refused; add at least one `[auth.callers.NAME]` section";
        section.conflict(["mode"], message);
    }
    let rules = AuthRules { settings, issuers, roles, callers, quotas };
    consistent(&rules, &mut section);
    section.finish();
    rules
}

/// Refuses rules that the mode contradicts: what looks like protection would be none.
fn consistent(rules: &AuthRules, section: &mut Section<'_>) {
    let AuthRules { settings, issuers, roles, callers, .. } = rules;
    if settings.mode == Mode::Required {
        if settings.allow_unauthenticated {
            let message = "`auth.allow_unauthenticated` is `true`, and `auth.mode` is `required`: \
                           every call has to prove who it is of; take one of the two away";
            section.conflict(["allow_unauthenticated", "mode"], message);
        }
        return;
    }
    let written = [
        ("`auth.xfcc_from`", settings.xfcc_from.is_some()),
        ("`[auth.jwt]`", !issuers.is_empty()),
        ("`[auth.roles]`", !roles.is_empty()),
        ("`[auth.callers]`", !callers.is_empty()),
    ];
    let written: Vec<&str> =
        written.into_iter().filter_map(|(name, is_written)| is_written.then_some(name)).collect();
    if !written.is_empty() {
        let written = written.join(", ");
        let message = format!(
            "{written}: configured, but `auth.mode` is `off`, so every client may do everything; \
             set `mode = \"required\"` in `[auth]`, or take {written} away"
        );
        section.conflict(["mode"], message);
    }
}

/// Reads the tables of a table, by their names.
pub(super) fn tables<S>(
    section: Section<'_>,
    mut read: impl FnMut(&str, &mut Section<'_>) -> Option<S>,
) -> BTreeMap<String, S> {
    let parent = section.path().to_owned();
    let (entries, env, errors) = section.into_entries();
    let mut found = BTreeMap::new();
    for (name, Node { origin, value }) in entries {
        let path = format!("{parent}.{name}");
        match value {
            Value::Table(table) => {
                let mut section = Section::new(path, origin, table, env, errors);
                if let Some(settings) = read(&name, &mut section) {
                    found.insert(name, settings);
                }
                section.finish();
            }
            other => {
                let message = format!("{} must be a section, got {}", quoted(&path), other.kind());
                errors.push(&origin, message);
            }
        }
    }
    found
}

fn issuer(section: &mut Section<'_>) -> Option<IssuerSettings> {
    section.require("issuer", "the `iss` of its tokens");
    section.require("audience", "the `aud` of the tokens for this gateway");
    let before = section.mistakes();
    let settings = IssuerSettings::read(section);
    let key = if settings.jwks_url.is_some() { "jwks_url" } else { "jwks_file" };
    if section.mistakes() == before {
        match (&settings.jwks_file, &settings.jwks_url) {
            (None, None) => {
                section.require("jwks_file", "the file with its public keys, or `jwks_url`");
            }
            _ => match check_keys(&settings) {
                Ok(None) => {}
                Ok(Some(why)) => section.caution(key, why),
                Err(why) => section.refuse(key, &why),
            },
        }
    }
    Some(settings)
}

fn role(section: &mut Section<'_>, backends: &Backends) -> Option<RoleSettings> {
    section.require("rights", "what may be done");
    section.require("backends", "the names of backends, or `*` for all");
    let settings = RoleSettings::read(section);
    for name in settings.backends.iter().flatten() {
        let is_known = name == EVERY_BACKEND || backends.is_empty() || backends.contains_key(name);
        if !is_known {
            refuse_unknown(section, "backends", "backend", name, backends.keys());
        }
    }
    Some(settings)
}

fn caller(
    name: &str,
    section: &mut Section<'_>,
    roles: &BTreeMap<String, RoleSettings>,
    issuers: &BTreeMap<String, IssuerSettings>,
    workloads: &Workloads<'_>,
) -> Option<(Name, PrincipalSettings, QuotaSettings)> {
    section.require("roles", "the names of its roles");
    let before = section.mistakes();
    let settings = PrincipalSettings::read(section);
    let quota = whole(section.child(QUOTA));
    for role in settings.roles.iter().flatten().filter(|role| !roles.contains_key(*role)) {
        refuse_unknown(section, "roles", "role", role, roles.keys());
    }
    let PrincipalSettings { spiffe, issuer, subject, claims, .. } = &settings;
    let known = |issuer: &String| issuers.values().any(|one| one.issuer.as_ref() == Some(issuer));
    match issuer {
        Some(issuer) if !known(issuer) => {
            section.refuse("issuer", "is not that of any `[auth.jwt.NAME]` section");
        }
        Some(_) if subject.is_none() && claims.is_none() => {
            let why = "needs `subject` or `claims` beside it: every token of the issuer would do";
            let message = format!("{} {why}", section.name("issuer"));
            section.conflict(["issuer", "subject", "claims"], message);
        }
        None if subject.is_some() || claims.is_some() => {
            let message =
                "`subject` and `claims` need `issuer` beside them, whose tokens are meant";
            section.conflict(["subject", "claims"], message);
        }
        None if spiffe.is_none() && section.mistakes() == before => {
            let message = format!(
                "nothing proves {}: it needs `spiffe`, or `issuer` with `subject` or `claims`",
                quoted(section.path())
            );
            section.fault(message);
        }
        _ => {}
    }
    if let Some(pattern) = spiffe {
        workloads.check_caller(pattern, section);
    }
    match name.parse() {
        Ok(name) => Some((name, settings, quota)),
        Err(why) => {
            let message = format!("the name of {} {why}", quoted(section.path()));
            section.fault(message);
            None
        }
    }
}

fn refuse_unknown<'k>(
    section: &mut Section<'_>,
    key: &str,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'k String> + Clone,
) {
    let hint = match text::closest(name, known.clone().map(String::as_str)) {
        Some(close) => format!("did you mean {}?", quoted(close)),
        None => format!("there are: {}", known.cloned().collect::<Vec<_>>().join(", ")),
    };
    section.refuse(
        key,
        &format!("names the {what} {}, which is not configured; {hint}", quoted(name)),
    );
}

/// Refuses callers that the same proof would be of.
fn distinct(callers: &[(Name, PrincipalSettings)], section: &mut Section<'_>) {
    for (at, (later, theirs)) in callers.iter().enumerate() {
        for (earlier, own) in callers.iter().take(at) {
            let same_certificate = own.spiffe.is_some() && own.spiffe == theirs.spiffe;
            let token = |of: &PrincipalSettings| {
                let mut claims = of.claims.clone().unwrap_or_default();
                claims.sort_unstable();
                (of.issuer.clone(), of.subject.clone(), claims)
            };
            let same_token = own.issuer.is_some() && token(own) == token(theirs);
            if same_certificate || same_token {
                section.fault(format!(
                    "the callers `{earlier}` and `{later}` cannot be told apart: the same proves \
                     both"
                ));
            }
        }
    }
}

/// Refuses issuers whose tokens would be taken for those of another.
fn distinct_issuers(issuers: &BTreeMap<String, IssuerSettings>, section: &mut Section<'_>) {
    for (at, (later, theirs)) in issuers.iter().enumerate() {
        let same = |own: &IssuerSettings| own.issuer.is_some() && own.issuer == theirs.issuer;
        if let Some((earlier, _)) = issuers.iter().take(at).find(|(_, own)| same(own)) {
            section.fault(format!(
                "`[auth.jwt.{earlier}]` and `[auth.jwt.{later}]` have the same `issuer`, and only \
                 one of them would be used: make them one section, with both audiences and one \
                 file of all keys"
            ));
        }
    }
}

/// What the network may have been expected to prevent.
pub(super) const OPEN: &str = "`listen` is not a loopback address and `auth.mode` is `off`: any \
    client that reaches the port can read, write and delete everything";

const MUST_BE_SAID: &str = "is not a loopback address, and `auth.mode` is `off`: any client that \
    reaches the port could read, write and delete everything; set `mode = \"required\"` in \
    `[auth]`, or accept that with `allow_unauthenticated = true` there";

/// Notes the keys that have other values, and the tables that are new or gone.
pub(super) fn compare(old: &AuthRules, new: &AuthRules, keys: &mut ChangedKeys) {
    fn each<N: Ord + ToString, S: Settings>(
        table: &str,
        (old, new): (&BTreeMap<N, S>, &BTreeMap<N, S>),
        keys: &mut ChangedKeys,
    ) {
        let names: BTreeSet<&N> = old.keys().chain(new.keys()).collect();
        keys.within(table, |keys| {
            for name in names {
                match (old.get(name), new.get(name)) {
                    (Some(old), Some(new)) => {
                        keys.within(&name.to_string(), |keys| old.compare(new, keys));
                    }
                    _ => keys.add(&name.to_string()),
                }
            }
        });
    }
    old.settings.compare(&new.settings, keys);
    each(ISSUERS, (&old.issuers, &new.issuers), keys);
    each(ROLES, (&old.roles, &new.roles), keys);
    each(CALLERS, (&old.callers, &new.callers), keys);
    keys.within(CALLERS, |keys| {
        for (name, old) in &old.quotas {
            let new = new.quotas.get(name);
            keys.within(name.as_str(), |keys| {
                keys.within(QUOTA, |keys| new.into_iter().for_each(|new| old.compare(new, keys)));
            });
        }
    });
}

/// All of it as the file has it.
pub(super) fn show(rules: &AuthRules) -> Json {
    let mut shown = Map::new();
    rules.settings.show(&mut shown);
    shown.insert(ISSUERS.to_owned(), each(&rules.issuers));
    shown.insert(ROLES.to_owned(), each(&rules.roles));
    let mut callers = each(&rules.callers);
    for (name, quota) in &rules.quotas {
        if let Some(Json::Object(caller)) = callers.get_mut(name.as_str()) {
            caller.insert(QUOTA.to_owned(), shown_section(quota));
        }
    }
    shown.insert(CALLERS.to_owned(), callers);
    Json::Object(shown)
}

/// Tables by their names, as the file has them.
pub(super) fn each<N: ToString, S: Settings>(of: &BTreeMap<N, S>) -> Json {
    let each = of.iter().map(|(name, settings)| (name.to_string(), shown_section(settings)));
    Json::Object(each.collect())
}

impl Config {
    /// What the caller of this name may do in each backend; `None` if no such caller is configured.
    #[must_use]
    pub fn access_of(&self, caller: &str) -> Option<Json> {
        let grants = Grants::of_caller(&self.auth, caller.parse().ok()?)?;
        Some(grants.show(self.backends.keys().map(String::as_str)))
    }

    /// The same of all callers.
    pub(super) fn access(&self) -> Json {
        let names = self.auth.callers.keys().map(|name| name.as_str());
        let each = names.filter_map(|name| Some((name.to_owned(), self.access_of(name)?)));
        Json::Object(each.collect())
    }
}
