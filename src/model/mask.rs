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
mod tests {
    use super::*;
    use crate::{
        error::Reason,
        model::capability::Field,
        pb::{Category, Quotas, State},
    };

    #[test]
    fn unknown_paths_get_the_one_that_was_meant() {
        for (path, expected) in [
            ("displayName", Some("display_name")),
            ("DisplayName", Some("display_name")),
            ("network.breakoutRegion.id", Some("network.breakout_region.id")),
            ("radioAccess", Some("radio_access")),
            ("displayname", Some("display_name")),
            ("stat", Some("state")),
            ("xyzzy", None),
        ] {
            assert_eq!(meant(path).as_deref(), expected, "{path}");
        }
    }

    const CAPABILITIES: Capabilities = Capabilities {
        methods: &[],
        fields: &[
            Field::read_write("display_name"),
            Field::read_write("state"),
            Field::create_only("category"),
            Field::read_write("quotas.data"),
        ],
    };

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask { paths: paths.iter().map(|p| (*p).to_owned()).collect() }
    }

    fn current() -> Profile {
        Profile {
            name: "backends/a/profiles/1".into(),
            display_name: "old".into(),
            state: State::Active.into(),
            category: Category::Base.into(),
            quotas: Some(Quotas { data: Some(true), sms: None }),
            ..Profile::default()
        }
    }

    fn update(mask: Option<FieldMask>, request: &Profile) -> Result<Profile> {
        let mut violations = Violations::default();
        let update = Update::parse(mask.as_ref(), request, &CAPABILITIES, "test", &mut violations)?;
        let desired = update.apply(&current(), request, &CAPABILITIES, &mut violations)?;
        violations.into_result()?;
        Ok(desired)
    }

    #[test]
    fn an_absent_mask_changes_what_is_populated() {
        let request = Profile { display_name: "new".into(), ..Profile::default() };
        let expected = Profile { display_name: "new".into(), ..current() };
        assert_eq!(update(None, &request).unwrap(), expected);
        assert_eq!(update(Some(mask(&[])), &request).unwrap(), expected);
        let more = Profile { state: State::Inactive.into(), ..request };
        assert_eq!(update(Some(mask(&["display_name"])), &more).unwrap(), expected);
    }

    #[test]
    fn a_read_profile_goes_back_as_it_is() {
        assert_eq!(update(None, &current()).unwrap(), current());
        assert_eq!(update(Some(mask(&["*"])), &current()).unwrap(), current());
    }

    #[test]
    fn a_star_replaces_all_that_can_change() {
        let request = Profile { display_name: "new".into(), ..Profile::default() };
        let expected = Profile {
            display_name: "new".into(),
            state: 0,
            quotas: Some(Quotas::default()),
            ..current()
        };
        assert_eq!(update(Some(mask(&["*"])), &request).unwrap(), expected);
    }

    #[test]
    fn output_only_paths_are_ignored() {
        let request = Profile { name: "x".into(), etag: "y".into(), ..Profile::default() };
        let paths = mask(&["name", "etag", "endpoint_count", "unmapped.a"]);
        assert_eq!(update(Some(paths), &request).unwrap(), current());
    }

    #[test]
    fn each_violation_has_its_field_and_reason() {
        let renamed = Profile {
            category: Category::Addon.into(),
            retail: Some(true),
            quotas: Some(Quotas { data: None, sms: Some(true) }),
            ..Profile::default()
        };
        for (paths, reason, fields) in [
            (&["retail"][..], Reason::FieldNotSupported, &["profile.retail"][..]),
            (&["category"], Reason::FieldImmutable, &["profile.category"]),
            (&["nonsense"], Reason::ValidationFailed, &["update_mask.nonsense"]),
            (&["state.x"], Reason::ValidationFailed, &["update_mask.state.x"]),
            (&["quotas"], Reason::FieldNotSupported, &["profile.quotas.sms"]),
            (&["callbacks"], Reason::FieldNotSupported, &["profile.callbacks"]),
            (
                &["category", "nonsense", "*"],
                Reason::FieldNotSupported,
                &[
                    "update_mask.nonsense",
                    "profile.quotas.sms",
                    "profile.retail",
                    "profile.category",
                ],
            ),
        ] {
            let error = update(Some(mask(paths)), &renamed).unwrap_err();
            let mut found: Vec<&str> =
                error.violations().iter().map(|v| v.field.as_str()).collect();
            let mut fields = fields.to_vec();
            found.sort_unstable();
            fields.sort_unstable();
            assert_eq!((error.reason(), found), (reason, fields), "{paths:?}");
        }
    }

    #[test]
    fn read_masks_keep_what_they_name() {
        let read = ReadMask::parse(Some(&mask(&["display_name", "quotas.data"]))).unwrap();
        let expected = Profile {
            display_name: "old".into(),
            quotas: Some(Quotas { data: Some(true), sms: None }),
            ..Profile::default()
        };
        assert_eq!(read.apply(current()).unwrap(), expected);
        assert!(ReadMask::parse(Some(&mask(&["services.id"]))).is_err());
        let repeated = ["display_name", "unmapped.a", "display_name", "unmapped.a"];
        let once = ReadMask::parse(Some(&mask(&repeated))).unwrap().0.unwrap();
        assert_eq!((once.fields.len(), once.members.len()), (1, 1));
        let all = ReadMask::parse(Some(&mask(&["*"]))).unwrap();
        assert_eq!(all.apply(current()).unwrap(), current());
    }
}
