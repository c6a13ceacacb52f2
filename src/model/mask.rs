//! Field masks (AIP-134, AIP-157): which fields to return, and which an update writes.

use std::collections::HashSet;

use prost_types::{FieldMask, Struct};

use crate::{
    error::{Result, violation::Violations},
    model::{
        capability::{Capabilities, Support},
        fields::{self, Fields, SETTABLE, Target},
        member_path::MemberPath,
    },
    pb::Profile,
    text,
};

/// How paths of members of `unmapped` begin.
const UNMAPPED: &str = "unmapped.";

/// A checked read mask: the paths to keep, or everything.
#[derive(Debug, Clone)]
pub struct ReadMask(Option<Paths>);

#[derive(Debug, Clone, Default)]
struct Paths {
    /// Fields.
    fields: Vec<String>,
    /// Members of `unmapped`.
    members: Vec<MemberPath>,
}

impl ReadMask {
    /// Checks a read mask. Absent, empty and `*` mean everything.
    pub fn parse(mask: Option<&FieldMask>) -> Result<Self> {
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        if paths.is_empty() || paths == ["*"] {
            return Ok(Self(None));
        }
        let mut violations = Violations::default();
        let mut kept = Paths::default();
        // Each once: a mask is applied to every profile of a page.
        for path in once(paths) {
            if let Some(below) = path.strip_prefix(UNMAPPED) {
                match MemberPath::parse(below) {
                    Some(member) => kept.members.push(member),
                    None => malformed("read_mask", path, &mut violations),
                }
            } else if fields::target(path)?.is_some() {
                kept.fields.push(path.clone());
            } else {
                unknown("read_mask", path, &mut violations);
            }
        }
        violations.into_result()?;
        Ok(Self(Some(kept)))
    }

    /// Whether it keeps every field.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it names this field.
    #[must_use]
    pub fn names(&self, field: &str) -> bool {
        self.0.as_ref().is_some_and(|paths| paths.fields.iter().any(|path| path == field))
    }

    /// Whether it keeps nothing but fields that `has` knows.
    pub fn reads_only(&self, has: impl Fn(&str) -> bool) -> bool {
        self.0.as_ref().is_some_and(|paths| {
            paths.members.is_empty() && paths.fields.iter().all(|path| has(path))
        })
    }

    /// About how long it takes to apply it to an encoded profile of so many bytes, in nanoseconds.
    #[must_use]
    pub fn cost(&self, bytes: usize) -> usize {
        let Some(paths) = &self.0 else { return 0 };
        // The profile is decoded, becomes a message of descriptors and back, and is encoded.
        let path = 500;
        10_000 + bytes * 40 + (paths.fields.len() + paths.members.len()) * path
    }

    /// The profile with only the fields of the mask.
    pub fn apply(&self, profile: Profile) -> Result<Profile> {
        let Some(paths) = &self.0 else {
            return Ok(profile);
        };
        let whole = Fields::of(&profile)?;
        let mut kept = Fields::empty()?;
        for path in &paths.fields {
            kept.copy(path, &whole);
        }
        let mut kept = kept.into_profile()?;
        if let Some(unmapped) = &profile.unmapped
            && kept.unmapped.is_none()
        {
            let mut members = Struct::default();
            paths.members.iter().for_each(|path| path.copy(unmapped, &mut members));
            kept.unmapped = (!members.fields.is_empty()).then_some(members);
        }
        Ok(kept)
    }
}

/// How a settable field came to be part of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// By its own path, or by being populated under an absent mask.
    Itself,
    /// With others, by `*` or by the message around it.
    WithOthers,
}

