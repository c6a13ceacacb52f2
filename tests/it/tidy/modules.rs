//! The modules of the workspace's crates, and where a path leads: through `use`, re-exports,
//! aliases and globs to the module that defines the item.

use std::collections::{HashMap, HashSet};

use syn::{Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, Meta, Visibility, visit::Visit};

use super::syntax;

/// Gives the text of a file, if there is one.
type Files<'f> = &'f dyn Fn(&str) -> Option<String>;

/// A module's number.
pub(super) type Id = usize;

pub(super) struct Module {
    /// The names that lead to it, from the crate's on.
    pub path: Vec<String>,
    /// The file that holds it.
    pub file: String,
    parent: Option<Id>,
    names: HashMap<String, Vec<Binding>>,
    globs: Vec<Vec<String>>,
}

/// What a name means in a module.
#[derive(Clone)]
enum Binding {
    Module(Id),
    Item,
    Use(Vec<String>),
}

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Module(Id),
    /// Something that this module defines.
    Item(Id),
}

impl Target {
    pub(super) fn module(self) -> Id {
        match self {
            Self::Module(id) | Self::Item(id) => id,
        }
    }
}

/// How a path is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// In code.
    Code,
    /// In a private `use`.
    Import,
    /// In a private `use` of all names.
    Glob,
    /// In a `use` that others see.
    Export,
}

/// A path in a module.
pub(super) struct Reference {
    pub module: Id,
    pub path: Vec<String>,
    pub line: usize,
    pub written: Written,
    /// In code that is compiled for tests only.
    pub test: bool,
}

/// All modules of some crates.
#[derive(Default)]
pub(super) struct Modules {
    pub all: Vec<Module>,
    pub references: Vec<Reference>,
    crates: HashMap<String, Id>,
}

impl Modules {
    /// Reads a crate from its root file.
    pub(super) fn add(&mut self, name: &str, root: &str, files: Files<'_>) {
        let id = self.module(vec![name.to_owned()], root.to_owned(), None);
        self.crates.insert(name.to_owned(), id);
        let directory = root.rsplit_once('/').unwrap().0.to_owned();
        let text = files(root).unwrap_or_else(|| panic!("{root} is not there"));
        let mut reader = Reader { modules: self, files, module: id, directory, test: false };
        reader.visit_file(&syntax::parse(root, &text));
    }

    fn module(&mut self, path: Vec<String>, file: String, parent: Option<Id>) -> Id {
        let (names, globs) = (HashMap::new(), Vec::new());
        self.all.push(Module { path, file, parent, names, globs });
        self.all.len() - 1
    }

    fn bind(&mut self, module: Id, name: String, binding: Binding) {
        self.all[module].names.entry(name).or_default().push(binding);
    }

    pub(super) fn is_within(&self, inner: Id, outer: Id) -> bool {
        self.all[inner].path.starts_with(&self.all[outer].path)
    }

    /// What the path of a reference means. `through` gets all modules on the way.
    pub(super) fn resolve(&self, reference: &Reference, through: &mut HashSet<Id>) -> Vec<Target> {
        let mut walk = Walk { modules: self, seen: HashSet::new(), through };
        walk.resolve(reference.module, &reference.path)
    }
}

struct Walk<'w> {
    modules: &'w Modules,
    /// Names that are being looked up: a `use` may lead back to itself.
    seen: HashSet<(Id, String)>,
    through: &'w mut HashSet<Id>,
}

impl Walk<'_> {
    fn resolve(&mut self, from: Id, path: &[String]) -> Vec<Target> {
        let Some((head, mut rest)) = path.split_first() else { return Vec::new() };
        let mut targets = match head.as_str() {
            "crate" => vec![Target::Module(self.root(from))],
            "self" => vec![Target::Module(from)],
            "super" => self.parent(from),
            _ => self.lookup(from, head),
        };
        if targets.is_empty() {
            targets.extend(self.modules.crates.get(head).map(|id| Target::Module(*id)));
        }
        while let Some((name, after)) = rest.split_first() {
            self.through.extend(targets.iter().map(|target| target.module()));
            targets = self.step(&targets, name);
            rest = after;
        }
        self.through.extend(targets.iter().map(|target| target.module()));
        targets
    }

    fn step(&mut self, targets: &[Target], name: &str) -> Vec<Target> {
        let mut found = Vec::new();
        for target in targets {
            match *target {
                Target::Module(id) if name == "super" => found.extend(self.parent(id)),
                Target::Module(id) => {
                    let inside = self.lookup(id, name);
                    // Made by a macro, or by the build: the module is as near as can be told.
                    found.extend(if inside.is_empty() { vec![Target::Item(id)] } else { inside });
                }
                Target::Item(_) => {}
            }
        }
        // `module::name` where an item has the module's name too means the module.
        match found.is_empty() {
            true => targets.to_vec(),
            false => found,
        }
    }

    /// What a name means in a module; nothing for those of other crates.
    fn lookup(&mut self, module: Id, name: &str) -> Vec<Target> {
        if !self.seen.insert((module, name.to_owned())) {
            return Vec::new();
        }
        let here = &self.modules.all[module];
        let mut targets = Vec::new();
        for binding in here.names.get(name).into_iter().flatten() {
            match binding {
                Binding::Module(id) => targets.push(Target::Module(*id)),
                Binding::Item => targets.push(Target::Item(module)),
                Binding::Use(path) => match self.resolve(module, path) {
                    // Another crate's: for those who take it from here it is this module's.
                    found if found.is_empty() => targets.push(Target::Item(module)),
                    found => targets.extend(found),
                },
            }
        }
        if targets.is_empty() {
            for path in &here.globs {
                for target in self.resolve(module, path) {
                    if let Target::Module(id) = target {
                        targets.extend(self.lookup(id, name));
                    }
                }
            }
        }
        self.seen.remove(&(module, name.to_owned()));
        targets
    }

    fn parent(&self, module: Id) -> Vec<Target> {
        self.modules.all[module].parent.map(Target::Module).into_iter().collect()
    }

    fn root(&self, mut module: Id) -> Id {
        while let Some(parent) = self.modules.all[module].parent {
            module = parent;
        }
        module
    }
}

