//! Functions: name, length and parameters, read from the text of a file.

use crate::source::Source;
use crate::text::{item_end, words};

pub struct Function<'a> {
    pub name: &'a str,
    /// Where its `fn` stands.
    pub at: usize,
    /// From `fn` to the closing brace; 0 for a signature without a body.
    pub lines: usize,
    /// `name: Type` of each parameter; a receiver (`&self`) is left out.
    pub parameters: Vec<&'a str>,
}

pub fn functions(source: &Source) -> Vec<Function<'_>> {
    let code = &source.code;
    let mut found = Vec::new();
    for (at, _) in words(code).filter(|(_, word)| *word == "fn") {
        let rest = &code[at + "fn".len()..];
        let Some((skipped, name)) = words(rest).next() else { continue };
        // Without a name it is a type: `fn(u8) -> u8`.
        if !rest[..skipped].trim().is_empty() {
            continue;
        }
        let item = &code[at..item_end(code, at)];
        let lines = if item.ends_with('}') { item.lines().count() } else { 0 };
        found.push(Function { name, at, lines, parameters: parameters(&rest[skipped + name.len()..]) });
    }
    found
}

/// `signature` begins right after the function's name, with the generic parameters if it has any.
fn parameters(signature: &str) -> Vec<&str> {
    let generics = if signature.trim_start().starts_with('<') { closing(signature) } else { Some(0) };
    let Some(after) = generics.map(|end| &signature[end..]) else { return Vec::new() };
    let (Some(open), Some(end)) = (after.find('('), closing(after)) else { return Vec::new() };
    let all = split_at_commas(&after[open + 1..end - 1]);
    all.into_iter().map(str::trim).filter(|parameter| !parameter.is_empty() && !is_receiver(parameter)).collect()
}

fn is_receiver(parameter: &str) -> bool {
    let name = parameter.split(':').next().unwrap_or_default();
    words(name).last().is_some_and(|(_, word)| word == "self")
}

/// Just after the bracket that closes the first one in `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, change) in brackets(text) {
        match change {
            1 => depth += 1,
            _ => depth = depth.checked_sub(1)?,
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

fn split_at_commas(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut brackets = brackets(text).peekable();
    let mut start = 0;
    let mut parts = Vec::new();
    for (comma, _) in text.match_indices(',') {
        while let Some((_, change)) = brackets.next_if(|(at, _)| *at < comma) {
            depth += change;
        }
        if depth == 0 {
            parts.push(&text[start..comma]);
            start = comma + 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Every bracket with its offset: 1 opens, -1 closes. The `>` of `->` is none.
fn brackets(text: &str) -> impl Iterator<Item = (usize, i32)> {
    text.char_indices().filter_map(|(at, c)| match c {
        '(' | '[' | '{' | '<' => Some((at, 1)),
        '>' if text[..at].ends_with('-') => None,
        ')' | ']' | '}' | '>' => Some((at, -1)),
        _ => None,
    })
}

mod tests {
    use super::*;
    use crate::source::Source;

    fn parameters_of(text: &str) -> Vec<String> {
        let source = Source::parse("src/plan.rs", text);
        functions(&source)[0].parameters.iter().map(|parameter| (*parameter).to_owned()).collect()
    }

    #[test]
    fn receiver_is_no_parameter() {
        for receiver in ["self", "mut self", "&self", "&mut self", "&'a mut self", "self: Rc<Self>"] {
            assert_eq!(parameters_of(&format!("fn f({receiver}, a: u8) {{}}")), ["a: u8"]);
        }
        assert_eq!(parameters_of("fn f() {}"), [""; 0]);
    }

    #[test]
    fn commas_inside_types_and_patterns_do_not_separate() {
        let text =
            "fn f<F: Fn(u8, u8) -> u8, T>(a: Map<u8, [u8; 2]>, (b, c): (u8, u8), d: impl Fn(u8) -> T,) -> u8 { 1 }";
        assert_eq!(parameters_of(text), ["a: Map<u8, [u8; 2]>", "(b, c): (u8, u8)", "d: impl Fn(u8) -> T"]);
    }

    #[test]
    fn length_counts_to_the_closing_brace_whatever_literals_hold() {
        let text = "struct S<'a>(&'a fn(u8));\nfn long<'a>(x: [u8; 2]) {\n    ('{', \"}\", r#\"}\"}\"#, b'}'); // }\n}\nfn short() {}\ntrait T { fn none(); }";
        let source = Source::parse("src/plan.rs", text);
        let lengths: Vec<(&str, usize)> = functions(&source).iter().map(|f| (f.name, f.lines)).collect();
        assert_eq!(lengths, [("long", 3), ("short", 1), ("none", 0)]);
    }
}
