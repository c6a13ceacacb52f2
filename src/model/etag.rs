//! The canonical form of a profile, and its strong etag.

use prost::Message;
use sha2::{Digest, Sha256};

use crate::pb::Profile;

/// Sorts the sets, so that equal profiles encode to equal bytes.
pub fn normalize(profile: &mut Profile) {
    profile.radio_access.sort_unstable();
    profile.radio_access.dedup();
    profile.services.sort_by(|a, b| id_order(&a.id).cmp(&id_order(&b.id)));
    for service in &mut profile.services {
        service.traffic_limits.sort_by(|a, b| id_order(&a.id).cmp(&id_order(&b.id)));
    }
}

/// A key that sorts ids as people do: numbers by value (`SP_9` before `SP_10`), then the rest by
/// text.
#[must_use]
pub fn id_order(id: &str) -> (&str, usize, &str) {
    let digits = id.trim_start_matches(|c: char| !c.is_ascii_digit());
    let prefix = id.strip_suffix(digits).unwrap_or(id);
    // Without leading zeros, more digits are a larger number.
    let number = digits.trim_start_matches('0');
    (prefix, number.len(), number)
}

/// The quoted strong hash (RFC 9110, 8.8.3) of a normalized profile: SHA-256, cut to 128 bits.
///
/// It depends on the profile's content alone, so every replica computes the same.
#[must_use]
pub fn etag(profile: &Profile) -> String {
    // prost writes fields by number and the members of a Struct by key: one value, one encoding.
    let encoded = match profile.etag.is_empty() {
        true => profile.encode_to_vec(),
        false => Profile { etag: String::new(), ..profile.clone() }.encode_to_vec(),
    };
    let hash = Sha256::digest(encoded);
    format!("\"{}\"", hex::encode(hash.get(..16).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::Service;

    fn profile(radio_access: &[i32], services: &[&str]) -> Profile {
        let mut profile = Profile {
            display_name: "a".into(),
            radio_access: radio_access.to_vec(),
            services: services
                .iter()
                .map(|id| Service { id: (*id).into(), ..Service::default() })
                .collect(),
            ..Profile::default()
        };
        normalize(&mut profile);
        profile
    }

    #[test]
    fn order_and_the_old_etag_do_not_matter() {
        let one = profile(&[1, 2, 2], &["4", "38", "2"]);
        let mut two = profile(&[2, 1], &["2", "4", "38"]);
        two.etag = "\"old\"".into();
        assert_eq!(etag(&one), etag(&two));
        assert_eq!(
            two.services.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(),
            ["2", "4", "38"]
        );
    }

    #[test]
    fn content_matters() {
        assert_ne!(etag(&profile(&[1], &[])), etag(&profile(&[2], &[])));
    }

    #[test]
    fn ids_order_by_number() {
        let mut ids = vec!["SP_10", "SP_9", "SP_100", "SP_", "39", "4"];
        ids.sort_by(|a, b| id_order(a).cmp(&id_order(b)));
        assert_eq!(ids, ["4", "39", "SP_", "SP_9", "SP_10", "SP_100"]);
    }
}