/// Reads a module's items and the paths in them.
struct Reader<'r> {
    modules: &'r mut Modules,
    files: Files<'r>,
    module: Id,
    /// Where the files of its children are.
    directory: String,
    test: bool,
}

impl Reader<'_> {
    fn refer(&mut self, path: Vec<String>, line: usize, written: Written) {
        let (module, test) = (self.module, self.test);
        self.modules.references.push(Reference { module, path, line, written, test });
    }

    fn refer_in_macro(&mut self, tokens: &proc_macro2::TokenStream) {
        for (path, line) in syntax::paths(tokens.clone()) {
            self.refer(path, line, Written::Code);
        }
    }

    fn within_tests(&mut self, attrs: &[Attribute], read: impl FnOnce(&mut Self)) {
        let before = self.test;
        self.test |= syntax::is_for_tests(attrs);
        read(self);
        self.test = before;
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        for name in syntax::names(item) {
            self.modules.bind(self.module, name, Binding::Item);
        }
        self.within_tests(syntax::attrs(item), |this| syn::visit::visit_item(this, item));
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attrs = syntax::attrs_of_member(item);
        self.within_tests(attrs, |this| syn::visit::visit_impl_item(this, item));
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let name = item.ident.to_string();
        let here = &self.modules.all[self.module];
        let path = here.path.iter().cloned().chain([name.clone()]).collect();
        let below = format!("{}/{name}", self.directory);
        let (file, text) = match item.content {
            Some(_) => (here.file.clone(), None),
            None => {
                let candidates = [format!("{below}.rs"), format!("{below}/mod.rs")];
                let found = candidates.into_iter().find_map(|file| {
                    let text = (self.files)(&file)?;
                    Some((file, Some(text)))
                });
                found.unwrap_or_else(|| panic!("no file for `mod {name}` of {}", here.file))
            }
        };
        let id = self.modules.module(path, file.clone(), Some(self.module));
        self.modules.bind(self.module, name, Binding::Module(id));
        let outer = (self.module, std::mem::replace(&mut self.directory, below));
        self.module = id;
        if let Some(text) = text {
            self.visit_file(&syntax::parse(&file, &text));
        }
        for item in item.content.iter().flat_map(|(_, items)| items) {
            self.visit_item(item);
        }
        (self.module, self.directory) = outer;
    }

    // Those inside of functions count for the whole module, which is near enough.
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_export = !matches!(item.vis, Visibility::Inherited);
        if item.leading_colon.is_some() {
            return;
        }
        for import in syntax::imports(&item.tree, &[]) {
            let written = match (is_export, import.glob) {
                (true, _) => Written::Export,
                (false, true) => Written::Glob,
                (false, false) => Written::Import,
            };
            if import.glob {
                self.modules.all[self.module].globs.push(import.path.clone());
            } else if let Some(name) = import.name {
                self.modules.bind(self.module, name, Binding::Use(import.path.clone()));
            }
            self.refer(import.path, import.line, written);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() && !path.segments.is_empty() {
            let names = path.segments.iter().map(|segment| segment.ident.to_string());
            let line = path.segments[0].ident.span().start().line;
            self.refer(names.collect(), line, Written::Code);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.refer_in_macro(&call.tokens);
        syn::visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attr: &'ast Attribute) {
        if let Meta::List(list) = &attr.meta {
            self.refer_in_macro(&list.tokens);
        }
        syn::visit::visit_attribute(self, attr);
    }

    // `pub(in path)` and `pub(super)` use nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}
