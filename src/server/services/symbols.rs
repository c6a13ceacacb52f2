//! Which file of a descriptor set declares a symbol or an extension: what reflection looks up.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet,
};

/// The files of several descriptor sets, with what they declare.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    files: Vec<File>,
    by_name: HashMap<String, usize>,
    by_symbol: HashMap<String, usize>,
    services: BTreeSet<String>,
    messages: BTreeSet<String>,
    /// The file of each extension, by what it extends and its number.
    extensions: BTreeMap<String, BTreeMap<i32, usize>>,
}

#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    imports: Vec<String>,
}

/// A file with those that it needs, itself first.
pub(crate) struct Found<'s> {
    symbols: &'s Symbols,
    files: Vec<usize>,
}

impl Symbols {
    /// Reads descriptor sets. Of two files of the same name, the first counts.
    pub(crate) fn new(sets: &[Vec<u8>]) -> Result<Self, prost::DecodeError> {
        let mut symbols = Self::default();
        for set in sets {
            for file in FileDescriptorSet::decode(set.as_slice())?.file {
                symbols.add(&file);
            }
        }
        Ok(symbols)
    }

    /// The names of all services.
    pub(crate) fn services(&self) -> impl Iterator<Item = &String> {
        self.services.iter()
    }

    /// The file of this name.
    pub(crate) fn file(&self, name: &str) -> Option<Found<'_>> {
        self.by_name.get(name).map(|file| self.found(*file))
    }

    /// The file that declares a symbol, which may begin with a dot, as in descriptors.
    pub(crate) fn declaring(&self, symbol: &str) -> Option<Found<'_>> {
        let symbol = symbol.strip_prefix('.').unwrap_or(symbol);
        self.by_symbol.get(symbol).map(|file| self.found(*file))
    }

    /// The file that declares an extension of a message.
    pub(crate) fn extending(&self, message: &str, number: i32) -> Option<Found<'_>> {
        let message = message.strip_prefix('.').unwrap_or(message);
        self.extensions.get(message)?.get(&number).map(|file| self.found(*file))
    }

    /// The numbers of all extensions of a message; `None` if there is no such message.
    pub(crate) fn extensions(&self, message: &str) -> Option<Vec<i32>> {
        let message = message.strip_prefix('.').unwrap_or(message);
        let numbers = self.extensions.get(message).map(|known| known.keys().copied().collect());
        numbers.or_else(|| self.messages.contains(message).then(Vec::new))
    }

    fn found(&self, file: usize) -> Found<'_> {
        let (mut files, mut next) = (vec![file], 0);
        while let Some(file) = files.get(next).and_then(|file| self.files.get(*file)) {
            for import in file.imports.iter().filter_map(|import| self.by_name.get(import)) {
                if !files.contains(import) {
                    files.push(*import);
                }
            }
            next += 1;
        }
        Found { symbols: self, files }
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        if self.by_name.contains_key(file.name()) {
            return;
        }
        let number = self.files.len();
        self.by_name.insert(file.name().to_owned(), number);
        self.files.push(File { bytes: file.encode_to_vec(), imports: file.dependency.clone() });
        let package = file.package();
        file.message_type.iter().for_each(|message| self.add_message(package, message, number));
        file.enum_type.iter().for_each(|one| self.add_enum(package, one, number));
        file.extension.iter().for_each(|field| self.add_extension(package, field, number));
        for service in &file.service {
            let name = self.add_symbol(package, service.name(), number);
            for method in &service.method {
                self.add_symbol(&name, method.name(), number);
            }
            self.services.insert(name);
        }
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto, file: usize) {
        let name = self.add_symbol(scope, message.name(), file);
        for field in &message.field {
            self.add_symbol(&name, field.name(), file);
        }
        for oneof in &message.oneof_decl {
            self.add_symbol(&name, oneof.name(), file);
        }
        message.nested_type.iter().for_each(|inner| self.add_message(&name, inner, file));
        message.enum_type.iter().for_each(|inner| self.add_enum(&name, inner, file));
        message.extension.iter().for_each(|field| self.add_extension(&name, field, file));
        self.messages.insert(name);
    }

    /// The values of an enum are declared beside it, as in C++. Some tools name them within it.
    fn add_enum(&mut self, scope: &str, one: &EnumDescriptorProto, file: usize) {
        let name = self.add_symbol(scope, one.name(), file);
        for value in &one.value {
            self.add_symbol(scope, value.name(), file);
            self.add_symbol(&name, value.name(), file);
        }
    }

    fn add_extension(&mut self, scope: &str, field: &FieldDescriptorProto, file: usize) {
        self.add_symbol(scope, field.name(), file);
        let extended = field.extendee().trim_start_matches('.').to_owned();
        self.extensions.entry(extended).or_default().insert(field.number(), file);
    }

    /// Adds a symbol and returns its full name.
    fn add_symbol(&mut self, scope: &str, name: &str, file: usize) -> String {
        let name = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
        self.by_symbol.entry(name.clone()).or_insert(file);
        name
    }
}

