//! `${NAME}` and `${NAME:-default}` in the values of the tree, after parsing, so that no variable can
//! change the file's structure; `$$` is a dollar.
//! Runs on the coordinator at start and on a reload.
//! Never puts a variable's value, or the text around one, into a message.

use zeroize::{Zeroize, Zeroizing};

use super::problem::{Complaints, Mark};
use super::scalar::Scalar;
use super::tree::{Node, NodeKind, join};

/// How variables are looked up: `&|name| std::env::var(name).ok()` outside tests.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Expands every value below `root`; a value that cannot be expanded becomes `Refused`.
pub(super) fn expand(root: &mut Node, env: Env<'_>, complaints: &mut Complaints) {
    Expander { env, complaints, left: EXPANDED_BYTES_MAX }.node(root, "");
}

struct Expander<'e, 'c> {
    env: Env<'e>,
    complaints: &'c mut Complaints,
    /// Bytes that expansions may still add, so that a small file cannot fill the memory.
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

    /// False when there was something to complain about.
    fn scalar(&mut self, scalar: &mut Scalar, at: Mark, path: &str) -> bool {
        if !scalar.text.contains("${") && !scalar.text.contains("$$") {
            return true;
        }
        let mut whole = true;
        let mut out = Zeroizing::new(String::new());
        let mut rest = scalar.text.as_str();
        while let Some(dollar) = rest.find('$') {
            if self.left == 0 {
                return self.too_much(at, path);
            }
            self.push(&mut out, &rest[..dollar]);
            rest = &rest[dollar + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                self.push(&mut out, "$");
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let Some((inside, after)) = after.split_once('}') else {
                    self.complaints.add(at, path, "`${` without its `}`; a dollar as such is written `$$`");
                    return false;
                };
                match self.variable(inside) {
                    Ok(value) => self.push(&mut out, &value),
                    Err(message) => {
                        self.complaints.add(at, path, message);
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
            return self.too_much(at, path);
        }
        scalar.written = Some(std::mem::replace(&mut *scalar.text, std::mem::take(&mut *out)));
        whole
    }

    fn too_much(&mut self, at: Mark, path: &str) -> bool {
        self.complaints.add(at, path, "the variables of this file expand to more than 4 MiB");
        false
    }

    /// The value of what stands between the braces.
    fn variable(&self, inside: &str) -> Result<Zeroizing<String>, String> {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let sane = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.len() <= NAME_BYTES_MAX;
        if !sane {
            // What stands there may be a key that was pasted between the braces.
            return Err("`${…}` must hold a variable's name (letters, digits, _), or `NAME:-default`".to_owned());
        }
        if default.is_some_and(|default| default.contains("${")) {
            return Err(format!("the default of variable {name} holds another `${{`; they do not nest"));
        }
        match ((self.env)(name).map(Zeroizing::new), default) {
            // As in a shell: `:-` also stands in for a variable that is set but empty.
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
        // Growing by hand: a reallocation would leave a copy of a secret behind.
        if out.capacity() - out.len() < piece.len() {
            let mut grown = String::with_capacity((out.len() + piece.len()) * 2);
            grown.push_str(out);
            out.zeroize();
            **out = grown;
        }
        out.push_str(piece);
    }
}

/// Arbitrary: four times the largest file.
const EXPANDED_BYTES_MAX: usize = 4 << 20;
/// Arbitrary.
const NAME_BYTES_MAX: usize = 128;
