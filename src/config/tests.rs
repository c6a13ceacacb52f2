//! Rules as tables: what is written, and what has to be answered.

mod backends;
mod environment;
mod file;
mod hostile;
mod secrets;

use std::collections::BTreeMap;

use super::{Config, ConfigErrors, DialectSchema, Known, OptionSpec, OptionValue, Source, load};

pub(super) fn known() -> Known {
    let sft = [option("username", false), option("password", true), option("access_token", true)];
    let pcc = [option("tenant", false), option("password", true)];
    let dialects = vec![
        DialectSchema { name: "bics-sft", options: sft.to_vec(), check: Box::new(|_| Vec::new()) },
        DialectSchema { name: "pcc", options: pcc.to_vec(), check: Box::new(tenant_is_needed) },
    ];
    let log_level = |level: &str| match level {
        "loud" => Err("there is no loud".to_owned()),
        _ => Ok(()),
    };
    Known { dialects, log_level }
}

fn tenant_is_needed(options: &BTreeMap<String, OptionValue>) -> Vec<String> {
    if options.contains_key("tenant") { Vec::new() } else { vec!["tenant is missing".to_owned()] }
}

const fn option(key: &'static str, secret: bool) -> OptionSpec {
    OptionSpec { key, secret }
}

/// A backend without which nothing loads; seven lines shorter tests.
pub(super) const BACKEND: &str =
    "[backends.sft]\ndialect = \"bics-sft\"\nbase_url = \"https://sft.example\"\n";

pub(super) fn vars(env: &[(&str, &str)]) -> Vec<(String, String)> {
    env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn read(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let source = Source { file_name: "gateway.toml", text };
    load(Some(source), &vars(env), &known())
}

/// Loads `text` followed by a sound backend.
pub(super) fn with_backend(text: &str) -> Result<Config, ConfigErrors> {
    read(&format!("{text}\n{BACKEND}"), &[])
}

/// Loads the sound backend followed by more of its keys, the first of which is on line 4.
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
