//! Operators and their tokens.

use super::*;

const JANE: &str = "[operators.jane]\ntoken = \"of one person alone\"\n";

#[test]
fn an_operator_has_a_token_of_its_own() {
    let config = with_backend(JANE).unwrap();
    let names: Vec<&str> = config.operators.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["jane"]);
    assert!(!format!("{config:?}").contains("of one person"));
    assert!(!config.redacted().to_string().contains("of one person"));
}

#[test]
fn variables_name_operators_and_where_their_tokens_are() {
    let env = [
        ("PROFILE_GATEWAY__OPERATORS__JANE__TOKEN__ENV", "JANES"),
        ("JANES", "of one person alone"),
        ("PROFILE_GATEWAY__OPERATORS__NIGHT_SHIFT__TOKEN", "of those who are awake"),
    ];
    let config = read(BACKEND, &env).unwrap();
    let names: Vec<&str> = config.operators.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["jane", "night-shift"]);
    let said = report(read(BACKEND, &[("PROFILE_GATEWAY__OPERATORS__JANE", "of one person")]));
    assert!(said.contains("PROFILE_GATEWAY__OPERATORS__NAME__KEY"), "{said}");
}

#[test]
fn who_cannot_be_told_apart_is_refused() {
    for (text, expected) in [
        ("[operators.jane]\n", "`operators.jane.token` is missing"),
        ("[operators.jane]\ntoken = \"short\"\n", "at least 16 bytes"),
        ("[operators.jane]\ntokne = \"of one person alone\"\n", "did you mean `token`?"),
        ("[operators.Jane]\ntoken = \"of one person alone\"\n", "the name of `operators.Jane`"),
        ("[operators.admin]\ntoken = \"of one person alone\"\n", "who sends `admin_token`"),
        (
            "admin_token = \"of one person alone\"\n[operators.jane]\n\
             token = \"of one person alone\"\n",
            "`admin_token` and `operators.jane.token` are the same",
        ),
        (
            "[operators.jane]\ntoken = \"of one person alone\"\n[operators.joe]\n\
             token = \"of one person alone\"\n",
            "`operators.jane.token` and `operators.joe.token` are the same",
        ),
    ] {
        let said = report(with_backend(text));
        assert!(said.contains(expected), "{text}: {said}");
        assert!(!said.contains("of one person"), "{said}");
    }
}

#[test]
fn an_operator_guards_the_admin_port_as_a_token_does() {
    let open = "admin_listen = \"0.0.0.0:9090\"\n";
    let warned = with_backend(open).unwrap().warnings;
    assert!(warned.iter().any(|warning| warning.contains("`admin_listen`")), "{warned:?}");
    let warned = with_backend(&format!("{open}{JANE}")).unwrap().warnings;
    assert!(!warned.iter().any(|warning| warning.contains("`admin_listen`")), "{warned:?}");
}
