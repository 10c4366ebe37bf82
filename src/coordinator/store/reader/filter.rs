//! Filters for traces, and a filter as a condition in SQL with bound values. Pure, except that it looks names up. No text from a
//! caller ever becomes part of a statement.

use std::str::FromStr;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};

use super::super::dimension::{Dimension, POLICY_NUMBER, STATUS_NUMBER};
use super::super::layout::{key_of, shortened};
use super::{names, search};
use crate::link::trace::Marks;
use crate::units::MicroUsd;
use crate::who::Who;

/// Conditions that a trace must meet, all of them. Of a trace with several requests, one request must meet each condition,
/// though not the same one; `min_cost` and `min_ms` apply to the whole trace. The time of a trace is when the first of its
/// recorded requests started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub who: Who<Option<String>>,
    /// The model that was asked for, or the one that answered.
    pub model: Option<String>,
    pub provider: Option<String>,
    pub status: Option<StatusFilter>,
    /// The id of a policy that matched, whether it had an effect or not.
    pub policy: Option<String>,
    pub from_ms: Option<u64>,
    /// Exclusive.
    pub to_ms: Option<u64>,
    /// A part of an identity, provider, model or error message, ignoring the case of ASCII letters; or the start of a trace id;
    /// or a request id.
    pub q: Option<String>,
    pub min_cost: Option<MicroUsd>,
    pub min_ms: Option<u64>,
    /// Only traces that a list shows behind this one. Lets a caller read all pages while new traces arrive.
    pub after: Option<u128>,
}

/// How a request ended, or what happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// Nothing went wrong and nothing was blocked.
    Ok,
    /// The request has one of these marks.
    Marked(Marks),
    /// The first digit of the HTTP status.
    Class(u16),
    /// The HTTP status.
    Code(u16),
}

/// The text is not a [`StatusFilter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an HTTP status, a class of them such as 4xx, or one of ok, error, blocked, alerted, downgraded, shadowed, hit, cut"
)]
pub struct UnknownStatus;

impl FromStr for StatusFilter {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<StatusFilter, UnknownStatus> {
        Ok(match text {
            "ok" => StatusFilter::Ok,
            "error" => StatusFilter::Marked(Marks::ERROR),
            "blocked" => StatusFilter::Marked(Marks::BLOCKED),
            "alerted" => StatusFilter::Marked(Marks::ALERTED),
            "downgraded" => StatusFilter::Marked(Marks::DOWNGRADED),
            "shadowed" => StatusFilter::Marked(Marks::SHADOWED),
            "hit" => StatusFilter::Marked(Marks::HIT),
            "cut" => StatusFilter::Marked(Marks::CUT),
            "2xx" => StatusFilter::Class(2),
            "3xx" => StatusFilter::Class(3),
            "4xx" => StatusFilter::Class(4),
            "5xx" => StatusFilter::Class(5),
            code => match code.parse() {
                Ok(code @ 100..=999) => StatusFilter::Code(code),
                _ => return Err(UnknownStatus),
            },
        })
    }
}

/// A filter in SQL, for one state of the file.
pub(super) struct Condition {
    /// The condition over the table `trace`, for a WHERE clause. Its first two values are the range of keys.
    pub sql: String,
    /// The first key, and the first key after the range.
    pub range: [i64; 2],
    other_values: Vec<Value>,
    /// Set if the range of keys is the only condition.
    pub is_range: bool,
}

impl Filter {
    /// Returns `None` if nothing can match, because no request has the name.
    pub(super) fn condition(&self, connection: &Connection) -> rusqlite::Result<Option<Condition>> {
        let mut end = self.to_ms.map_or(i64::MAX, key_of);
        if let Some(after) = self.after {
            let Some(key) = key_of_trace(connection, after)? else { return Ok(None) };
            end = end.min(key);
        }
        let mut condition = Condition::of_range([self.from_ms.map_or(0, key_of), end]);
        let who = self.who.parts().map(|(part, text)| (Dimension::Who(part), text));
        for (dimension, text) in who.chain([(Dimension::Provider, &self.provider), (Dimension::Model, &self.model)]) {
            let Some(text) = text else { continue };
            let Some(name) = names::id_of(connection, shortened(text))? else { return Ok(None) };
            condition.named(dimension, name);
        }
        if let Some(policy) = &self.policy {
            let Some(policy) = names::id_of(connection, shortened(policy))? else { return Ok(None) };
            let matched = "key IN (SELECT trace FROM trace_also WHERE kind = ? AND value = ?)";
            condition.and(matched, [POLICY_NUMBER, policy]);
        }
        if let Some(status) = self.status {
            condition.status(status);
        }
        if let Some(cost) = self.min_cost {
            condition.and("cost >= ?", [cost.0]);
        }
        if let Some(ms) = self.min_ms {
            condition.and("duration_us >= ?", [i64::try_from(ms.saturating_mul(1000)).unwrap_or(i64::MAX)]);
        }
        match self.q.as_deref().map(str::trim) {
            Some(text) if !text.is_empty() => {
                condition.search(connection, text).map(|found| found.then_some(condition))
            }
            _ => Ok(Some(condition)),
        }
    }
}

