//! Adapts a profile of another backend to what SFT supports.

use super::{radio, service};
use crate::{
    model::note::Notes,
    pb::{Category, Profile, RadioAccess, ServiceType, State},
};

/// Gives missing required fields a value, and reduces the radio access to the largest set that SFT
/// supports. A technology is added only if SFT requires one.
pub(super) fn coerce(draft: &mut Profile, notes: &mut Notes) {
    if draft.state == 0 {
        draft.state = State::Active.into();
        notes.defaulted("state", "required by this upstream; set to STATE_ACTIVE");
    }
    if draft.category == 0 {
        draft.category = Category::Base.into();
        notes.defaulted("category", "required by this upstream; set to CATEGORY_BASE");
    }
    let asked = draft.radio_access.clone();
    draft.radio_access = radio::within(&asked);
    let left_out = |access: &i32| !draft.radio_access.contains(access);
    if asked.iter().any(left_out) {
        let names: Vec<&str> = asked.iter().copied().filter(left_out).map(name).collect();
        let why = format!(
            "this upstream supports only {{2G}}, {{2G,3G}}, {{2G,3G,4G}}, {{2G,3G,4G,5G}} and \
             NB_IOT; {} left out",
            names.join(", ")
        );
        notes.narrowed("radio_access", why);
    }
    fit_services(draft, notes);
}

/// In SFT, a profile has a radio access exactly if it has a service.
fn fit_services(draft: &mut Profile, notes: &mut Notes) {
    let nb_iot = radio::has_nb_iot(&draft.radio_access);
    if draft.services.is_empty() && nb_iot {
        if draft.radio_access.len() > 1 {
            draft.radio_access = vec![RadioAccess::NbIot.into()];
            notes.narrowed("radio_access", "without services this upstream supports only NB_IOT");
        }
        return;
    }
    if draft.services.is_empty() {
        let data = service::KNOWN.into_iter().find(|known| known.kind == ServiceType::Data);
        draft.services.extend(data.map(Into::into));
        notes.defaulted("services", "this upstream requires at least one; set to DATA");
    }
    if radio::code(&draft.radio_access).is_none() {
        draft.radio_access.push(RadioAccess::RadioAccess2g.into());
        notes.defaulted(
            "radio_access",
            "this upstream requires one with services; set to 2G, the smallest",
        );
    }
}

fn name(access: i32) -> &'static str {
    let access = RadioAccess::try_from(access).map_or("unknown", |a| a.as_str_name());
    access.trim_start_matches("RADIO_ACCESS_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dialect::bics_sft::service::KNOWN, pb::NoteKind};
    use RadioAccess::{
        NbIot, NbIotNtn, RadioAccess2g as R2g, RadioAccess3g as R3g, RadioAccess4g as R4g,
    };

    #[test]
    fn fits_radio_access_and_services_to_each_other() {
        use NoteKind::{Defaulted, Narrowed};
        for (radio, services, expected, kinds) in [
            (&[R2g, R3g][..], 1, &[R2g, R3g][..], &[][..]),
            (&[R2g, R4g, NbIot], 1, &[R2g, NbIot], &[Narrowed]),
            (&[R3g, R4g], 1, &[R2g], &[Defaulted, Narrowed]),
            (&[NbIotNtn], 0, &[R2g], &[Defaulted, Narrowed]),
            (&[R2g, NbIot], 0, &[NbIot], &[Narrowed]),
            (&[], 0, &[R2g], &[Defaulted]),
        ] {
            let mut draft = Profile {
                state: 1,
                category: 1,
                radio_access: radio.iter().map(|r| i32::from(*r)).collect(),
                services: KNOWN.into_iter().take(services).map(Into::into).collect(),
                ..Profile::default()
            };
            let mut notes = Notes::default();
            coerce(&mut draft, &mut notes);
            draft.radio_access.sort_unstable();
            let expected: Vec<i32> = expected.iter().map(|r| i32::from(*r)).collect();
            assert_eq!(draft.radio_access, expected, "{radio:?}");
            let mut notes = notes.into_vec();
            notes.retain(|note| note.field == "radio_access");
            let mut found: Vec<NoteKind> = notes.iter().map(|note| note.kind()).collect();
            found.sort_by_key(|kind| *kind as i32 != NoteKind::Defaulted as i32);
            assert_eq!(found, kinds, "{radio:?}");
            let mut violations = crate::error::violation::Violations::default();
            radio::check_with_services(&draft, &mut violations);
            assert!(violations.is_empty(), "{radio:?}");
        }
    }
}
