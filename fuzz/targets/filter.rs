//! Filters and orders: no text panics, and what can be read can be evaluated.

#![no_main]

use libfuzzer_sys::fuzz_target;
use profile_gateway::{
    pb::{Profile, RadioAccess, Service, State, TrafficLimit},
    query::{filter::Filter, sort::OrderBy},
};

fuzz_target!(|text: &str| {
    let profile = Profile {
        name: "backends/a/profiles/SP_1".to_owned(),
        display_name: "MVNE profile".to_owned(),
        state: State::Active.into(),
        radio_access: vec![RadioAccess::RadioAccess4g.into()],
        services: vec![Service {
            id: "4".to_owned(),
            traffic_limits: vec![TrafficLimit { volume: Some(7), ..TrafficLimit::default() }],
            ..Service::default()
        }],
        ..Profile::default()
    };
    if let Ok(filter) = Filter::parse(text) {
        let _ = filter.matches(&profile);
        let _ = filter.matches(&Profile::default());
    }
    if let Ok(order) = OrderBy::parse(text) {
        let _ = order.position(&profile);
        let _ = order.position(&Profile::default());
    }
});
