//! Parses YAML text into a tree in which every node knows its line and column. Refuses YAML features that a configuration
//! should not use: duplicate keys, aliases, merge keys, tags, several documents.
//! Runs on the coordinator at start and on a reload.
//! Never expands variables, and knows nothing about the meaning of keys.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use zeroize::Zeroizing;

use super::problem::{Mark, ProblemCollector};
use super::scalar::{Plain, SHOWN_CHARS_MAX, Scalar};

/// One value of a file.
pub(super) struct Node {
    /// The place that a problem with this value names: the value itself if it is a scalar, otherwise its key.
    pub at: Mark,
    pub kind: NodeKind,
}

pub(super) enum NodeKind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<MapEntry>),
    /// A problem has already been reported for this value; later stages skip it.
    Refused,
}

pub(super) struct MapEntry {
    pub key: String,
    pub at: Mark,
    pub value: Node,
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Node> {
        let NodeKind::Map(entries) = &self.kind else {
            return None;
        };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    pub fn entries(&self) -> &[MapEntry] {
        if let NodeKind::Map(entries) = &self.kind { entries } else { &[] }
    }

    pub fn items(&self) -> &[Node] {
        if let NodeKind::List(items) = &self.kind { items } else { &[] }
    }

    pub fn scalar(&self) -> Option<&Scalar> {
        if let NodeKind::Scalar(scalar) = &self.kind { Some(scalar) } else { None }
    }

    pub fn text(&self) -> Option<&str> {
        self.scalar().map(|scalar| scalar.text.as_str())
    }

    pub fn is_refused(&self) -> bool {
        matches!(self.kind, NodeKind::Refused)
    }

    /// See `Scalar::shown`. Empty if the node is not a scalar.
    pub fn shown(&self) -> String {
        self.scalar().map(Scalar::shown).unwrap_or_default()
    }
}

/// Returns the dotted path of a key below `parent`.
pub(super) fn join(parent: &str, key: &str) -> String {
    let key: String = key.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}

/// Parses a text. Returns `None` if it cannot be parsed, after the problem has been reported.
pub(super) fn parse(text: &str, problems: &mut ProblemCollector) -> Option<Node> {
    if text.len() as u64 > FILE_BYTES_MAX {
        problems.add(Mark::NONE, "", "the file is larger than 1 MiB");
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some((at, c)) = first_unprintable(text) {
        problems.add(
            at,
            "",
            format!("this is not a text file: it contains the control character U+{:04X}", u32::from(c)),
        );
        return None;
    }
    let mut reader = Reader { text, parser: Parser::new_from_str(text), problems, nodes: 0 };
    reader.document().ok().flatten()
}

/// The rest of the file cannot be parsed. The problem has been reported.
struct Stop;

struct Reader<'a, 'c> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    problems: &'c mut ProblemCollector,
    nodes: usize,
}

impl<'a> Reader<'a, '_> {
    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    self.problems.add(
                        mark(&span),
                        "",
                        "a second YAML document begins here; a configuration is a single document",
                    );
                    return Err(Stop);
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, &span, "", 0)?);
                }
                _ => {}
            }
        }
        let empty = |node: &Node| node.scalar().is_some_and(|scalar| scalar.plain_value() == Plain::Null);
        if root.as_ref().is_none_or(empty) {
            self.problems.add(
                Mark { line: 1, column: 1 },
                "",
                "the file is empty; config/minimal.yaml is the smallest working example",
            );
            return Err(Stop);
        }
        Ok(root)
    }

    fn node(&mut self, event: Event<'a>, span: &Span, path: &str, depth: usize) -> Result<Node, Stop> {
        let at = mark(span);
        self.nodes += 1;
        if self.nodes > NODES_MAX || depth > DEPTH_MAX {
            let what = if depth > DEPTH_MAX { "nested more than 32 levels deep" } else { "more than 20,000 values" };
            self.problems.add(at, path, format!("this cannot be a configuration: {what}"));
            return Err(Stop);
        }
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        if anchor != 0 || matches!(event, Event::Alias(_)) {
            self.problems.add(
                at,
                path,
                "anchors and aliases (`&name`, `*name`) are not supported; write the value out",
            );
        }
        if tagged {
            self.problems.add(at, path, "tags (`!name`) are not supported; remove the tag");
        }
        let kind = match event {
            Event::Scalar(text, style, ..) => NodeKind::Scalar(Scalar {
                text: Zeroizing::new(text.into_owned()),
                plain: style == ScalarStyle::Plain,
                written: None,
            }),
            Event::SequenceStart(..) => self.list(path, depth)?,
            Event::MappingStart(..) => self.map(path, depth)?,
            _ => NodeKind::Refused,
        };
        Ok(Node { at, kind: if tagged { NodeKind::Refused } else { kind } })
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<NodeKind, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(NodeKind::List(items));
            }
            let item = self.node(event, &span, &format!("{path}[{}]", items.len()), depth + 1)?;
            items.push(item);
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<NodeKind, Stop> {
        let mut entries: Vec<MapEntry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(NodeKind::Map(entries));
            }
            let key = self.node(event, &span, path, depth + 1)?;
            let key_text = key.text().map(str::to_owned);
            let child = join(path, key_text.as_deref().unwrap_or("?"));
            let (event, span) = self.next()?;
            let mut value = self.node(event, &span, &child, depth + 1)?;
            let is_filled_scalar = value.scalar().is_some_and(|scalar| !scalar.text.is_empty());
            if !is_filled_scalar {
                value.at = key.at;
            }
            match key_text {
                None => self.problems.add(key.at, path, "a key must be plain text"),
                Some(text) if text == "<<" => {
                    self.problems.add(key.at, path, "merge keys (`<<`) are not supported; write the values out");
                }
                Some(text) => match entries.iter().find(|entry| entry.key == text) {
                    Some(first) => {
                        self.problems.add(
                            key.at,
                            &child,
                            format!("duplicate key; the first is on line {}", first.at.line),
                        );
                    }
                    None => entries.push(MapEntry { key: text, at: key.at, value }),
                },
            }
        }
    }

    /// Returns the parser's next event. Reports a syntax error or an unexpected end as a problem.
    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = Mark::of(error.marker());
                let hint = self.hint(at.line);
                self.problems.add(at, "", format!("not valid YAML: {}{hint}", error.info()));
                Err(Stop)
            }
            None => {
                self.problems.add(Mark::NONE, "", "not valid YAML: it ends too early");
                Err(Stop)
            }
        }
    }

    /// Suggests the most common cause of a syntax error on this line.
    fn hint(&self, line: u32) -> &'static str {
        let line = self.text.lines().nth(line.saturating_sub(1) as usize).unwrap_or("");
        let indent = &line[..line.len() - line.trim_start().len()];
        if indent.contains('\t') {
            " (indent with spaces; this line has a tab)"
        } else if line.contains("${") {
            " (inside { } and [ ], write \"${NAME}\" in quotes)"
        } else {
            ""
        }
    }
}

