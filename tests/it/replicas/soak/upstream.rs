//! The faults of the upstream. What it does, it does when it is asked, so that the one that holds
//! the turn of a profile is the one that writes.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::sleep;

use super::field::Field;
use crate::kit::chance::Chance;

const WRITES: [(&str, &str); 8] = [
    ("sft", "CreateServiceProfile"),
    ("sft", "ModifyServiceProfile"),
    ("sft", "DeleteServiceProfile"),
    ("endpoint", "CreateProfile"),
    ("endpoint", "PatchProfile"),
    ("endpoint", "DeleteProfile"),
    ("endpoint", "PutService"),
    ("endpoint", "DeleteService"),
];
const READS: [(&str, &str); 3] =
    [("sft", "GetServiceProfile"), ("endpoint", "GetProfile"), ("endpoint", "ListProfiles")];

impl Field {
    /// Breaks something now and then, until all calls are over.
    pub(super) async fn disturb(self: Arc<Self>, mut chance: Chance) {
        while !self.is_over() {
            sleep(Duration::from_millis(50 + chance.below(250))).await;
            let commit = chance.pick(&["none", "before"]);
            let (of, fault) = match chance.below(8) {
                0 => (&WRITES[..], json!({"kind": "hang", "commit": commit})),
                1 => (&WRITES[..], json!({"kind": "reset", "commit": commit})),
                2 => (&WRITES[..], json!({"kind": "drop", "commit": commit})),
                3 | 4 => {
                    let ms = 20 + chance.below(600);
                    (&WRITES[..], json!({"kind": "delay", "ms": ms, "commit": "before"}))
                }
                5 => (&WRITES[..], json!({"kind": "status", "status": 503, "commit": commit})),
                6 => (&READS[..], json!({"kind": "delay", "ms": 20 + chance.below(600)})),
                _ => (&READS[..], json!({"kind": "reset"})),
            };
            let (upstream, operation) = chance.pick(of);
            let spec = json!({"upstream": upstream, "operation": operation, "fault": fault});
            self.sandbox.arm_spec(spec).await;
            if chance.one_in(20) {
                // Faults that no request met pile up.
                self.sandbox.calm().await;
            }
        }
        self.sandbox.calm().await;
    }
}
