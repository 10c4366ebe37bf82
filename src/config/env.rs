//! Expands `${NAME}` and `${NAME:-default}` in the values of the tree; `$$` is a literal dollar. Expansion happens after
//! parsing, so that no variable can change the structure of the file.
//! Runs on the coordinator at start and on a reload.
//! Never puts a variable's value, or the text around it, into a message.

use zeroize::{Zeroize, Zeroizing};

use super::problem::{Mark, ProblemCollector};
use super::scalar::Scalar;
use super::tree::{Node, NodeKind, join};

/// Looks a variable up: `&|name| std::env::var(name).ok()` outside tests.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Expands every value below `root`. A value that cannot be expanded becomes `Refused`.
pub(super) fn expand(root: &mut Node, env: Env<'_>, problems: &mut ProblemCollector) {
    Expander { env, problems, left: EXPANDED_BYTES_MAX }.node(root, "");
}

struct Expander<'e, 'c> {
    env: Env<'e>,
    problems: &'c mut ProblemCollector,
    /// Bytes that expansions may still add. Bounded so that a small file cannot fill the memory.
    left: usize,
}

impl Expander<'_, '_> {
    fn node(&mut self, node: &mut Node, path: &str) {
        let at = node.at;
        match &mut node.kind {
            NodeKind::Scalar(scalar) => {
                if !self.scalar(scalar, at, path) {
                    node.kind = NodeKind::Refused;
                }
            }
            NodeKind::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, &format!("{path}[{index}]"));
                }
            }
            NodeKind::Map(entries) => {
                for entry in entries {
                    let path = join(path, &entry.key);
                    self.node(&mut entry.value, &path);
                }
            }
            NodeKind::Refused => {}
        }
    }

    /// Returns false if a problem was found.
    fn scalar(&mut self, scalar: &mut Scalar, at: Mark, path: &str) -> bool {
        if !scalar.text.contains("${") && !scalar.text.contains("$$") {
            return true;
        }
        let mut whole = true;
        let mut out = Zeroizing::new(String::new());
        let mut rest = scalar.text.as_str();
        while let Some(dollar) = rest.find('$') {
            if self.left == 0 {
                return self.exceeds_limit(at, path);
            }
            self.push(&mut out, &rest[..dollar]);
            rest = &rest[dollar + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                self.push(&mut out, "$");
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let Some((inside, after)) = after.split_once('}') else {
                    self.problems.add(at, path, "`${` has no closing `}`; write a literal dollar as `$$`");
                    return false;
                };
                match self.variable(inside) {
                    Ok(value) => self.push(&mut out, &value),
                    Err(message) => {
                        self.problems.add(at, path, message);
                        whole = false;
                    }
                }
                rest = after;
            } else {
                self.push(&mut out, "$");
            }
        }
        self.push(&mut out, rest);
        if self.left == 0 {
            return self.exceeds_limit(at, path);
        }
        scalar.written = Some(std::mem::replace(&mut *scalar.text, std::mem::take(&mut *out)));
        whole
    }

    fn exceeds_limit(&mut self, at: Mark, path: &str) -> bool {
        self.problems.add(at, path, "the variables of this file expand to more than 4 MiB");
        false
    }

    /// Returns the value for the text between the braces.
    fn variable(&self, inside: &str) -> Result<Zeroizing<String>, String> {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let sane = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.len() <= NAME_BYTES_MAX;
        if !sane {
            // The message does not repeat the text, which may be an API key that was pasted between the braces.
            return Err("`${…}` must hold a variable's name (letters, digits, _), or `NAME:-default`".to_owned());
        }
        if default.is_some_and(|default| default.contains("${")) {
            return Err(format!("the default of variable {name} contains another `${{`; variables do not nest"));
        }
        match ((self.env)(name).map(Zeroizing::new), default) {
            // As in a shell, `:-` also replaces a variable that is set but empty.
            (Some(value), Some(default)) if value.is_empty() => Ok(Zeroizing::new(default.to_owned())),
            (Some(value), _) => Ok(value),
            (None, Some(default)) => Ok(Zeroizing::new(default.to_owned())),
            (None, None) => {
                Err(format!("environment variable {name} is not set; set it, or write ${{{name}:-default}}"))
            }
        }
    }

    fn push(&mut self, out: &mut Zeroizing<String>, piece: &str) {
        self.left = self.left.saturating_sub(piece.len());
        if self.left == 0 {
            return;
        }
        // The buffer grows by hand, because a reallocation would leave a copy of a secret in freed memory.
        if out.capacity() - out.len() < piece.len() {
            let mut grown = String::with_capacity((out.len() + piece.len()) * 2);
            grown.push_str(out);
            out.zeroize();
            **out = grown;
        }
        out.push_str(piece);
    }
}

/// Most bytes that the variables of one file may expand to. Arbitrary: four times the largest file.
const EXPANDED_BYTES_MAX: usize = 4 << 20;
/// Longest name of a variable. Arbitrary: far longer than any name in use.
const NAME_BYTES_MAX: usize = 128;
