//! What proxies say of certificates: none panics, and what is taken for an id is one that is there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use profile_gateway::auth::xfcc::spiffe_id;

const ID: &str = "spiffe://example.org/ns/a/sa/app";

fuzz_target!(|header: &[u8]| {
    if let Ok(id) = spiffe_id(header) {
        let text = std::str::from_utf8(header).expect("text");
        assert!(id.starts_with("spiffe://") && text.contains(&id), "an id out of nothing");
    }
    // Whatever a client has sent comes before what its proxy says.
    let own = [header, format!(",By=spiffe://a/b;URI={ID}").as_bytes()].concat();
    if let Ok(id) = spiffe_id(&own) {
        assert_eq!(id, ID);
    }
});
