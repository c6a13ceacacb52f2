//! The name and capabilities of this dialect.

use crate::model::{
    capability::{Capabilities, Field},
    method::Method,
};

pub(super) const NAME: &str = "bics-sft";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    methods: &[
        Method::GetProfile,
        Method::ListProfiles,
        Method::CreateProfile,
        Method::UpdateProfile,
        Method::DeleteProfile,
        Method::AttachService,
        Method::DetachService,
        Method::ListServices,
    ],
    fields: &[
        Field::read_only("name"),
        Field::read_only("dialect"),
        Field::read_only("etag"),
        Field::read_only("unmapped"),
        Field::read_write("display_name").required(),
        Field::read_write("state").required().allowing(&["STATE_ACTIVE", "STATE_INACTIVE"]),
        Field::create_only("category").required().allowing(&["CATEGORY_BASE", "CATEGORY_ADDON"]),
        Field::read_write("radio_access").allowing(RADIO_ACCESS),
        Field::read_write("services").allowing(SERVICE_TYPES),
    ],
};

/// Every combination that a profile can have.
const RADIO_ACCESS: &[&str] = &[
    "RADIO_ACCESS_2G",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G+RADIO_ACCESS_4G",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G+RADIO_ACCESS_4G+RADIO_ACCESS_5G",
    "RADIO_ACCESS_2G+RADIO_ACCESS_NB_IOT",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G+RADIO_ACCESS_NB_IOT",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G+RADIO_ACCESS_4G+RADIO_ACCESS_NB_IOT",
    "RADIO_ACCESS_2G+RADIO_ACCESS_3G+RADIO_ACCESS_4G+RADIO_ACCESS_5G+RADIO_ACCESS_NB_IOT",
    "RADIO_ACCESS_NB_IOT",
];

const SERVICE_TYPES: &[&str] = &["SERVICE_TYPE_DATA", "SERVICE_TYPE_SMS_MO", "SERVICE_TYPE_SMS_MT"];
