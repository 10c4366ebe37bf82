//! The functions that a policy calls on a value, such as `model.startsWith('gpt-4o')`, with the descriptions that an editor
//! shows.
//! Constants, used on every thread.
//! Never checks a call: `functions` does.

use schemars::JsonSchema;
use serde::Serialize;

use super::types::CelType;

/// A function that is called on a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicyMethod {
    pub name: &'static str,
    /// The type of the value it is called on.
    pub on: CelType,
    /// The type of its required argument, `None` if it needs none. Accessors of a timestamp also accept a time zone.
    pub argument: Option<CelType>,
    /// One line for completion and documentation.
    pub description: &'static str,
}

pub const METHODS: [PolicyMethod; 15] = [
    of_string("startsWith", Some(CelType::String), "starts with this text"),
    of_string("endsWith", Some(CelType::String), "ends with this text"),
    of_string("contains", Some(CelType::String), "contains this text"),
    of_string("matches", Some(CelType::String), "matches this regular expression"),
    of_string("size", None, "length in characters"),
    of_timestamp("getHours", "hour of the day in UTC, 0 to 23"),
    of_timestamp("getMinutes", "minute of the hour, 0 to 59"),
    of_timestamp("getSeconds", "second of the minute, 0 to 59"),
    of_timestamp("getMilliseconds", "millisecond of the second, 0 to 999"),
    of_timestamp("getFullYear", "year, such as 2026"),
    of_timestamp("getMonth", "month of the year, 0 is January"),
    of_timestamp("getDate", "day of the month, from 1"),
    of_timestamp("getDayOfMonth", "day of the month, from 0"),
    of_timestamp("getDayOfWeek", "day of the week, 0 is Sunday"),
    of_timestamp("getDayOfYear", "day of the year, from 0"),
];

/// Returns true if the method `name` reads a part of a timestamp.
pub(super) fn is_accessor(name: &str) -> bool {
    METHODS.iter().any(|method| method.on == CelType::Timestamp && method.name == name)
}

const fn of_string(name: &'static str, argument: Option<CelType>, description: &'static str) -> PolicyMethod {
    PolicyMethod { name, on: CelType::String, argument, description }
}

const fn of_timestamp(name: &'static str, description: &'static str) -> PolicyMethod {
    PolicyMethod { name, on: CelType::Timestamp, argument: None, description }
}
