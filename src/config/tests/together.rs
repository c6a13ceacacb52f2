//! Values that depend on each other, and mistakes that come together.

use super::*;
use crate::store::StoreKind;

#[test]
fn both_ports_may_be_zero() {
    let config = with_backend("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"").unwrap();
    assert_eq!(config.addresses.listen, config.addresses.admin_listen);
    with_backend("listen = \"127.0.0.1:9090\"\nadmin_listen = \"127.0.0.2:9090\"").unwrap();
}

#[test]
fn where_writes_are_recorded_and_how_belong_together() {
    let load = |store: &str| {
        let text = format!("{BACKEND}{store}");
        let source = Source { file_name: "gateway.toml", text: &text };
        load_with(Some(source), &[], DIALECTS)
    };
    let nowhere = "the store has no `path`: ";
    for (store, wrong) in [
        ("", nowhere),
        ("[store]", nowhere),
        ("[store]\nkind = \"file\"", nowhere),
        ("[store]\nkind = \"memory\"\npath = \"/x\"", "keep only one of them"),
        ("[store]\nkind = \"disk\"", "`store.kind`"),
        ("[store]\npath = 5", "`store.path`"),
    ] {
        let why = report(load(store));
        assert!(why.contains(wrong) && why.lines().count() == 1, "{why}");
    }
    let both_ways_out = ["`path = \"/var/lib/profile-gateway\"`", "`kind = \"memory\"`"];
    let why = report(load(""));
    assert!(both_ways_out.iter().all(|way| why.contains(way)), "{why}");
    let warns =
        |config: &Config| config.warnings.iter().any(|warning| warning.contains("`store.kind`"));
    for (store, kind) in [
        ("[store]\nkind = \"memory\"", StoreKind::Memory),
        ("[store]\npath = \"/x\"", StoreKind::File),
        ("[store]\nkind = \"file\"\npath = \"/x\"", StoreKind::File),
    ] {
        let config = load(store).unwrap();
        let forgets = kind == StoreKind::Memory;
        assert_eq!((config.store.kind, warns(&config)), (kind, forgets), "{store}");
    }
}

#[test]
fn a_trial_without_backends_may_forget() {
    let trial = load_with(None, &[], DIALECTS).unwrap();
    assert_eq!((trial.store.kind, trial.store.path), (StoreKind::Memory, None));
    assert!(!trial.warnings.iter().any(|warning| warning.contains("store")));
    let path = [("PROFILE_GATEWAY__STORE__PATH", "/x")];
    let trial = load_with(None, &vars(&path), DIALECTS).unwrap();
    assert_eq!((trial.store.kind, trial.store.path.as_deref()), (StoreKind::File, Some("/x")));
}

#[test]
fn a_bad_log_level_is_reported_with_the_other_mistakes() {
    assert_eq!(report(with_backend("[log]\nlevel = \"loud\"\nformat = \"x\"")).lines().count(), 2);
}

#[test]
fn what_replicas_share_has_a_place_and_a_key() {
    const KEY: &str = "page_token_key = \"0123456789abcdef\"\n";
    let load = |top: &str, store: &str| {
        let text = format!("{top}{BACKEND}[store]\n{store}");
        let source = Source { file_name: "gateway.toml", text: &text };
        load_with(Some(source), &[], DIALECTS)
    };
    let config = load(KEY, "kind = \"shared\"\nurl = \"redis://host:1\"").unwrap();
    assert_eq!(config.store.kind, StoreKind::Shared);
    assert_eq!(config.shared.unwrap().namespace, "default");
    let warns = |store: &str, of: &str| {
        let store = format!("kind = \"shared\"\n{store}");
        let warnings = load(KEY, &store).unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].contains(of), "{warnings:?}");
    };
    warns("url = \"redis://127.0.0.1:1\"", "`store.namespace` is `default`");
    warns("url = \"redis://host:1\"\nnamespace = \"a\"", "`store.url` is not encrypted");
    let alone = "url = \"unix:/run/a\"\nnamespace = \"a\"\nwhen_unreachable = \"write_alone\"";
    warns(alone, "`store.when_unreachable` is `write_alone`");
    let well = load(KEY, "kind = \"shared\"\nurl = \"rediss://host\"\nnamespace = \"a\"").unwrap();
    assert!(well.warnings.is_empty(), "{:?}", well.warnings);
    for (top, store, wrong) in [
        ("", "kind = \"shared\"\nurl = \"redis://host:1\"", "`page_token_key` is not set"),
        (KEY, "kind = \"shared\"", "the shared store has no place"),
        (KEY, "kind = \"shared\"\nurl = \"redis://host:1\"\npath = \"/x\"", "keep only one"),
        (KEY, "kind = \"memory\"\nurl = \"redis://host:1\"", "with `kind = \"shared\"` also url,"),
        (KEY, "kind = \"shared\"\nurl = \"redis://host:1\"\nlease = \"1s\"", "`store.lease`"),
    ] {
        let why = report(load(top, store));
        assert!(why.contains(wrong) && why.lines().count() == 1, "{why}");
    }
}
