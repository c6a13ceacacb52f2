//! Values that depend on each other, and mistakes that come together.

use super::*;

#[test]
fn both_ports_may_be_zero() {
    let config = with_backend("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"").unwrap();
    assert_eq!(config.addresses.listen, config.addresses.admin_listen);
    with_backend("listen = \"127.0.0.1:9090\"\nadmin_listen = \"127.0.0.2:9090\"").unwrap();
}

#[test]
fn a_bad_log_level_is_reported_with_the_other_mistakes() {
    assert_eq!(report(with_backend("[log]\nlevel = \"loud\"\nformat = \"x\"")).lines().count(), 2);
}
