//! Which profile is the new one: those that were not there before a creation, compared with what it
//! asked for.

use crate::{
    call::Call,
    dialect::Item,
    error::{Error, Reason, Result},
    gateway::{
        backend::Backend,
        write::{
            claims::{Claim, Claims},
            intent::Creation,
            locks::ProfileLocks,
            outcome::ambiguous,
            session,
        },
    },
    model::{
        name::ProfileName,
        spelling::{Likeness, Sent},
    },
};

/// How many profiles are named that could be the new one.
const NAMED: usize = 4;

/// What a creation works with.
#[derive(Clone, Copy)]
pub(crate) struct Creating<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) call: &'a Call,
    pub(crate) locks: &'a ProfileLocks,
    pub(crate) claims: &'a Claims,
}

/// What a look for a new profile has found among those that were not there before.
pub(crate) enum Seen {
    Nothing,
    /// It has the requested name, in whatever spelling.
    Certain(Item),
    /// Its name is what may be left of the requested one after a loss.
    Resembling(Item),
    /// Several that are equally alike; the names of the first of them.
    Several(Vec<String>),
}

impl Creating<'_> {
    /// Looks for the profile that a creation made. One that only resembles it may be another
    /// client's.
    pub(crate) async fn look_for_certain(self, creation: &Creation) -> Result<Option<Item>> {
        match self.look(creation).await? {
            Seen::Certain(item) => Ok(Some(item)),
            Seen::Nothing => Ok(None),
            Seen::Resembling(item) => Err(ambiguous(&[self.name_of(&item.id)])),
            Seen::Several(names) => Err(ambiguous(&names)),
        }
    }

    pub(crate) async fn look(self, creation: &Creation) -> Result<Seen> {
        let Self { backend, call, claims, .. } = self;
        let (dialect, session) = (backend.dialect(), session::for_reading_back(backend, call));
        let asked = &creation.profile;
        if !creation.id.is_empty() {
            return match dialect.get(&session, &creation.id).await {
                Err(error) if error.reason() == Reason::ProfileNotFound => Ok(Seen::Nothing),
                found => found.map(Seen::Certain),
            };
        }
        // Fails at once if no conclusion is possible.
        creation.was_there("")?;
        let found = dialect.find_by_name(&session, &asked.display_name).await;
        let found = found.map_err(|error| match error.reason() {
            // Another profile was removed during the read, which says nothing about this one.
            Reason::ProfileNotFound => {
                let message = "another profile was removed during the read";
                Error::new(Reason::UpstreamUnavailable, message)
            }
            _ => error,
        });
        let (sent, mut candidates) = (Sent::new(&asked.display_name), Vec::new());
        for item in found?.items {
            if let Some(likeness) = sent.likeness(&item.profile.display_name)
                && !creation.was_there(&item.id)?
                && dialect.is_created(asked, &item.profile)
            {
                match claims.look_up(creation.number, &self.name_of(&item.id))? {
                    Claim::Own => return Ok(Seen::Certain(item)),
                    Claim::Other => {}
                    Claim::None => candidates.push((likeness, item)),
                }
            }
        }
        // Equally alike, the older one is first.
        candidates.sort_by(|(one, a), (other, b)| {
            let by_age = || a.id.len().cmp(&b.id.len()).then_with(|| a.id.cmp(&b.id));
            one.cmp(other).then_with(by_age)
        });
        let best = candidates.first().map(|(likeness, _)| *likeness);
        let alike = candidates.iter().filter(|(likeness, _)| Some(*likeness) == best);
        let named = alike.clone().take(NAMED).map(|(_, item)| self.name_of(&item.id)).collect();
        let alike = alike.count();
        Ok(match candidates.into_iter().next() {
            None => Seen::Nothing,
            Some((Likeness::Reduced, _)) if alike > 1 => Seen::Several(named),
            Some((Likeness::Reduced, item)) => Seen::Resembling(item),
            // Creations that asked for the same share out what has appeared, each takes one.
            Some(_) if alike > 1 && alike > claims.count_alike(creation.number) => {
                Seen::Several(named)
            }
            Some((_, item)) => Seen::Certain(item),
        })
    }

    /// Claims a profile that is known to be the new one. From here on, no other creation that is
    /// under way takes it for its own.
    pub(crate) fn claim(self, creation: &Creation, id: &str) -> Result<()> {
        match self.claims.claim(creation.number, &self.name_of(id)) {
            true => Ok(()),
            false => Err(ambiguous(&[self.name_of(id)])),
        }
    }

    /// Whether the profile of an id cannot be the new one: it was there before, or another creation
    /// has made it since. One that may have been there counts as new.
    pub(crate) fn is_anothers(self, creation: &Creation, id: &str) -> bool {
        let claim = self.claims.look_up(creation.number, &self.name_of(id));
        creation.was_there(id).unwrap_or_default() || matches!(claim, Ok(Claim::Other))
    }

    pub(crate) fn name_of(self, id: &str) -> String {
        ProfileName::of(self.backend.name(), id).to_string()
    }
}
