//! Who has to prove what, and may do what: mistakes, and what an open port needs.

use super::*;

const ISSUER: &str = "[auth.jwt.idp]\nissuer = \"idp\"\naudience = \"me\"\n\
                      jwks_file = \"tests/fixtures/jwks/rfc7515.json\"\n";
const ROLE: &str = "[auth.roles.reader]\nrights = \"read\"\nbackends = \"*\"\n";
const CALLER: &str =
    "[auth.callers.ops]\nroles = \"reader\"\nissuer = \"idp\"\nsubject = \"ops\"\n";

const REQUIRED: &str = "[auth]\nmode = \"required\"\n";

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

/// All that a caller needs, told by these claims.
fn with_claims(claims: &str) -> String {
    let subject = "subject = \"ops\"";
    format!("{ISSUER}{ROLE}{CALLER}").replace(subject, &format!("claims = \"{claims}\""))
}

/// Asserts that each of these sections has one mistake, and what is told of it.
fn each(mistakes: &[(String, &str)]) {
    for (sections, told) in mistakes {
        let mode = if sections.contains("[auth]") { "" } else { REQUIRED };
        let report = wrong(&format!("{mode}{sections}"));
        assert!(report.contains(told), "{sections}\n{report}");
        assert_eq!(report.lines().count(), 1, "{sections}\n{report}");
    }
}

#[test]
fn roles_say_what_may_be_done_where() {
    each(&[
        ("[auth]\nmode = \"on\"".to_owned(), "`auth.mode` must be `off` or `required`, got `on`"),
        ("[auth]\nmod = \"off\"".to_owned(), "unknown key `mod` in `[auth]`, did you mean `mode`?"),
        (REQUIRED.to_owned(), "no caller is configured"),
        ("[auth]\nxfcc_from = \"sidecar\"".to_owned(), "`auth.xfcc_from` must be addresses"),
        (
            "[auth]\nxfcc_from = \"10.0.0.1, 0.0.0.0/0\"".to_owned(),
            "`auth.xfcc_from` must name the addresses of proxies, got `0.0.0.0/0`",
        ),
        (
            "[auth]\nxfcc_from = \"10.1.2.3/8\"".to_owned(),
            "an address and not a network: write `10.1.2.3` for this one, or `10.0.0.0/8`",
        ),
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
fn rules_that_no_one_would_ask_are_mistakes() {
    let off = "[auth]\nmode = \"off\"\n";
    each(&[
        (format!("{off}{ISSUER}"), "`[auth.jwt]`: configured, but `auth.mode` is `off`"),
        (format!("{off}{ROLE}"), "`[auth.roles]`: configured, but `auth.mode` is `off`"),
        (
            format!("[auth]\n{ISSUER}{ROLE}{CALLER}"),
            "`[auth.jwt]`, `[auth.roles]`, `[auth.callers]`: configured, but",
        ),
        ("[auth]\nxfcc_from = \"127.0.0.1\"".to_owned(), "`auth.xfcc_from`: configured, but"),
        (
            format!("[auth]\nallow_unauthenticated = true\n{ROLE}"),
            "set `mode = \"required\"` in `[auth]`, or take `[auth.roles]` away",
        ),
        (
            format!("{REQUIRED}allow_unauthenticated = true\n{ISSUER}{ROLE}{CALLER}"),
            "`auth.allow_unauthenticated` is `true`, and `auth.mode` is `required`",
        ),
    ]);
    // Said by the variable that turned them off.
    let text = format!("{REQUIRED}{ISSUER}{ROLE}{CALLER}{BACKEND}");
    let off = [("PROFILE_GATEWAY__AUTH__MODE", "off")];
    let report = report(read(&text, &off));
    assert!(report.starts_with("PROFILE_GATEWAY__AUTH__MODE: `[auth.jwt]`"), "{report}");
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
    ]);
}

#[test]
fn what_is_said_of_callers_can_be_met() {
    each(&[
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
            format!("{ROLE}[auth.callers.ops]\nroles = \"reader\"\nspiffe = \"spiffe://A.b/*\""),
            "with DOMAIN in lower case, got `spiffe://A.b/*`",
        ),
        (with_claims("sub=ops"), "`auth.callers.ops.claims` cannot have `sub`: use `subject`"),
        (with_claims("a=b, iss=idp"), "cannot have `iss`: use `issuer`"),
        (with_claims("jti=1"), "cannot have `jti`, which is of one token and of no caller"),
        (with_claims("a=b, c=d, a=b"), "`auth.callers.ops.claims` has `a=b` twice"),
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
    let text = format!("{REQUIRED}{URL}jwks_max_stale = \"2h\"\n{ROLE}{CALLER}");
    let config = with_backend(&text).unwrap();
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
            "`auth.jwt.idp.jwks_file` cannot be read from the file \
             `tests/fixtures/jwks/none.json`: it does not exist",
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
    ]);
}

#[test]
fn issuers_have_one_place_for_their_keys() {
    each(&[
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
        (
            format!("{ISSUER}{}{ROLE}{CALLER}", ISSUER.replace("jwt.idp", "jwt.next")),
            "`[auth.jwt.idp]` and `[auth.jwt.next]` have the same `issuer`",
        ),
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

/// The warnings of all that a caller needs, with these lines in `[auth]`.
fn warned(lines: &str, issuer: &str) -> Vec<String> {
    let config = with_backend(&format!("{REQUIRED}{lines}\n{issuer}{ROLE}{CALLER}")).unwrap();
    config.warnings.into_iter().filter(|warning| warning.contains("`auth.")).collect()
}

#[test]
fn many_addresses_that_may_name_any_caller_are_noticed() {
    assert!(warned("xfcc_from = \"127.0.0.0/8, 192.0.2.16/28\"", ISSUER).is_empty());
    let told = warned("xfcc_from = \"127.0.0.1, 10.0.0.0/8\"", ISSUER);
    assert!(told[0].contains("`auth.xfcc_from` names `10.0.0.0/8`, which has many"), "{told:?}");
}

#[test]
fn what_everyone_can_write_is_no_root_of_trust() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json").display().to_string();
    let published = "tests/fixtures/jwks/rfc7515.json";
    let issuer = ISSUER.replace(published, &keys);
    let text = format!("{REQUIRED}{issuer}{ROLE}{CALLER}");
    let written = |set: &str, mode| {
        std::fs::write(&keys, set).unwrap();
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let set = std::fs::read_to_string(published).unwrap();
    written(&set, 0o664);
    assert!(warned("", &issuer).is_empty());
    written(&set, 0o666);
    let told = format!("`auth.jwt.idp.jwks_file` is read from `{keys}`, which everyone on this");
    assert!(warned("", &issuer)[0].contains(&told));
    let strict = report(with_backend(&format!("strict_permissions = true\n{text}")));
    assert!(strict.contains(&told), "{strict}");
    // An issuer that takes all its keys back does not keep the gateway from starting.
    written("{\"keys\": []}", 0o600);
    assert!(warned("", &issuer)[0].contains("has no keys: every token of this issuer is refused"));
}