impl Mark {
    fn of(marker: &saphyr_parser::Marker) -> Mark {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Mark { line: narrow(marker.line()), column: narrow(marker.col().saturating_add(1)) }
    }
}

fn mark(span: &Span) -> Mark {
    Mark::of(&span.start)
}

/// Finds the first character that YAML does not allow (YAML 1.2, section 5.1: printable characters only).
fn first_unprintable(text: &str) -> Option<(Mark, char)> {
    let printable = |c: char| match c {
        '\t' | '\n' | '\r' | '\u{85}' => true,
        '\u{feff}' | '\u{fffe}' | '\u{ffff}' => false,
        _ => !c.is_control(),
    };
    let (index, c) = text.char_indices().find(|(_, c)| !printable(*c))?;
    Some((position(text.as_bytes(), index), c))
}

/// Returns the line and column of a byte offset.
pub(super) fn position(bytes: &[u8], offset: usize) -> Mark {
    let before = bytes.get(..offset).unwrap_or(bytes);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Mark { line: narrow(line), column: narrow(column) }
}

/// Largest file. Arbitrary: the example file is 8 KiB.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most values in a file. Arbitrary: enough for a thousand providers with ten models each.
const NODES_MAX: usize = 20_000;
/// Deepest nesting; bounds the recursion here and in later stages. Arbitrary: the deepest key is on level 5.
const DEPTH_MAX: usize = 32;
