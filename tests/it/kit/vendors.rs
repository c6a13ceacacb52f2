//! One read in each dialect, for what holds whatever the vendor speaks.

use serde_json::json;

use super::{
    bodies,
    double::{self, Answer, GET, OTHER},
    gateway::{Builder, TOKEN},
};

/// A dialect, and how an upstream that speaks it is asked for one profile.
pub struct Vendor {
    pub dialect: &'static str,
    /// The lines of its fixed credentials.
    pub fixed: String,
    /// The profile.
    pub id: &'static str,
    /// The operation that reads it, by the double's name.
    pub get: &'static str,
    /// The answer that has it.
    pub found: Answer,
}

/// All dialects. Each backend is called `sft`, so that the gateway's short methods reach it.
pub fn vendors() -> [Vendor; 3] {
    let basic = "tenant = \"acme\"\nusername = \"operator\"\npassword = \"password-of-the-kit\"";
    [
        Vendor {
            dialect: "bics-sft",
            fixed: format!("access_token = \"{TOKEN}\""),
            id: "SP_1",
            get: GET,
            found: double::json(bodies::profiles(&[bodies::profile("SP_1", "one")])),
        },
        Vendor {
            dialect: "endpoint",
            fixed: format!("auth_token = \"{TOKEN}\""),
            id: "1",
            get: OTHER,
            found: double::json(json!({"id": 1, "name": "one"})),
        },
        Vendor {
            dialect: "pcc",
            fixed: basic.to_owned(),
            id: "1",
            get: OTHER,
            found: double::json(json!({"id": 1, "name": "one", "defaultProfile": false})),
        },
    ]
}

impl Vendor {
    /// A gateway with this vendor's upstream at an address, and these lines in its section.
    pub fn on(&self, builder: Builder, base_url: &str, lines: &str) -> Builder {
        let Self { dialect, fixed, .. } = self;
        builder.section(&format!(
            "[backends.sft]\ndialect = \"{dialect}\"\nbase_url = \"{base_url}\"\n{fixed}\n{lines}\n"
        ))
    }
}
