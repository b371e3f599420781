//! The code of one library or program, parsed: its modules, the items that each defines, and the items that each names.
//!
//! Invariant: a name that is imported or re-exported is followed to the file that defines the item.
//! Absence: no types are inferred, so a method is attributed to no file; what is compiled for tests alone is left out.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Attribute, ImplItem, Item, ItemUse, Lit, Macro, Meta, Path, UseTree,
    buffer::{Cursor, TokenBuffer},
    visit::{self, Visit},
};

/// Imports that lead from one to the next; more are a circle of glob imports.
const MAX_IMPORTS: u32 = 16;

/// One library or program.
#[derive(Default)]
pub(super) struct Code {
    pub(super) modules: Vec<Module>,
}

/// A module, in a file of its own or inline.
#[derive(Default)]
pub(super) struct Module {
    /// The file that contains it, by its path inside the package.
    pub(super) file: String,
    /// Where that file stands in the tree of modules: `["audit", "checks"]`, empty for the root.
    pub(super) location: Vec<String>,
    /// Every path in its code, without those of `use`.
    pub(super) paths: Vec<Vec<String>>,
    pub(super) imports: Vec<Import>,
    pub(super) literals: BTreeSet<String>,
    /// The variants of each enum.
    pub(super) enums: BTreeMap<String, Vec<String>>,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
}

/// `use path as name`; the name of a glob is `*`.
pub(super) struct Import {
    name: String,
    pub(super) path: Vec<String>,
}

/// An item, and the module that defines it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Definition {
    pub(super) module: usize,
    pub(super) name: String,
}

impl Code {
    /// Reads a library or program from its root file.
    pub(super) fn read(root: &str, files: &BTreeMap<String, String>) -> Self {
        let mut code = Self::default();
        let folder = parent_folder(root).to_owned();
        let mut reader = Reader { code: &mut code, files, module: 0, folder };
        reader.read_file(root, Vec::new(), None);
        code
    }

    /// What a path in this module stands for; nothing if it names a module or another crate.
    pub(super) fn definitions(&self, module: usize, path: &[String]) -> BTreeSet<Definition> {
        let mut found = BTreeSet::new();
        self.resolve(module, path, 0, &mut found);
        found
    }

    fn resolve(&self, module: usize, path: &[String], depth: u32, found: &mut BTreeSet<Definition>) {
        let Some((first, rest)) = path.split_first() else { return };
        match (first.as_str(), self.modules[module].parent) {
            _ if depth > MAX_IMPORTS => {}
            ("crate", _) => self.descend(0, rest, depth, found),
            ("self", _) => self.descend(module, rest, depth, found),
            ("super", Some(parent)) if rest.first().is_some_and(|next| next == "super") => {
                self.resolve(parent, rest, depth, found);
            }
            ("super", Some(parent)) => self.descend(parent, rest, depth, found),
            _ => self.descend(module, path, depth, found),
        }
    }

    fn descend(&self, module: usize, path: &[String], depth: u32, found: &mut BTreeSet<Definition>) {
        let Some((name, rest)) = path.split_first() else { return };
        let scope = &self.modules[module];
        if scope.items.contains(name) {
            found.insert(Definition { module, name: name.clone() });
        }
        if let Some(&child) = scope.children.get(name) {
            self.descend(child, rest, depth, found);
        }
        let named = scope.imports.iter().filter(|import| import.name == *name);
        for import in named {
            self.resolve(module, &[&import.path, rest].concat(), depth + 1, found);
        }
        if found.is_empty() {
            for glob in scope.imports.iter().filter(|import| import.name == "*") {
                self.resolve(module, &[&glob.path, path].concat(), depth + 1, found);
            }
        }
    }
}

fn parent_folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Collects what one module contains, and reads its children.
struct Reader<'a> {
    code: &'a mut Code,
    files: &'a BTreeMap<String, String>,
    module: usize,
    /// Where the files of the module's children lie.
    folder: String,
}

