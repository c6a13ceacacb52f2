//! Mistakes in the file: types, bounds, unknown keys, syntax, and all of them at once.

use super::*;

/// What is above a valid backend, and the whole report without the name of the file.
const MISTAKES: &[(&str, &str)] = &[
    ("listen = \"unix:\"", "1: `listen` must name a file after `unix:`, got `unix:`"),
    (
        "listen = \":9090\"\n[auth]\nallow_unauthenticated = true",
        "1: `admin_listen` (127.0.0.1:9090) must not share its port with `listen` (:9090)",
    ),
    (
        "[server.tls]\nmin_version = \"1.1\"",
        "2: `server.tls.min_version` must be `1.2` or `1.3`, got `1.1`",
    ),
    (
        "[server.tls]\ntrust_domain = \"spiffe://example.org\"",
        "2: `server.tls.trust_domain` must be the name of a trust domain such as `example.org`, in \
         lower case and without `spiffe://`",
    ),
    (
        "[server.tls]\nclient_auth = \"off\"",
        "2: `server.tls.client_auth` has no effect without `cert` and `key`",
    ),
    (
        "[server.tls]\ncert = \"a\"\nkey = \"b\"\nca = \"c\"",
        "2: `server.tls.cert` cannot be read from the file `a`: it does not exist\n\
         gateway.toml:3: `server.tls.key` cannot be read from the file `b`: it does not exist\n\
         gateway.toml:4: unknown key `ca` in `[server.tls]`, known keys: cert, key, client_ca, \
         client_auth, client_crl, trust_domain, min_version, max_handshakes, handshake_timeout",
    ),
    ("listen = 5", "1: `listen` must be a string, got an integer"),
    (
        "listen = \"gateway:1\"",
        "1: `listen` must be an IP address and a port such as `127.0.0.1:50051`, or \
         `localhost:50051`, or `:50051` for all addresses, or the path of a socket such as \
         `unix:/run/gateway.sock`, got `gateway:1`",
    ),
    ("listen = \"\"", "1: `listen` must not be empty"),
    ("listen = \"a\\nb\"", "1: `listen` must not contain control characters"),
    ("page_token_key = \"fifteen bytes .\"", "1: `page_token_key` must have at least 16 bytes"),
    (
        "\nadmin_listen = \"127.0.0.1:50051\"",
        "2: `admin_listen` (127.0.0.1:50051) must not share its port with `listen` \
         (127.0.0.1:50051)",
    ),
    (
        "listen = \"0.0.0.0:9090\"\n[auth]\nallow_unauthenticated = true",
        "1: `admin_listen` (127.0.0.1:9090) must not share its port with `listen` (0.0.0.0:9090)",
    ),
    (
        "listen = \"[::]:9090\"\n[auth]\nallow_unauthenticated = true",
        "1: `admin_listen` (127.0.0.1:9090) must not share its port with `listen` ([::]:9090)",
    ),
    ("log = 3", "1: `log` must be a section, got an integer"),
    ("[[log]]", "1: `log` must be a section, got an array"),
    ("[log]\nformat = \"xml\"", "2: `log.format` must be `auto`, `json` or `text`, got `xml`"),
    (
        "[log]\nlevel = \" \"",
        "2: `log.level` must be a log filter such as `info` or `info,hyper=warn`, in ASCII",
    ),
    (
        "[log]\nlevel = \"é\"",
        "2: `log.level` must be a log filter such as `info` or `info,hyper=warn`, in ASCII",
    ),
    (
        "[server]\n\ndefault_timeout = 45",
        "3: `server.default_timeout` needs a unit, write `\"45s\"` for seconds",
    ),
    (
        "[server]\ndefault_timeout = \"45\"",
        "2: `server.default_timeout` needs a unit, write `\"45s\"` for seconds",
    ),
    (
        "[server]\ndefault_timeout = \"soon\"",
        "2: `server.default_timeout` must be a duration such as `500ms`, `45s` or `1m 30s`, got \
         `soon`",
    ),
    (
        "[server]\ndefault_timeout = true",
        "2: `server.default_timeout` must be a duration such as `45s`, got a boolean",
    ),
    (
        "[server]\ndefault_timeout = \"0s\"",
        "2: `server.default_timeout` must be between 1ms and 1h, got 0s",
    ),
    (
        "[server]\nmax_timeout = \"61m\"",
        "2: `server.max_timeout` must be between 1ms and 1h, got 1h 1m",
    ),
    (
        "[server]\nmax_timeout = \"44s\"",
        "2: `server.max_timeout` (44s) must not be below `server.default_timeout` (45s)",
    ),
    (
        "[server]\ndefault_timeout = \"6m\"",
        "2: `server.max_timeout` (5m) must not be below `server.default_timeout` (6m)",
    ),
    (
        "[server]\nmax_request_bytes = 1023",
        "2: `server.max_request_bytes` must be between 1KiB and 1GiB, got 1023",
    ),
    (
        "[server]\nmax_request_bytes = -1",
        "2: `server.max_request_bytes` must be between 1KiB and 1GiB, got -1",
    ),
    (
        "[server]\nmax_request_bytes = \"2GiB\"",
        "2: `server.max_request_bytes` must be between 1KiB and 1GiB, got 2GiB",
    ),
    (
        "[server]\nmax_request_bytes = \"8MB\"",
        "2: `server.max_request_bytes` must be a number of bytes such as 4096, `512KiB` or \
         `8MiB`, got `8MB`",
    ),
    (
        "[server]\nmax_request_bytes = \"1.5MiB\"",
        "2: `server.max_request_bytes` must be a number of bytes such as 4096, `512KiB` or \
         `8MiB`, got `1.5MiB`",
    ),
    (
        "[server]\nmax_request_bytes = 1.5",
        "2: `server.max_request_bytes` must be a number of bytes such as `8MiB`, got a float",
    ),
    (
        "[server]\nmax_connections = 0",
        "2: `server.max_connections` must be between 1 and 1000000, got 0",
    ),
    (
        "[server]\nmax_connections = \"7\"",
        "2: `server.max_connections` must be a whole number, got a string",
    ),
    (
        "[server]\nmax_connections = 1000001",
        "2: `server.max_connections` must be between 1 and 1000000, got 1000001",
    ),
    (
        "[server]\nmax_connection_age = \"never\"",
        "2: `server.max_connection_age` must be a duration such as `500ms`, `45s` or `1m 30s`, \
         got `never` (`off` disables it)",
    ),
    (
        "[server]\nmax_connection_age = \"25h\"",
        "2: `server.max_connection_age` must be between 1s and 1day, got 1day 1h (`off` disables \
         it)",
    ),
    (
        "[server]\ndrain_grace = \"off\"",
        "2: `server.drain_grace` must be a duration such as `500ms`, `45s` or `1m 30s`, got `off`",
    ),
];

