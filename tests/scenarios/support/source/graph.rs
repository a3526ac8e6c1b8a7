//! The graph of imports between the files of a crate. A path through a re-export counts as an
//! import of the file that defines the item.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ParsedFile;

/// A use of something that another file of the crate defines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// Module path of the importing file.
    pub from: Vec<String>,
    /// Module path of the imported file.
    pub to: Vec<String>,
    /// The first line with this import.
    pub line: usize,
}

/// The files of a crate and the imports between them.
#[derive(Debug, Default)]
pub struct Graph {
    files: BTreeMap<Vec<String>, ParsedFile>,
    imports: BTreeMap<(Vec<String>, Vec<String>), usize>,
    libraries: BTreeMap<Vec<String>, BTreeMap<String, usize>>,
}

/// What a path refers to.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// A module as such; its uses are imports, the binding is none.
    Module,
    /// An item that the file with this module path defines.
    Item(Vec<String>),
    /// Another crate, or a name of the prelude or of the file itself.
    External(String),
}

/// Re-exports followed before a path counts as unresolved; guards against cyclic re-exports.
const MAX_REEXPORTS: usize = 8;

impl Graph {
    /// Builds the graph of the files of `crate_name`, by module path. Test modules are left out.
    #[must_use]
    pub fn new(crate_name: &str, files: BTreeMap<Vec<String>, ParsedFile>) -> Self {
        let mut graph = Self { files, ..Self::default() };
        let tests: Vec<Vec<String>> = graph
            .files
            .iter()
            .flat_map(|(module, file)| {
                file.test_modules
                    .iter()
                    .map(|name| [&module[..], std::slice::from_ref(name)].concat())
            })
            .collect();
        graph.files.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        let (mut imports, mut libraries) = (BTreeMap::new(), BTreeMap::new());
        for (module, file) in &graph.files {
            for (path, line) in &file.paths {
                let path = if path[0] == crate_name {
                    [&["crate".into()], &path[1..]].concat()
                } else {
                    path.clone()
                };
                match graph.resolve(module, &path, 0) {
                    Target::Item(target) if target != *module => {
                        imports.entry((module.clone(), target)).or_insert(*line);
                    }
                    Target::External(library) => {
                        let used: &mut BTreeMap<String, usize> =
                            libraries.entry(module.clone()).or_default();
                        used.entry(library).or_insert(*line);
                    }
                    Target::Item(_) | Target::Module => {}
                }
            }
        }
        Self { imports, libraries, ..graph }
    }

    /// Returns the module paths of all files.
    pub fn modules(&self) -> impl Iterator<Item = &Vec<String>> {
        self.files.keys()
    }

    /// Returns every import once.
    pub fn imports(&self) -> impl Iterator<Item = Import> {
        let import = |((from, to), line): (&(Vec<String>, Vec<String>), &usize)| Import {
            from: from.clone(),
            to: to.clone(),
            line: *line,
        };
        self.imports.iter().map(import)
    }

    /// Returns the first path segments of a file that are neither modules nor imported names, with
    /// a line each; other crates are among them.
    #[must_use]
    pub fn libraries(&self, module: &[String]) -> Vec<(&str, usize)> {
        let used = self.libraries.get(module).into_iter().flatten();
        used.map(|(library, line)| (library.as_str(), *line)).collect()
    }

    /// Returns a shortest circle through each file that is on one, each circle once.
    #[must_use]
    pub fn circles(&self) -> Vec<Vec<&[String]>> {
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for module in self.files.keys() {
            if let Some(circle) = self.circle_through(module)
                && seen.insert(circle.iter().copied().collect::<BTreeSet<_>>())
            {
                circles.push(circle);
            }
        }
        circles
    }

