//! What leaves the store: by age, and by bytes. On the coordinator's thread, a small step at a time, so that nobody waits
//! behind it: a step is a transaction of a bounded number of rows or pages, a few milliseconds. It never empties the store of
//! what is recent, however small the bound.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::dimension::Dimension;
use super::open::BUSY_TIMEOUT;
use super::writer::{DAY_MS, FLUSH_PATIENCE, KEY_BITS, KEY_COLUMNS, Sweep, bounded};
use super::{Store, StoreError, rollup};
use crate::link::trace::Marks;
use crate::link::usage::MINUTE_MS;

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Of traces, in days.
    pub trace_days: u32,
    /// Of the file: beyond it the oldest traces leave, then the oldest counts.
    pub bytes_max: u64,
    /// Of counts, in days.
    pub usage_days: u32,
}

/// Counts stay so long. Arbitrary: a year, and some days to compare with the year before.
pub const USAGE_DAYS: u32 = 400;

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Rows that left, or were joined into others.
    pub rows: u64,
    /// Pages that went back to the disk.
    pub pages: u64,
    /// Whether there may be more to do.
    pub more: bool,
}

/// Rows of one step. Measured: so many requests leave, with all that belongs to them, in about 2 ms of computing.
pub(super) const ROWS_MAX: usize = 150;
/// Pages of one step. Measured: moving one takes about 30 µs.
const PAGES_MAX: u32 = 64;
/// A captured body weighs as much as so many bytes weigh rows: its pages are freed one by one.
const CAPTURED_BYTES_A_ROW: i64 = 32 << 10;
/// Names looked at in one step; most of them stay.
const NAMES_MAX: i64 = 2_000;
/// Free pages that are kept for what comes next: the file would only grow again. An eighth of it, and at least 1,024.
const FREE_SHARE: u64 = 8;
const FREE_PAGES_MIN: u64 = 1_024;
/// What stays however small the bound on bytes: something to look at. Arbitrary.
const TRACES_MIN: u32 = 1_000;
const USAGE_DAYS_MIN: u64 = 2;
/// A trace's requests may have started so long before the one that was recorded first. Arbitrary.
const LATE_DAYS: i64 = 2;
/// Flushes are remembered so long. Arbitrary: none is under way for longer than the process that made it.
const FLUSH_DAYS: u64 = 7;

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// Traces before this key.
    Traces(i64),
    /// Counts before this minute.
    Usage(i64),
    /// Minutes of the hour that begins with this one.
    RollUp(i64),
    /// Flushes before this moment.
    Flushes(i64),
    /// The next names, unless used since these days.
    Names { trace_day: i64, usage_day: i64 },
    /// Free pages.
    Pages,
}

impl Store {
    /// Takes one step towards what `retention` says, if there is one to take. To be called again while there is more, between
    /// other things, and every minute or so otherwise.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn prune(&mut self, retention: &Retention, now_ms: u64) -> Result<Pruned, StoreError> {
        let day = now_ms / DAY_MS;
        if self.memory.sweep.day != day {
            self.memory.sweep = Sweep { at: Some(0), day };
        }
        let sweeping = self.memory.sweep.at.is_some();
        let task = self.read("look for what is too old", |connection| task(connection, retention, now_ms, sweeping))?;
        let Some(task) = task else { return Ok(Pruned::default()) };
        let mut sweep = self.memory.sweep;
        // What was removed need not be on the disk at once: a power failure brings it back, and it leaves again.
        self.synchronous("NORMAL")?;
        self.wait_for_locks(FLUSH_PATIENCE)?;
        let pruned = self.write("remove what is too old", |transaction| {
            let rows = match task {
                Task::Traces(before) => remove_traces(transaction, before)?,
                Task::Usage(before) => remove_usage(transaction, before)?,
                Task::RollUp(hour) => rollup::roll_up(transaction, hour)?,
                Task::Flushes(before) => {
                    transaction.prepare_cached("DELETE FROM flush WHERE at_ms < ?1")?.execute([before])? as u64
                }
                Task::Names { trace_day, usage_day } => remove_names(transaction, &mut sweep, trace_day, usage_day)?,
                Task::Pages => return Ok(Pruned { pages: return_pages(transaction)?, more: true, rows: 0 }),
            };
            Ok(Pruned { rows, pages: 0, more: true })
        });
        self.synchronous("FULL")?;
        self.wait_for_locks(BUSY_TIMEOUT)?;
        let pruned = pruned?;
        self.memory.sweep = sweep;
        match task {
            Task::Usage(_) | Task::RollUp(_) => self.memory.forget_rows(),
            Task::Names { .. } if pruned.rows > 0 => self.memory.forget_names(),
            _ => {}
        }
        Ok(pruned)
    }

    fn synchronous(&self, mode: &str) -> Result<(), StoreError> {
        self.read("set how a commit waits", |connection| {
            connection.execute_batch(&format!("PRAGMA synchronous = {mode}"))
        })
    }
}

