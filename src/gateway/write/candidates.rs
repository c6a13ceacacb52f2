//! Which profile is the new one: those that were not there before a creation, compared with what it
//! asked for.

use std::sync::Arc;

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

/// What keeps the writes of this process apart.
pub(crate) struct Order {
    pub(crate) locks: ProfileLocks,
    pub(crate) claims: Arc<Claims>,
}

/// What a look for a new profile has found among those that were not there before.
pub(crate) enum Seen {
    Nothing,
    /// It has the requested name, in whatever spelling.
    Certain(Item),
    /// Its name is what may be left of the requested one after a loss.
    Resembling(Item),
    /// Nothing tells whether one of them is it: several are equally alike, or one has the name, or
    /// what may be left of it, and not all of the rest. The names of the first of them.
    Unclear(Vec<String>),
}

impl Creating<'_> {
    /// Looks for the profile that a creation made. One that only resembles it may be another
    /// client's.
    pub(crate) async fn look_for_certain(self, creation: &Creation) -> Result<Option<Item>> {
        match self.look(creation).await? {
            Seen::Certain(item) => Ok(Some(item)),
            Seen::Nothing => Ok(None),
            Seen::Resembling(item) => Err(ambiguous(&[self.name_of(&item.id)])),
            Seen::Unclear(names) => Err(ambiguous(&names)),
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
        let before = creation.before()?;
        let found = dialect.find_by_name(&session, &asked.display_name).await;
        let claim = |id: &str| claims.look_up(creation.number, &self.name_of(id));
        let (sent, found) = (Sent::new(&asked.display_name), found.map_err(of_a_list)?);
        let (mut candidates, mut unclear) = (Vec::new(), Vec::new());
        for item in found.items.into_iter().filter(|item| !before.contains(item.id.as_str())) {
            let Some(likeness) = sent.likeness(&item.profile.display_name) else { continue };
            // An upstream may have ignored a value, and may show what is gone.
            let is_it =
                dialect.is_created(asked, &item.profile) && !backend.cache().is_deleted(&item.id);
            match claim(&item.id)? {
                Claim::Own => return Ok(Seen::Certain(item)),
                Claim::None if is_it => candidates.push((likeness, item)),
                Claim::None => unclear.push(self.name_of(&item.id)),
                Claim::Other => {}
            }
        }
        for id in found.remains.iter().filter(|id| !before.contains(id.as_str())) {
            if claim(id)? != Claim::Other {
                unclear.push(self.name_of(id));
            }
        }
        Ok(self.most_alike(creation, candidates, unclear))
    }

    /// The most alike of those that have all that was asked for. `unclear`: the names of others
    /// that may be the new one.
    fn most_alike(
        self,
        creation: &Creation,
        mut candidates: Vec<(Likeness, Item)>,
        mut unclear: Vec<String>,
    ) -> Seen {
        unclear.truncate(NAMED);
        // Equally alike, the older one is first.
        candidates.sort_by(|(one, a), (other, b)| {
            let by_age = || a.id.len().cmp(&b.id.len()).then_with(|| a.id.cmp(&b.id));
            one.cmp(other).then_with(by_age)
        });
        let best = candidates.first().map(|(likeness, _)| *likeness);
        let alike = candidates.iter().filter(|(likeness, _)| Some(*likeness) == best);
        let mut named: Vec<String> =
            alike.clone().take(NAMED).map(|(_, item)| self.name_of(&item.id)).collect();
        let alike = alike.count();
        match candidates.into_iter().next() {
            None if !unclear.is_empty() => Seen::Unclear(unclear),
            None => Seen::Nothing,
            Some((Likeness::Reduced, _)) if alike > 1 || !unclear.is_empty() => {
                named.append(&mut unclear);
                named.truncate(NAMED);
                Seen::Unclear(named)
            }
            Some((Likeness::Reduced, item)) => Seen::Resembling(item),
            // Creations that asked for the same share out what has appeared, each takes one.
            Some(_) if alike > 1 && alike > self.claims.count_alike(creation.number) => {
                Seen::Unclear(named)
            }
            Some((_, item)) => Seen::Certain(item),
        }
    }

    /// Claims a profile that is known to be the new one. From here on, no other creation takes it
    /// for its own: neither one that is under way nor, while lists may not show it, a later one.
    pub(crate) async fn claim(self, creation: &Creation, id: &str) -> Result<()> {
        let Self { backend, call, locks, claims } = self;
        let number = creation.number;
        if !claims.claim(number, &self.name_of(id))
            || !locks.claim(backend, id, number, call).await?
        {
            return Err(ambiguous(&[self.name_of(id)]));
        }
        self.backend.cache().appeared(id, self.backend.settle_time());
        Ok(())
    }

    /// The same of a profile that this call has made. A store that is away takes nothing from it.
    pub(crate) async fn claim_new(self, creation: &Creation, id: &str) -> Result<()> {
        match self.claim(creation, id).await {
            Err(error) if error.reason() == Reason::StoreUnavailable => {
                self.backend.cache().appeared(id, self.backend.settle_time());
                Ok(())
            }
            claimed => claimed,
        }
    }

    /// Whether the profile of an id cannot be the new one: it was there before, or another creation
    /// has made it since. One that may have been there counts as new.
    pub(crate) fn is_of_another(self, creation: &Creation, id: &str) -> bool {
        let claim = self.claims.look_up(creation.number, &self.name_of(id));
        creation.was_there(id) || matches!(claim, Ok(Claim::Other))
    }

    pub(crate) fn name_of(self, id: &str) -> String {
        ProfileName::of(self.backend.name(), id).to_string()
    }
}

/// What a list fails with. That another profile was removed meanwhile says nothing about the new
/// one.
fn of_a_list(error: Error) -> Error {
    match error.reason() {
        Reason::ProfileNotFound => {
            Error::new(Reason::UpstreamUnavailable, "another profile was removed during the read")
        }
        _ => error,
    }
}
