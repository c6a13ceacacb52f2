//! Generated profiles and mutated answers.

use proptest::prelude::*;

use super::*;
use crate::model::fields::Fields;
use crate::pb::{
    ApiSecret, Callback, Callbacks, Dns, EsmeInterface, NetworkSettings, PaymentType, Quotas,
    SmsSettings,
};

prop_compose! {
    fn any_services()(
        services in proptest::collection::btree_map(
            0_u32..60, proptest::collection::btree_set(0_u32..20, 0..4), 0..5),
    ) -> Vec<Service> {
        services.into_iter().map(|(id, limits)| {
            let id = id.to_string();
            Service {
                r#type: service::kind(&id, None).into(),
                traffic_limits: limits.iter().map(|id| limit(&id.to_string())).collect(),
                id,
                ..Service::default()
            }
        }).collect()
    }
}

prop_compose! {
    fn any_settings()(
        retail: Option<bool>, data: Option<bool>, texts: Option<bool>, internal: Option<bool>,
        external: Option<bool>, pdp: Option<bool>,
        ids in proptest::collection::vec(proptest::option::of(0_i64..i64::MAX), 5),
    ) -> Profile {
        let id = |at: usize| ids[at].map(|id| id.to_string());
        let some = |value: Quotas| (value != Quotas::default()).then_some(value);
        let sms = SmsSettings {
            p2p_internal: internal,
            p2p_external: external,
            esme_interface: id(0).map(|id| EsmeInterface { id, description: None }),
        };
        let network = NetworkSettings {
            network_initiated_pdp: pdp,
            breakout_region: None,
            dns: id(1).map(|id| Dns { id, ..Dns::default() }),
        };
        let callbacks = Callbacks {
            api: id(2).map(|id| Callback { id, ..Callback::default() }),
            api_secret: id(3).map(|id| ApiSecret { id, purpose: None }),
            moc: id(4).map(|id| Callback { id, ..Callback::default() }),
        };
        Profile {
            retail,
            quotas: some(Quotas { data, sms: texts }),
            sms: (sms != SmsSettings::default()).then_some(sms),
            network: (network != NetworkSettings::default()).then_some(network),
            callbacks: (callbacks != Callbacks::default()).then_some(callbacks),
            ..Profile::default()
        }
    }
}

prop_compose! {
    fn any_profile()(
        settings in any_settings(),
        name in "[a-zA-Z0-9 äß/|&'\"\\\\]{1,40}",
        description in proptest::option::of("[a-z \"]{1,20}"),
        radio in proptest::sample::subsequence(vec![R3g, R4g, NbIot, NbIotNtn], 0..=4),
        payment in 0..3_i32,
        services in any_services(),
    ) -> Profile {
        Profile {
            display_name: name,
            description,
            radio_access: [R2g].into_iter().chain(radio).map(i32::from).collect(),
            payment_type: PaymentType::try_from(payment).unwrap().into(),
            services,
            endpoint_count: Some(0),
            ..settings
        }
    }
}

proptest! {
    #[test]
    fn written_profiles_are_read_back(mut profile in any_profile()) {
        let (recorder, held) = fake::obedient(Value::Null);
        let id = create(&recorder, &recorder, &profile).unwrap();
        let mut found = now(ENDPOINT.get(&recorder, &id)).unwrap().profile;
        crate::model::etag::normalize(&mut found);
        crate::model::etag::normalize(&mut profile);
        prop_assert_eq!(&found, &profile);
        prop_assert!(ENDPOINT.is_created(&profile, &found));
        drop(held);
    }

    #[test]
    fn an_update_turns_one_profile_into_the_other(
        before in any_profile(),
        mut after in any_profile(),
    ) {
        let (recorder, _) = fake::obedient(Value::Null);
        create(&recorder, &recorder, &before).unwrap();
        let current = now(ENDPOINT.get(&recorder, "7")).unwrap().profile;
        let (mut fields, had) = (Fields::of(&after).unwrap(), Fields::of(&current).unwrap());
        for (path, _) in check::unclearable(&current, &after) {
            fields.copy(path, &had);
        }
        after = fields.into_profile().unwrap();
        let change = ProfileUpdate { id: "7", current: &current, desired: &after };
        let same = encode::differences(&current, &after).is_empty()
            && current.services == after.services;
        now(ENDPOINT.update(&recorder, change)).unwrap();
        let mut found = now(ENDPOINT.get(&recorder, "7")).unwrap().profile;
        prop_assert!(ENDPOINT.is_applied(change, &found));
        prop_assert!(same || !ENDPOINT.is_applied(change, &current));
        crate::model::etag::normalize(&mut found);
        crate::model::etag::normalize(&mut after);
        // A cleared description is an empty one.
        found.description = found.description.filter(|text| !text.is_empty());
        prop_assert_eq!(found, after);
    }

    #[test]
    fn mutated_answers_never_panic(
        at in 0_usize..3000,
        byte: u8,
        cut in 0_usize..3000,
        truncate: bool,
    ) {
        for name in ["profile", "list"] {
            let mut body = fixture(name).to_string().into_bytes();
            let cut = cut % body.len();
            if truncate { body.truncate(cut) } else { let at = at % body.len(); body[at] = byte; }
            for status in [200, 422] {
                let recorder = Recorder::default();
                recorder.push(status, body.clone());
                let got = now(ENDPOINT.get(&recorder, "1"));
                prop_assert!(!(truncate || status == 422) || got.is_err());
            }
        }
    }

    #[test]
    fn a_write_succeeds_only_when_the_upstream_says_so(
        status in 100_u16..600,
        body in "(\\{\"error_code\":[0-9]{4}\\}|\\{|<html>|[a-z]{0,9}|\\{\\})",
    ) {
        let recorder = Recorder::default();
        recorder.push(status, body.clone());
        let deleted = now(ENDPOINT.delete(&recorder, "1"));
        let good = status == 204
            && (body.is_empty()
                || serde_json::from_str::<Value>(&body).is_ok_and(|b| b == json!({})));
        // `null`, `true` and the like are JSON too, but say nothing.
        let word = ["null", "true", "false"].contains(&body.as_str());
        let is_vague = word && (200..300).contains(&status);
        prop_assert!(deleted.is_ok() == good || is_vague, "{} {}", status, body);
    }
}
