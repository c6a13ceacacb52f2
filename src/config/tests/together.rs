//! Values that depend on each other, and mistakes that come together.

use super::*;

#[test]
fn both_ports_may_be_zero() {
    let config = with_backend("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"").unwrap();
    assert_eq!(config.addresses.listen, config.addresses.admin_listen);
    with_backend("listen = \"127.0.0.1:9090\"\nadmin_listen = \"127.0.0.2:9090\"").unwrap();
}

#[test]
fn where_writes_are_recorded_and_how_belong_together() {
    for (store, wrong) in [
        ("kind = \"file\"", "needs a `path`"),
        ("kind = \"memory\"\npath = \"/x\"", "keep only one of them"),
        ("kind = \"disk\"", "`store.kind`"),
    ] {
        let why = report(with_backend(&format!("[store]\n{store}")));
        assert!(why.contains(wrong) && why.lines().count() == 1, "{why}");
    }
    let warns = |config: &Config| {
        config.warnings.iter().any(|warning| warning.contains("`store.path` is not set"))
    };
    for (store, forgets) in [
        ("", true),
        ("[store]\nkind = \"memory\"", true),
        ("[store]\npath = \"/x\"", false),
        ("[store]\nkind = \"file\"\npath = \"/x\"", false),
    ] {
        let text = format!("{BACKEND}{store}");
        let source = Source { file_name: "gateway.toml", text: &text };
        let config = load_with(Some(source), &[], DIALECTS).unwrap();
        assert_eq!((warns(&config), config.store.path.is_none()), (forgets, forgets), "{store}");
    }
    // A trial run may forget.
    let trial = load_with(None, &[], DIALECTS).unwrap();
    assert!(!warns(&trial) && trial.store.path.is_none());
}

#[test]
fn a_bad_log_level_is_reported_with_the_other_mistakes() {
    assert_eq!(report(with_backend("[log]\nlevel = \"loud\"\nformat = \"x\"")).lines().count(), 2);
}
