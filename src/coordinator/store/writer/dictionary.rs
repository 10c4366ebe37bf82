//! Turns repeated texts into ids of the table `name`, and keeps the recent ones in memory. On the coordinator's thread, within
//! the transaction of a flush: if that is given up, so is what was learned in it. Its memory is bounded.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::super::layout::{DAY_MINUTES, DAY_MS, SEARCHED, shortened};
use super::super::memory::{CachedName, NameCache, NameUses};

/// Texts in the cache; when it is full, it starts over. Arbitrary: about 10 MB of texts.
const CACHED_MAX: usize = 50_000;
/// A day before every day, for a kind of use that a name does not have.
const NO_DAY: i64 = -1;

impl NameUses {
    pub fn of_trace(started_ms: u64) -> NameUses {
        NameUses { trace_day: (started_ms / DAY_MS) as i64, usage_day: NO_DAY, columns: 0 }
    }

    pub fn of_usage(minute: u64) -> NameUses {
        NameUses { trace_day: NO_DAY, usage_day: (minute / DAY_MINUTES) as i64, columns: 0 }
    }

    /// Adds one of the [`SEARCHED`] columns.
    pub fn in_column(self, name: &str) -> NameUses {
        let bit = SEARCHED.iter().position(|column| *column == name).map_or(0, |at| 1 << at);
        NameUses { columns: self.columns | bit, ..self }
    }

    fn and(self, other: NameUses) -> NameUses {
        NameUses {
            trace_day: self.trace_day.max(other.trace_day),
            usage_day: self.usage_day.max(other.usage_day),
            columns: self.columns | other.columns,
        }
    }
}

/// The table `name`, for the time of one transaction.
pub(super) struct Dictionary<'t> {
    cache: &'t mut NameCache,
    select: CachedStatement<'t>,
    insert: CachedStatement<'t>,
    add_uses: CachedStatement<'t>,
}

impl<'t> Dictionary<'t> {
    pub fn new(connection: &'t Connection, cache: &'t mut NameCache) -> rusqlite::Result<Dictionary<'t>> {
        Ok(Dictionary {
            cache,
            select: connection.prepare_cached("SELECT id, trace_day, usage_day, columns FROM name WHERE text = ?1")?,
            insert: connection
                .prepare_cached("INSERT INTO name (text, trace_day, usage_day, columns) VALUES (?, ?, ?, ?)")?,
            add_uses: connection.prepare_cached(ADD_USES)?,
        })
    }

    /// The id of `text`, which is added if it is new. Notes these uses of it.
    pub fn id(&mut self, text: &str, uses: NameUses) -> rusqlite::Result<i64> {
        let text = shortened(text);
        let known = match self.cache.get(text) {
            Some(name) => Some(*name),
            None => self.stored(text)?,
        };
        let name = match known {
            Some(name) if name.uses.and(uses) == name.uses => name,
            Some(name) => {
                let uses = name.uses.and(uses);
                self.add_uses.execute([name.id, uses.trace_day, uses.usage_day, uses.columns])?;
                CachedName { uses, ..name }
            }
            None => {
                let id = self.insert.insert(params![text, uses.trace_day, uses.usage_day, uses.columns])?;
                CachedName { id, uses }
            }
        };
        if let Some(cached) = self.cache.get_mut(text) {
            *cached = name;
        } else {
            if self.cache.len() >= CACHED_MAX {
                self.cache.clear();
            }
            self.cache.insert(text.into(), name);
        }
        Ok(name.id)
    }

    fn stored(&mut self, text: &str) -> rusqlite::Result<Option<CachedName>> {
        let row = self.select.query_row([text], |row| {
            let uses = NameUses { trace_day: row.get(1)?, usage_day: row.get(2)?, columns: row.get(3)? };
            Ok(CachedName { id: row.get(0)?, uses })
        });
        row.optional()
    }
}

/// Another process may have noted more uses meanwhile, so nothing is taken away.
const ADD_USES: &str = "
    UPDATE name SET trace_day = max(trace_day, ?2), usage_day = max(usage_day, ?3), columns = columns | ?4
    WHERE id = ?1";
