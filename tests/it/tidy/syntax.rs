//! What the rules ask of Rust's syntax.

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, ImplItem, Item, Meta, UseTree};

pub(super) fn parse(path: &str, text: &str) -> syn::File {
    syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether an item is compiled for tests only.
pub(super) fn is_for_tests(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let tokens = list.tokens.to_string();
            let mut words = tokens.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.any(|word| word == "test") && !tokens.contains("not")
        }
        _ => false,
    })
}

pub(super) fn attrs(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

pub(super) fn attrs_of_member(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        _ => &[],
    }
}

/// The names that an item defines in its module.
pub(super) fn names(item: &Item) -> Vec<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::Macro(item) => match &item.ident {
            Some(name) => name,
            None => return defined_by_macro(item.mac.tokens.clone()),
        },
        _ => return Vec::new(),
    };
    vec![name.to_string()]
}

/// Items in what a macro takes, such as `pin_project! { struct X {} }`.
fn defined_by_macro(tokens: TokenStream) -> Vec<String> {
    const KEYWORDS: [&str; 7] = ["struct", "enum", "fn", "type", "trait", "const", "static"];
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let defined = trees.windows(2).filter_map(|pair| match pair {
        [TokenTree::Ident(keyword), TokenTree::Ident(name)]
            if KEYWORDS.contains(&keyword.to_string().as_str()) =>
        {
            Some(name.to_string())
        }
        _ => None,
    });
    defined.collect()
}

/// One name of a `use`.
pub(super) struct Import {
    pub path: Vec<String>,
    /// What it is called here; nothing for a glob and for `_`.
    pub name: Option<String>,
    pub glob: bool,
    pub line: usize,
}

/// The names of a `use`, its groups resolved.
pub(super) fn imports(tree: &UseTree, prefix: &[String]) -> Vec<Import> {
    let with = |name: String| -> Vec<String> {
        let own = (name != "self" || prefix.is_empty()).then_some(name);
        prefix.iter().cloned().chain(own).collect()
    };
    match tree {
        UseTree::Path(path) => imports(&path.tree, &with(path.ident.to_string())),
        UseTree::Group(group) => {
            group.items.iter().flat_map(|tree| imports(tree, prefix)).collect()
        }
        UseTree::Name(name) => {
            let path = with(name.ident.to_string());
            let line = name.ident.span().start().line;
            vec![Import { name: path.last().cloned(), path, glob: false, line }]
        }
        UseTree::Rename(rename) => {
            let name = Some(rename.rename.to_string()).filter(|name| name != "_");
            let line = rename.ident.span().start().line;
            vec![Import { path: with(rename.ident.to_string()), name, glob: false, line }]
        }
        UseTree::Glob(glob) => {
            let line = glob.star_token.spans[0].start().line;
            vec![Import { path: prefix.to_vec(), name: None, glob: true, line }]
        }
    }
}

/// What may be paths in the tokens that a macro takes.
pub(super) fn paths(tokens: TokenStream) -> Vec<(Vec<String>, usize)> {
    let mut found = Vec::new();
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |at: usize, mark: char| match trees.get(at) {
        Some(TokenTree::Punct(punct)) => punct.as_char() == mark,
        _ => false,
    };
    let name = |at: usize| match trees.get(at) {
        Some(TokenTree::Ident(name)) => Some(name.to_string()),
        _ => None,
    };
    let mut at = 0;
    while at < trees.len() {
        if let Some(TokenTree::Group(group)) = trees.get(at) {
            found.extend(paths(group.stream()));
        }
        let (begin, is_member) = (at, at > 0 && is(at - 1, '.') && !(at > 1 && is(at - 2, '.')));
        let mut path: Vec<String> = name(at).into_iter().collect();
        at += 1;
        while !path.is_empty() && is(at, ':') && is(at + 1, ':') {
            let Some(next) = name(at + 2) else { break };
            path.push(next);
            at += 3;
        }
        if !path.is_empty() && !is_member {
            found.push((path, trees[begin].span().start().line));
        }
    }
    found
}
