//! The messages that a request can hold, as far as counting needs them: from the descriptors, once.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use super::bounds::{BOUNDS, Within};

/// What is counted apart: one count for each bound.
pub(super) const COUNTS: usize = BOUNDS.len();

/// The messages of all requests.
pub(super) struct Schema {
    messages: Vec<Message>,
    roots: HashMap<String, usize, RandomState>,
}

/// A message: its fields by number.
#[derive(Default)]
pub(super) struct Message(Vec<Option<Field>>);

/// A field of a message.
pub(super) struct Field {
    pub name: String,
    pub shape: Shape,
    pub repeated: bool,
    /// It belongs to a message of Protobuf itself, such as a mask, which callers see as one value.
    pub inner: bool,
    /// Indexes into [`BOUNDS`].
    pub bounds: Vec<usize>,
}

/// What a field's value is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Varint,
    Four,
    Eight,
    /// Text or bytes.
    Text,
    /// A message: its index in the schema.
    Message(usize),
}

impl Schema {
    /// The schema of the requests of all services in these descriptors.
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let mut building = Building::default();
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let roots = methods.map(|method| {
            let input = method.input();
            (input.name().to_owned(), building.message(&input))
        });
        let roots = roots.collect();
        Self { messages: building.messages, roots }
    }

    /// The message with this name, if it is a request.
    pub(super) fn root(&self, name: &str) -> Option<usize> {
        self.roots.get(name).copied()
    }

    pub(super) fn message(&self, index: usize) -> Option<&Message> {
        self.messages.get(index)
    }

    /// Every field with its bounds, for tests.
    #[cfg(test)]
    pub(super) fn repeated_without_a_bound(&self) -> Vec<&str> {
        let fields = self.messages.iter().flat_map(|message| message.0.iter().flatten());
        let forgotten = fields.filter(|field| field.repeated && field.bounds.is_empty());
        forgotten.map(|field| field.name.as_str()).collect()
    }
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        self.0.get(number as usize)?.as_ref()
    }
}

#[derive(Default)]
struct Building {
    messages: Vec<Message>,
    known: HashMap<String, usize>,
}

impl Building {
    /// The index of a message, which may hold itself.
    fn message(&mut self, descriptor: &MessageDescriptor) -> usize {
        if let Some(known) = self.known.get(descriptor.full_name()) {
            return *known;
        }
        let index = self.messages.len();
        self.known.insert(descriptor.full_name().to_owned(), index);
        self.messages.push(Message::default());
        let mut fields = Vec::new();
        for field in descriptor.fields() {
            let number = field.number() as usize;
            fields.resize_with(fields.len().max(number + 1), || None);
            if let Some(place) = fields.get_mut(number) {
                *place = Some(self.field(&field));
            }
        }
        if let Some(place) = self.messages.get_mut(index) {
            *place = Message(fields);
        }
        index
    }

    fn field(&mut self, field: &FieldDescriptor) -> Field {
        let shape = match field.kind() {
            Kind::Message(message) => Shape::Message(self.message(&message)),
            Kind::String | Kind::Bytes => Shape::Text,
            Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => Shape::Four,
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => Shape::Eight,
            _ => Shape::Varint,
        };
        let bounds = BOUNDS.iter().enumerate();
        let bounds = bounds.filter(|(_, bound)| bound.field == field.full_name());
        Field {
            name: field.name().to_owned(),
            shape,
            repeated: field.cardinality() == Cardinality::Repeated,
            inner: field.full_name().starts_with("google.protobuf."),
            bounds: bounds.map(|(index, _)| index).collect(),
        }
    }
}

/// Whether the count of a bound goes on from one element of a list to the next.
pub(super) fn goes_on(index: usize) -> bool {
    BOUNDS.get(index).is_some_and(|bound| bound.within == Within::Request)
}
