//! What dialect `endpoint` makes of any answer: a value or an error, and never a panic.

#![no_main]

mod answers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    answers::decode("endpoint", &[("application_token", "a")], "1", data);
});
