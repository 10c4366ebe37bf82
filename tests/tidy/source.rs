//! A Rust file read as text: what is code, what is a literal, what is a test, which paths and functions it holds.
//! Used by `tests/tidy.rs` alone. Never compiles anything and never fails: what it cannot read it takes for code.

use std::ops::Range;

/// One Rust file, split into code and literals; all offsets are bytes of `text`, and `code` has the same length.
pub struct Source {
    pub path: String,
    pub text: String,
    /// `text` with comments and literals blanked, lines kept.
    pub code: String,
    /// String literals, quotes included.
    pub literals: Vec<Range<usize>>,
    /// What stands under `#[cfg(test)]`.
    pub tests: Vec<Range<usize>>,
}

impl Source {
    pub fn parse(path: &str, text: &str) -> Source {
        let (code, literals) = blank(text);
        let tests = test_items(&code);
        Source { path: path.to_owned(), text: text.to_owned(), code, literals, tests }
    }

    /// `src/shard/flow.rs` is `[shard, flow]`, `src/shard/mod.rs` is `[shard]`, `src/lib.rs` is `[lib]`.
    pub fn module_path(&self) -> Vec<String> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.trim_end_matches("/mod").split('/').map(str::to_owned).collect()
    }

    pub fn is_test_file(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs") || self.path.contains("/tests/")
    }

    pub fn is_test(&self, offset: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&offset))
    }

    pub fn complaint(&self, offset: usize, what: &str) -> String {
        let line = self.text[..offset].bytes().filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }

    /// Every path with two segments or more, where it stands: those of `use` trees spread out, and those in the code.
    pub fn paths(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        let mut resume = 0;
        for (at, word) in words(&self.code) {
            if at < resume {
                continue;
            }
            let rest = &self.code[at + word.len()..];
            // `use<'a>` in a bound names captures, it imports nothing.
            if word == "use" && !rest.trim_start().starts_with('<') {
                let tree = &rest[..rest.find(';').unwrap_or(rest.len())];
                spread(tree, &[], &mut |path| found.push((at, path)));
                resume = at + word.len() + tree.len();
                continue;
            }
            let mut path = vec![word.to_owned()];
            let mut end = at + word.len();
            while let Some(segment) = next_path_segment(&self.code[end..]) {
                end += self.code[end..].find(segment).expect("the segment was read from here") + segment.len();
                path.push(segment.to_owned());
            }
            resume = end;
            if path.len() > 1 {
                found.push((at, path));
            }
        }
        found
    }

    /// The top module of this crate that `path`, standing at `offset`, leads to; none where it leads to another crate or stays here.
    pub fn crate_module(&self, own: &[String], offset: usize, path: &[String]) -> Option<String> {
        let rest = path.iter().skip_while(|segment| *segment == "self").collect::<Vec<_>>();
        let supers = rest.iter().take_while(|segment| **segment == "super").count();
        match rest.first()?.as_str() {
            "crate" => rest.get(1).map(|segment| (*segment).clone()),
            "super" => {
                let up = supers.saturating_sub(self.inline_depth(offset));
                let kept = own.len().saturating_sub(up);
                if kept > 0 { Some(own[0].clone()) } else { rest.get(supers).map(|segment| (*segment).clone()) }
            }
            _ => None,
        }
    }

    /// How many `mod name { … }` of this file enclose `offset`.
    fn inline_depth(&self, offset: usize) -> usize {
        let modules = words(&self.code).filter(|(at, word)| *word == "mod" && *at < offset);
        modules.filter(|(at, _)| item_end(&self.code, *at) > offset).count()
    }

    /// Name and length in lines, from `fn` to the closing brace, of every function with a body.
    pub fn functions(&self) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        for (at, _) in words(&self.code).filter(|(_, word)| *word == "fn") {
            // Without a name it is a type: `fn(u8) -> u8`.
            let Some((name_at, name)) = words(&self.code[at + 2..]).next() else {
                continue;
            };
            if self.code[at + 2..at + 2 + name_at].trim().is_empty() {
                let body = &self.code[at..item_end(&self.code, at)];
                if body.ends_with('}') {
                    found.push((name.to_owned(), body.lines().count()));
                }
            }
        }
        found
    }
}