    fn circle_through<'a>(&'a self, start: &'a [String]) -> Option<Vec<&'a [String]>> {
        let mut previous: BTreeMap<&[String], &[String]> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(module) = queue.pop_front() {
            let imports = self.imports.keys().filter(|(from, _)| from == module);
            for (_, to) in imports {
                if to == start {
                    let mut circle = vec![module];
                    while *circle.last()? != start {
                        circle.push(previous[circle.last()?]);
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if !previous.contains_key(to.as_slice()) {
                    previous.insert(to, module);
                    queue.push_back(to);
                }
            }
        }
        None
    }

    /// Resolves a path that is written in the file `module`.
    fn resolve(&self, module: &[String], path: &[String], reexports: usize) -> Target {
        let mut at = match path[0].as_str() {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module[..module.len().saturating_sub(1)].to_vec(),
            first => {
                let child = [module, &[first.to_owned()]].concat();
                if !self.files.contains_key(&child) {
                    return match self.binding(module, first, &path[1..], reexports) {
                        Some(target) => target,
                        None => Target::External(first.to_owned()),
                    };
                }
                child
            }
        };
        for (index, segment) in path.iter().enumerate().skip(1) {
            if segment == "super" {
                at.pop();
                continue;
            }
            let child = [&at[..], std::slice::from_ref(segment)].concat();
            if self.files.contains_key(&child) {
                at = child;
                continue;
            }
            let rest = &path[index + 1..];
            return self.binding(&at, segment, rest, reexports).unwrap_or(Target::Item(at));
        }
        Target::Module
    }

    /// Follows an import or re-export of `name` in the file `module`.
    fn binding(
        &self,
        module: &[String],
        name: &str,
        rest: &[String],
        reexports: usize,
    ) -> Option<Target> {
        let path = self.files.get(module)?.bindings.get(name)?;
        if reexports == MAX_REEXPORTS || path[0] == name {
            return None;
        }
        match self.resolve(module, &[&path[..], rest].concat(), reexports + 1) {
            // `pub use` of another crate's item: what the path names is outside of this crate.
            Target::External(library) => Some(Target::External(library)),
            target => Some(target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::parse;

    fn graph(files: &[(&str, &str)]) -> Graph {
        let path = |name: &str| {
            name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        Graph::new(
            "me",
            files.iter().map(|(name, text)| (path(name), parse(text).unwrap())).collect(),
        )
    }

    fn imports(graph: &Graph) -> Vec<String> {
        graph
            .imports()
            .map(|import| format!("{} -> {}", import.from.join("::"), import.to.join("::")))
            .collect()
    }

    #[test]
    fn a_path_through_a_re_export_leads_to_the_defining_file() {
        let graph = graph(&[
            ("", "mod a; mod b;"),
            ("a", "mod c; pub use c::Item; pub struct Own;"),
            ("a::c", "pub struct Item;"),
            ("b", "use crate::a::{self, Item}; fn f(x: a::Own) {}"),
        ]);
        assert_eq!(imports(&graph), ["a -> a::c", "b -> a", "b -> a::c"]);
        assert!(graph.circles().is_empty());
    }

    #[test]
    fn super_and_the_name_of_the_crate_are_resolved() {
        let graph = graph(&[
            ("", "mod a;"),
            ("a", "mod b; mod c;"),
            ("a::b", "use super::{c::X, super::root};"),
            ("a::c", "pub use me::a::b::Y;"),
        ]);
        assert_eq!(imports(&graph), ["a::b -> ", "a::b -> a::c", "a::c -> a::b"]);
        assert_eq!(
            graph.circles(),
            [[["a", "b"].map(String::from).as_slice(), &["a", "c"].map(String::from)]]
        );
    }

    #[test]
    fn other_crates_are_listed_and_tests_left_out() {
        let graph = graph(&[
            ("", "use redis::Value; fn f() { tokio::spawn(g()); }\n#[cfg(test)] mod tests;"),
            ("tests", "use super::*;"),
        ]);
        assert_eq!(graph.libraries(&[]), [("redis", 1), ("tokio", 1)]);
        assert_eq!(graph.modules().count(), 1);
    }
}
