//! From the syntax of a filter to a test of profiles: fields resolved, values parsed by type.

use std::cell::OnceCell;

use prost_reflect::EnumDescriptor;

use crate::{
    pb::Profile,
    query::{
        access::{Access, Value},
        fault::{Fault, Read},
        field::{self, Field, Kind},
        filter::{
            member::{self, Loose},
            operator::{Operator, text_holds},
            pattern::Pattern,
            syntax::{Expression, Literal, Restriction},
        },
    },
    text,
};

/// A profile that is tested.
pub(super) struct Subject<'p> {
    profile: &'p Profile,
    /// The texts that are searched, in lower case: made for the first of the searches.
    searched: OnceCell<Vec<String>>,
}

impl<'p> Subject<'p> {
    pub(super) fn new(profile: &'p Profile) -> Self {
        Self { profile, searched: OnceCell::new() }
    }

    fn searched(&self) -> &[String] {
        self.searched.get_or_init(|| {
            let texts = [Some(&self.profile.display_name), self.profile.description.as_ref()];
            #[cfg(test)]
            work::lowered();
            texts.into_iter().flatten().map(|text| text.to_lowercase()).collect()
        })
    }
}

/// A test of a profile.
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    IsSet(Access<Profile>),
    Compare(Access<Profile>, Operator, Operand),
    Search(Pattern),
}

impl Default for Node {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

/// What a value is compared with.
pub(super) enum Operand {
    Text(Pattern),
    Number(i64),
    Flag(bool),
    /// A key of a Struct.
    Key(Pattern),
    Loose(Loose),
}

impl Node {
    pub(super) fn matches(&self, subject: &Subject<'_>) -> bool {
        let profile = subject.profile;
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.matches(subject)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(subject)),
            Self::Not(node) => !node.matches(subject),
            Self::IsSet(access) => access(profile, &mut |value| match value {
                Value::Struct(members) => !members.fields.is_empty(),
                _ => true,
            }),
            Self::Compare(access, Operator::NotEqual, operand) => {
                let mut set = false;
                let equal = access(profile, &mut |value| {
                    set = true;
                    operand.holds(Operator::Equal, value)
                });
                set && !equal
            }
            Self::Compare(access, operator, operand) => {
                access(profile, &mut |value| operand.holds(*operator, value))
            }
            Self::Search(pattern) => subject.searched().iter().any(|text| pattern.matches(text)),
        }
    }
}

impl Operand {
    fn holds(&self, operator: Operator, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Text(pattern), Value::Text(text)) => text_holds(operator, text, pattern),
            (Self::Number(operand), Value::Number(value)) => operator.holds(value.cmp(operand)),
            (Self::Flag(operand), Value::Flag(value)) => value == *operand,
            (Self::Key(key), Value::Struct(members)) => {
                members.fields.keys().any(|name| key.matches(name))
            }
            (Self::Loose(loose), Value::Member(value)) => loose.holds(operator, value),
            _ => false,
        }
    }
}

/// The paths that an expression reads; a search reads two.
pub(super) fn paths(expression: &Expression, to: &mut Vec<String>) {
    match expression {
        Expression::All(parts) | Expression::Any(parts) => {
            parts.iter().for_each(|part| paths(part, to));
        }
        Expression::Not(inner) => paths(inner, to),
        Expression::Search(_) => {
            to.extend(["display_name", "description"].map(str::to_owned));
        }
        Expression::Restriction(restriction) => to.push(restriction.path.join(".")),
    }
}

/// Resolves the fields and parses the values.
pub(super) fn compile(expression: Expression) -> Read<Node> {
    Ok(match expression {
        Expression::All(parts) => Node::All(each(parts)?),
        Expression::Any(parts) => Node::Any(each(parts)?),
        Expression::Not(inner) => Node::Not(Box::new(compile(*inner)?)),
        Expression::Search(literal) => Node::Search(literal.pattern.anywhere()),
        Expression::Restriction(restriction) => compare(restriction)?,
    })
}

