//! Hostile input: it is refused in reasonable time, and nothing panics.

use proptest::prelude::*;

use super::*;

#[test]
fn a_file_over_a_mebibyte_is_refused_unread() {
    let text = "#".repeat(10 << 20);
    let source = Source { file_name: "gateway.toml", text: &text };
    assert_eq!(
        report(load_with(Some(source), &[], DIALECTS)),
        "gateway.toml: the file has 10485760 bytes, the limit is 1048576"
    );
    let valid = format!("{BACKEND}{STORE}");
    let text = format!("{valid}#{}", "#".repeat((1 << 20) - valid.len() - 1));
    assert_eq!(text.len(), 1 << 20);
    read(&text, &[]).unwrap();
}

/// Regression: a parsed document of six thousand levels overflowed the stack when it was dropped by
/// recursion.
#[test]
fn depth_does_not_exhaust_the_stack() {
    let dotted = ["a"; 79].join(".");
    let nested = format!("{}b = 1{}", format!("{dotted} = {{").repeat(78), "}".repeat(78));
    let whole = report(with_backend(&nested));
    assert!(whole.starts_with("gateway.toml:1: unknown section `a`"), "{whole}");
    let in_secret = report(in_backend(&format!("password = {{ {nested} }}"), &[]));
    assert!(in_secret.starts_with("gateway.toml:4: `backends.sft.password` must be a string"));
    // The same with a syntax error behind it, which takes another way out.
    let broken = report(with_backend(&format!("{nested}\n!")));
    assert!(broken.starts_with("gateway.toml:2: not valid TOML"), "{broken}");
    let arrays = format!("x = {}{}", "[".repeat(70), "]".repeat(70));
    assert!(report(with_backend(&arrays)).contains("unknown key `x`"));
}

#[test]
fn a_mebibyte_of_garbage_is_refused() {
    for unit in [
        "=\n", "a b\n", "[", "[\n", "{", "a=[", "a={", "a.", "\0", "\"", "'''", "\u{feff}",
        "a=1\n", "[[a]]\n",
    ] {
        let text = unit.repeat((1 << 20) / unit.len());
        let whole = report(read(&text, &[]));
        assert!(whole.len() < 40_000, "{unit:?}: {} bytes", whole.len());
    }
}

#[test]
fn the_number_of_reported_mistakes_is_limited() {
    use std::fmt::Write as _;
    let mut text = BACKEND.to_owned();
    for index in 0..5_000 {
        writeln!(text, "k{index} = 1").unwrap();
    }
    let errors = read(&text, &[]).unwrap_err();
    assert_eq!(errors.iter().len(), 101);
    assert_eq!(errors.iter().next().unwrap().origin, "gateway.toml:4");
    assert!(errors.to_string().ends_with("configuration: 4900 more errors are not shown"));
}

#[test]
fn long_and_odd_texts_are_shortened_in_messages() {
    let long = "k".repeat(100_000);
    for text in [format!("{long} = 1"), format!("[{long}]"), format!("listen = \"{long}\"")] {
        assert!(report(with_backend(&text)).len() < 450);
    }
    let source = Source { file_name: "a\nb\u{1b}[31m", text: "x" };
    let whole = load_with(Some(source), &[], DIALECTS).unwrap_err().to_string();
    assert!(whole.starts_with("a\u{fffd}b\u{fffd}[31m:1: "), "{whole}");
}

#[test]
fn numbers_beyond_every_type() {
    let huge = "9".repeat(60);
    for (key, value) in [
        ("max_connections", huge.clone()),
        ("max_request_bytes", huge.clone()),
        ("max_request_bytes", format!("\"{huge}GiB\"")),
        ("max_timeout", huge.clone()),
        ("max_timeout", format!("\"{huge}s\"")),
        ("max_timeout", "\"18446744073709551615y 18446744073709551615y\"".to_owned()),
        ("max_connections", "-9223372036854775808".to_owned()),
    ] {
        let whole = report(with_backend(&format!("[server]\n{key} = {value}")));
        assert!(whole.starts_with("gateway.toml:2: "), "{whole}");
    }
}

const SEED: &str = r#"listen = "127.0.0.1:0"
[log]
level = "info"
[server]
max_timeout = "5m"
max_request_bytes = "8MiB"
[backends.sft-emea]
dialect = "bics-sft"
base_url = "http://[::1]:80/x/"
password = { env = "HUNTER" }
"#;

fn mutated() -> impl Strategy<Value = String> {
    let edit = (0..SEED.len(), 0..12_usize, "[\\PC\\x00\n\"'\\[\\]{}.=#@/:é]{0,6}");
    prop::collection::vec(edit, 0..6).prop_map(|edits| {
        let mut text: Vec<char> = SEED.chars().collect();
        for (at, cut, put) in edits {
            let at = at.min(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, put.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn mutated_files_do_not_panic(
        text in mutated(),
        name in "(LOG|SERVER|BACKENDS|LISTEN|[A-Z_é-]{0,9})(__[A-Za-z_-]{0,9}){0,4}",
        value in "\\PC{0,12}",
    ) {
        let name = format!("PROFILE_GATEWAY__{name}");
        for env in [vec![], vec![(name.as_str(), value.as_str()), ("HUNTER", "hunter2")]] {
            match read(&text, &env) {
                Ok(config) => {
                    let shown = format!("{config:?} {}", config.redacted());
                    prop_assert!(!shown.contains("hunter2"));
                }
                Err(errors) => {
                    prop_assert!(errors.iter().len() > 0);
                    prop_assert!(!errors.to_string().contains("hunter2"));
                }
            }
        }
    }

    #[test]
    fn any_text_does_not_panic(text in "(?s).{0,200}", secret in "(?s).{0,40}") {
        let _ = read(&text, &[]);
        let _ = in_backend(&format!("password = {{ env = {text:?} }}"), &[]);
        let keys = format!("max_response_bytes = {text:?}\nconnect_timeout = {secret:?}");
        let _ = in_backend(&keys, &[]);
        let _ = in_backend(&format!("display_name = {text:?}"), &[]);
        let host = text.escape_default().to_string();
        let _ = read(&format!("{}#", BACKEND.replace("sft.example", &host)), &[]);
    }
}
