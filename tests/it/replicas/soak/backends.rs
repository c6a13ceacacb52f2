//! The backends of a soak: two that are written and read, and two on which the limits and the
//! credentials of an account are tried.

use crate::kit::{replicas::unlimited, sandbox::Sandbox};

/// Names of the upstreams that are written and read.
pub(super) const BACKENDS: [&str; 2] = ["sft", "endpoint"];
/// What is asked for more often than it may be.
pub(super) const LIMITED: &str = "pcc";
pub(super) const PER_SECOND: u32 = 20;
/// What has a wrong password now and then, after which this is written.
pub(super) const ROTATED: &str = "rotated";
pub(super) const MARK: &str = " # rotated";

const LINES: &str = "settle_time = \"700ms\"\nconfirm_deletions = true\nwatch_interval = \"1s\"\n\
                     max_queued_calls = 1000\ndialect =";

/// The sections of all of them, at this place.
pub(super) fn sections(sandbox: &Sandbox, base_url: &str) -> String {
    let plain = sandbox.config();
    let section = |config: &str, name: &str| {
        let begins = format!("[backends.{name}]");
        let found = config.split("\n\n").find(|section| section.starts_with(&begins));
        found.unwrap().trim_end().to_owned()
    };
    let free = unlimited(&plain).replace("dialect =", LINES);
    let [sft, endpoint] = BACKENDS.map(|name| section(&free, name));
    let rate = format!("requests_per_second = {PER_SECOND}\nrequest_limit = \"off\"\ndialect =");
    let limited = section(&plain, LIMITED).replace("dialect =", &rate);
    let rotated =
        section(&unlimited(&plain), "sft").replace("[backends.sft]", "[backends.rotated]");
    // The password is last.
    let all = [sft, endpoint, limited, rotated + MARK].join("\n\n");
    all.replace(&sandbox.base_url(), base_url)
}