/// Spreads `a::{b, c::{d, self}}` into `a::b`, `a::c::d`, `a::c`.
fn spread(tree: &str, prefix: &[String], found: &mut impl FnMut(Vec<String>)) {
    let mut depth = 0;
    let mut start = 0;
    let mut parts = Vec::new();
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[start..]);
    for part in parts.into_iter().map(str::trim).filter(|part| !part.is_empty()) {
        let (head, group) = part.split_once('{').map_or((part, None), |(head, group)| (head, Some(group)));
        let head = head.split(" as ").next().unwrap_or(head);
        let mut path = prefix.to_vec();
        path.extend(head.split("::").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned));
        if let Some(group) = group {
            spread(group.strip_suffix('}').unwrap_or(group), &path, found);
            continue;
        }
        if !prefix.is_empty() && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        found(path);
    }
}

/// Blanks comments and literals, keeping every byte's place and every line end; returns the string literals too.
fn blank(text: &str) -> (String, Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut literals = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let (end, is_literal) = if rest.starts_with("//") {
            (at + rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (at + comment_length(rest), false)
        } else if let Some(length) = string_length(text, at) {
            (at + length, true)
        } else if let Some(length) = char_length(rest) {
            (at + length, false)
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        if is_literal {
            literals.push(at..end);
        }
        code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    (String::from_utf8(code).expect("whole characters were replaced by spaces"), literals)
}

/// The length of the block comment that `rest` begins with; they nest.
fn comment_length(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of the string literal at `at`, with its prefix (`b`, `c`, `r#`…), if one begins there.
fn string_length(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    let after_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let unprefixed = if after_word { rest } else { rest.trim_start_matches(['b', 'c']) };
    let is_raw = !after_word && unprefixed.starts_with('r');
    let body = if is_raw { &unprefixed[1..] } else { unprefixed };
    let hashes = if is_raw { body.len() - body.trim_start_matches('#').len() } else { 0 };
    let inner = body[hashes..].strip_prefix('"')?;
    let begin = rest.len() - inner.len();
    if is_raw {
        let close = format!("\"{}", "#".repeat(hashes));
        return Some(inner.find(&close).map_or(rest.len(), |found| begin + found + close.len()));
    }
    let mut escaped = false;
    for (offset, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(begin + offset + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

/// The length of the character literal that `rest` begins with; none for a lifetime or a label.
fn char_length(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    if let Some(escape) = inner.strip_prefix('\\') {
        // The escaped character itself may be a quote.
        let skipped = escape.chars().next().map_or(0, char::len_utf8);
        return Some(2 + skipped + escape[skipped..].find('\'')? + 1);
    }
    let width = inner.chars().next()?.len_utf8();
    inner[width..].starts_with('\'').then_some(width + 2)
}

/// Every identifier and keyword with its offset.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        at += code[at..].find(is_word)?;
        let start = at;
        at += code[at..].find(|c| !is_word(c)).unwrap_or(code.len() - at);
        Some((start, &code[start..at]))
    })
}

/// What follows each place where `prefix` begins a word of `text`.
pub fn word_starts<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let found = text.match_indices(prefix);
    let starts = found.filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-'));
    starts.map(|(at, _)| &text[at + prefix.len()..])
}

/// The identifier behind a `::` that `rest` begins with.
pub fn next_path_segment(rest: &str) -> Option<&str> {
    let rest = rest.trim_start().strip_prefix("::")?.trim_start();
    words(rest).next().filter(|(at, _)| *at == 0).map(|(_, word)| word)
}

/// The end of the item at `start`: behind its closing brace, or behind the `;` of one without a body.
fn item_end(code: &str, start: usize) -> usize {
    let (mut round, mut curly) = (0_usize, 0_usize);
    for (at, c) in code[start..].char_indices() {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round = round.saturating_sub(1),
            '{' if round == 0 || curly > 0 => curly += 1,
            '}' if curly > 0 => {
                curly -= 1;
                if curly == 0 {
                    return start + at + 1;
                }
            }
            ';' if round == 0 && curly == 0 => return start + at + 1,
            _ => {}
        }
    }
    code.len()
}

/// The items behind `#[cfg(test)]`, attribute included.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let attributes = code.match_indices("#[cfg(test)]");
    attributes.map(|(at, attribute)| at..item_end(code, at + attribute.len())).collect()
}
