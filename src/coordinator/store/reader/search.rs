//! Finds the names that contain a text. A search examines each name once, not once for each trace that has it, and then tests
//! traces by the ids of their names. There is no pattern language, so every character of a text stands for itself.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use super::super::layout::{SEARCHED, shortened};

/// Traces that a search for a request id finds. Arbitrary: callers choose the ids and may repeat them.
const SAME_REQUEST_MAX: u32 = 20;

/// Defines the SQL function `named(a, b, …)`, which is true if one of the ids belongs to a name that contains `text`. Returns
/// the columns of `trace` in which such names occur; if there are none, the function is not changed.
pub(super) fn define_named(connection: &Connection, text: &str) -> rusqlite::Result<Vec<&'static str>> {
    let text = shortened(text).as_bytes();
    let mut found = IdSet::default();
    let mut bits = 0_i64;
    let mut statement = connection.prepare_cached("SELECT id, text, columns FROM name WHERE columns <> 0")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if contains(row.get_ref(1)?.as_bytes()?, text) {
            found.add(row.get(0)?);
            bits |= row.get::<_, i64>(2)?;
        }
    }
    let columns: Vec<_> =
        SEARCHED.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, name)| *name).collect();
    if !columns.is_empty() {
        let flags = FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
        connection.create_scalar_function("named", -1, flags, move |arguments| {
            for at in 0..arguments.len() {
                if let ValueRef::Integer(id) = arguments.get_raw(at)
                    && found.contains(id)
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })?;
    }
    Ok(columns)
}

/// Keys of the newest traces that have a request with exactly this id.
pub(super) fn traces_with_request(connection: &Connection, request_id: &str) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(SELECT_BY_REQUEST)?;
    statement.query_map((request_id, SAME_REQUEST_MAX), |row| row.get(0))?.collect()
}

/// Returns true if `name` contains `text`, ignoring the case of ASCII letters.
pub(super) fn contains(name: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = text.split_first() else { return true };
    let starts = memchr::memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), name);
    starts.into_iter().any(|at| name.get(at + 1..at + text.len()).is_some_and(|found| found.eq_ignore_ascii_case(rest)))
}

/// A set of name ids, one bit each. Ids are dense, because the table counts them up.
#[derive(Default)]
struct IdSet(Vec<u64>);

impl IdSet {
    fn add(&mut self, id: i64) {
        let Ok(id) = usize::try_from(id) else { return };
        if self.0.len() <= id / 64 {
            self.0.resize(id / 64 + 1, 0);
        }
        if let Some(bits) = self.0.get_mut(id / 64) {
            *bits |= 1 << (id % 64);
        }
    }

    fn contains(&self, id: i64) -> bool {
        let id = usize::try_from(id).unwrap_or(usize::MAX);
        self.0.get(id / 64).is_some_and(|bits| bits >> (id % 64) & 1 == 1)
    }
}

const SELECT_BY_REQUEST: &str = "SELECT DISTINCT trace FROM request WHERE request_id = ?1 ORDER BY trace DESC LIMIT ?2";

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn text_is_found_anywhere_in_any_case() {
        for (name, text) in
            [("Alice", "alice"), ("alice", "LIC"), ("100%", "%"), ("a_b", "_"), ("x", ""), ("aab", "AB")]
        {
            assert!(contains(name.as_bytes(), text.as_bytes()), "{name} {text}");
        }
        for (name, text) in [("alice", "%"), ("ab", "a_"), ("ab", "abc"), ("", "a"), ("Ä", "ä")] {
            assert!(!contains(name.as_bytes(), text.as_bytes()), "{name} {text}");
        }
    }
}
