//! `[backends.NAME]`: names, URLs, dialects and their keys.

use super::*;

fn with_url(url: &str) -> Result<Config, ConfigErrors> {
    read(&format!("[backends.sft]\ndialect = \"bics-sft\"\nbase_url = {url}"), &[])
}

#[test]
fn names_are_dns_labels_that_begin_with_a_letter() {
    let longest = format!("a{}z", "-".repeat(61));
    for name in ["a", "a1", "sft-emea", "a--b", &longest] {
        read(&BACKEND.replace("sft]", &format!("{name}]")), &[]).unwrap();
    }
    let too_long = format!("{longest}z");
    for name in ["1a", "-a", "a-", "A", "a_b", "\"\"", "\"a.b\"", "\"é\"", &too_long] {
        let whole = report(read(&BACKEND.replace("sft]", &format!("{name}]")), &[]));
        assert!(whole.starts_with("gateway.toml:1: the backend name `"), "{whole}");
        assert!(whole.contains("must be 1 to 63 lower-case letters"), "{whole}");
    }
}

#[test]
fn a_file_has_to_name_a_backend() {
    let expected = "no backend is configured, add at least one `[backends.NAME]` section";
    assert_eq!(report(read("", &[])), format!("gateway.toml: {expected}"));
    assert_eq!(report(read("\n[backends]", &[])), format!("gateway.toml:2: {expected}"));
    // Without a file, variables may move the ports of a program that has no backends yet.
    let env = vars(&[("PROFILE_GATEWAY__LISTEN", "127.0.0.1:1")]);
    assert!(load_with(None, &env, DIALECTS).unwrap().backends.is_empty());
    assert_eq!(
        report(read("backends = 1", &[])),
        "gateway.toml:1: `backends` must be a section, got an integer"
    );
    assert_eq!(
        report(read("[backends]\nsft = 1", &[])),
        "gateway.toml:2: `backends.sft` must be a section, got an integer"
    );
    let nothing = load_with(None, &vars(&[("HOME", "/root")]), DIALECTS).unwrap();
    assert!(nothing.backends.is_empty());
}

#[test]
fn what_every_backend_needs() {
    assert_eq!(
        report(read("\n[backends.a]", &[])),
        "gateway.toml:2: `backends.a.dialect` is missing, expected one of bics-sft, pcc\n\
         gateway.toml:2: `backends.a.base_url` is missing, expected an http or https URL"
    );
}

#[test]
fn base_url_rules() {
    let wanted = "must be an http or https URL such as `https://sft.example.com`";
    let cases = [
        ("5", "must be a string, got an integer, "),
        ("\"\"", "must not be empty, "),
        ("\"sft.example\"", wanted),
        ("\"ftp://sft.example\"", wanted),
        ("\"https:sft.example\"", wanted),
        ("\"https://\"", wanted),
        ("\"https:///x\"", wanted),
        ("\"https://a\\\\b\"", wanted),
        ("\" https://a\"", wanted),
        ("\"https://a b\"", wanted),
        ("\"https://a:0\"", wanted),
        ("\"https://a:99999\"", wanted),
        ("\"https://[::1\"", wanted),
        ("\"https://a\\tb\"", "must not contain control characters"),
        ("\"https://a?\"", "must not contain a query"),
        ("\"https://a/?x=hunter2\"", "must not contain a query"),
        ("\"https://a/#\"", "must not contain a query"),
        ("\"https://ops:hunter2@a\"", "must not contain a user name or password"),
        ("\"https://ops:1/hunter2@a\"", "must not contain a user name or password"),
        ("\"https://@a\"", "must not contain a user name or password"),
        ("{ file = \"hunter2\" }", "must be a string, got a table"),
    ];
    for (url, expected) in cases {
        let whole = report(with_url(url));
        let prefix = format!("gateway.toml:3: `backends.sft.base_url` {expected}");
        assert!(whole.starts_with(&prefix), "{url}: {whole}");
        assert!(!whole.contains("hunter2"), "{url}: {whole}");
    }
}