impl Reader<'_> {
    fn read_file(&mut self, file: &str, location: Vec<String>, parent: Option<usize>) {
        let text = self.files.get(file).unwrap_or_else(|| panic!("no file {file}"));
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        self.read_items(&syntax.items, Module { file: file.to_owned(), location, parent, ..Module::default() });
    }

    fn read_items(&mut self, items: &[Item], module: Module) {
        self.module = self.code.modules.len();
        self.code.modules.push(module);
        for item in items {
            if let Some(name) = item_name(item) {
                self.here().items.insert(name);
            }
            self.visit_item(item);
        }
    }

    fn here(&mut self) -> &mut Module {
        &mut self.code.modules[self.module]
    }

    fn read_child(&mut self, child: &syn::ItemMod) {
        let name = child.ident.to_string();
        let id = self.code.modules.len();
        let parent = self.module;
        self.here().children.insert(name.clone(), id);
        let (file, mut location) = (self.here().file.clone(), self.here().location.clone());
        let folder = format!("{}/{name}", self.folder);
        let mut reader = Reader { folder, files: self.files, module: id, code: self.code };
        if let Some((_, items)) = &child.content {
            reader.read_items(items, Module { file, location, parent: Some(parent), ..Module::default() });
            return;
        }
        location.push(name);
        let candidates = [format!("{}.rs", reader.folder), format!("{}/mod.rs", reader.folder)];
        let found = candidates.iter().find(|candidate| reader.files.contains_key(*candidate));
        let file = found.unwrap_or_else(|| panic!("{file} declares a module that is in none of {candidates:?}"));
        reader.read_file(file, location, Some(parent));
    }

    /// Paths and texts among the tokens of a macro or an attribute, which have no syntax tree.
    fn read_tokens(&mut self, mut cursor: Cursor<'_>) {
        let mut is_member = false;
        while !cursor.eof() {
            let after_dot = std::mem::take(&mut is_member);
            if let Some((first, mut rest)) = cursor.ident() {
                let mut path = vec![first.to_string()];
                while let Some((segment, next)) = segment_after(rest) {
                    path.push(segment);
                    rest = next;
                }
                if !after_dot {
                    self.here().paths.push(path);
                }
                cursor = rest;
            } else if let Some((inner, _, _, next)) = cursor.any_group() {
                self.read_tokens(inner);
                cursor = next;
            } else if let Some((literal, next)) = cursor.literal() {
                self.visit_lit(&Lit::new(literal));
                cursor = next;
            } else if let Some((punct, next)) = cursor.punct() {
                // `$crate` and `.method` name no item of this module.
                is_member = matches!(punct.as_char(), '.' | '$');
                cursor = next;
            } else if let Some((_, next)) = cursor.lifetime() {
                cursor = next;
            }
        }
    }
}

/// The identifier behind `::`.
fn segment_after(cursor: Cursor<'_>) -> Option<(String, Cursor<'_>)> {
    let (first, cursor) = cursor.punct()?;
    let (second, cursor) = cursor.punct()?;
    let (ident, cursor) = cursor.ident()?;
    (first.as_char() == ':' && second.as_char() == ':').then(|| (ident.to_string(), cursor))
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            _ if attributes(item).iter().any(is_for_tests) => {}
            Item::Mod(child) => self.read_child(child),
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let for_tests = matches!(item, ImplItem::Fn(function) if function.attrs.iter().any(is_for_tests));
        if !for_tests {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            flatten(&item.tree, &mut Vec::new(), &mut self.here().imports);
        }
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        let variants = item.variants.iter().map(|variant| variant.ident.to_string()).collect();
        self.here().enums.insert(item.ident.to_string(), variants);
        visit::visit_item_enum(self, item);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() {
            self.here().paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.read_tokens(TokenBuffer::new2(call.tokens.clone()).begin());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let Meta::List(list) = &attribute.meta else { return };
        let texts = self.here().literals.clone();
        self.read_tokens(TokenBuffer::new2(list.tokens.clone()).begin());
        // serde names functions in texts: `with = "crate::seconds"`.
        let module = self.here();
        for text in module.literals.difference(&texts) {
            if let Ok(path) = syn::parse_str::<Path>(text) {
                module.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
            }
        }
        module.literals = texts;
    }

    fn visit_lit(&mut self, literal: &'ast Lit) {
        if let Lit::Str(text) = literal {
            self.here().literals.insert(text.value());
        }
    }
}

fn item_name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    (!attributes(item).iter().any(is_for_tests)).then(|| ident.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
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

/// `#[cfg(test)]`, `#[cfg(doctest)]`, or either of them with a further condition.
fn is_for_tests(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let condition = list.tokens.to_string();
    let has = |word: &str| condition.split(|c: char| !c.is_alphanumeric()).any(|part| part == word);
    list.path.is_ident("cfg") && (has("test") || has("doctest")) && !has("any") && !has("not")
}

fn flatten(tree: &UseTree, prefix: &mut Vec<String>, imports: &mut Vec<Import>) {
    let mut import = |name: &syn::Ident, renamed: &str| {
        let mut path = prefix.clone();
        if name != "self" {
            path.push(name.to_string());
        }
        let name = if renamed == "self" { path.last().cloned().unwrap_or_default() } else { renamed.to_owned() };
        imports.push(Import { name, path });
    };
    match tree {
        UseTree::Path(tree) => {
            prefix.push(tree.ident.to_string());
            flatten(&tree.tree, prefix, imports);
            prefix.pop();
        }
        UseTree::Name(tree) => import(&tree.ident, &tree.ident.to_string()),
        UseTree::Rename(tree) => import(&tree.ident, &tree.rename.to_string()),
        UseTree::Glob(_) => imports.push(Import { name: "*".to_owned(), path: prefix.clone() }),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, imports)),
    }
}
