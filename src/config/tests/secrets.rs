//! Where secrets may come from, and that none of them ever comes out again.

use std::fs;

use secrecy::ExposeSecret as _;

use super::{
    super::{overlay::PREFIX, reference::tables},
    *,
};

fn password(config: &Config) -> String {
    match &config.backends["sft"].options["password"] {
        OptionValue::Secret(secret) => secret.expose_secret().to_owned(),
        OptionValue::Plain(_) | OptionValue::Switch(_) => panic!("a password that is not a secret"),
    }
}

#[test]
fn literal_variable_and_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let contents = ["hunter2", "hunter2\n", "hunter2\r\n"];
    for content in contents {
        fs::write(&path, content).unwrap();
        let config = in_backend(&format!("password = {{ file = {path:?} }}"), &[]).unwrap();
        assert_eq!(password(&config), "hunter2", "{content:?}");
    }
    let config = in_backend("password = \" hunter 2 é \"", &[]).unwrap();
    assert_eq!(password(&config), " hunter 2 é ");
    let env = [("SFT_PASSWORD", "hunter2")];
    let config = in_backend("password = { env = \"SFT_PASSWORD\" }", &env).unwrap();
    assert_eq!(password(&config), "hunter2");
    let config = in_backend("[backends.sft.password]\nenv = \"SFT_PASSWORD\"", &env).unwrap();
    assert_eq!(password(&config), "hunter2");
}

#[test]
fn invisible_ends_cause_a_warning_that_does_not_show_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    for (content, expected) in [
        ("hunter2", None),
        ("\u{feff}hunter2\n", None),
        ("\u{feff}\u{feff}hunter2", Some("\u{feff}hunter2")),
        ("hunter2\u{a0}", Some("hunter2\u{a0}")),
        ("\u{200b}hunter2", Some("\u{200b}hunter2")),
        ("hunter2\u{2028}", Some("hunter2\u{2028}")),
        ("hunter2 \n", Some("hunter2 ")),
        ("hunt\u{200b}er2", None),
    ] {
        fs::write(&path, content).unwrap();
        let config = in_backend(&format!("password = {{ file = {path:?} }}"), &[]).unwrap();
        // The last one is about the key of page tokens.
        assert_eq!(config.warnings.len(), 1 + usize::from(expected.is_some()), "{content:?}");
        if let Some(kept) = expected {
            assert_eq!(password(&config), kept);
            let warning = &config.warnings[0];
            let expected = "gateway.toml:4: `backends.sft.password` begins or ends with white";
            assert!(warning.starts_with(expected), "{warning}");
            assert!(!warning.contains("hunter2"), "{warning}");
        }
    }
}

#[test]
fn the_ends_of_every_secret_are_looked_at() {
    const SECRET: &str = "hunter2 and more bytes\u{a0}";
    const KEY: &str = "page_token_key = \"0123456789abcdef\"\n";
    const SHARED: &str = "[store]\nkind = \"shared\"\nsentinels = \"redis://host:1\"\n\
                          master = \"primary\"\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, SECRET).unwrap();
    let file = file.to_str().unwrap();
    let backend = |dialect: &str| {
        // With a proxy, which has a password.
        format!(
            "[backends.name]\ndialect = {dialect:?}\nbase_url = \"https://sft.example\"\n\
             proxy = \"http://proxy.example\"\nproxy_username = \"ops\"\n"
        )
    };
    // Whatever their own checks say of one key without the others.
    let dialects = REGISTRY.iter().map(|known| Registration { build: |_| built(), ..*known });
    let dialects: Vec<Registration> = dialects.collect();
    let mut seen = 0;
    for table in tables() {
        for row in table.rows.iter().filter(|row| row.secret) {
            let backend = backend(table.dialect.unwrap_or("pcc"));
            let text = match table.variables {
                "STORE__" => format!("{KEY}{backend}{SHARED}"),
                _ => backend + STORE,
            };
            let source = Source { file_name: "gateway.toml", text: &text };
            let variable = format!("{PREFIX}{}{}", table.variables, row.key.to_uppercase());
            let (by_file, by_variable) = (format!("{variable}__FILE"), format!("{variable}__ENV"));
            for env in [
                &[(&*variable, SECRET)][..],
                &[(&*by_file, file)],
                &[(&*by_variable, "ELSEWHERE"), ("ELSEWHERE", SECRET)],
            ] {
                let config = load_with(Some(source), &vars(env), &dialects).unwrap();
                let about = format!("{}: `", env[0].0);
                let about = config.warnings.iter().filter(|warning| warning.starts_with(&about));
                let about: Vec<&String> = about.collect();
                let [warning] = about[..] else { panic!("{env:?}: {:?}", config.warnings) };
                assert!(
                    warning.contains(&format!("{}` begins or ends with", row.key)),
                    "{warning}"
                );
                assert!(!warning.contains("hunter2"), "{warning}");
                seen += 1;
            }
        }
    }
    // Of all dialects, and the key of page tokens.
    assert!(seen > 3 * REGISTRY.len(), "{seen}");
}

