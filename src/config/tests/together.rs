//! Several values that are each right, or each wrong.

use super::*;

#[test]
fn port_zero_may_be_asked_for_twice() {
    let config = with_backend("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"").unwrap();
    assert_eq!(config.addresses.listen, config.addresses.admin_listen);
    with_backend("listen = \"127.0.0.1:9090\"\nadmin_listen = \"127.0.0.2:9090\"").unwrap();
}

#[test]
fn a_log_level_is_refused_with_the_other_mistakes() {
    assert_eq!(report(with_backend("[log]\nlevel = \"loud\"\nformat = \"x\"")).lines().count(), 2);
}
