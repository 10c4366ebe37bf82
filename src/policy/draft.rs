//! Policies as the REST API and the store represent them, and the drafts that clients send.
//! Plain values, used by the coordinator.
//! Never trusts a draft: it may become a policy only after [`Draft::check`] accepts it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compiled::check_expression;
use super::syntax::Position;

pub const NAME_CHARS_MAX: usize = 128;
pub const DESCRIPTION_BYTES_MAX: usize = 2 << 10;
pub const MESSAGE_BYTES_MAX: usize = 1 << 10;
pub const TARGET_MODEL_BYTES_MAX: usize = 256; // equal to the limit for identity headers

/// A policy as the REST API shows it and the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StoredPolicy")]
pub struct Policy {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub expression: String,
    pub action: Action,
    #[serde(default)]
    pub target_model: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default = "default_priority")]
    pub priority: i64,
    #[serde(default = "default_enabled")]
    pub enabled: bool,
    #[serde(default)]
    pub mode: Mode,
    pub created_at: String,
    pub updated_at: String,
}

/// What a matching policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Block,
    Alert,
    Downgrade,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Action::Block => "block",
            Action::Alert => "alert",
            Action::Downgrade => "downgrade",
        }
    }
}

/// Whether a match acts or is only recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Enforce,
    Shadow,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Shadow => "shadow",
        }
    }
}

/// The body of POST and PUT: a policy without what the gateway decides itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PolicyDraft")]
pub struct Draft {
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub expression: String,
    pub action: Action,
    #[serde(default)]
    pub target_model: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default = "default_priority")]
    pub priority: i64,
    #[serde(default = "default_enabled")]
    pub enabled: bool,
    #[serde(default)]
    pub mode: Mode,
}

/// A problem with one field of a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{param}: {message}")]
pub struct FieldError {
    pub param: &'static str,
    pub message: String,
    /// Position in the expression. Only set when the field is the expression.
    pub position: Option<Position>,
}

impl Draft {
    /// Returns every problem at once. Parses the expression on a separate thread, which takes about a millisecond.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut complain = |param, problem: Option<String>| {
            errors.extend(problem.map(|message| FieldError { param, message, position: None }));
        };
        complain("name", name_problem(&self.name));
        complain("description", description_problem(&self.description));
        complain("target_model", self.target_model.as_deref().and_then(|target| target_problem(target, self.action)));
        complain("message", self.message.as_deref().and_then(message_problem));
        if let Err(error) = check_expression(&self.expression) {
            errors.push(FieldError { param: "expression", message: error.message, position: error.position });
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Turns the draft into a policy.
    pub fn into_policy(self, id: String, created_at: String, updated_at: String) -> Policy {
        let Draft { name, description, expression, action, target_model, message, priority, enabled, mode } = self;
        #[rustfmt::skip]
        let policy = Policy {
            id, name, description, expression, action, target_model, message, priority, enabled, mode, created_at, updated_at,
        };
        policy
    }
}

fn name_problem(name: &str) -> Option<String> {
    let chars = name.chars().count();
    if name.trim().is_empty() {
        Some("is empty".into())
    } else if chars > NAME_CHARS_MAX {
        Some(format!("has {chars} characters, at most {NAME_CHARS_MAX} are allowed"))
    } else if name.trim() != name {
        Some("begins or ends with a space".into())
    } else {
        unprintable_problem(name)
    }
}

fn description_problem(description: &str) -> Option<String> {
    let allowed = |c: char| matches!(c, '\n' | '\r' | '\t') || is_printable(c);
    if description.len() > DESCRIPTION_BYTES_MAX {
        Some(format!("has {} bytes, at most {DESCRIPTION_BYTES_MAX} are allowed", description.len()))
    } else {
        (!description.chars().all(allowed)).then(|| "has a control character".into())
    }
}

fn message_problem(message: &str) -> Option<String> {
    if message.len() > MESSAGE_BYTES_MAX {
        Some(format!("has {} bytes, at most {MESSAGE_BYTES_MAX} are allowed", message.len()))
    } else {
        unprintable_problem(message)
    }
}

fn target_problem(target: &str, action: Action) -> Option<String> {
    if action != Action::Downgrade {
        Some("is only for the action downgrade".into())
    } else if target.trim().is_empty() {
        Some("is empty; leave it out to let the provider's downgrade map decide".into())
    } else if target.len() > TARGET_MODEL_BYTES_MAX {
        Some(format!("has {} bytes, at most {TARGET_MODEL_BYTES_MAX} are allowed", target.len()))
    } else if target.trim() != target {
        Some("begins or ends with a space".into())
    } else {
        unprintable_problem(target)
    }
}

fn unprintable_problem(text: &str) -> Option<String> {
    (!text.chars().all(is_printable)).then(|| "has a control or invisible character".into())
}

/// Returns false for control characters, and for characters that are invisible or reorder the text around them in a log or
/// on a page (Unicode's zero-width, line-separating and bidirectional characters).
fn is_printable(c: char) -> bool {
    let invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}');
    !c.is_control() && !invisible
}

/// Priority of a policy that does not give one. Leaves room on both sides.
fn default_priority() -> i64 {
    100
}

fn default_enabled() -> bool {
    true
}
