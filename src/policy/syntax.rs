//! Turns text into a syntax tree: our own scan runs first, then cel's parser.
//! Runs on the compiling thread, whose stack is 16 MiB.
//! Never hands cel's parser a text that it cannot survive: 4,096 opening braces overflow even that stack (cel 0.15).

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::parser::{ParseError, Parser};
use schemars::JsonSchema;
use serde::Serialize;

/// Longest expression, in bytes. Arbitrary: about the most that a person can still read.
pub(super) const SOURCE_BYTES_MAX: usize = 4 << 10;

/// Deepest nesting, for brackets here and for the syntax tree in `check`. Arbitrary, far below the depth that overflows a
/// stack.
pub(super) const DEPTH_MAX: usize = 32;

/// Longest run of operators that nest in each other (`a + b + c` is a tree three levels deep, although it has no brackets).
/// Four operators per level, and `check` allows 32 levels. This limit only keeps the tree from becoming thousands of levels
/// deep.
const CHAIN_MAX: usize = 4 * DEPTH_MAX;

/// Prefix of the parser's messages about grammar.
const SYNTAX_ERROR: &str = "Syntax error: ";

/// A place in an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// In bytes, from 0.
    pub offset: usize,
}

impl Position {
    /// Returns the position of the byte at `offset`. An offset beyond `text` gives its end; an offset inside a character
    /// gives the start of that character.
    pub(super) fn at(text: &str, offset: usize) -> Position {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        // `text` has at most 4 KiB, so the casts are exact.
        Position {
            line: before.matches('\n').count() as u32 + 1,
            column: before[line_start..].chars().count() as u32 + 1,
            offset,
        }
    }

    /// Returns the position of a line and a column, both counted from 1, the column in characters.
    fn of_line(text: &str, line: usize, column: usize) -> Position {
        let line_start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let rest = &text[line_start..];
        let within = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
        Position::at(text, line_start + within)
    }
}

/// An error that makes a text unusable as a policy expression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema, thiserror::Error)]
#[error("{message}{}", position.map(|at| format!(" (line {}, column {})", at.line, at.column)).unwrap_or_default())]
pub struct ExpressionError {
    pub message: String,
    pub position: Option<Position>,
}

impl ExpressionError {
    pub(super) fn at(text: &str, offset: usize, message: impl Into<String>) -> ExpressionError {
        ExpressionError { message: message.into(), position: Some(Position::at(text, offset)) }
    }
}

/// Parses `text`. Returns its syntax tree and the source positions of the nodes.
pub(super) fn parse(text: &str) -> Result<(IdedExpr, SourceInfo), ExpressionError> {
    if text.len() > SOURCE_BYTES_MAX {
        let message = format!("the expression has {} bytes, at most {SOURCE_BYTES_MAX} are allowed", text.len());
        return Err(ExpressionError { message, position: None });
    }
    if text.trim().is_empty() {
        return Err(ExpressionError::at(text, 0, "the expression is empty"));
    }
    Scan { text, at: 0, open: Vec::new(), inside: Nesting::default() }.run()?;
    let parsed = Parser::new().max_recursion_depth(3 * DEPTH_MAX as u16).parse_with_source_info(text);
    let grammatical = |error: &&ParseError| error.msg.starts_with(SYNTAX_ERROR);
    // Prefer a syntax error: the errors that the parser adds after one are about its own internals.
    parsed.map_err(|errors| match errors.errors.iter().find(grammatical).or(errors.errors.first()) {
        Some(first) => ExpressionError { message: readable(first), position: Some(place(text, first)) },
        None => ExpressionError::at(text, 0, "the expression cannot be parsed"),
    })
}

fn place(text: &str, error: &ParseError) -> Position {
    Position::of_line(text, usize::try_from(error.pos.0).unwrap_or(1), usize::try_from(error.pos.1).unwrap_or(1))
}

/// Returns the parser's message without its list of all the tokens that it would have accepted.
fn readable(error: &ParseError) -> String {
    let message = error.msg.strip_prefix(SYNTAX_ERROR).unwrap_or(&error.msg);
    let message = message.split(" expecting ").next().unwrap_or(message);
    match message {
        "mismatched input '<EOF>'" | "extraneous input '<EOF>'" | "no viable alternative at input '<EOF>'" => {
            "the expression ends too early".to_owned()
        }
        "invalid int literal" => "the number does not fit: an int has 64 bits".to_owned(),
        "invalid double literal" => "the number does not fit: a double reaches to 1.8e308".to_owned(),
        "UNKNOWN" => "the expression cannot be parsed".to_owned(),
        _ => match message.split_once(" input ") {
            Some((_, input)) => format!("did not expect {input} here"),
            None => message.to_owned(),
        },
    }
}

/// Splits the text as cel's lexer does, closely enough to tell brackets inside strings and comments from real ones, and
/// refuses everything that no policy may contain. Text that passes has only tokens that the lexer knows.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// For each open bracket: its character, its offset in bytes, and the nesting outside it when it opened.
    open: Vec<(u8, usize, Nesting)>,
    inside: Nesting,
}

/// Upper bounds on the depth of the syntax tree between two brackets.
#[derive(Clone, Copy, Default)]
struct Nesting {
    /// Operators in a row, which nest to the left.
    chain: usize,
    /// Conditionals in a row, which nest to the right. The parser recurses into each of them.
    conditionals: usize,
}

