//! Who has to prove what, and may do what: mistakes, and what an open port needs.

use super::*;

const ISSUER: &str = "[auth.jwt.idp]\nissuer = \"idp\"\naudience = \"me\"\n\
                      jwks_file = \"tests/fixtures/jwks/rfc7515.json\"\n";
const ROLE: &str = "[auth.roles.reader]\nrights = \"read\"\nbackends = \"*\"\n";
const CALLER: &str =
    "[auth.callers.ops]\nroles = \"reader\"\nissuer = \"idp\"\nsubject = \"ops\"\n";

/// The report of sections, whose mistakes are told without their lines.
fn wrong(sections: &str) -> String {
    let report = report(with_backend(sections));
    let told = report.lines().map(|line| line.split_once(": ").unwrap().1);
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn an_open_port_has_to_be_wanted() {
    let open = "listen = \"192.0.2.1:50051\"\n";
    let refused = report(with_backend(open));
    assert!(refused.starts_with("gateway.toml:1: `listen` is not a loopback address"), "{refused}");
    assert!(refused.contains("`allow_unauthenticated = true`"), "{refused}");
    for wildcard in ["0.0.0.0", "[::]"] {
        let listen = format!("listen = \"{wildcard}:50051\"\n");
        assert!(report(with_backend(&listen)).contains("is not a loopback address"), "{wildcard}");
    }
    let from_variable = [("PROFILE_GATEWAY__LISTEN", "0.0.0.0:1")];
    assert!(report(read(BACKEND, &from_variable)).contains("is not a loopback address"));
    let wanted = with_backend(&format!("{open}[auth]\nallow_unauthenticated = true")).unwrap();
    assert!(wanted.warnings.iter().any(|w| w == crate::config::auth::OPEN), "{wanted:?}");
    let required = format!("{open}[auth]\nmode = \"required\"\n{ISSUER}{ROLE}{CALLER}");
    let required = with_backend(&required).unwrap();
    assert!(!required.warnings.iter().any(|w| w == crate::config::auth::OPEN));
    for loopback in ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let config = with_backend(&format!("listen = \"{loopback}\"\n")).unwrap();
        assert!(!config.warnings.iter().any(|w| w == crate::config::auth::OPEN));
    }
}

/// Asserts that each of these sections has one mistake, and what is told of it.
fn each(mistakes: &[(String, &str)]) {
    for (sections, told) in mistakes {
        let report = wrong(sections);
        assert!(report.contains(told), "{sections}\n{report}");
        assert_eq!(report.lines().count(), 1, "{sections}\n{report}");
    }
}

#[test]
fn roles_say_what_may_be_done_where() {
    let required = "[auth]\nmode = \"required\"\n";
    each(&[
        ("[auth]\nmode = \"on\"".to_owned(), "`auth.mode` must be `off` or `required`, got `on`"),
        ("[auth]\nmod = \"off\"".to_owned(), "unknown key `mod` in `[auth]`, did you mean `mode`?"),
        (required.to_owned(), "no caller is configured"),
        ("[auth]\nxfcc_from = \"sidecar\"".to_owned(), "`auth.xfcc_from` must be addresses"),
        ("[auth.roles]\nreader = 1".to_owned(), "`auth.roles.reader` must be a section"),
        ("[auth.roles.r]\nrights = \"read\"".to_owned(), "`auth.roles.r.backends` is missing"),
        ("[auth.roles.r]\nbackends = \"*\"".to_owned(), "`auth.roles.r.rights` is missing"),
        (
            "[auth.roles.r]\nrights = \"\"\nbackends = \"*\"".to_owned(),
            "`auth.roles.r.rights` must not be empty",
        ),
        (
            "[auth.roles.r]\nrights = \"read, rite\"\nbackends = \"*\"".to_owned(),
            "`auth.roles.r.rights` must be some of `read`",
        ),
        (
            "[auth.roles.r]\nrights = \"read\"\nbackends = \"sf\"".to_owned(),
            "names the backend `sf`, which is not configured; did you mean `sft`?",
        ),
    ]);
}

