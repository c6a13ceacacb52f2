//! Names in other spellings: what an upstream may make of a name before it stores it.

use icu_normalizer::ComposingNormalizerBorrowed;
use serde_json::Value;

use super::{answer::each_member, fault_kind::Spelling, simulator::Call};

/// Where each vendor has a profile's name.
const NAME: &str = "name";
/// How many characters a cut name keeps.
const KEPT: usize = 20;

/// The request with another spelling of the name in its body, if it has one.
pub(super) fn respelled(call: &Call, how: Spelling) -> Call {
    let mut call = call.clone();
    if let Ok(mut body) = serde_json::from_slice::<Value>(&call.body) {
        each_member(&mut body, &mut |name, member| {
            if let (NAME, Value::String(text)) = (name, &mut *member) {
                *text = spelled(text, how);
            }
        });
        call.body = body.to_string().into();
    }
    call
}

fn spelled(name: &str, how: Spelling) -> String {
    match how {
        Spelling::Collapse => name.split_whitespace().collect::<Vec<_>>().join(" "),
        Spelling::Nfc => ComposingNormalizerBorrowed::new_nfc().normalize(name).into_owned(),
        Spelling::Escape => name
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#39;"),
        Spelling::Cut => name.chars().take(KEPT).collect::<String>().trim_end().to_owned(),
        Spelling::Fold => name.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_as_asked() {
        for (how, name, stored) in [
            (Spelling::Collapse, " a \t b ", "a b"),
            (Spelling::Nfc, "e\u{301}", "\u{e9}"),
            (Spelling::Escape, "R&D's <x>", "R&amp;D&#39;s &lt;x&gt;"),
            (Spelling::Cut, "19 characters long, cut", "19 characters long,"),
            (Spelling::Fold, "Fleet", "fleet"),
        ] {
            assert_eq!(spelled(name, how), stored, "{how:?}");
        }
    }
}
