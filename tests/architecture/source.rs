//! The modules of a library, the paths that they use, and the targets of those paths.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter, mem,
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ImplItemFn, Item, ItemMod, ItemUse, Macro, UseTree, Visibility,
    visit::{self, Visit},
};

/// A module, the module around it, and so on up to `crate`.
pub(crate) fn ancestors(module: &str) -> impl Iterator<Item = &str> {
    iter::successors(Some(module), |path| Some(path.rsplit_once("::")?.0))
}

#[derive(Default)]
pub(crate) struct Module {
    pub(crate) file: String,
    /// The names that `use` declarations bring into the module, and the paths behind them.
    names: BTreeMap<String, String>,
    used: BTreeSet<Used>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Used {
    /// The path as written.
    pub(crate) path: String,
    /// Whether this is a public `use`.
    pub(crate) is_public: bool,
}

impl Module {
    /// The paths that the module uses. A single segment counts if a `use` brought it in. Otherwise it is a
    /// local name.
    pub(crate) fn uses(&self) -> impl Iterator<Item = &Used> {
        self.used
            .iter()
            .filter(|Used { path, .. }| path.contains("::") || self.names.contains_key(path))
    }
}

#[derive(Default)]
pub(crate) struct Source {
    /// By their paths: `crate::store::batch`.
    pub(crate) modules: BTreeMap<String, Module>,
    /// The modules that only tests have.
    tests: BTreeSet<String>,
    /// The file and the module that are being read.
    file: String,
    module: String,
}

impl Source {
    /// Reads files, given as paths and texts.
    pub(crate) fn of<T: AsRef<str>>(files: &[(T, T)]) -> Self {
        let mut source = Self::default();
        for (file, text) in files {
            source.file = file.as_ref().to_owned();
            let path = source.file.replacen("src", "crate", 1).replace('/', "::");
            let path = path.trim_end_matches(".rs");
            let folder = path.strip_suffix("::mod").or(path.strip_suffix("::lib"));
            source.module = folder.unwrap_or(path).to_owned();
            source.current();
            source.visit_file(&syn::parse_file(text.as_ref()).unwrap());
        }
        let Self { modules, tests, .. } = &mut source;
        modules.retain(|path, _| !ancestors(path).any(|path| tests.contains(path)));
        source
    }

    /// The module that defines the target of a path in `module`, and the rest of the path. A name that no
    /// `use` brings in counts as the module's own: the module defines it, or another crate.
    pub(crate) fn resolve(&self, module: &str, path: &str) -> (String, String) {
        let (first, rest) = path.split_once("::").unwrap_or((path, ""));
        let child = format!("{module}::{first}");
        match first {
            "" => (module.to_owned(), String::new()),
            "crate" => self.resolve("crate", rest),
            "self" => self.resolve(module, rest),
            "super" => self.resolve(ancestors(module).nth(1).unwrap(), rest),
            _ if self.modules.contains_key(&child) => self.resolve(&child, rest),
            _ => match self.modules[module].names.get(first) {
                Some(target) => self.resolve(module, &format!("{target}::{rest}")),
                None => (module.to_owned(), path.to_owned()),
            },
        }
    }

    fn current(&mut self) -> &mut Module {
        let module = self.modules.entry(self.module.clone()).or_default();
        module.file.clone_from(&self.file);
        module
    }

    fn note(&mut self, path: String, is_public: bool) {
        self.current().used.insert(Used { path, is_public });
    }

    /// The prefix is the text before the tree: `crate::store::`.
    fn note_use(&mut self, tree: &UseTree, prefix: &str, is_public: bool) {
        let (last, name) = match tree {
            UseTree::Path(tree) => {
                return self.note_use(&tree.tree, &format!("{prefix}{}::", tree.ident), is_public);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.note_use(tree, prefix, is_public));
            }
            UseTree::Glob(_) => return self.note(format!("{prefix}*"), is_public),
            UseTree::Name(tree) => (tree.ident.to_string(), tree.ident.to_string()),
            UseTree::Rename(tree) => (tree.ident.to_string(), tree.rename.to_string()),
        };
        // `store::{self}` brings in the name `store`.
        let path = format!("{prefix}{last}").trim_end_matches("::self").to_owned();
        let name = if name == "self" { path.rsplit("::").next().unwrap().to_owned() } else { name };
        // `use tracing::{self}` brings in the crate under its own name.
        if path.split("::").next() != Some(&name) {
            self.current().names.insert(name, path.clone());
        }
        self.note(path, is_public);
    }

    /// A path in a macro is a sequence of words that colons join. One that begins with colons is another
    /// crate's.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (String::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(name) if colons == 2 => {
                    path += &format!("::{name}");
                    colons = 0;
                }
                other => {
                    self.note(mem::take(&mut path), false);
                    colons = 0;
                    match other {
                        TokenTree::Ident(name) => path = name.to_string(),
                        TokenTree::Group(group) => self.note_tokens(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        self.note(path, false);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        let condition = attribute.meta.require_list().unwrap().tokens.to_string().replace(' ', "");
        condition == "test" || condition.starts_with("all(test,")
    })
}

impl<'a> Visit<'a> for Source {
    fn visit_item(&mut self, item: &'a Item) {
        let attributes: &[Attribute] = match item {
            Item::Const(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Macro(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Trait(item) => &item.attrs,
            Item::Type(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'a ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        let path = format!("{}::{}", self.module, item.ident);
        if is_for_tests(&item.attrs) {
            self.tests.insert(path);
        } else if let Some((_, items)) = &item.content
            // A module without items is a page of the docs.
            && !items.is_empty()
        {
            let outside = mem::replace(&mut self.module, path);
            self.current();
            items.iter().for_each(|item| self.visit_item(item));
            self.module = outside;
        }
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        if item.leading_colon.is_none() {
            self.note_use(&item.tree, "", !matches!(item.vis, Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.leading_colon.is_none() {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string());
            self.note(segments.collect::<Vec<_>>().join("::"), false);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a Macro) {
        self.note_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    /// `pub(super)` uses nothing.
    fn visit_visibility(&mut self, _: &'a Visibility) {}
}
