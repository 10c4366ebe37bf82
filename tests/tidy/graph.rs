//! Which file of the crate imports which: paths are resolved through modules, `use` names and re-exports to the file that
//! defines the item. Tests and `mod` lines are left out, and so are re-exports that their own file does not use.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::source::{Form, Import, Source};

/// Re-exports that lead to re-exports are followed this far. Arbitrary: the tree needs 3, a circle of `use` must end.
const STEPS_MAX: usize = 16;

pub struct Graph<'a> {
    files: Vec<File<'a>>,
    /// From a module's path to its file.
    modules: HashMap<Vec<String>, usize>,
}

/// One file imports from another.
pub struct Edge {
    pub from: usize,
    pub to: usize,
    /// Where in `from` the first such import stands.
    pub at: usize,
}

struct File<'a> {
    source: &'a Source,
    module: Vec<String>,
    items: BTreeSet<&'a str>,
    imports: Vec<Import>,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
enum Target {
    Module(Vec<String>),
    /// An item, by the file that defines it.
    Item(usize),
}

impl<'a> Graph<'a> {
    pub fn new(sources: &'a [Source]) -> Graph<'a> {
        let mut files = Vec::new();
        for source in sources.iter().filter(|source| source.path.starts_with("src/") && !source.is_test_file) {
            let mut imports = source.imports();
            imports.retain(|import| !source.is_test(import.at));
            let items = source.top_level_items().into_iter().collect();
            files.push(File { source, module: source.module_path(), items, imports });
        }
        let modules = files.iter().enumerate().map(|(index, file)| (file.module.clone(), index)).collect();
        Graph { files, modules }
    }

    pub fn source(&self, file: usize) -> &'a Source {
        self.files[file].source
    }

    pub fn module(&self, file: usize) -> &[String] {
        &self.files[file].module
    }

    /// Files by the top module that they belong to; the root belongs to none.
    pub fn top_modules(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut tops: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, file) in self.files.iter().enumerate() {
            if let Some(top) = file.module.first() {
                tops.entry(top).or_default().push(index);
            }
        }
        tops
    }

    /// Every pair of files of which one imports from the other, once.
    pub fn edges(&self) -> Vec<Edge> {
        let mut first: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (from, file) in self.files.iter().enumerate() {
            for import in &file.imports {
                if let Some(to) = self.imported_file(file, import).filter(|to| *to != from) {
                    first.entry((from, to)).or_insert(import.at);
                }
            }
        }
        first.into_iter().map(|((from, to), at)| Edge { from, to, at }).collect()
    }

    /// The file that `import` makes its own file depend on.
    fn imported_file(&self, file: &File, import: &Import) -> Option<usize> {
        match self.resolve(file, import, STEPS_MAX)? {
            Target::Item(owner) => match &import.form {
                Form::Reexport { name } if !file.source.mentions(name) => None,
                _ => Some(owner),
            },
            Target::Module(module) => match &import.form {
                // A module that is only a prefix of other paths: those paths lead to the files.
                Form::Use { name } | Form::Reexport { name } if file.is_prefix(name) => None,
                Form::Reexport { .. } => None,
                _ => self.modules.get(&module).copied(),
            },
        }
    }

    fn resolve(&self, file: &File, import: &Import, steps: usize) -> Option<Target> {
        let mut module = file.module.clone();
        module.extend(file.source.inline_modules(import.at).cloned());
        let mut rest = &import.path[..];
        match rest.first()?.as_str() {
            "crate" => {
                module.clear();
                rest = &rest[1..];
            }
            "self" | "super" => {
                while let Some(segment) = rest.first().filter(|segment| ["self", "super"].contains(&segment.as_str())) {
                    if segment == "super" {
                        module.pop()?;
                    }
                    rest = &rest[1..];
                }
            }
            first => {
                let child: Vec<String> = file.module.iter().cloned().chain([first.to_owned()]).collect();
                if !self.modules.contains_key(&child) {
                    // A name that the file has imported, or another crate.
                    let bound = file.binding(first).filter(|bound| !std::ptr::eq(*bound, import))?;
                    return match self.resolve(file, bound, steps.checked_sub(1)?)? {
                        Target::Module(module) => self.descend(module, &rest[1..], steps - 1),
                        item @ Target::Item(_) => Some(item),
                    };
                }
                module = file.module.clone();
            }
        }
        self.descend(module, rest, steps)
    }

    /// Follows `rest` from `module` down. A name that cannot be found counts as defined in the last module.
    fn descend(&self, module: Vec<String>, rest: &[String], steps: usize) -> Option<Target> {
        let Some((name, below)) = rest.split_first() else {
            return Some(Target::Module(module));
        };
        let child: Vec<String> = module.iter().cloned().chain([name.clone()]).collect();
        let is_module = self.modules.contains_key(&child);
        if is_module && !below.is_empty() {
            return self.descend(child, below, steps);
        }
        let index = self.enclosing_file(&module)?;
        let file = &self.files[index];
        if file.items.contains(name.as_str()) || file.module != module {
            return Some(Target::Item(index));
        }
        if let Some(bound) = file.binding(name) {
            match self.resolve(file, bound, steps.checked_sub(1)?) {
                Some(Target::Module(target)) if !below.is_empty() => return self.descend(target, below, steps - 1),
                Some(target) => return Some(target),
                // Another crate's item.
                None => return if is_module { Some(Target::Module(child)) } else { None },
            }
        }
        if is_module {
            return Some(Target::Module(child));
        }
        for glob in file.imports.iter().filter(|import| import.form == Form::Glob) {
            if let Some(Target::Module(target)) = self.resolve(file, glob, steps.checked_sub(1)?)
                && target != module
                && let Some(owner) = self.enclosing_file(&target)
                && self.files[owner].offers(name)
            {
                return self.descend(target, rest, steps - 1);
            }
        }
        Some(Target::Item(index))
    }

    /// The file of `module`, or of the closest module above when it is an inline one.
    fn enclosing_file(&self, module: &[String]) -> Option<usize> {
        (0..=module.len()).rev().find_map(|length| self.modules.get(&module[..length]).copied())
    }
}

