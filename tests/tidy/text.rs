//! Rust as text: tells code from comments and literals, and finds words and the ends of items.
//! Never compiles anything and never fails: text that it cannot read counts as code.

use std::ops::Range;

/// Replaces comments and literals by spaces, so that every byte and every line end keeps its place. Also returns the
/// places of the string literals, quotes included.
pub fn blank(text: &str) -> (String, Vec<Range<usize>>) {
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

/// Length of the block comment that `rest` begins with. Block comments nest.
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

/// Length of the string literal at `at`, including its prefix (`b`, `c`, `r#`), or `None` when no literal begins there.
fn string_length(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    let after_word = text[..at].ends_with(is_word_char);
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

/// Length of the character literal that `rest` begins with, or `None` for a lifetime or a label.
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
    let mut at = 0;
    std::iter::from_fn(move || {
        at += code[at..].find(is_word_char)?;
        let start = at;
        at += code[at..].find(|c| !is_word_char(c)).unwrap_or(code.len() - at);
        Some((start, &code[start..at]))
    })
}

/// The rest of `text` after each place where `prefix` begins a word.
pub fn word_starts<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let found = text.match_indices(prefix);
    let starts = found.filter(|(at, _)| !text[..*at].ends_with(|c: char| is_word_char(c) || c == '-'));
    starts.map(|(at, _)| &text[at + prefix.len()..])
}

/// The identifier after the `::` that `rest` begins with, or `None` when `rest` does not begin with a path separator.
pub fn next_path_segment(rest: &str) -> Option<&str> {
    let rest = rest.trim_start().strip_prefix("::")?.trim_start();
    words(rest).next().filter(|(at, _)| *at == 0).map(|(_, word)| word)
}

/// End of the item at `start`: after its closing brace, or after the `;` of an item without a body.
pub fn item_end(code: &str, start: usize) -> usize {
    let (mut brackets, mut braces) = (0_usize, 0_usize);
    for (at, c) in code[start..].char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '{' if brackets == 0 || braces > 0 => braces += 1,
            '}' if braces > 0 => {
                braces -= 1;
                if braces == 0 {
                    return start + at + 1;
                }
            }
            ';' if brackets == 0 && braces == 0 => return start + at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Start of the visibility (`pub`, `pub(crate)`, `pub(in …)`) that ends right before `at`, if there is one.
pub fn visibility_before(code: &str, at: usize) -> Option<usize> {
    let before = code[..at].trim_end();
    let before = match before.strip_suffix(')') {
        Some(open) => open[..open.rfind('(')?].trim_end(),
        None => before,
    };
    let start = before.len().checked_sub("pub".len())?;
    let is_word = before.ends_with("pub") && !before[..start].ends_with(is_word_char);
    is_word.then_some(start)
}

pub fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_kept() {
        let (code, literals) = blank("a // b\n/* c /* d */\n*/ e(\"f\\\"\", r#\"g\"#, '\\'', 'h, b\"i\")");
        assert_eq!(code.split_whitespace().collect::<String>(), "ae(,,,'h,)");
        assert_eq!(code.lines().count(), 3);
        assert_eq!(literals.len(), 3);
    }

    #[test]
    fn item_ends_with_its_brace_or_semicolon() {
        assert_eq!(item_end("fn f([u8; 2]) { { } } fn g() {}", 0), "fn f([u8; 2]) { { } }".len());
        assert_eq!(item_end("struct S([u8; 2]); struct T;", 0), "struct S([u8; 2]);".len());
    }

    #[test]
    fn visibility_is_found_in_every_form() {
        for code in ["pub use", "pub(crate) use", "x; pub(in crate::a) use"] {
            let at = code.find("use").unwrap();
            assert_eq!(visibility_before(code, at), code.find("pub"), "{code}");
        }
        assert_eq!(visibility_before("republic use", 9), None);
        assert_eq!(visibility_before("f() use", 4), None);
    }
}