impl Condition {
    /// Matches all traces whose keys are in a range.
    pub(super) fn of_range(range: [i64; 2]) -> Condition {
        Condition { sql: "key >= ? AND key < ?".to_owned(), range, other_values: Vec::new(), is_range: true }
    }

    /// The values for [`Condition::sql`].
    pub(super) fn values(&self) -> impl Iterator<Item = Value> {
        self.values_within(self.range)
    }

    /// The values for [`Condition::sql`] with another range of keys.
    pub(super) fn values_within(&self, range: [i64; 2]) -> impl Iterator<Item = Value> {
        range.map(Value::from).into_iter().chain(self.other_values.iter().cloned())
    }

    fn and(&mut self, sql: &str, values: impl IntoIterator<Item = i64>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
        self.other_values.extend(values.into_iter().map(Value::from));
        self.is_range = false;
    }

    fn named(&mut self, dimension: Dimension, name: i64) {
        let columns: &[&str] = match dimension {
            Dimension::Model => &["asked", "model"],
            _ => &[dimension.name()],
        };
        let equals: Vec<String> = columns.iter().map(|column| format!("{column} = ?")).collect();
        let kind = dimension.number();
        let sql = format!("({} OR {})", equals.join(" OR "), also("kind = ? AND value = ?"));
        self.and(&sql, columns.iter().map(|_| name).chain([kind, name]));
    }

    fn status(&mut self, status: StatusFilter) {
        let failed = Marks::ERROR.with(Marks::BLOCKED);
        match status {
            StatusFilter::Ok => self.and("marks & ? = 0", [i64::from(failed.0)]),
            StatusFilter::Marked(marks) => self.and("marks & ? <> 0", [i64::from(marks.0)]),
            StatusFilter::Class(class) => self.statuses(i64::from(class) * 100, i64::from(class) * 100 + 99),
            StatusFilter::Code(code) => self.statuses(i64::from(code), i64::from(code)),
        }
    }

    fn statuses(&mut self, from: i64, to: i64) {
        let sql = format!("(status BETWEEN ? AND ? OR {})", also("kind = ? AND value BETWEEN ? AND ?"));
        self.and(&sql, [from, to, STATUS_NUMBER, from, to]);
    }

    /// Returns false if nothing can match.
    fn search(&mut self, connection: &Connection, text: &str) -> rusqlite::Result<bool> {
        let mut alternatives = Vec::new();
        let mut values = Vec::new();
        let columns = search::define_named(connection, text)?;
        if !columns.is_empty() {
            alternatives.push(format!("named({})", columns.join(", ")));
            alternatives.push(also("kind NOT IN (?, ?) AND named(value)"));
            values.extend([STATUS_NUMBER, POLICY_NUMBER].map(Value::from));
        }
        if let Some((first, last)) = ids_starting_with(text) {
            alternatives.push("id BETWEEN ? AND ?".to_owned());
            values.extend([first, last].map(|id| Value::from(id.to_be_bytes().to_vec())));
        }
        for key in search::traces_with_request(connection, shortened(text))? {
            alternatives.push("key = ?".to_owned());
            values.push(Value::from(key));
        }
        self.sql.push_str(&format!(" AND ({})", alternatives.join(" OR ")));
        self.other_values.extend(values);
        self.is_range = false;
        Ok(!alternatives.is_empty())
    }
}

/// The condition that a later request of the trace, one that differs from the first, has the value.
fn also(condition: &str) -> String {
    let mixed = Marks::MIXED.0;
    format!("(marks & {mixed} <> 0 AND key IN (SELECT trace FROM trace_also WHERE {condition}))")
}

pub(super) fn key_of_trace(connection: &Connection, id: u128) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT key FROM trace WHERE id = ?1")?;
    statement.query_row([&id.to_be_bytes()[..]], |row| row.get(0)).optional()
}

/// The range of trace ids that start with these hexadecimal digits.
fn ids_starting_with(text: &str) -> Option<(u128, u128)> {
    let hex = !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = u128::from_str_radix(text, 16).ok().filter(|_| hex)?;
    let free = 128 - 4 * text.len() as u32;
    // `text` is not empty, so at most 124 bits are free. Shifting by all 128 would overflow.
    Some((digits << free, digits << free | ((1 << free) - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_ids_are_found_by_their_first_digits() {
        assert_eq!(ids_starting_with("f"), Some((0xf << 124, u128::MAX)));
        assert_eq!(ids_starting_with(&"0".repeat(32)), Some((0, 0)));
        assert_eq!(ids_starting_with("4bF9"), Some((0x4bf9 << 112, 0x4bf9 << 112 | (u128::MAX >> 16))));
        for text in ["", "g", "+f", "-1", "0x1", &"1".repeat(33), "１"] {
            assert_eq!(ids_starting_with(text), None, "{text}");
        }
    }

    #[test]
    fn status_is_a_word_a_class_or_a_number() {
        assert_eq!("4xx".parse(), Ok(StatusFilter::Class(4)));
        assert_eq!("429".parse(), Ok(StatusFilter::Code(429)));
        assert_eq!("ok".parse(), Ok(StatusFilter::Ok));
        for text in ["", "OK", "1xx", "99", "1000", "-200", "200 ", "4xx;"] {
            assert_eq!(text.parse::<StatusFilter>(), Err(UnknownStatus), "{text}");
        }
    }
}