#[test]
fn callers_have_roles_and_something_that_proves_them() {
    each(&[
        (
            format!("{ISSUER}{ROLE}{CALLER}").replace("roles = \"reader\"", "roles = \"raeder\""),
            "names the role `raeder`, which is not configured; did you mean `reader`?",
        ),
        (format!("{ROLE}{CALLER}"), "`auth.callers.ops.issuer` is not that of any"),
        (
            format!("{ISSUER}{ROLE}{CALLER}").replace("subject = \"ops\"\n", ""),
            "needs `subject` or `claims` beside it",
        ),
        (
            format!("{ROLE}[auth.callers.ops]\nroles = \"reader\"\nsubject = \"ops\""),
            "`subject` and `claims` need `issuer` beside them",
        ),
        (
            format!("{ROLE}[auth.callers.ops]\nroles = \"reader\""),
            "nothing proves `auth.callers.ops`",
        ),
        (
            format!("{ROLE}[auth.callers.ops]\nroles = \"reader\"\nspiffe = \"spiffe://a/b\""),
            "`auth.callers.ops.spiffe` can be proved by no one",
        ),
        (
            format!("{ROLE}[auth.callers.ops]\nroles = \"reader\"\nspiffe = \"https://a/b\""),
            "`auth.callers.ops.spiffe` must be `spiffe://DOMAIN/PATH`",
        ),
        (
            format!("{ISSUER}{ROLE}{CALLER}quota = {{ rate = \"200\" }}"),
            "`auth.callers.ops.quota.rate` must be a rate such as `200/s`",
        ),
        (
            format!("{ISSUER}{ROLE}{CALLER}quota = {{ cals = 1 }}"),
            "unknown key `cals` in `[auth.callers.ops.quota]`, did you mean `calls`?",
        ),
        (format!("{ISSUER}{ROLE}{CALLER}quota = 5"), "`auth.callers.ops.quota` must be a section"),
        (
            format!("{ISSUER}{ROLE}{CALLER}").replace("callers.ops", "callers.Ops"),
            "the name of `auth.callers.Ops` must be 1 to 32 lower-case letters",
        ),
        (
            format!("{ISSUER}{ROLE}{CALLER}").replace("callers.ops", "callers.gateway"),
            "the name of `auth.callers.gateway` must be",
        ),
        (
            format!("{ISSUER}{ROLE}{CALLER}{}", CALLER.replace("callers.ops", "callers.two")),
            "the callers `ops` and `two` cannot be told apart",
        ),
    ]);
}

const FILE: &str = "jwks_file = \"tests/fixtures/jwks/rfc7515.json\"";
const URL: &str = "[auth.jwt.idp]\nissuer = \"idp\"\naudience = \"me\"\n\
                   jwks_url = \"https://idp.example/keys?of=me\"\n";

#[test]
fn keys_may_come_from_a_url() {
    let config = with_backend(&format!("{URL}jwks_max_stale = \"2h\"")).unwrap();
    let shown = config.redacted();
    let idp = &shown["auth"]["jwt"]["idp"];
    assert_eq!(idp["jwks_url"], "https://idp.example/keys?of=me");
    assert_eq!((&idp["jwks_refresh"], &idp["jwks_max_stale"]), (&"5m".into(), &"2h".into()));
    // Nothing is fetched to check it.
    each(&[(
        format!("{URL}ca_file = \"/nowhere\""),
        "`auth.jwt.idp.ca_file` cannot be read from the file `/nowhere`",
    )]);
}

