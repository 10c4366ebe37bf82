//! One Rust file: its code, its literals, which parts are tests, and what it declares and imports.

use std::ops::Range;

use crate::text::{blank, is_word_char, item_end, next_path_segment, visibility_before, words};

/// All offsets are bytes of `text`; `code` has the same length.
pub struct Source {
    /// Path below the root of the repository.
    pub path: String,
    pub text: String,
    /// `text` with comments and literals blanked, lines kept.
    pub code: String,
    /// String literals, quotes included.
    pub literals: Vec<Range<usize>>,
    /// True for a file that belongs to a test module, by its name or by the `mod` line that declares it.
    pub is_test_file: bool,
    test_items: Vec<Range<usize>>,
    /// `mod name { … }`, outermost first.
    inline_modules: Vec<(String, Range<usize>)>,
}

/// `mod name;`
pub struct ModLine {
    pub name: String,
    /// Where the line begins, visibility included.
    pub at: usize,
    /// Just after the `;`.
    pub end: usize,
}

/// A path of two segments or more, or any path in a `use`.
pub struct Import {
    pub at: usize,
    pub path: Vec<String>,
    pub form: Form,
}

#[derive(PartialEq)]
pub enum Form {
    /// `use path as name;`
    Use { name: String },
    /// `pub use path as name;`
    Reexport { name: String },
    /// `use path::*;`
    Glob,
    /// A path written out in the code.
    Inline,
}

impl Source {
    pub fn parse(path: &str, text: &str) -> Source {
        let (code, literals) = blank(text);
        let attributes = code.match_indices("#[cfg(test)]");
        let test_items = attributes.map(|(at, attribute)| at..item_end(&code, at + attribute.len())).collect();
        let is_test_file = path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/");
        let inline_modules = inline_modules(&code);
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            literals,
            is_test_file,
            test_items,
            inline_modules,
        }
    }

    /// `src/shard/flow.rs` is `[shard, flow]`, `src/shard/mod.rs` is `[shard]`, `src/lib.rs` is empty: the root.
    pub fn module_path(&self) -> Vec<String> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
    }

    /// True inside an item marked `#[cfg(test)]` and anywhere in a test file.
    pub fn is_test(&self, at: usize) -> bool {
        self.is_test_file || self.test_items.iter().any(|range| range.contains(&at))
    }

    /// `path:line`, as editors understand it.
    pub fn place(&self, at: usize) -> String {
        let line = self.text[..at].bytes().filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}", self.path)
    }

    pub fn complaint(&self, at: usize, what: &str) -> String {
        format!("{}: {what}", self.place(at))
    }

    /// Names of the `mod name { … }` that enclose `at`, outermost first.
    pub fn inline_modules(&self, at: usize) -> impl Iterator<Item = &String> {
        self.inline_modules.iter().filter(move |(_, range)| range.contains(&at)).map(|(name, _)| name)
    }

    pub fn mod_lines(&self) -> Vec<ModLine> {
        let mut lines = Vec::new();
        for (at, _) in words(&self.code).filter(|(_, word)| *word == "mod") {
            let rest = &self.code[at + "mod".len()..];
            let Some((skipped, name)) = words(rest).next() else { continue };
            let after_name = skipped + name.len();
            if rest[..skipped].trim().is_empty() && rest[after_name..].starts_with(';') {
                let end = at + "mod".len() + after_name + 1;
                let at = visibility_before(&self.code, at).unwrap_or(at);
                lines.push(ModLine { name: name.to_owned(), at, end });
            }
        }
        lines
    }

    /// Names of the items at the top level of the file.
    pub fn top_level_items(&self) -> Vec<&str> {
        const KEYWORDS: [&str; 9] =
            ["struct", "enum", "trait", "type", "union", "fn", "const", "static", "macro_rules"];
        let mut depth = 0_usize;
        let mut at = 0;
        let mut after_keyword = false;
        let mut names = Vec::new();
        for (start, word) in words(&self.code) {
            for c in self.code[at..start].chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            at = start;
            if depth == 0 {
                // `const fn name` and `static mut NAME` put a second keyword before the name.
                if after_keyword && !KEYWORDS.contains(&word) && word != "mut" {
                    names.push(word);
                    after_keyword = false;
                } else {
                    after_keyword |= KEYWORDS.contains(&word);
                }
            }
        }
        names
    }

    /// Everything that the file imports or names by path. `mod` lines and visibilities (`pub(in path)`) are not included.
    pub fn imports(&self) -> Vec<Import> {
        let mut found = Vec::new();
        let mut resume = 0;
        for (at, word) in words(&self.code) {
            if at < resume {
                continue;
            }
            let rest = &self.code[at + word.len()..];
            // `use<'a>` in a bound names captured lifetimes and imports nothing.
            if word == "use" && !rest.trim_start().starts_with('<') {
                let tree = &rest[..rest.find(';').unwrap_or(rest.len())];
                let is_public = visibility_before(&self.code, at).is_some();
                expand_use_tree(tree, &[], &mut |path, name| {
                    let form = match name {
                        None => Form::Glob,
                        Some(name) if is_public => Form::Reexport { name },
                        Some(name) => Form::Use { name },
                    };
                    found.push(Import { at, path, form });
                });
                resume = at + word.len() + tree.len();
                continue;
            }
            let mut path = vec![word.to_owned()];
            resume = at + word.len();
            while let Some(segment) = next_path_segment(&self.code[resume..]) {
                resume += self.code[resume..].find(segment).expect("segment was read from here") + segment.len();
                path.push(segment.to_owned());
            }
            let is_visibility = self.code[..at].trim_end().ends_with("pub(in");
            let goes_on = self.code[..at].trim_end().ends_with("::");
            if path.len() > 1 && !is_visibility && !goes_on {
                found.push(Import { at, path, form: Form::Inline });
            }
        }
        found
    }

    /// True when `name` occurs in code that is neither a test nor a `use`.
    pub fn mentions(&self, name: &str) -> bool {
        let uses: Vec<Range<usize>> = words(&self.code)
            .filter(|(_, word)| *word == "use")
            .map(|(at, _)| at..at + self.code[at..].find(';').unwrap_or(self.code.len() - at))
            .collect();
        words(&self.code)
            .any(|(at, word)| word == name && !self.is_test(at) && !uses.iter().any(|range| range.contains(&at)))
    }
}