#[test]
fn base_url_loses_its_trailing_slash() {
    let cases = [
        ("https://a", "https://a"),
        ("HTTPS://A/", "https://a"),
        ("https://a:8443/spcm-rest-ws/", "https://a:8443/spcm-rest-ws"),
        ("https://[::1]:1//", "https://[::1]:1"),
    ];
    for (url, expected) in cases {
        let config = with_url(&format!("{url:?}")).unwrap();
        assert_eq!(config.backends["sft"].upstream.base_url.as_str(), expected);
    }
}

#[test]
fn plain_http_to_another_machine_has_to_be_allowed() {
    let cases = [
        ("http://sft.example", true),
        ("http://10.0.0.1", true),
        ("http://localhost.example", true),
        ("https://sft.example", false),
        ("http://localhost:1", false),
        ("http://a.localhost", false),
        ("http://127.9.9.9", false),
        ("http://[::1]", false),
    ];
    let expected = "gateway.toml:3: `backends.sft.base_url` is plain http to another machine, \
        where credentials and profiles would travel unencrypted: use https, or write \
        `allow_plain_http = true`";
    for (url, exposed) in cases {
        let allowed = with_url(&format!("{url:?}\nallow_plain_http = true")).unwrap();
        assert_eq!(allowed.warnings.len(), usize::from(exposed) + 1, "{url}");
        match with_url(&format!("{url:?}")) {
            result if exposed => assert_eq!(report(result), expected, "{url}"),
            result => assert_eq!(result.unwrap().warnings.len(), 1, "{url}"),
        }
    }
    let config = with_url("\"http://sft.example\"\nallow_plain_http = true").unwrap();
    let warning = "gateway.toml:1: backend `sft` uses plain HTTP: credentials are sent unencrypted";
    assert_eq!(config.warnings, [warning, crate::config::read::NO_PAGE_TOKEN_KEY]);
    assert_eq!(config.redacted()["warnings"][0], warning);
    assert_eq!(config.redacted()["backends"]["sft"]["allow_plain_http"], true);
}

/// What the error about an unknown key says of every backend.
const COMMON: &str = "every backend takes: dialect, display_name, base_url, allow_plain_http, \
    connect_timeout, max_connection_age, header_timeout, body_timeout, request_timeout, \
    max_response_bytes, max_concurrent_calls, max_queued_calls, max_attempts, \
    requests_per_second, request_limit, monthly_request_limit, login_limit, max_pause, \
    circuit_breaker, circuit_failures, circuit_failure_percent, circuit_min_calls, \
    circuit_window, circuit_open, circuit_max_open, proxy, proxy_username, proxy_password, \
    settle_time, confirm_deletions, watch_interval, tls, cache";

#[test]
fn a_dialect_brings_its_own_keys() {
    let config = in_backend("username = \"ops\"\npassword = \"hunter2\"", &[]).unwrap();
    let options = &config.backends["sft"].options;
    assert_eq!(options.len(), 2);
    assert!(matches!(&options["username"], OptionValue::Plain(name) if name == "ops"));
    assert!(matches!(&options["password"], OptionValue::Secret(_)));

    let takes = format!("dialect `bics-sft` takes: username, password, access_token; {COMMON}");
    for (text, expected) in [
        ("tenant = \"hunter2\"", "unknown key `tenant` in `[backends.sft]`"),
        (
            "pasword = \"hunter2\"",
            "unknown key `pasword` in `[backends.sft]`, did you mean `password`?",
        ),
        ("base-url = 'x'", "unknown key `base-url` in `[backends.sft]`, did you mean `base_url`?"),
    ] {
        let separator = if expected.ends_with('?') { "" } else { "," };
        let expected = format!("gateway.toml:4: {expected}{separator} {takes}");
        assert_eq!(report(in_backend(text, &[])), expected);
    }
    for (text, key, expected) in [
        ("username = \"\"", "username", "must not be empty"),
        ("username = { env = \"X\" }", "username", "must be a string, got a table"),
        ("display_name = ''", "display_name", "must not be empty"),
        ("connect_timeout = '2h'", "connect_timeout", "must be between 1ms and 1h, got 2h"),
        ("circuit_breaker = 'yes'", "circuit_breaker", "must be `on` or `off`, got `yes`"),
        (
            "circuit_open = '2m'",
            "circuit_max_open",
            "(1m) must not be below `backends.sft.circuit_open` (2m)",
        ),
        (
            "circuit_failure_percent = 0",
            "circuit_failure_percent",
            "must be between 1 and 100, got 0",
        ),
        ("max_attempts = 11", "max_attempts", "must be between 1 and 10, got 11"),
        ("watch_interval = '999ms'", "watch_interval", "must be between 1s and 1h, got 999ms"),
        (
            "max_concurrent_calls = []",
            "max_concurrent_calls",
            "must be a whole number, got an array",
        ),
    ] {
        let expected = format!("gateway.toml:4: `backends.sft.{key}` {expected}");
        assert_eq!(report(in_backend(text, &[])), expected);
    }
}