#[test]
fn issuers_have_keys_that_can_be_used() {
    each(&[
        (
            ISSUER.replace("rfc7515.json", "none.json"),
            "`auth.jwt.idp.jwks_file` cannot be read: entity not found",
        ),
        (
            ISSUER.replace("tests/fixtures/jwks/rfc7515.json", "Cargo.toml"),
            "`auth.jwt.idp.jwks_file` is not a JSON Web Key Set",
        ),
        (
            format!("{ISSUER}algorithms = \"HS256\""),
            "`auth.jwt.idp.algorithms` must be some of `RS256`",
        ),
        (format!("{ISSUER}algorithms = \"none\""), "`auth.jwt.idp.algorithms` must be some of"),
        (
            format!("{ISSUER}algorithms = \"RS256\""),
            "`auth.jwt.idp.jwks_file` has no key with a `kid` that an allowed algorithm can use",
        ),
        (
            ISSUER.replace(FILE, ""),
            "`auth.jwt.idp.jwks_file` is missing, expected the file with its public keys, or \
             `jwks_url`",
        ),
        (
            format!("{ISSUER}jwks_url = \"https://idp.example/keys\""),
            "`auth.jwt.idp.jwks_file` and `auth.jwt.idp.jwks_url` are both set",
        ),
        (
            ISSUER.replace(FILE, "jwks_url = \"http://idp.example/keys\""),
            "`auth.jwt.idp.jwks_url` must be an https URL",
        ),
        (
            ISSUER.replace(FILE, "jwks_url = \"https://a:b@idp.example/keys\""),
            "`auth.jwt.idp.jwks_url` must not contain a user name",
        ),
        (
            format!("{ISSUER}ca_file = \"tests/fixtures/tls/cert.pem\""),
            "`auth.jwt.idp.ca_file` has no use without `jwks_url`",
        ),
        (
            format!("{URL}jwks_refresh = \"10s\""),
            "`auth.jwt.idp.jwks_refresh` (10s) must not be below `auth.jwt.idp.jwks_min_refresh`",
        ),
        (
            format!("{URL}jwks_max_stale = \"1m\""),
            "`auth.jwt.idp.jwks_max_stale` (1m) must not be below `auth.jwt.idp.jwks_refresh`",
        ),
        (ISSUER.replace("issuer = \"idp\"\n", ""), "`auth.jwt.idp.issuer` is missing"),
        (ISSUER.replace("audience = \"me\"\n", ""), "`auth.jwt.idp.audience` is missing"),
    ]);
}

#[test]
fn variables_reach_the_tables() {
    let text = format!("{ISSUER}{ROLE}{CALLER}{BACKEND}");
    let set = [
        ("PROFILE_GATEWAY__AUTH__MODE", "required"),
        ("PROFILE_GATEWAY__AUTH__ROLES__READER__RIGHTS", "read, admin"),
        ("PROFILE_GATEWAY__AUTH__ROLES__TEAM_A__RIGHTS", "write"),
        ("PROFILE_GATEWAY__AUTH__ROLES__TEAM_A__BACKENDS", "sft"),
        ("PROFILE_GATEWAY__AUTH__CALLERS__OPS__ROLES", "reader, team-a"),
        ("PROFILE_GATEWAY__AUTH__JWT__IDP__LEEWAY", "1s"),
        ("PROFILE_GATEWAY__AUTH__CALLERS__OPS__QUOTA__RATE", "5/m"),
        ("PROFILE_GATEWAY__AUTH__CALLERS__OPS__QUOTA__CALLS", "7"),
    ];
    let config = read(&text, &set).unwrap();
    assert_eq!(config.access_of("ops").unwrap()["sft"], "read, write, admin");
    assert_eq!(config.redacted()["auth"]["jwt"]["idp"]["leeway"], "1s");
    let quota = &config.redacted()["auth"]["callers"]["ops"]["quota"];
    assert_eq!((&quota["rate"], &quota["calls"]), (&"5/m".into(), &7.into()));
    let deep = [("PROFILE_GATEWAY__AUTH__OTHER__NAME__KEY", "x")];
    assert!(report(read(&text, &deep)).contains("no such setting"));
}