impl Found<'_> {
    /// The descriptor of the file, and those of the files it needs that are not among `sent` yet.
    pub(crate) fn unsent(&self, sent: &mut BTreeSet<usize>) -> Vec<Vec<u8>> {
        let asked = self.files.first().copied();
        let new = |file: &&usize| sent.insert(**file) || Some(**file) == asked;
        let files: Vec<usize> = self.files.iter().filter(new).copied().collect();
        let files = files.into_iter().filter_map(|file| self.symbols.files.get(file));
        files.map(|file| file.bytes.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{
        EnumValueDescriptorProto, MethodDescriptorProto, OneofDescriptorProto,
        ServiceDescriptorProto,
    };

    use super::*;

    fn named(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn field(name: &str) -> FieldDescriptorProto {
        FieldDescriptorProto { name: named(name), ..Default::default() }
    }

    fn an_enum(name: &str, value: &str) -> EnumDescriptorProto {
        let value = EnumValueDescriptorProto { name: named(value), ..Default::default() };
        EnumDescriptorProto { name: named(name), value: vec![value], ..Default::default() }
    }

    fn extension(name: &str, extendee: &str, number: i32) -> FieldDescriptorProto {
        let field = field(name);
        FieldDescriptorProto { extendee: named(extendee), number: Some(number), ..field }
    }

    fn symbols() -> Symbols {
        let inner = DescriptorProto {
            name: named("Inner"),
            field: vec![field("deep")],
            enum_type: vec![an_enum("Kind", "KIND_A")],
            extension: vec![extension("inside", ".a.Outer", 103)],
            ..Default::default()
        };
        let outer = DescriptorProto {
            name: named("Outer"),
            nested_type: vec![inner],
            oneof_decl: vec![OneofDescriptorProto { name: named("choice"), ..Default::default() }],
            ..Default::default()
        };
        let method = MethodDescriptorProto { name: named("Get"), ..Default::default() };
        let service = ServiceDescriptorProto {
            name: named("Service"),
            method: vec![method],
            ..Default::default()
        };
        let a = FileDescriptorProto {
            name: named("a.proto"),
            package: named("a"),
            message_type: vec![outer],
            ..Default::default()
        };
        let b = FileDescriptorProto {
            name: named("b.proto"),
            package: named("b"),
            dependency: vec!["a.proto".into(), "absent.proto".into()],
            service: vec![service],
            extension: vec![extension("outside", ".a.Outer", 101)],
            ..Default::default()
        };
        let bare = FileDescriptorProto {
            name: named("bare.proto"),
            dependency: vec!["b.proto".into()],
            enum_type: vec![an_enum("Bare", "BARE_A")],
            ..Default::default()
        };
        let set = FileDescriptorSet { file: vec![a.clone(), b, bare, a] };
        Symbols::new(&[set.encode_to_vec()]).unwrap()
    }

    /// The names of the files that an answer holds.
    fn names(found: Option<Found<'_>>, sent: &mut BTreeSet<usize>) -> Vec<String> {
        let files = found.map(|found| found.unsent(sent)).unwrap_or_default();
        let name = |file: &Vec<u8>| FileDescriptorProto::decode(file.as_slice()).unwrap().name;
        files.iter().filter_map(name).collect()
    }

    #[test]
    fn every_declaration_is_found_with_and_without_a_leading_dot() {
        let symbols = symbols();
        for (symbol, file) in [
            ("a.Outer", "a.proto"),
            ("a.Outer.choice", "a.proto"),
            ("a.Outer.Inner", "a.proto"),
            ("a.Outer.Inner.deep", "a.proto"),
            ("a.Outer.Inner.Kind", "a.proto"),
            ("a.Outer.Inner.KIND_A", "a.proto"),
            ("a.Outer.Inner.Kind.KIND_A", "a.proto"),
            ("a.Outer.Inner.inside", "a.proto"),
            ("b.Service", "b.proto"),
            ("b.Service.Get", "b.proto"),
            ("b.outside", "b.proto"),
            ("Bare", "bare.proto"),
            ("BARE_A", "bare.proto"),
        ] {
            for symbol in [symbol.to_owned(), format!(".{symbol}")] {
                let found = names(symbols.declaring(&symbol), &mut BTreeSet::new());
                assert_eq!(found.first().map(String::as_str), Some(file), "{symbol}");
            }
        }
        for unknown in ["", ".", "..a.Outer", "a", "a.outer", "a.Outer.", "Outer", "b.Service.get"]
        {
            assert!(symbols.declaring(unknown).is_none(), "{unknown:?}");
        }
    }

    #[test]
    fn extensions_are_found_by_number() {
        let symbols = symbols();
        let file = |number| {
            let found = names(symbols.extending(".a.Outer", number), &mut BTreeSet::new());
            found.first().cloned()
        };
        assert_eq!(file(101).as_deref(), Some("b.proto"));
        assert_eq!(file(103).as_deref(), Some("a.proto"));
        assert_eq!(file(102), None);
        assert_eq!(symbols.extensions("a.Outer"), Some(vec![101, 103]));
        assert_eq!(symbols.extensions(".a.Outer.Inner"), Some(vec![]));
        assert_eq!(symbols.extensions("b.Service"), None);
    }

    #[test]
    fn what_a_file_needs_is_sent_once_and_the_file_itself_always() {
        let (symbols, mut sent) = (symbols(), BTreeSet::new());
        let mut ask = |name| names(symbols.file(name), &mut sent);
        assert_eq!(ask("b.proto"), ["b.proto", "a.proto"]);
        assert_eq!(ask("bare.proto"), ["bare.proto"]);
        assert_eq!(ask("b.proto"), ["b.proto"]);
        assert!(ask("absent.proto").is_empty());
        assert_eq!(symbols.services().collect::<Vec<_>>(), ["b.Service"]);
    }
}
