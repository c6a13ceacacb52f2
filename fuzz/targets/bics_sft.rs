//! What dialect `bics-sft` makes of any answer: a value or an error, and never a panic.

#![no_main]

mod answers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    answers::decode("bics-sft", &[("username", "a"), ("password", "b")], "SP_1", data);
});
