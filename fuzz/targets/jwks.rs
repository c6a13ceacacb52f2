//! Key sets of issuers: none panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use profile_gateway::auth::is_key_set;

fuzz_target!(|data: &[u8]| {
    // What the corpus has before the text of a fixture.
    let text = data.get(2..).unwrap_or_default();
    let _ = (is_key_set(data), is_key_set(text));
});