#[test]
fn unusable_files() {
    let folder = tempfile::tempdir().unwrap();
    let full = "x".repeat(64 * 1024);
    let too_long = format!("{full}y");
    let cases: [(&[u8], &str); 6] = [
        (b"", "must not be empty, but the file "),
        (b"\n", "must not be empty, but the file "),
        (b"hunter2\n\n", "must not contain control characters, but the file "),
        (b"hunter2\0", "must not contain control characters, but the file "),
        (b"hunter2\xff", "cannot be read from the file "),
        (too_long.as_bytes(), "cannot be read from the file "),
    ];
    for (index, (content, expected)) in cases.into_iter().enumerate() {
        let path = folder.path().join(index.to_string());
        fs::write(&path, content).unwrap();
        let whole = report(in_backend(&format!("password = {{ file = {path:?} }}"), &[]));
        let prefix =
            format!("gateway.toml:4: `backends.sft.password` {expected}`{}`", path.display());
        assert!(whole.starts_with(&prefix), "{whole}");
        assert!(!whole.contains("hunter2") && whole.len() < 300, "{whole}");
    }
    let path = folder.path().join("full");
    fs::write(&path, &full).unwrap();
    in_backend(&format!("password = {{ file = {path:?} }}"), &[]).unwrap();

    let whole = report(in_backend(&format!("password = {{ file = {:?} }}", folder.path()), &[]));
    assert!(whole.ends_with(": it is not a regular file"), "{whole}");
    let whole = report(in_backend("password = { file = \"/dev/zero\" }", &[]));
    assert!(whole.ends_with(": it is not a regular file"), "{whole}");
}

/// The value written for `password`, and the beginning of the message.
const MISTAKES: &[(&str, &str)] = &[
    ("5551234", "must be a string, { env = \"NAME\" } or { file = \"PATH\" }, got an integer"),
    ("5551234.5", "must be a string, { env = \"NAME\" } or { file = \"PATH\" }, got a float"),
    ("[\"hunter2\"]", "must be a string, { env = \"NAME\" } or { file = \"PATH\" }, got an array"),
    ("true", "must be a string, { env = \"NAME\" } or { file = \"PATH\" }, got a boolean"),
    ("{}", "must be a string, { env = \"NAME\" } or { file = \"PATH\" }, got a table"),
    ("{ hunter2 = 1 }", "must be a string, { env = \"NAME\" } or { file = \"PATH\" }, got a table"),
    (
        "{ evn = \"hunter2\" }",
        "must be a string, { env = \"NAME\" } or { file = \"PATH\" }, got a table",
    ),
    (
        "{ env = \"A\", file = \"hunter2\" }",
        "must be a string, { env = \"NAME\" } or { file = \"PATH\" }, got a table",
    ),
    ("{ env = 5551234 }", "has an invalid `env`, which must be a string, got an integer"),
    ("{ env = { x = \"hunter2\" } }", "has an invalid `env`, which must be a string, got a table"),
    ("{ env = \"hunter2!\" }", "has an invalid `env`, which must be letters, digits and `_`"),
    ("{ env = \"2hunter2\" }", "has an invalid `env`, which must be letters, digits and `_`"),
    ("{ env = \"EMPTY\" }", "must not be empty, but the environment variable `EMPTY` is"),
    (
        "{ env = \"NEWLINE\" }",
        "must not contain control characters, but the environment variable `NEWLINE` does",
    ),
    ("{ file = \"\" }", "has an invalid `file`, which must not be empty"),
    (
        "{ file = \"hunter2\\n\" }",
        "has an invalid `file`, which must not contain control characters",
    ),
    ("\"\"", "must not be empty, but the value is"),
    ("\"hunter2\\r\\n\"", "must not contain control characters, but the value does"),
    ("\"\"\"hunter2\nhunter2\"\"\"", "must not contain control characters, but the value does"),
];

#[test]
fn wrong_secrets_are_never_repeated() {
    let env = [("EMPTY", ""), ("NEWLINE", "hunter2\n")];
    for (value, expected) in MISTAKES {
        let whole = report(in_backend(&format!("password = {value}"), &env));
        let prefix = format!("gateway.toml:4: `backends.sft.password` {expected}");
        assert!(whole.starts_with(&prefix), "{value}: {whole}");
        assert!(!whole.contains("hunter2") && !whole.contains("5551234"), "{whole}");
    }
}

#[test]
fn a_misplaced_secret_is_not_repeated() {
    let texts = [
        format!("password = \"hunter2\"\n{BACKEND}"),
        format!("[password]\nx = \"hunter2\"\n{BACKEND}"),
        format!("[log]\npassword = \"hunter2\"\n{BACKEND}"),
        format!("[server]\naccess_token = \"hunter2\"\n{BACKEND}"),
        format!("{BACKEND}passwrod = \"hunter2\""),
        format!("{BACKEND}[backends.sft.extra]\npassword = \"hunter2\""),
        format!("{BACKEND}[backends.sft.password.env]\nx = \"hunter2\""),
        BACKEND.replace("bics-sft", "nope") + "password = \"hunter2\"\nlisten = 5",
        BACKEND.replace("https://", "https://x:hunter2@"),
        format!("{BACKEND}password = \"hunter2\" \"hunter2\""),
        format!("{BACKEND}password = 'hunter2'\npassword = 'hunter2'"),
    ];
    for text in texts {
        let errors = read(&text, &[]).unwrap_err();
        let whole = format!("{errors} {errors:?}");
        assert!(!whole.contains("hunter2"), "{whole}");
    }
}

#[test]
fn a_loaded_secret_is_not_shown() {
    let config = in_backend("username = \"ops\"\npassword = \"hunter2\"", &[]).unwrap();
    let shown = [format!("{config:?}"), format!("{config:#?}"), config.redacted().to_string()];
    for text in shown {
        assert!(!text.contains("hunter2") && text.contains("ops"), "{text}");
    }
    let backend = &config.redacted()["backends"]["sft"];
    assert_eq!(backend["password"], "[redacted]");
    assert_eq!(backend["username"], "ops");
    assert!(backend.get("access_token").is_none());
    assert!(!format!("{:?}", config.clone()).contains("hunter2"));
}
