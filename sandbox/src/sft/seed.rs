//! The profiles an SFT account starts with. Ids, names and gaps follow the documents' examples
//! where there are any.

use super::state::{Account, ChildEntity, Profile};

const SMS_AND_DATA: &[&str] = &["DATA", "MO-SMS", "MT-SMS"];
const ALL: &[&str] = &["DATA", "MO-SMS", "MT-SMS", "NB-IOT"];
const NB_IOT: &[&str] = &["NB-IOT"];
const UP_TO_4G: Option<&str> = Some("2G/3G/4G");
const UP_TO_5G: Option<&str> = Some("2G/3G/4G/5G");

pub(super) fn account(max_profiles: usize) -> Account {
    let mut account = Account::new(max_profiles);
    for (id, profile) in ordinary().into_iter().chain(special()) {
        account.put(id, profile);
    }
    account
}

fn ordinary() -> Vec<(&'static str, Profile)> {
    vec![
        ("SP_352", base("MVNEServiceProfile-Base", SMS_AND_DATA, UP_TO_5G)),
        ("SP_353", addon("MVNEServiceProfile-Addon", SMS_AND_DATA, UP_TO_4G)),
        ("SP_361", base("Smart Meters NB-IoT", NB_IOT, None)),
        ("SP_367", base("Legacy 2G Trackers", SMS_AND_DATA, Some("2G"))),
        ("SP_6288", addon("addonn", NB_IOT, None)),
    ]
}

/// Profiles in a state that makes some requests fail or look different.
fn special() -> Vec<(&'static str, Profile)> {
    let default = Profile { is_default: true, ..base("DEFAULT", ALL, UP_TO_5G) };
    let inactive =
        Profile { status: "0".to_owned(), ..base("Retired Fleet", &["DATA"], Some("2G/3G")) };
    let in_use =
        Profile { attached_to_plan: true, ..base("Connected Cars", SMS_AND_DATA, UP_TO_4G) };
    let with_child = Profile {
        child_entity: Some(ChildEntity {
            name: "Reseller_11".to_owned(),
            rat: "2G/3G/4G".to_owned(),
        }),
        ..base("Wholesale", SMS_AND_DATA, UP_TO_5G)
    };
    vec![("SP_2", default), ("SP_402", inactive), ("SP_1249", in_use), ("SP_1301", with_child)]
}

fn base(name: &str, services: &[&str], rat: Option<&str>) -> Profile {
    Profile {
        name: name.to_owned(),
        services: services.iter().map(|&service| service.to_owned()).collect(),
        rat: rat.map(str::to_owned),
        ..Profile::default()
    }
}

fn addon(name: &str, services: &[&str], rat: Option<&str>) -> Profile {
    Profile { category: "1".to_owned(), ..base(name, services, rat) }
}