impl File<'_> {
    /// The import that binds `name` in this file.
    fn binding(&self, name: &str) -> Option<&Import> {
        self.imports.iter().find(|import| match &import.form {
            Form::Use { name: bound } | Form::Reexport { name: bound } => bound == name,
            Form::Glob | Form::Inline => false,
        })
    }

    fn offers(&self, name: &str) -> bool {
        self.items.contains(name) || self.binding(name).is_some()
    }

    /// True when a path in the code begins with `name`.
    fn is_prefix(&self, name: &str) -> bool {
        self.imports.iter().any(|import| import.form == Form::Inline && import.path[0] == name)
    }
}

mod tests {
    use super::*;
    use crate::tree::snippets;

    /// `from → to` for each edge, by the files' names without `src/` and `.rs`.
    #[track_caller]
    fn assert_edges(files: &[(&str, &str)], expected: &[&str]) {
        let sources = snippets(files);
        let graph = Graph::new(&sources);
        let name = |file| graph.source(file).path.trim_start_matches("src/").trim_end_matches(".rs");
        let edges: Vec<String> =
            graph.edges().iter().map(|edge| format!("{} → {}", name(edge.from), name(edge.to))).collect();
        assert_eq!(edges, expected);
    }

    const SHARD: (&str, &str) = ("src/shard/mod.rs", "");
    const POOL: (&str, &str) = ("src/shard/upstream/pool.rs", "pub struct Pools;");
    const UPSTREAM: (&str, &str) =
        ("src/shard/upstream/mod.rs", "mod pool;\npub(super) use pool::Pools;\npub fn open() {}");

    #[test]
    fn import_leads_to_the_file_that_owns_the_item() {
        let flow = ("src/shard/flow.rs", "use super::upstream::{self, Pools};\nfn f() { upstream::open(); }");
        let edges = ["shard/flow → shard/upstream/mod", "shard/flow → shard/upstream/pool"];
        assert_edges(&[flow, SHARD, UPSTREAM, POOL], &edges);
    }

    #[test]
    fn path_in_the_code_is_followed_through_imported_modules() {
        let flow = ("src/shard/flow.rs", "use super::upstream as up;\nfn f(_: &up::Pools) {}");
        assert_edges(&[flow, SHARD, UPSTREAM, POOL], &["shard/flow → shard/upstream/pool"]);
        let whole = ("src/shard/flow.rs", "fn f(_: &crate::shard::upstream::Pools) {}");
        assert_edges(&[whole, SHARD, UPSTREAM, POOL], &["shard/flow → shard/upstream/pool"]);
    }

    #[test]
    fn mod_lines_and_reexports_alone_are_no_imports() {
        assert_edges(&[UPSTREAM, POOL], &[]);
        let user = ("src/shard/upstream/mod.rs", "mod pool;\npub use pool::Pools;\nfn f(_: Pools) {}");
        assert_edges(&[user, POOL], &["shard/upstream/mod → shard/upstream/pool"]);
    }

    #[test]
    fn reexport_of_a_reexport_and_glob_are_followed() {
        let shard = ("src/shard/mod.rs", "mod upstream;\npub use self::upstream::*;");
        let user = ("src/process.rs", "use crate::shard::Pools;");
        assert_edges(
            &[user, shard, UPSTREAM, POOL],
            &["process → shard/upstream/pool", "shard/mod → shard/upstream/mod"],
        );
    }

    #[test]
    fn child_that_uses_its_parent_imports_it() {
        let parent = ("src/plan.rs", "mod routes;\nuse routes::Routes;\npub struct Plan(Routes);");
        let child = ("src/plan/routes.rs", "use super::Plan;\npub struct Routes;");
        assert_edges(&[parent, child], &["plan → plan/routes", "plan/routes → plan"]);
    }

    #[test]
    fn tests_visibilities_and_other_crates_are_no_imports() {
        let tests = ("src/plan/tests.rs", "use super::Plan;");
        let plan = ("src/plan.rs", "pub struct Plan;\n#[cfg(test)]\nmod x { use crate::units::Bytes; }");
        let units =
            ("src/units.rs", "use std::plan::Plan;\npub(in crate::plan) struct Bytes;\nmod y { use super::Bytes; }");
        assert_edges(&[tests, plan, units], &[]);
    }

    #[test]
    fn circle_of_reexports_ends() {
        let a = ("src/a.rs", "pub use crate::b::X;\nfn f(_: X) {}");
        let b = ("src/b.rs", "pub use crate::a::X;");
        assert_edges(&[a, b], &[]);
    }
}
