//! What holds for every filter.

use proptest::prelude::*;

use super::*;

/// A formula whose truth is known, as the grammar nests it.
#[derive(Debug, Clone)]
enum Formula {
    Leaf(bool, usize),
    Not(Box<Formula>, bool),
    All(Vec<Formula>, bool),
    Any(Vec<Formula>),
}

const TRUE: [&str; 4] = ["state = ACTIVE", "gold", "radio_access:4G", "endpoint_count<-29"];
const FALSE: [&str; 4] = ["state=INACTIVE", "'silver'", "retail != true", "unmapped.x : *"];

impl Formula {
    fn truth(&self) -> bool {
        match self {
            Self::Leaf(truth, _) => *truth,
            Self::Not(inner, _) => !inner.truth(),
            Self::All(parts, _) => parts.iter().all(Self::truth),
            Self::Any(parts) => parts.iter().any(Self::truth),
        }
    }

    /// With no more parentheses than the grammar needs.
    fn print(&self) -> String {
        let join = |parts: &[Self], by: &str, wrap: fn(&Self) -> bool| {
            let print = |part: &Self| {
                if wrap(part) { format!("({})", part.print()) } else { part.print() }
            };
            parts.iter().map(print).collect::<Vec<_>>().join(by)
        };
        match self {
            Self::Leaf(truth, n) => (if *truth { TRUE[*n] } else { FALSE[*n] }).to_owned(),
            Self::Not(inner, word) => {
                let inner = std::slice::from_ref(&**inner);
                let inner = join(inner, "", |part| !matches!(part, Self::Leaf(..)));
                format!("{}{inner}", if *word { "NOT " } else { "-" })
            }
            Self::All(parts, word) => {
                join(parts, if *word { " AND " } else { " " }, |part| matches!(part, Self::All(..)))
            }
            Self::Any(parts) => {
                join(parts, " OR ", |part| matches!(part, Self::All(..) | Self::Any(_)))
            }
        }
    }
}

fn formula() -> impl Strategy<Value = Formula> {
    let leaf = (any::<bool>(), 0..4_usize).prop_map(|(truth, n)| Formula::Leaf(truth, n));
    leaf.prop_recursive(4, 24, 3, |inner| {
        let parts = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            (inner, any::<bool>()).prop_map(|(inner, word)| Formula::Not(Box::new(inner), word)),
            (parts.clone(), any::<bool>()).prop_map(|(parts, word)| Formula::All(parts, word)),
            parts.prop_map(Formula::Any),
        ]
    })
}

proptest! {
    #[test]
    fn formulas_mean_what_they_say(formula in formula()) {
        let text = formula.print();
        prop_assert_eq!(filter(&text).matches(&sample()), formula.truth(), "{}", text);
    }

    #[test]
    fn no_text_panics(
        text in concat!(
            "(state|services|radio_access|unmapped|retail|AND|OR|NOT|4G|ACTIVE|true|7| |é|",
            r#"\.|=|!=|<|:|\*|"|'|\\|\(|\)|-|\PC){0,24}"#,
        )
    ) {
        if let Ok(filter) = Filter::parse(&text) {
            let _ = filter.matches(&sample());
        }
    }

    #[test]
    fn any_value_can_be_quoted(value in ".{0,20}") {
        let mut quoted = String::new();
        for c in value.chars() {
            if matches!(c, '\\' | '"' | '*' | '\'') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        let filter = filter(&format!("description = \"{quoted}\""));
        let says = |text: String| Profile { description: Some(text), ..Profile::default() };
        let longer = says(format!("{value}x"));
        prop_assert!(filter.matches(&says(value)));
        prop_assert!(!filter.matches(&longer));
    }
}
