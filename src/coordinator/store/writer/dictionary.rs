//! Texts that repeat, as numbers: the table `name`, with the ones in use held in memory. On the coordinator's thread, within
//! the transaction of a flush; when that is given up, so is what was learned in it. It never holds more than a bound.

use hashbrown::HashMap;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use crate::who::WhoPart;

/// Texts held in memory; then it starts over. Arbitrary: about 10 MB of them.
const KNOWN_MAX: usize = 50_000;
/// Longer texts are cut. Arbitrary: an identity has at most 256 bytes, an error message about as many.
pub(in super::super) const TEXT_BYTES_MAX: usize = 512;

/// What is known of the table.
pub(in super::super) type Known = HashMap<Box<str>, Entry>;

/// A row, without its text.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Entry {
    id: i64,
    uses: Uses,
}

/// What a name is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uses {
    /// The last days, since the epoch, that a row with this name was about. A row of either kind keeps its names.
    trace_day: i64,
    usage_day: i64,
    /// Columns of `trace` that it stands in, as bits: a search looks at no other.
    columns: i64,
}

/// Columns of `trace` that a search looks at. The place of each is its bit in the file, so the order never changes.
pub(in super::super) const SEARCHED: [&str; 7] =
    [WhoPart::User.name(), WhoPart::Tenant.name(), WhoPart::Agent.name(), "provider", "asked", "model", "error"];

/// Never: before every day.
const NEVER: i64 = -1;

impl Uses {
    pub fn of_trace(started_ms: u64) -> Uses {
        Uses { trace_day: (started_ms / DAY_MS) as i64, usage_day: NEVER, columns: 0 }
    }

    pub fn of_usage(minute: u64) -> Uses {
        Uses { trace_day: NEVER, usage_day: (minute / DAY_MINUTES) as i64, columns: 0 }
    }

    /// In one of [`SEARCHED`].
    pub fn column(self, name: &str) -> Uses {
        let bit = SEARCHED.iter().position(|column| *column == name).map_or(0, |at| 1 << at);
        Uses { columns: self.columns | bit, ..self }
    }

    fn and(self, other: Uses) -> Uses {
        Uses {
            trace_day: self.trace_day.max(other.trace_day),
            usage_day: self.usage_day.max(other.usage_day),
            columns: self.columns | other.columns,
        }
    }
}

/// The table, for the time of one transaction.
pub(super) struct Dictionary<'t> {
    known: &'t mut Known,
    select: CachedStatement<'t>,
    insert: CachedStatement<'t>,
    touch: CachedStatement<'t>,
}

impl<'t> Dictionary<'t> {
    pub fn new(connection: &'t Connection, known: &'t mut Known) -> rusqlite::Result<Dictionary<'t>> {
        Ok(Dictionary {
            known,
            select: connection.prepare_cached("SELECT id, trace_day, usage_day, columns FROM name WHERE text = ?1")?,
            insert: connection
                .prepare_cached("INSERT INTO name (text, trace_day, usage_day, columns) VALUES (?, ?, ?, ?)")?,
            touch: connection.prepare_cached(TOUCH)?,
        })
    }

    /// The number of `text`, new or known, for these uses.
    pub fn number(&mut self, text: &str, uses: Uses) -> rusqlite::Result<i64> {
        let text = shortened(text);
        let known = match self.known.get(text) {
            Some(entry) => Some(*entry),
            None => self.stored(text)?,
        };
        let entry = match known {
            Some(entry) if entry.uses.and(uses) == entry.uses => entry,
            Some(entry) => {
                let uses = entry.uses.and(uses);
                self.touch.execute([entry.id, uses.trace_day, uses.usage_day, uses.columns])?;
                Entry { uses, ..entry }
            }
            None => {
                let id = self.insert.insert(params![text, uses.trace_day, uses.usage_day, uses.columns])?;
                Entry { id, uses }
            }
        };
        if let Some(mine) = self.known.get_mut(text) {
            *mine = entry;
        } else {
            if self.known.len() >= KNOWN_MAX {
                self.known.clear();
            }
            self.known.insert(text.into(), entry);
        }
        Ok(entry.id)
    }

    fn stored(&mut self, text: &str) -> rusqlite::Result<Option<Entry>> {
        let row = self.select.query_row([text], |row| {
            let uses = Uses { trace_day: row.get(1)?, usage_day: row.get(2)?, columns: row.get(3)? };
            Ok(Entry { id: row.get(0)?, uses })
        });
        row.optional()
    }
}

/// Another process may have found more uses meanwhile: none is taken away.
const TOUCH: &str = "
    UPDATE name SET trace_day = max(trace_day, ?2), usage_day = max(usage_day, ?3), columns = columns | ?4
    WHERE id = ?1";

/// The text as it is stored: cut at [`TEXT_BYTES_MAX`], at a character's end.
pub(in super::super) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

const DAY_MINUTES: u64 = 24 * 60;
pub(in super::super) const DAY_MS: u64 = DAY_MINUTES * 60_000;