fn inline_modules(code: &str) -> Vec<(String, Range<usize>)> {
    let mut modules = Vec::new();
    for (at, _) in words(code).filter(|(_, word)| *word == "mod") {
        let rest = &code[at + "mod".len()..];
        let Some((skipped, name)) = words(rest).next() else { continue };
        if rest[..skipped].trim().is_empty() && rest[skipped + name.len()..].trim_start().starts_with('{') {
            modules.push((name.to_owned(), at..item_end(code, at)));
        }
    }
    modules
}

/// Expands `a::{b, c::{d as e, self}, f::*}` and calls `found` with each path and the name that it is bound to:
/// `a::b` and `b`, `a::c::d` and `e`, `a::c` and `c`, `a::f` and `None`.
fn expand_use_tree(tree: &str, prefix: &[String], found: &mut impl FnMut(Vec<String>, Option<String>)) {
    for part in split_at_commas(tree) {
        let (head, group) = part.split_once('{').map_or((part, None), |(head, group)| (head, Some(group)));
        let (head, alias) = head.split_once(" as ").map_or((head, None), |(head, alias)| (head, Some(alias.trim())));
        let mut path = prefix.to_vec();
        path.extend(head.split("::").map(str::trim).filter(|s| s.starts_with(is_word_char)).map(str::to_owned));
        if let Some(group) = group {
            expand_use_tree(group.trim_end().strip_suffix('}').unwrap_or(group), &path, found);
        } else if head.trim_end().ends_with('*') {
            found(path, None);
        } else {
            if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            let name = alias.or(path.last().map(String::as_str)).unwrap_or_default().to_owned();
            found(path, Some(name));
        }
    }
}

/// Splits at the commas outside braces; leaves out empty parts.
fn split_at_commas(tree: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let parts = tree.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        Source::parse("src/plan.rs", text).imports().iter().map(|import| import.path.join("::")).collect()
    }

    #[test]
    fn use_tree_is_expanded() {
        let text = "use a::{b, c::{d as e, self}, f::*};\npub use g::h;";
        assert_eq!(paths(text), ["a::b", "a::c::d", "a::c", "a::f", "g::h"]);
        let imports = Source::parse("src/plan.rs", text).imports();
        assert!(imports[1].form == Form::Use { name: "e".to_owned() });
        assert!(imports[2].form == Form::Use { name: "c".to_owned() });
        assert!(imports[3].form == Form::Glob);
        assert!(imports[4].form == Form::Reexport { name: "h".to_owned() });
    }

    #[test]
    fn path_in_the_code_is_an_import_and_a_visibility_is_not() {
        assert_eq!(
            paths("pub(in crate::a) fn f() -> crate::b::C { D::new(); Vec::<u8>::new() }"),
            ["crate::b::C", "D::new"]
        );
        assert_eq!(paths("// a::b\nfn f() { \"a::b\"; g() }"), [""; 0]);
    }

    #[test]
    fn items_are_those_of_the_top_level() {
        let text = "pub struct A;\nimpl A { const B: u8 = 1; fn c() {} }\nconst fn d() {}\nstatic mut E: u8 = 1;";
        assert_eq!(Source::parse("src/plan.rs", text).top_level_items(), ["A", "d", "E"]);
    }

    #[test]
    fn module_path_follows_the_file() {
        let path = |path| Source::parse(path, "").module_path().join("::");
        assert_eq!(path("src/shard/flow.rs"), "shard::flow");
        assert_eq!(path("src/shard/mod.rs"), "shard");
        assert_eq!(path("src/lib.rs"), "");
    }

    #[test]
    fn item_marked_as_a_test_is_one() {
        let source = Source::parse("src/plan.rs", "fn f() {}\n#[cfg(test)]\nmod tests { fn g() {} }\nfn h() {}");
        let is_test = |name| source.is_test(source.code.find(name).unwrap());
        assert_eq!((is_test("f()"), is_test("g()"), is_test("h()")), (false, true, false));
    }
}
