//! Page tokens: none that was not made here is taken, and none panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use profile_gateway::query::page::{PageTokens, Query};

fuzz_target!(|input: (i32, &str, &str)| {
    let (size, token, position) = input;
    let tokens = PageTokens::new([7; 32], usize::MAX);
    let query =
        Query { caller: "a", parent: "backends/a", variant: "", filter: "", order_by: "" };
    if !token.is_empty() {
        assert!(tokens.open(&query, size, token).is_err(), "a token out of nothing");
    }
    let own = tokens.seal(&query, position).expect("a token");
    let page = tokens.open(&query, size.saturating_abs(), &own);
    if position.len() < 8192 {
        let _ = page.expect("an own token").cut(3, |n| n.to_string());
    }
});