#[test]
fn one_mistake_one_line() {
    for &(text, expected) in MISTAKES {
        let expected = format!("gateway.toml:{expected}");
        assert_eq!(report(with_backend(text)), expected, "{text}");
    }
}

#[test]
fn unknown_keys_are_refused_with_a_guess() {
    let cases = [
        (
            "Listen = \"x\"",
            "gateway.toml:1: unknown key `Listen`, did you mean `listen`? known keys: listen, \
             admin_listen, probe_listen, admin_token, admin_hosts, max_admin_connections, \
             max_admin_connections_per_peer, strict_permissions, page_token_key, max_page_bytes, \
             log, audit, reload, server, callers, memory, request_ids, backends, auth, \
             operators, store",
        ),
        (
            "zebra = \"x\"",
            "gateway.toml:1: unknown key `zebra`, known keys: listen, admin_listen, \
             probe_listen, admin_token, admin_hosts, max_admin_connections, \
             max_admin_connections_per_peer, strict_permissions, page_token_key, max_page_bytes, \
             log, audit, reload, server, callers, memory, request_ids, backends, auth, \
             operators, store",
        ),
        (
            "[sever]\nx = 1",
            "gateway.toml:1: unknown section `sever`, did you mean `server`? known keys: listen, \
             admin_listen, probe_listen, admin_token, admin_hosts, max_admin_connections, \
             max_admin_connections_per_peer, strict_permissions, page_token_key, max_page_bytes, \
             log, audit, reload, server, callers, memory, request_ids, backends, auth, \
             operators, store",
        ),
        (
            "[log]\nfromat = \"json\"",
            "gateway.toml:2: unknown key `fromat` in `[log]`, did you mean `format`? known keys: \
             format, level, buffer_bytes",
        ),
        ("[log.level]\nx = 1", "gateway.toml:1: `log.level` must be a string, got a table"),
        (
            "\"a\\u0007b\" = 1",
            "gateway.toml:1: unknown key `a\u{fffd}b`, known keys: listen, admin_listen, \
             probe_listen, admin_token, admin_hosts, max_admin_connections, \
             max_admin_connections_per_peer, strict_permissions, page_token_key, max_page_bytes, \
             log, audit, reload, server, callers, memory, request_ids, backends, auth, \
             operators, store",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(report(with_backend(text)), expected, "{text}");
    }
    let whole = report(with_backend("[server]\nmax_conections = 5"));
    let expected = "gateway.toml:2: unknown key `max_conections` in `[server]`, \
                    did you mean `max_connections`? ";
    assert!(whole.starts_with(expected), "{whole}");
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_lines() {
    let text = r#"listen = 1
nope = 2
[backends.B]
dialect = "bics"
max_concurrent_calls = 0
[server]
drain_timeout = 1
[log]
format = "x"
"#;
    let env = [("PROFILE_GATEWAY__SERVER__MAX_TIMEOUT", "2h"), ("PROFILE_GATEWAY__A__B", "")];
    let whole = report(read(text, &env));
    let origins: Vec<&str> = whole.lines().map(|line| line.split(": ").next().unwrap()).collect();
    let expected = [
        "gateway.toml:1",
        "gateway.toml:2",
        "gateway.toml:3", // name
        "gateway.toml:3", // base_url is missing
        "gateway.toml:4",
        "gateway.toml:5",
        "gateway.toml:7",
        "gateway.toml:9",
        "PROFILE_GATEWAY__A__B",
        "PROFILE_GATEWAY__SERVER__MAX_TIMEOUT",
    ];
    assert_eq!(origins, expected, "{whole}");
}

#[test]
fn syntax_errors_name_line_and_column_but_not_the_text() {
    let cases = [
        ("[backends.sft]\npassword = \"hunter2", "gateway.toml:2: not valid TOML at column "),
        ("[backends.sft]\npassword = hunter2", "gateway.toml:2: not valid TOML at column "),
        ("a = 1\na = 2", "gateway.toml:2: not valid TOML at column 1: this section or key was"),
        ("[a]\n[a]", "gateway.toml:2: not valid TOML at column 2: this section or key was"),
        ("é = 1", "gateway.toml:1: not valid TOML at column 1: "),
        ("x = \"é\" hunter2", "gateway.toml:1: not valid TOML at column 9: "),
        ("x = \"\0hunter2\"", "gateway.toml:1: not valid TOML at column "),
    ];
    for (text, expected) in cases {
        let whole = report(read(text, &[]));
        assert!(whole.starts_with(expected), "{text}: {whole}");
        assert!(!whole.contains("hunter2") && !whole.contains('\n'), "{whole}");
    }
}
