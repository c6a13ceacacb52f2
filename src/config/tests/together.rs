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
fn where_writes_are_recorded_has_to_be_said() {
    let why = report(with_backend("[store]"));
    assert!(why.starts_with("gateway.toml:1: `store.path` is missing: "), "{why}");
    for line in ["`[store]`", "`path = \"/var/lib/profile-gateway\"`", "`kind = \"memory\"`"] {
        assert!(why.contains(line), "{why}");
    }
    let forgetful = with_backend("[store]\nkind = \"memory\"").unwrap();
    assert!(forgetful.warnings.iter().any(|warning| warning.contains("`store.kind`")));
    let both = report(with_backend("[store]\nkind = \"memory\"\npath = \"/x\""));
    assert!(both.contains("keep only one of them"), "{both}");
    // A trial run forgets without being told to.
    let trial = load_with(None, &[], DIALECTS).unwrap();
    assert_eq!((trial.store.kind, trial.warnings.len()), (StoreKind::Memory, 0));
    let wrong = report(with_backend("[store]\nkind = \"disk\""));
    assert_eq!(wrong.lines().count(), 1, "{wrong}");
}

#[test]
fn a_bad_log_level_is_reported_with_the_other_mistakes() {
    assert_eq!(report(with_backend("[log]\nlevel = \"loud\"\nformat = \"x\"")).lines().count(), 2);
}
