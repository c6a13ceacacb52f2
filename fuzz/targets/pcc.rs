//! What dialect `pcc` makes of any answer: a value or an error, and never a panic.

#![no_main]

mod answers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    answers::decode("pcc", &[("tenant", "a"), ("username", "b"), ("password", "c")], "1", data);
});