fn task(connection: &Connection, retention: &Retention, now_ms: u64, sweeping: bool) -> rusqlite::Result<Option<Task>> {
    let oldest = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0));
    let back = |days: u64| now_ms.saturating_sub(days.saturating_mul(DAY_MS));
    let minute = |ms: u64| bounded(ms / MINUTE_MS);
    let oldest_trace = oldest("SELECT min(key) FROM trace")?;
    let before = bounded(back(u64::from(retention.trace_days))).saturating_mul(1 << KEY_BITS);
    if oldest_trace.is_some_and(|key| key < before) {
        return Ok(Some(Task::Traces(before)));
    }
    let oldest_usage = oldest(OLDEST_USAGE)?;
    let before = minute(back(u64::from(retention.usage_days)));
    if oldest_usage.is_some_and(|minute| minute < before) {
        return Ok(Some(Task::Usage(before)));
    }
    let pages = Pages::of(connection)?;
    if pages.over(retention.bytes_max) {
        let kept = connection.prepare_cached(KEPT_TRACE)?.query_row([TRACES_MIN - 1], |row| row.get(0)).optional()?;
        if let Some(kept) = kept
            && oldest_trace.is_some_and(|key| key < kept)
        {
            return Ok(Some(Task::Traces(kept)));
        }
        let before = minute(back(USAGE_DAYS_MIN));
        if oldest_usage.is_some_and(|minute| minute < before) {
            return Ok(Some(Task::Usage(before)));
        }
    }
    if let Some(hour) = rollup::due(connection, now_ms)? {
        return Ok(Some(Task::RollUp(hour)));
    }
    let before = bounded(back(FLUSH_DAYS));
    if connection.prepare_cached("SELECT 1 FROM flush WHERE at_ms < ?1")?.exists([before])? {
        return Ok(Some(Task::Flushes(before)));
    }
    if sweeping {
        let today = bounded(now_ms / DAY_MS);
        let trace_day = oldest_trace.map_or(today, |key| bounded((key >> KEY_BITS) as u64 / DAY_MS)) - LATE_DAYS;
        let usage_day = oldest_usage.map_or(today, |minute| minute / MINUTES_A_DAY);
        return Ok(Some(Task::Names { trace_day, usage_day }));
    }
    Ok(pages.too_many_free().then_some(Task::Pages))
}

/// The file, in pages.
struct Pages {
    all: u64,
    free: u64,
    bytes: u64,
}

impl Pages {
    fn of(connection: &Connection) -> rusqlite::Result<Pages> {
        let ask = |pragma| connection.query_row(pragma, [], |row| row.get(0));
        Ok(Pages {
            all: ask("PRAGMA page_count")?,
            free: ask("PRAGMA freelist_count")?,
            bytes: ask("PRAGMA page_size")?,
        })
    }

    /// Whether what is in use leaves no room for the free pages that are kept.
    fn over(&self, bytes_max: u64) -> bool {
        let used = self.all.saturating_sub(self.free).saturating_mul(self.bytes);
        used > bytes_max - bytes_max / FREE_SHARE
    }

    fn too_many_free(&self) -> bool {
        self.free > FREE_PAGES_MIN.max(self.all / FREE_SHARE)
    }
}