#[test]
fn an_unknown_dialect_is_one_mistake() {
    let text = r#"[backends.a]
dialect = "bics-stf"
base_url = "https://a"
password = 5
tenant = "t"
"#;
    assert_eq!(
        report(read(text, &[])),
        "gateway.toml:2: `backends.a.dialect` must be one of bics-sft, pcc, got `bics-stf`, \
         did you mean `bics-sft`?"
    );
    let whole = report(read(&format!("{text}hunter = \"hunter2\""), &[]));
    assert_eq!(whole.lines().count(), 2);
    assert!(
        whole.contains(
            "gateway.toml:6: unknown key `hunter` in `[backends.a]`, every backend takes: "
        )
    );
    assert!(!whole.contains("hunter2"));
}

#[test]
fn a_dialect_reports_what_its_options_lack() {
    let text = "[backends.policy]\ndialect = \"pcc\"\nbase_url = \"https://pcc.example\"\n";
    assert_eq!(report(read(text, &[])), "gateway.toml:1: backends.policy: tenant is missing");
    // One that could not be read is not reported as missing too.
    assert_eq!(
        report(read(&format!("{text}tenant = 5"), &[])),
        "gateway.toml:4: `backends.policy.tenant` must be a string, got an integer"
    );
}

#[test]
fn a_limit_that_the_memory_can_never_hold_is_a_warning() {
    let limits = "[server]\nmax_request_bytes = \"32MiB\"\nmax_response_bytes = \"40MiB\"\n\
                  [memory]\nbudget_bytes = \"256MiB\"\n";
    let other = BACKEND.replace("sft]", "other]");
    let about = |text: &str| -> Vec<String> {
        let all = read(text, &[]).unwrap().warnings;
        all.into_iter().filter(|warning| warning.contains("always refused")).collect()
    };
    let large = "max_response_bytes = \"16MiB\"\n";
    let budget = |size: &str| format!("[memory]\nbudget_bytes = {size:?}\n");
    let enough = format!("{BACKEND}{large}{other}{}", budget("512MiB"));
    let alone = format!("{BACKEND}{large}{}", budget("256MiB"));
    for text in [enough, alone] {
        assert_eq!(about(&text), [] as [String; 0], "{text}");
    }
    assert_eq!(
        about(&format!("{BACKEND}{large}{other}{limits}")),
        [
            "`server.max_request_bytes` allows requests of 32MiB, which take 32.5MiB of memory or \
             more, but one caller can have only 12.7MiB of it: the largest are always refused; \
             raise `memory.budget_bytes` or `memory.requests_percent`, or lower \
             `server.max_request_bytes`",
            "`server.max_response_bytes` allows responses of 40MiB, which take 40.0MiB of memory \
             or more, but one caller can have only 19.1MiB of it: the largest are always refused; \
             raise `memory.budget_bytes` or `memory.answers_percent`, or lower \
             `server.max_response_bytes`",
            "gateway.toml:1: backend `sft`: `max_response_bytes` allows answers of 16MiB, which \
             take 32.0MiB of memory or more, but one backend can have only 25.5MiB of it: the \
             largest are always refused; raise `memory.budget_bytes` or \
             `memory.decoding_percent`, or lower `max_response_bytes`",
        ]
    );
}
