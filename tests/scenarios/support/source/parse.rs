//! Extracts lengths and path references from one source file. Code under `#[cfg(test)]` counts for
//! lengths only.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Block, ImplItemFn, ItemFn, ItemMod, ItemUse, Macro, Signature, TraitItemFn, UseTree,
    spanned::Spanned as _,
    visit::{self, Visit},
};

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its signature.
    pub line: usize,
    /// Lines from the signature to the closing brace.
    pub lines: usize,
}

/// What the checks need to know of a file.
#[derive(Debug, Default)]
pub struct ParsedFile {
    /// Number of lines.
    pub lines: usize,
    /// Functions, tests included.
    pub functions: Vec<Function>,
    /// Paths with at least two segments outside tests, with their line.
    pub paths: Vec<(Vec<String>, usize)>,
    /// Imported and re-exported names with the path of each.
    pub bindings: BTreeMap<String, Vec<String>>,
    /// Submodules in files of their own that are compiled for tests only.
    pub test_modules: Vec<String>,
}

/// Parses the text of a source file.
///
/// # Errors
/// If it is not valid Rust.
pub fn parse(text: &str) -> syn::Result<ParsedFile> {
    let mut visitor = Visitor::default();
    visitor.file.lines = text.lines().count();
    visitor.visit_file(&syn::parse_file(text)?);
    Ok(visitor.file)
}

#[derive(Default)]
struct Visitor {
    file: ParsedFile,
    /// Whether the visited code is compiled for tests only.
    in_tests: bool,
    /// Nesting of inline modules, whose `super` is a module of the same file.
    inline_depth: usize,
}

impl Visitor {
    fn add_function(&mut self, signature: &Signature, body: &Block) {
        let (line, end) = (signature.span().start().line, body.span().end().line);
        let name = signature.ident.to_string();
        self.file.functions.push(Function { name, line, lines: end - line + 1 });
    }

    fn add_path(&mut self, mut path: Vec<String>, line: usize) {
        for _ in 0..self.inline_depth {
            if path.first().is_some_and(|segment| segment == "super") {
                path[0] = "self".into();
            }
        }
        if !self.in_tests && path.len() > 1 {
            self.file.paths.push((path, line));
        }
    }

    fn add_use(&mut self, prefix: &[String], tree: &UseTree, line: usize) {
        let with = |name: String| [prefix, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.add_use(&with(path.ident.to_string()), &path.tree, line),
            UseTree::Name(name) if name.ident == "self" => {
                let binding = prefix.last().cloned().unwrap_or_default();
                self.bind(binding, prefix.to_vec(), line);
            }
            UseTree::Name(name) => {
                self.bind(name.ident.to_string(), with(name.ident.to_string()), line);
            }
            UseTree::Rename(name) => {
                self.bind(name.rename.to_string(), with(name.ident.to_string()), line);
            }
            UseTree::Glob(_) => self.add_path(with("*".into()), line),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(prefix, tree, line);
                }
            }
        }
    }

    fn bind(&mut self, name: String, path: Vec<String>, line: usize) {
        self.add_path(path.clone(), line);
        if self.inline_depth == 0 && !self.in_tests {
            self.file.bindings.insert(name, path);
        }
    }

    /// Macro arguments are not parsed: every `a::b` in them counts as a path.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut line, mut colons) = (Vec::new(), 0, 0);
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add_path(std::mem::take(&mut path), line);
                    }
                    (line, colons) = (ident.span().start().line, 0);
                    path.push(ident.to_string());
                }
                other => {
                    self.add_path(std::mem::take(&mut path), line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
        }
        self.add_path(path, line);
    }
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let outer = self.in_tests;
        self.in_tests |= is_test_only(&module.attrs);
        if module.content.is_none() {
            if self.in_tests {
                self.file.test_modules.push(module.ident.to_string());
            }
        } else {
            self.inline_depth += 1;
            visit::visit_item_mod(self, module);
            self.inline_depth -= 1;
        }
        self.in_tests = outer;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let outer = self.in_tests;
        self.in_tests |= is_test_only(&item.attrs);
        self.add_use(&[], &item.tree, item.span().start().line);
        self.in_tests = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        let outer = self.in_tests;
        self.in_tests |= is_test_only(&item.attrs);
        self.add_function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
        self.in_tests = outer;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.add_function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(body) = &item.default {
            self.add_function(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add_path(segments, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        self.add_tokens(invocation.tokens.clone());
        visit::visit_macro(self, invocation);
    }
}

/// Returns whether there is a `#[cfg(test)]`.
fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        parse(text).unwrap().paths.into_iter().map(|(path, _)| path.join("::")).collect()
    }

    #[test]
    fn imports_are_flattened_and_bound_to_names() {
        let file = parse("use crate::{a::{self, B}, c::D as E};\npub use f::*;").unwrap();
        let bound = |name: &str| file.bindings[name].join("::");
        assert_eq!((bound("a"), bound("B")), ("crate::a".into(), "crate::a::B".into()));
        assert_eq!(bound("E"), "crate::c::D");
        assert_eq!(file.paths.last().unwrap().0, ["f", "*"]);
    }

    #[test]
    fn paths_in_bodies_types_and_macros_are_found() {
        let text = "fn f(x: crate::a::T) { super::b::g(); m!(x => { crate::c::h::<u8>() }, 1); }";
        assert_eq!(paths(text), ["crate::a::T", "super::b::g", "crate::c::h"]);
    }

    #[test]
    fn code_for_tests_has_lengths_but_no_paths() {
        let text = "mod a { use super::x::Y; }\n\
                    #[cfg(test)]\nmod tests {\n  use crate::b::C;\n  fn f() {\n  }\n}\n\
                    #[cfg(test)]\nmod more;";
        let file = parse(text).unwrap();
        assert_eq!(paths(text), ["self::x::Y"]);
        assert_eq!(file.functions, [Function { name: "f".into(), line: 5, lines: 2 }]);
        assert_eq!((file.lines, file.test_modules), (9, vec!["more".to_owned()]));
    }

    #[test]
    fn a_function_is_as_long_as_signature_and_body() {
        let text = "/// Doc.\n#[must_use]\nfn f(\n) {\n    x();\n}\ntrait T { fn g(); }";
        let function = Function { name: "f".into(), line: 3, lines: 4 };
        assert_eq!(parse(text).unwrap().functions, [function]);
    }
}
