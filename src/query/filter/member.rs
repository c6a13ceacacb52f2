//! Members of `unmapped`, whose types are the upstream's.

use prost_types::{ListValue, Struct, Value as Member, value::Kind};

use crate::{
    pb::Profile,
    query::{
        access::{Access, See, Value},
        decimal::Decimal,
        filter::{
            operator::{Operator, text_holds},
            pattern::Pattern,
            syntax::Literal,
        },
    },
};

/// The members at a path below a Struct; of a list on the way, every element is searched.
pub(super) fn access(members: Access<Profile>, path: Vec<String>) -> Access<Profile> {
    Box::new(move |profile, see| {
        members(profile, &mut |value| match value {
            Value::Struct(members) => within(members, &path, see),
            _ => false,
        })
    })
}

fn within<'p>(members: &'p Struct, path: &[String], see: See<'_, 'p>) -> bool {
    let Some((key, rest)) = path.split_first() else {
        return false;
    };
    members.fields.get(key).is_some_and(|member| below(member, rest, see))
}

fn below<'p>(member: &'p Member, path: &[String], see: See<'_, 'p>) -> bool {
    match &member.kind {
        _ if path.is_empty() => see(Value::Member(member)),
        Some(Kind::StructValue(members)) => within(members, path, see),
        Some(Kind::ListValue(list)) => list.values.iter().any(|value| below(value, path, see)),
        _ => false,
    }
}

/// A value that takes the type of the member that it is compared with.
pub(super) struct Loose {
    pattern: Pattern,
    number: Option<Decimal>,
    flag: Option<bool>,
    null: bool,
}

impl Loose {
    pub(super) fn new(literal: Literal) -> Self {
        // A quoted value is a string and nothing else.
        let plain = literal.pattern.plain().filter(|_| !literal.quoted);
        let (number, flag) =
            (plain.and_then(Decimal::parse), plain.and_then(|text| text.parse().ok()));
        Self { null: plain == Some("null"), number, flag, pattern: literal.pattern }
    }

    pub(super) fn holds(&self, operator: Operator, member: &Member) -> bool {
        match &member.kind {
            Some(Kind::StringValue(text)) => self.text_holds(operator, text),
            Some(Kind::NumberValue(value)) => {
                Decimal::of(*value).is_some_and(|value| self.number_holds(operator, &value))
            }
            Some(Kind::BoolValue(value)) => is_equality(operator) && self.flag == Some(*value),
            Some(Kind::NullValue(_)) | None => is_equality(operator) && self.null,
            Some(Kind::ListValue(ListValue { values })) => {
                values.iter().any(|value| self.holds(operator, value))
            }
            Some(Kind::StructValue(members)) => {
                operator == Operator::Has
                    && members.fields.keys().any(|key| self.pattern.matches(key))
            }
        }
    }

    /// Upstreams send the same member as a number or as a string of digits.
    fn text_holds(&self, operator: Operator, text: &str) -> bool {
        let as_number = self.number.as_ref().and_then(|_| Decimal::parse(text));
        if is_equality(operator) {
            return text_holds(operator, text, &self.pattern)
                || as_number.is_some_and(|value| self.number_holds(operator, &value));
        }
        match as_number {
            Some(value) => self.number_holds(operator, &value),
            // A number and a word cannot be ordered.
            None => self.number.is_none() && text_holds(operator, text, &self.pattern),
        }
    }

    fn number_holds(&self, operator: Operator, value: &Decimal) -> bool {
        self.number.as_ref().is_some_and(|number| operator.holds(value.cmp(number)))
    }
}

fn is_equality(operator: Operator) -> bool {
    matches!(operator, Operator::Equal | Operator::Has)
}
