//! Which names hold a text. Each name is looked at once for a search, not once for each trace that has it; traces are then
//! tested by the numbers of names alone. No pattern language is involved, so no letter of a text means anything but itself.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use super::super::writer::{SEARCHED, shortened};

/// Traces with the same request id that a search finds. Arbitrary: ids that callers choose may repeat.
const SAME_REQUEST_MAX: u32 = 20;

/// Makes `named(a, b, …)` a function of SQL that is true if one of the numbers is of a name that holds `text`, and gives the
/// columns of `trace` in which such names stand. With none the function is as it was.
pub(super) fn register(connection: &Connection, text: &str) -> rusqlite::Result<Vec<&'static str>> {
    let text = shortened(text).as_bytes();
    let mut found = Numbers::default();
    let mut bits = 0_i64;
    let mut statement = connection.prepare_cached("SELECT id, text, columns FROM name WHERE columns <> 0")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if holds(row.get_ref(1)?.as_bytes()?, text) {
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
                if let ValueRef::Integer(number) = arguments.get_raw(at)
                    && found.has(number)
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })?;
    }
    Ok(columns)
}

/// Keys of traces that have a request with exactly this id, the newest.
pub(super) fn traces_with_request(connection: &Connection, request_id: &str) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(SELECT_BY_REQUEST)?;
    statement.query_map((request_id, SAME_REQUEST_MAX), |row| row.get(0))?.collect()
}

/// Whether `text` stands in `name`, whatever the case of ASCII letters.
pub(super) fn holds(name: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = text.split_first() else { return true };
    let starts = memchr::memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), name);
    starts.into_iter().any(|at| name.get(at + 1..at + text.len()).is_some_and(|found| found.eq_ignore_ascii_case(rest)))
}

/// A set of numbers of names, a bit each: they are dense, the table counts them up.
#[derive(Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    fn add(&mut self, number: i64) {
        let Ok(number) = usize::try_from(number) else { return };
        if self.0.len() <= number / 64 {
            self.0.resize(number / 64 + 1, 0);
        }
        if let Some(bits) = self.0.get_mut(number / 64) {
            *bits |= 1 << (number % 64);
        }
    }

    fn has(&self, number: i64) -> bool {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        self.0.get(number / 64).is_some_and(|bits| bits >> (number % 64) & 1 == 1)
    }
}

const SELECT_BY_REQUEST: &str = "SELECT DISTINCT trace FROM request WHERE request_id = ?1 ORDER BY trace DESC LIMIT ?2";

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn a_text_is_found_anywhere_in_any_case() {
        for (name, text) in
            [("Alice", "alice"), ("alice", "LIC"), ("100%", "%"), ("a_b", "_"), ("x", ""), ("aab", "AB")]
        {
            assert!(holds(name.as_bytes(), text.as_bytes()), "{name} {text}");
        }
        for (name, text) in [("alice", "%"), ("ab", "a_"), ("ab", "abc"), ("", "a"), ("Ä", "ä")] {
            assert!(!holds(name.as_bytes(), text.as_bytes()), "{name} {text}");
        }
    }
}
