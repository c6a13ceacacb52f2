//! How two profiles differ.

use crate::{
    error::Result,
    model::fields::{Fields, SETTABLE, output_only_content},
    pb::Profile,
};

/// The paths at which two profiles differ, in the order of the model: first the fields that a
/// caller may set, each as one unit, then those that only the upstream sets.
pub fn changed_paths(before: &Profile, after: &Profile) -> Result<Vec<&'static str>> {
    let (before, after) = (Fields::of(before)?, Fields::of(after)?);
    let content = output_only_content().filter(|path| differs(&before, &after, path));
    Ok(changed_settable(&before, &after).chain(content).collect())
}

/// The paths at which two profiles differ, among the fields that a caller may set.
pub fn changed_settable(before: &Fields, after: &Fields) -> impl Iterator<Item = &'static str> {
    SETTABLE.iter().copied().filter(|path| differs(before, after, path))
}

fn differs(before: &Fields, after: &Fields, path: &str) -> bool {
    before.get(path) != after.get(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{Dns, NetworkSettings, Service};

    #[test]
    fn names_what_differs_and_nothing_else() {
        let before = Profile {
            name: "backends/a/profiles/1".into(),
            display_name: "a".into(),
            radio_access: vec![1, 2],
            endpoint_count: Some(3),
            etag: "1".into(),
            ..Profile::default()
        };
        assert_eq!(changed_paths(&before, &before).unwrap(), [""; 0]);
        let dns = Some(Dns { id: "1".into(), ..Dns::default() });
        let after = Profile {
            name: "backends/b/profiles/1".into(),
            description: Some(String::new()),
            services: vec![Service { id: "4".into(), ..Service::default() }],
            network: Some(NetworkSettings { dns, ..NetworkSettings::default() }),
            endpoint_count: Some(4),
            etag: "2".into(),
            dialect: 2,
            unmapped: Some(prost_types::Struct::default()),
            ..before.clone()
        };
        let expected = ["description", "services", "network.dns", "endpoint_count", "unmapped"];
        assert_eq!(changed_paths(&before, &after).unwrap(), expected);
        assert_eq!(changed_paths(&after, &before).unwrap(), expected);
    }
}