/// A checked update mask for one dialect.
#[derive(Debug)]
pub struct Update {
    /// Paths to copy, each with the settable field that it belongs to.
    paths: Vec<(String, &'static str, Named)>,
}

impl Update {
    /// Checks an update mask against what the dialect can set, and resolves it for this request.
    /// Absent and empty mean every populated field, `*` means all that the dialect can set.
    pub fn parse(
        mask: Option<&FieldMask>,
        request: &Profile,
        capabilities: &Capabilities,
        dialect: &str,
        violations: &mut Violations,
    ) -> Result<Self> {
        let request = Fields::of(request)?;
        let populated = |path: &str| request.get(path).is_some();
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();

        let mut named: Vec<(String, &'static str, Named)> = Vec::new();
        if paths.is_empty() {
            let all = SETTABLE.iter().filter(|path| populated(path));
            named.extend(all.map(|path| ((*path).to_owned(), *path, Named::Itself)));
        }
        for path in once(paths) {
            let group = match fields::target(path)? {
                Some(Target::OutputOnly) => continue,
                Some(Target::Settable(field)) => {
                    named.push((path.clone(), field, Named::Itself));
                    continue;
                }
                Some(Target::Group(group)) => group,
                None if path == "*" => SETTABLE.to_vec(),
                None => {
                    unknown("update_mask", path, violations);
                    continue;
                }
            };
            if group.iter().all(|field| capabilities.support(field) == Support::No) {
                violations.not_supported(format!("profile.{path}"), dialect);
            }
            let each = group.into_iter().map(|f| (f.to_owned(), f, Named::WithOthers));
            named.extend(each);
        }

        named.retain(|(_, field, how)| match capabilities.support(field) {
            Support::No => {
                if *how == Named::Itself || populated(field) {
                    violations.not_supported(format!("profile.{field}"), dialect);
                }
                false
            }
            Support::ReadOnly => false,
            // Leaving an immutable field out of a replacement does not ask to clear it.
            Support::CreateOnly => *how == Named::Itself || populated(field),
            Support::ReadWrite => true,
        });
        Ok(Self { paths: named })
    }

    /// The profile that the update asks for: `current` with the masked fields of `request`.
    pub fn apply(
        &self,
        current: &Profile,
        request: &Profile,
        capabilities: &Capabilities,
        violations: &mut Violations,
    ) -> Result<Profile> {
        let (before, request) = (Fields::of(current)?, Fields::of(request)?);
        let mut desired = before.clone();
        for (path, field, _) in &self.paths {
            desired.copy(path, &request);
            if capabilities.support(field) == Support::CreateOnly
                && desired.get(path) != before.get(path)
            {
                violations.immutable(format!("profile.{field}"));
            }
        }
        desired.into_profile()
    }

    /// Whether the update writes this settable field, or a part of it.
    #[must_use]
    pub fn touches(&self, field: &str) -> bool {
        self.paths.iter().any(|(_, touched, _)| *touched == field)
    }
}

/// Each path the first time that it comes.
fn once(paths: &[String]) -> impl Iterator<Item = &String> {
    let mut seen = HashSet::new();
    paths.iter().filter(move |path| seen.insert(*path))
}

fn malformed(field: &str, path: &str, violations: &mut Violations) {
    let message = "is not the path of a member: keys are separated by dots, and a key with dots is \
                   written in back-quotes, in which a back-quote is written twice";
    violations.add(field, format!("{} {message}", text::quoted(path)));
}

fn unknown(field: &str, path: &str, violations: &mut Violations) {
    // A path is the caller's own text, which may contain anything.
    let shown: String = text::cut(path, 64).chars().filter(|c| !c.is_control()).collect();
    let hint = advice(path).unwrap_or_default();
    let message = format!("Profile has no field {}{hint}", text::quoted(path));
    violations.add(format!("{field}.{shown}"), message);
}

/// What a mask can name in place of an unknown path.
fn advice(path: &str) -> Option<String> {
    let short = text::cut(path, 64);
    let mut outer = short.match_indices('.').filter_map(|(end, _)| {
        let outer = short.get(..end)?;
        Some((outer, fields::target(outer).ok()??))
    });
    let outer = outer.next_back();
    match (outer, meant(path)) {
        (Some((whole, Target::Settable(_) | Target::OutputOnly)), _) => {
            Some(format!("; a mask names {whole} as a whole"))
        }
        (_, Some(meant)) => Some(format!("; did you mean {meant}?")),
        (Some((group, Target::Group(fields))), None) => {
            Some(format!("; {group} has {}", fields.join(", ")))
        }
        (None, None) => None,
    }
}

/// The path that was probably meant: the same in snake case, as in the proto, or a similar one.
fn meant(path: &str) -> Option<String> {
    let snake = text::cut(path, 64).chars().fold(String::new(), |mut snake, c| {
        if c.is_ascii_uppercase() && !snake.is_empty() && !snake.ends_with(['.', '_']) {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
        snake
    });
    if matches!(fields::target(&snake), Ok(Some(_))) {
        return Some(snake);
    }
    let known = fields::SETTABLE.iter().chain(fields::OUTPUT_ONLY).copied();
    text::closest(path, known).map(str::to_owned)
}

#[cfg(test)]
mod tests;
