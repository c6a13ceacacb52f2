//! `[backends.NAME]`: its name, its dialect with the dialect's own keys, and the settings that the
//! rooms have for every backend.

use std::collections::BTreeMap;

use secrecy::SecretString;

use crate::{
    cache::CacheSettings,
    dialect::{self, Form, Registration, Setting},
    gateway::{WriteSettings, watch::WatchSettings},
    settings::{
        Errors, Kind as _, Node, Origin, Row, Section, Settings, Table, Value, on_off, plain_text,
        quoted, secret, settings, whole,
    },
    text,
    upstream::UpstreamSettings,
};

/// The key that says which dialect a backend speaks.
pub(super) const DIALECT: &str = "dialect";
const BASE_URL: &str = "base_url";
/// The section of a backend's cache.
pub(super) const CACHE: &str = "cache";
/// The section of how TLS to a backend is set up.
pub(super) const TLS: &str = "tls";
const MAX_OPTION: usize = 4096;

/// One upstream.
#[derive(Clone, Debug)]
pub struct BackendSettings {
    /// `^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`, the key in `Config::backends`.
    pub name: String,
    /// What it is called for people.
    pub label: LabelSettings,
    /// The configuration name of its dialect.
    pub dialect: &'static str,
    /// The dialect's own keys, as far as they were given.
    pub options: BTreeMap<&'static str, OptionValue>,
    /// How it is called.
    pub upstream: UpstreamSettings,
    /// How writes to it are confirmed.
    pub write: WriteSettings,
    /// How it is watched for changes.
    pub watch: WatchSettings,
    /// What of its reads is kept, and how long.
    pub cache: CacheSettings,
    /// Where the section begins, `gateway.toml:12` or a variable's name, for errors found later.
    pub origin: String,
}

settings! {
    /// What a backend is called for people.
    #[derive(Clone, Debug)]
    pub struct LabelSettings {
        /// Name of the backend for people.
        display_name: Option<String> = None, plain_text(128).optional();
    }
}

/// The value of a dialect's own key.
#[derive(Clone, Debug)]
pub enum OptionValue {
    /// Shown as it is. It names the account.
    Plain(String),
    /// Shown as it is. It says how the account is used.
    Switch(&'static str),
    /// Never shown.
    Secret(SecretString),
}

impl BackendSettings {
    /// The dialect's own keys as the dialect takes them.
    #[must_use]
    pub fn dialect_settings(&self) -> dialect::Settings {
        dialect_settings(&self.options)
    }
}

fn dialect_settings(options: &BTreeMap<&'static str, OptionValue>) -> dialect::Settings {
    let secret = |value: &OptionValue| match value {
        OptionValue::Plain(text) => SecretString::from(text.as_str()),
        OptionValue::Switch(word) => SecretString::from(*word),
        OptionValue::Secret(secret) => secret.clone(),
    };
    options.iter().map(|(key, value)| ((*key).to_owned(), secret(value))).collect()
}

/// Every backend that could be read.
pub(super) fn all(
    section: Section<'_>,
    dialects: &[Registration],
) -> BTreeMap<String, BackendSettings> {
    let (entries, env, errors) = section.into_entries();
    let mut backends = BTreeMap::new();
    let begun: Vec<String> =
        entries.iter().filter(|(_, node)| begins(node)).map(|(name, _)| name.clone()).collect();
    for (name, Node { origin, value }) in entries {
        let path = format!("backends.{name}");
        check_name(&name, &origin, errors);
        let shown = origin.to_string();
        let Value::Table(table) = value else {
            let message = format!("{} must be a section, got {}", quoted(&path), value.kind());
            errors.push(&origin, message);
            continue;
        };
        let meant = text::closest(&name, begun.iter().map(String::as_str));
        if let (false, Some(meant)) = (names_an_upstream(&table), meant) {
            let (path, meant) = (quoted(&path), quoted(&format!("backends.{meant}")));
            let message =
                format!("{path} has neither `dialect` nor `base_url`, did you mean {meant}?");
            errors.push(&origin, message);
            continue;
        }
        let section = Section::new(path, origin, table, env, errors);
        if let Some(backend) = one(&name, section, dialects, shown) {
            backends.insert(name, backend);
        }
    }
    backends
}

/// Whether this is a section that says which upstream it is about.
fn begins(node: &Node) -> bool {
    matches!(&node.value, Value::Table(table) if names_an_upstream(table))
}

/// Without any of these keys, a section cannot have been meant as a backend of its own.
fn names_an_upstream(table: &Table) -> bool {
    [DIALECT, BASE_URL].iter().any(|key| table.contains_key(*key))
}

fn one(
    name: &str,
    mut section: Section<'_>,
    dialects: &[Registration],
    origin: String,
) -> Option<BackendSettings> {
    let registration = dialect(&mut section, dialects);
    let label = Settings::read(&mut section);
    let upstream = Settings::read(&mut section);
    let write = Settings::read(&mut section);
    let watch = Settings::read(&mut section);
    let cache = whole(section.child(CACHE));
    let options = match registration {
        Some(registration) => options(&mut section, registration),
        None => skip_options(&mut section, dialects),
    };
    section.finish_with(&registration.map_or_else(known_to_all, takes));
    let dialect = registration?.name;
    let name = name.to_owned();
    Some(BackendSettings { name, label, dialect, options, upstream, write, watch, cache, origin })
}

fn dialect<'d>(
    section: &mut Section<'_>,
    dialects: &'d [Registration],
) -> Option<&'d Registration> {
    let names: Vec<&'static str> = dialects.iter().map(|known| known.name).collect();
    let known = format!("one of {}", names.join(", "));
    section.require(DIALECT, &known);
    let name = section.row(DIALECT, &plain_text(64))?;
    let found = dialects.iter().find(|known| known.name == name);
    if found.is_none() {
        let hint = text::closest(&name, names)
            .map_or_else(String::new, |close| format!(", did you mean {}?", quoted(close)));
        section.refuse(DIALECT, &format!("must be {known}, got {}{hint}", quoted(&name)));
    }
    found
}