/// The oldest traces, each with all that belongs to it, unless it is so much that one step is too short.
fn remove_traces(connection: &Connection, before: i64) -> rusqlite::Result<u64> {
    let mut oldest = connection.prepare_cached("SELECT key, marks FROM trace WHERE key < ?1 ORDER BY key LIMIT 1")?;
    let mut requests = connection.prepare_cached("SELECT key, captured FROM request WHERE trace = ?1 LIMIT ?2")?;
    let mut remove_request = connection.prepare_cached("DELETE FROM request WHERE key = ?1")?;
    let mut remove_capture = connection.prepare_cached("DELETE FROM capture WHERE request = ?1")?;
    let mut also = connection.prepare_cached("SELECT kind, value FROM trace_also WHERE trace = ?1 LIMIT ?2")?;
    let mut remove_also =
        connection.prepare_cached("DELETE FROM trace_also WHERE kind = ?2 AND value = ?3 AND trace = ?1")?;
    let mut remove_trace = connection.prepare_cached("DELETE FROM trace WHERE key = ?1")?;
    let pair = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (mut weight, mut rows) = (0_i64, 0);
    while weight < ROWS_MAX as i64 {
        let Some((trace, marks)) = oldest.query_row([before], pair).optional()? else { break };
        let found: Vec<(i64, i64)> = requests.query_map([trace, ROWS_MAX as i64], pair)?.collect::<Result<_, _>>()?;
        for (request, captured) in &found {
            remove_request.execute([request])?;
            if *captured > 0 {
                remove_capture.execute([request])?;
            }
            weight += 1 + captured / CAPTURED_BYTES_A_ROW;
        }
        let noted = u32::try_from(marks).is_ok_and(|marks| Marks(marks).has_any(Marks::MIXED.with(Marks::MATCHED)));
        let found_also: Vec<(i64, i64)> = match noted && found.len() < ROWS_MAX {
            true => also.query_map([trace, ROWS_MAX as i64], pair)?.collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        for (kind, value) in &found_also {
            remove_also.execute([trace, *kind, *value])?;
        }
        rows += found.len() + found_also.len();
        weight += found_also.len() as i64;
        if found.len() < ROWS_MAX && found_also.len() < ROWS_MAX {
            remove_trace.execute([trace])?;
            rows += 1;
        }
    }
    Ok(rows as u64)
}

/// The oldest counts, of every table.
fn remove_usage(connection: &Connection, before: i64) -> rusqlite::Result<u64> {
    let mut rows = 0;
    for sql in [REMOVE_USAGE.as_str(), REMOVE_TOTALS, REMOVE_POLICIES] {
        rows += connection.prepare_cached(sql)?.execute(params![before, ROWS_MAX])?;
    }
    for dimension in Dimension::ALL {
        let of = params![before / 60, ROWS_MAX / Dimension::ALL.len(), dimension.number()];
        rows += connection.prepare_cached(REMOVE_HOURS)?.execute(of)?;
    }
    Ok(rows as u64)
}

/// The next names of a sweep that no row can mean any more.
fn remove_names(connection: &Connection, sweep: &mut Sweep, trace_day: i64, usage_day: i64) -> rusqlite::Result<u64> {
    let from = sweep.at.unwrap_or(0);
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(id) FROM (SELECT id FROM name WHERE id > ?1 ORDER BY id LIMIT ?2)")?
        .query_row([from, NAMES_MAX], |row| row.get(0))?;
    sweep.at = last;
    let Some(last) = last else { return Ok(0) };
    let removed = connection.prepare_cached(REMOVE_NAMES)?.execute([from, last, trace_day, usage_day])?;
    Ok(removed as u64)
}

/// Free pages from the file's end back to the disk; those that are in use move forward for it.
fn return_pages(connection: &Connection) -> rusqlite::Result<u64> {
    let free = |connection: &Connection| connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, u64>(0));
    let before = free(connection)?;
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES_MAX})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(before.saturating_sub(free(connection)?))
}

const MINUTES_A_DAY: i64 = 24 * 60;

/// Of all tables of counts; each `min` is a look at an index's first entry.
const OLDEST_USAGE: &str = "
    SELECT min(oldest) FROM (
        SELECT min(minute) AS oldest FROM usage_minute
        UNION ALL SELECT min(minute) FROM total_minute
        UNION ALL SELECT min(minute) FROM policy_minute
        UNION ALL SELECT min(hour) * 60 FROM usage_hour WHERE kind = 1
        UNION ALL SELECT min(hour) * 60 FROM usage_hour WHERE kind = 2
        UNION ALL SELECT min(hour) * 60 FROM usage_hour WHERE kind = 3
        UNION ALL SELECT min(hour) * 60 FROM usage_hour WHERE kind = 4
        UNION ALL SELECT min(hour) * 60 FROM usage_hour WHERE kind = 5)";
const KEPT_TRACE: &str = "SELECT key FROM trace ORDER BY key DESC LIMIT 1 OFFSET ?1";
static REMOVE_USAGE: LazyLock<String> = LazyLock::new(|| {
    let key = KEY_COLUMNS.join(", ");
    format!(
        "DELETE FROM usage_minute WHERE ({key}) IN (
            SELECT {key} FROM usage_minute WHERE minute < ?1 ORDER BY minute LIMIT ?2)"
    )
});
const REMOVE_TOTALS: &str = "
    DELETE FROM total_minute WHERE minute IN (SELECT minute FROM total_minute WHERE minute < ?1 ORDER BY minute LIMIT ?2)";
const REMOVE_POLICIES: &str = "
    DELETE FROM policy_minute WHERE (minute, policy, action, mode) IN (
        SELECT minute, policy, action, mode FROM policy_minute WHERE minute < ?1 ORDER BY minute LIMIT ?2)";
const REMOVE_HOURS: &str = "
    DELETE FROM usage_hour WHERE (kind, hour, value) IN (
        SELECT kind, hour, value FROM usage_hour WHERE kind = ?3 AND hour < ?1 ORDER BY hour LIMIT ?2)";
const REMOVE_NAMES: &str = "DELETE FROM name WHERE id > ?1 AND id <= ?2 AND trace_day < ?3 AND usage_day < ?4";