fn each(parts: Vec<Expression>) -> Read<Vec<Node>> {
    parts.into_iter().map(compile).collect()
}

fn compare(restriction: Restriction) -> Read<Node> {
    let Restriction { field_at, path, operator_at, operator, value } = restriction;
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    let Field { kind, access, length, .. } =
        field::resolve(&segments).map_err(|message| Fault::new(field_at, message))?;
    let below: Vec<String> = path.iter().skip(length).cloned().collect();
    let named = text::quoted(&path.join("."));
    let access = if below.is_empty() { access } else { member::access(access, below.clone()) };

    if operator == Operator::Has && !value.quoted && value.pattern.is_star() {
        return Ok(Node::IsSet(access));
    }
    let wild_order = operator.orders() && value.pattern.plain().is_none();
    let refuse_order = |what: &str| {
        let message = format!("{named} is {what}: use =, != or :");
        if operator.orders() { Err(Fault::new(operator_at, message)) } else { Ok(()) }
    };
    let operand = match kind {
        Kind::Text | Kind::Struct if wild_order => {
            let message = r"wildcards work only with =, != and :; write \* for the character";
            return Err(Fault::new(value.at, message));
        }
        Kind::Struct if !below.is_empty() => Operand::Loose(Loose::new(value)),
        Kind::Struct if operator == Operator::Has => Operand::Key(value.pattern),
        Kind::Struct => {
            let message = format!("name a member, as in {}.key", path.join("."));
            return Err(Fault::new(operator_at, message));
        }
        Kind::Message => {
            let message =
                format!("{named} is a message: compare its fields, or test it with `: *`");
            return Err(Fault::new(operator_at, message));
        }
        Kind::Text => Operand::Text(value.pattern),
        Kind::Number => Operand::Number(number(&value, &named)?),
        Kind::Flag => {
            refuse_order("true or false")?;
            Operand::Flag(flag(&value, &named)?)
        }
        Kind::Enum(values) => {
            refuse_order("an enum, which has no order")?;
            Operand::Number(enum_number(&value, &named, &values)?)
        }
    };
    Ok(Node::Compare(access, operator, operand))
}

fn number(value: &Literal, named: &str) -> Read<i64> {
    let number = value.pattern.plain().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Fault::new(value.at, format!("{named} takes a 64-bit integer")))
}

fn flag(value: &Literal, named: &str) -> Read<bool> {
    let flag = value.pattern.plain().and_then(|text| text.parse().ok());
    flag.ok_or_else(|| Fault::new(value.at, format!("{named} takes true or false")))
}

fn enum_number(value: &Literal, named: &str, values: &EnumDescriptor) -> Read<i64> {
    let unspecified = values.default_value();
    let prefix = unspecified.name().strip_suffix("UNSPECIFIED").unwrap_or_default();
    let short = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
    let asked = value.pattern.plain().unwrap_or_default();
    let found = values.values().find(|known| known.name() == asked || short(known.name()) == asked);
    match found {
        Some(known) if known.number() != 0 => Ok(i64::from(known.number())),
        Some(_) => {
            let message = format!("unspecified is not a value; use `NOT {}:*`", bare(named));
            Err(Fault::new(value.at, message))
        }
        None => {
            let known: Vec<String> = values.values().skip(1).map(|v| short(v.name())).collect();
            let message = format!("{named} takes one of {}", known.join(", "));
            Err(Fault::new(value.at, message))
        }
    }
}

fn bare(named: &str) -> &str {
    named.trim_matches('"')
}

/// Counts how often texts were put into lower case, for tests of how much work there is.
#[cfg(test)]
pub(super) mod work {
    use std::cell::Cell;

    thread_local! {
        static LOWERED: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn lowered() {
        LOWERED.set(LOWERED.get() + 1);
    }

    /// How often, in this thread, while this ran.
    pub(in crate::query::filter) fn of(run: impl FnOnce()) -> usize {
        let before = LOWERED.get();
        run();
        LOWERED.get() - before
    }
}