impl Scan<'_> {
    fn run(mut self) -> Result<(), ExpressionError> {
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | 0x0c => self.at += 1,
                b'/' if self.peek(1) == Some(b'/') => {
                    self.at += self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at);
                }
                b'"' | b'\'' => self.string(byte, false)?,
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word()?,
                _ => self.symbol(byte)?,
            }
        }
        match self.open.last() {
            Some((bracket, at, _)) => Err(self.error(*at, format!("the '{}' is never closed", char::from(*bracket)))),
            None => Ok(()),
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// Scans a name, a keyword or a number, and the string that follows if the word is a string prefix.
    fn word(&mut self) -> Result<(), ExpressionError> {
        let start = self.at;
        while self.peek(0).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.at += 1;
        }
        let Some(quote @ (b'"' | b'\'')) = self.peek(0) else {
            return Ok(());
        };
        match &self.text[start..self.at] {
            "r" | "R" => self.string(quote, true),
            "in" => Ok(()),
            "b" | "B" | "br" | "bR" | "Br" | "BR" => Err(self.error(start, "bytes are not available in policies")),
            word => Err(self.error(self.at, format!("a string cannot follow '{word}' directly"))),
        }
    }

    /// Scans a string in one pair of quotes, with CEL's escapes unless it is raw.
    fn string(&mut self, quote: u8, raw: bool) -> Result<(), ExpressionError> {
        let start = self.at;
        if self.peek(1) == Some(quote) && self.peek(2) == Some(quote) {
            return Err(self.error(start, "strings stand in one pair of quotes, not three"));
        }
        self.at += 1;
        loop {
            match self.peek(0) {
                None | Some(b'\n' | b'\r') => return Err(self.error(start, "the string is never closed")),
                Some(byte) if byte == quote => break,
                Some(b'\\') if !raw => self.escape()?,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), ExpressionError> {
        let digits = match self.peek(1) {
            Some(b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`') => 0,
            Some(b'x' | b'X') => 2,
            Some(b'u') => 4,
            Some(b'U') => 8,
            Some(b'0'..=b'3') => 2,
            _ => return Err(self.error(self.at, "no such escape; a backslash itself is written \\\\")),
        };
        let octal = matches!(self.peek(1), Some(b'0'..=b'3'));
        let fits = |byte: u8| if octal { matches!(byte, b'0'..=b'7') } else { byte.is_ascii_hexdigit() };
        if !(2..2 + digits).all(|ahead| self.peek(ahead).is_some_and(fits)) {
            return Err(self.error(self.at, "the escape lacks digits"));
        }
        self.at += 2 + digits;
        Ok(())
    }

    fn symbol(&mut self, byte: u8) -> Result<(), ExpressionError> {
        let (start, next) = (self.at, self.peek(1));
        self.at += 1;
        match byte {
            b'(' | b'[' => self.opened(byte, start),
            b')' | b']' => self.closed(byte, start),
            b',' => {
                self.inside = Nesting::default();
                Ok(())
            }
            b'&' | b'|' if next == Some(byte) => {
                self.at += 1;
                self.inside.chain = 0; // cel balances these, however long the run
                Ok(())
            }
            b'=' | b'!' | b'<' | b'>' if next == Some(b'=') => {
                self.at += 1;
                self.chained(start)
            }
            b'<' | b'>' | b'!' | b'+' | b'-' | b'*' | b'/' | b'%' | b'.' | b':' => self.chained(start),
            b'?' => {
                self.inside.conditionals += 1;
                self.chained(start)
            }
            b'{' | b'}' => Err(self.error(start, "maps and messages are not available in policies")),
            b'=' => Err(self.error(start, "equality is written ==")),
            b'&' | b'|' => {
                let twice = char::from(byte);
                Err(self.error(start, format!("a single {twice} is no operator, write {twice}{twice}")))
            }
            _ => {
                let stray = self.text[start..].chars().next().unwrap_or(' ');
                Err(self.error(start, format!("'{}' has no meaning here", stray.escape_debug())))
            }
        }
    }

    fn opened(&mut self, bracket: u8, start: usize) -> Result<(), ExpressionError> {
        if self.open.len() == DEPTH_MAX {
            return Err(self.error(start, format!("more than {DEPTH_MAX} levels deep")));
        }
        self.open.push((bracket, start, std::mem::take(&mut self.inside)));
        Ok(())
    }

    fn closed(&mut self, bracket: u8, start: usize) -> Result<(), ExpressionError> {
        let opening = if bracket == b')' { b'(' } else { b'[' };
        match self.open.pop() {
            Some((open, _, outside)) if open == opening => {
                self.inside = outside;
                self.chained(start) // `f()()` and `a[0][0]` nest too
            }
            Some((open, ..)) => {
                let (open, bracket) = (char::from(open), char::from(bracket));
                Err(self.error(start, format!("'{bracket}' cannot close '{open}'")))
            }
            None => Err(self.error(start, format!("'{}' closes nothing", char::from(bracket)))),
        }
    }

    fn chained(&mut self, start: usize) -> Result<(), ExpressionError> {
        self.inside.chain += 1;
        if self.inside.chain > CHAIN_MAX || self.inside.conditionals > DEPTH_MAX {
            return Err(self.error(start, format!("more than {DEPTH_MAX} levels deep")));
        }
        Ok(())
    }

    fn error(&self, offset: usize, message: impl Into<String>) -> ExpressionError {
        ExpressionError::at(self.text, offset, message)
    }
}
