//! SFT's services and radio access types: ids on writes, names on reads.

/// Id on write, name on read, and whether it needs a radio access type; in the order reads use
/// (documented examples).
const SERVICES: [(&str, &str, bool); 4] =
    [("4", "DATA", true), ("2", "MO-SMS", true), ("3", "MT-SMS", true), ("5", "NB-IOT", false)];

/// Code on write and name on read (documented), from the fewest generations to the most (inferred
/// from the names; the order of the codes means nothing).
const RATS: [(&str, &str); 4] =
    [("02", "2G"), ("01", "2G/3G"), ("06", "2G/3G/4G"), ("10", "2G/3G/4G/5G")];

/// The names for a list of ids such as `4|2|3`, in the order of reads and each once (inferred: a
/// list is a set). `None` when it is empty or an id is not known.
pub(super) fn services_from_ids(ids: &str) -> Option<Vec<String>> {
    let names = ids
        .split('|')
        .map(|id| {
            let (_, name, _) = SERVICES.iter().find(|(known, ..)| *known == id)?;
            Some((*name).to_owned())
        })
        .collect::<Option<Vec<_>>>()?;
    let mut names = in_read_order(names);
    names.dedup();
    Some(names)
}

/// Names that the vendor does not have come after the others, in the given order.
pub(super) fn in_read_order(mut names: Vec<String>) -> Vec<String> {
    names.sort_by_key(|name| {
        SERVICES.iter().position(|(_, known, _)| known == name).unwrap_or(SERVICES.len())
    });
    names
}

pub(super) fn needs_rat(services: &[String]) -> bool {
    services.iter().any(|name| SERVICES.iter().any(|(_, known, needs)| *needs && known == name))
}

pub(super) fn rat_from_code(code: &str) -> Option<&'static str> {
    RATS.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// Higher for more generations, and 0 without a radio access type or for an unknown name.
pub(super) fn rat_rank(name: Option<&str>) -> usize {
    name.and_then(|name| RATS.iter().position(|(_, known)| *known == name))
        .map_or(0, |position| position + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_names_in_the_order_of_reads() {
        for (ids, names) in [
            ("4|2|3", Some("DATA|MO-SMS|MT-SMS")),
            ("3|2|4|2", Some("DATA|MO-SMS|MT-SMS")),
            ("5|4", Some("DATA|NB-IOT")),
            ("5", Some("NB-IOT")),
            ("", None),
            ("1", None),
            ("4|", None),
            ("04", None),
            ("DATA", None),
        ] {
            let found = services_from_ids(ids).map(|names| names.join("|"));
            assert_eq!(found.as_deref(), names, "{ids}");
        }
    }

    #[test]
    fn rats_rank_by_generation_not_by_code() {
        let ranks: Vec<_> =
            [None, Some("2G"), Some("2G/3G"), Some("2G/3G/4G"), Some("2G/3G/4G/5G")]
                .into_iter()
                .map(rat_rank)
                .collect();
        assert_eq!(ranks, [0, 1, 2, 3, 4]);
        assert_eq!(rat_from_code("02"), Some("2G"));
        assert_eq!(rat_from_code("2"), None);
    }
}
