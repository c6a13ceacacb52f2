//! Rules as tables: what is written, and what it has to result in.

mod auth;
mod backends;
mod defaults;
mod environment;
mod file;
mod hostile;
mod mistakes;
mod operators;
mod proxies;
mod secrets;
mod tls;
mod together;
mod workloads;

use super::{Config, ConfigErrors, OptionValue, Source, load_with};
use crate::{
    dialect::{self, Built, Form, REGISTRY, Registration, Setting},
    upstream::Limits,
};

/// Two dialects with few keys: the first takes whatever it is given, the second needs a tenant.
const DIALECTS: &[Registration] = &[
    Registration {
        name: "bics-sft",
        limits: Limits::NONE,
        settings: &[
            setting("username", false),
            setting("password", true),
            setting("access_token", true),
        ],
        build: |_| built(),
    },
    Registration {
        name: "pcc",
        limits: Limits::NONE,
        settings: &[setting("tenant", false), setting("password", true)],
        build: |settings| match settings.contains_key("tenant") {
            true => built(),
            false => Err(vec!["tenant is missing".to_owned()]),
        },
    },
];

/// Any dialect that works.
fn built() -> Result<Built, Vec<String>> {
    (REGISTRY[0].build)(&dialect::Settings::from([("access_token".to_owned(), "x".into())]))
}

const fn setting(key: &'static str, secret: bool) -> Setting {
    let form = if secret { Form::Secret } else { Form::Text };
    Setting { key, form, needed: "none", help: "" }
}

/// The one backend that a configuration needs at least.
pub(super) const BACKEND: &str =
    "[backends.sft]\ndialect = \"bics-sft\"\nbase_url = \"https://sft.example\"\n";

/// Where writes are recorded, which has to be said.
pub(super) const STORE: &str = "\n[store]\npath = \"/var/lib/gateway\"\n";

pub(super) fn vars(env: &[(&str, &str)]) -> Vec<(String, String)> {
    env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn read(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let keeps = if text.contains("[store") { "" } else { STORE };
    let text = format!("{text}{keeps}");
    let source = Source { file_name: "gateway.toml", text: &text };
    load_with(Some(source), &vars(env), DIALECTS)
}

/// Loads `text` followed by a valid backend.
pub(super) fn with_backend(text: &str) -> Result<Config, ConfigErrors> {
    read(&format!("{text}\n{BACKEND}"), &[])
}

/// Loads the valid backend followed by more of its keys, the first of which is on line 4.
pub(super) fn in_backend(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    read(&format!("{BACKEND}{text}"), env)
}

/// The whole report, which must not repeat what `secrets` are.
pub(super) fn report(result: Result<Config, ConfigErrors>) -> String {
    let errors = result.expect_err("this configuration is wrong");
    for error in errors.iter() {
        assert!(!error.message.contains('\n'), "{error}");
        assert!(!error.message.ends_with('.'), "{error}");
    }
    errors.to_string()
}