fn options(
    section: &mut Section<'_>,
    registration: &Registration,
) -> BTreeMap<&'static str, OptionValue> {
    let before = section.mistakes();
    let read = |setting: &Setting| {
        let value = match setting.form {
            Form::Secret => section.row(setting.key, &secret(1)).map(OptionValue::Secret),
            Form::Text => section.row(setting.key, &plain_text(MAX_OPTION)).map(OptionValue::Plain),
            Form::Switch => {
                let on = section.row(setting.key, &on_off());
                on.map(|on| OptionValue::Switch(if on { "on" } else { "off" }))
            }
        };
        Some((setting.key, value?))
    };
    let options = registration.settings.iter().filter_map(read).collect();
    // An option that could not be read would be reported as missing too.
    if section.mistakes() == before {
        let built = (registration.build)(&dialect_settings(&options));
        for fault in built.err().unwrap_or_default() {
            let message = format!("{}: {fault}", section.path());
            section.fault(message);
        }
    }
    options
}

/// Without a dialect the keys of all of them count as known, so that one typo does not cause a
/// dozen bogus errors.
fn skip_options(
    section: &mut Section<'_>,
    dialects: &[Registration],
) -> BTreeMap<&'static str, OptionValue> {
    for setting in dialects.iter().flat_map(|registration| registration.settings) {
        section.skip(setting.key);
    }
    BTreeMap::new()
}

/// What the operator should know about a backend as a whole.
pub(super) fn warning(backend: &BackendSettings) -> Option<String> {
    let BackendSettings { origin, name, .. } = backend;
    let exposed = backend.upstream.base_url.is_exposed();
    exposed.then(|| {
        format!("{origin}: backend `{name}` uses plain HTTP: credentials are sent unencrypted")
    })
}

/// The rows of a dialect's own keys.
pub(super) fn own_rows(registration: &Registration) -> Vec<Row> {
    let row = |setting: &Setting| {
        let (key, help) = (setting.key, &[setting.help]);
        let row = match setting.form {
            Form::Secret => Row::new(key, help, &secret(1).optional(), &None),
            Form::Text => Row::new(key, help, &plain_text(MAX_OPTION).optional(), &None),
            Form::Switch => Row::new(key, help, &on_off().optional(), &None),
        };
        Row { default: setting.needed.to_owned(), ..row }
    };
    registration.settings.iter().map(row).collect()
}

/// The row of the key that names the dialect.
pub(super) fn dialect_row() -> Row {
    let names = dialect::REGISTRY.iter().map(|known| quoted(known.name));
    Row {
        key: DIALECT,
        meaning: "What the upstream speaks.".to_owned(),
        form: "string",
        default: "required".to_owned(),
        bounds: names.collect::<Vec<_>>().join(", "),
        secret: false,
    }
}

/// The rows that every backend has in its section, apart from that of `dialect`.
pub(super) fn common_rows() -> Vec<Row> {
    let rows = [
        LabelSettings::rows(),
        UpstreamSettings::rows(),
        WriteSettings::rows(),
        WatchSettings::rows(),
    ];
    rows.into_iter().flatten().collect()
}

fn known_to_all() -> String {
    let rows = common_rows();
    let keys = rows.iter().map(|row| row.key);
    let keys: Vec<&str> = [DIALECT].into_iter().chain(keys).chain([TLS, CACHE]).collect();
    format!("every backend takes: {}", keys.join(", "))
}

fn takes(registration: &Registration) -> String {
    let own: Vec<&str> = registration.settings.iter().map(|setting| setting.key).collect();
    let (name, own) = (quoted(registration.name), own.join(", "));
    format!("dialect {name} takes: {own}; {}", known_to_all())
}

fn check_name(name: &str, origin: &Origin, errors: &mut Errors) {
    if !is_name(name) {
        let message = format!(
            "the backend name {} must be 1 to 63 lower-case letters, digits and hyphens, beginning \
             with a letter and not ending with a hyphen",
            quoted(name)
        );
        errors.push(origin, message);
    }
}

/// `^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`: a DNS label that begins with a letter.
fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
