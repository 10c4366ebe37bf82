//! The types that the static check knows.
//! Plain values, used on the compiling thread.
//! Never consulted while a request is judged: a checked expression needs no types.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// A scalar type of CEL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CelType {
    Bool,
    Int,
    Uint,
    Double,
    String,
    Timestamp,
    Duration,
}

impl CelType {
    pub fn name(self) -> &'static str {
        match self {
            CelType::Bool => "bool",
            CelType::Int => "int",
            CelType::Uint => "uint",
            CelType::Double => "double",
            CelType::String => "string",
            CelType::Timestamp => "timestamp",
            CelType::Duration => "duration",
        }
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, CelType::Int | CelType::Uint | CelType::Double)
    }

    /// Returns true if `==` between the two types can ever hold: they are the same type, or both are numbers.
    pub(super) fn compares_with(self, other: CelType) -> bool {
        self == other || self.is_number() && other.is_number()
    }
}

/// Static type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    One(CelType),
    /// A list and the type of its elements; `None` if the list is empty, since its elements could have any type.
    List(Option<CelType>),
}

pub(super) const BOOL: Type = Type::One(CelType::Bool);
pub(super) const INT: Type = Type::One(CelType::Int);
pub(super) const STRING: Type = Type::One(CelType::String);

impl fmt::Display for Type {
    /// Writes the type with its article, as messages use it: `an int`, `a list of string`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::One(one @ CelType::Int) => write!(f, "an {}", one.name()),
            Type::One(one) => write!(f, "a {}", one.name()),
            Type::List(Some(of)) => write!(f, "a list of {}", of.name()),
            Type::List(None) => f.write_str("an empty list"),
        }
    }
}
