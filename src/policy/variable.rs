//! The variables that a policy can read, as docs/policies.md lists them, and sets of variables.
//! Plain values, used on every thread.
//! Never holds a variable's value: `scope` does.

use serde::{Serialize, Serializer};

use super::types::CelType;

/// A variable that an expression may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Variable {
    Model,
    UserId,
    TenantId,
    RequestCount,
    CostUsd,
    TokensUsed,
    Agent,
    Provider,
    Endpoint,
    Stream,
    Temperature,
    MaxTokens,
    EstInputTokens,
    EstCostUsd,
    Now,
}

impl Variable {
    /// All variables in the order of the enum, which is also the order of the bits in [`Variables`].
    pub const ALL: [Variable; 15] = [
        Variable::Model,
        Variable::UserId,
        Variable::TenantId,
        Variable::RequestCount,
        Variable::CostUsd,
        Variable::TokensUsed,
        Variable::Agent,
        Variable::Provider,
        Variable::Endpoint,
        Variable::Stream,
        Variable::Temperature,
        Variable::MaxTokens,
        Variable::EstInputTokens,
        Variable::EstCostUsd,
        Variable::Now,
    ];

    pub fn name(self) -> &'static str {
        self.describe().0
    }

    pub fn cel_type(self) -> CelType {
        self.describe().1
    }

    /// Returns a one-line description for completion and documentation.
    pub fn meaning(self) -> &'static str {
        self.describe().2
    }

    pub fn from_name(name: &str) -> Option<Variable> {
        Variable::ALL.into_iter().find(|variable| variable.name() == name)
    }

    fn describe(self) -> (&'static str, CelType, &'static str) {
        use CelType::{Bool, Double, Int, String, Timestamp};
        match self {
            Variable::Model => ("model", String, "model as requested; after a downgrade, the new one"),
            Variable::UserId => ("user_id", String, "user named by the request's headers, \"\" if absent"),
            Variable::TenantId => ("tenant_id", String, "tenant named by the request's headers, \"\" if absent"),
            Variable::RequestCount => {
                ("request_count", Int, "requests of this user in the last minute, this one included")
            }
            Variable::CostUsd => {
                ("cost_usd", Double, "dollars of this user in the last minute, with the estimate of those in flight")
            }
            Variable::TokensUsed => ("tokens_used", Int, "tokens of this user in the last minute"),
            Variable::Agent => ("agent", String, "agent named by the request's header, \"\" if absent"),
            Variable::Provider => ("provider", String, "provider that would serve the request"),
            Variable::Endpoint => ("endpoint", String, "path of the request, such as /v1/chat/completions"),
            Variable::Stream => ("stream", Bool, "whether the answer is to be streamed"),
            Variable::Temperature => ("temperature", Double, "temperature of the request, 1.0 if absent"),
            Variable::MaxTokens => ("max_tokens", Int, "most tokens the answer may have, 0 if absent"),
            Variable::EstInputTokens => ("est_input_tokens", Int, "estimated input tokens of this request"),
            Variable::EstCostUsd => ("est_cost_usd", Double, "estimated dollars of this request, before it is sent"),
            Variable::Now => ("now", Timestamp, "when the request came, in UTC"),
        }
    }

    /// Returns the variable whose name is so close to `name` that it was probably meant.
    pub(super) fn near(name: &str) -> Option<Variable> {
        let near = Variable::ALL.into_iter().map(|variable| (edits(name, variable.name()), variable));
        // At most two edits, and fewer than half the length of the word. Arbitrary, but `x` must not become `now`.
        near.filter(|(edits, _)| *edits <= 2 && edits * 2 < name.len())
            .min_by_key(|(edits, _)| *edits)
            .map(|(_, it)| it)
    }
}

/// A set of variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Variables(u32);

impl Variables {
    pub const NONE: Variables = Variables(0);

    pub fn contains(self, variable: Variable) -> bool {
        self.0 & bit(variable) != 0
    }

    /// Returns true if any variable in the set requires reading the user's usage window.
    pub fn reads_usage(self) -> bool {
        self.0 & (bit(Variable::RequestCount) | bit(Variable::CostUsd) | bit(Variable::TokensUsed)) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Variable> {
        Variable::ALL.into_iter().filter(move |variable| self.contains(*variable))
    }

    pub fn union(self, other: Variables) -> Variables {
        Variables(self.0 | other.0)
    }

    pub(super) fn insert(&mut self, variable: Variable) {
        self.0 |= bit(variable);
    }
}

/// Serialises the set as a list of names.
impl Serialize for Variables {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(Variable::name))
    }
}

fn bit(variable: Variable) -> u32 {
    1 << variable as u32
}

/// Returns how many insertions, removals and replacements turn `a` into `b` (Levenshtein distance). Fast enough because
/// names are short.
fn edits(a: &str, b: &str) -> usize {
    // No variable is near a name longer than the longest one plus two, and a hostile name of 4 KiB must cost nothing.
    if a.len() > 20 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
