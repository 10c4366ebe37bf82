//! Removes what is too old or too much from the store. On the coordinator's thread, in small steps, so that nobody waits long:
//! a step is a transaction over a bounded number of rows or pages and takes a few milliseconds. It never removes what is
//! recent, however small the bound on the file is.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::connect::BUSY_TIMEOUT;
use super::database::Store;
use super::dimension::Dimension;
use super::error::StoreError;
use super::layout::{DAY_MINUTES, DAY_MS, USAGE_KEY, bounded, key_of, ms_of};
use super::memory::Sweep;
use super::rollup::{self, STEP_ROWS_MAX};
use super::writer::LOCK_TIMEOUT;
use crate::link::trace::Marks;
use crate::link::usage::MINUTE_MS;

/// How long traces and usage are kept, and how large the file may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub trace_days: u32,
    /// Size of the file. Beyond it, the oldest traces are removed, then the oldest usage.
    pub bytes_max: u64,
    pub usage_days: u32,
}

/// How long usage is kept. Arbitrary: a year, and some days to compare with the year before.
pub const USAGE_DAYS: u32 = 400;

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Rows that were removed or summed into others.
    pub rows: u64,
    /// Pages that were returned to the disk.
    pub pages: u64,
    /// Set if there may be more to do.
    pub more: bool,
}

/// Pages that one step returns to the disk. Measured: moving one takes about 30 µs.
const STEP_PAGES_MAX: u32 = 64;
/// Captured bytes that count as one row in a step, because their pages are freed one by one. Arbitrary: with more, a step of
/// large bodies takes longer than one of rows.
const CAPTURED_BYTES_PER_ROW: i64 = 32 << 10;
/// Names that one step examines; most of them stay. Arbitrary: about as long as a step of rows.
const STEP_NAMES_MAX: i64 = 2_000;
/// One in this many pages may be free: the file would only grow again. Arbitrary: an eighth of the file.
const FREE_SHARE: u64 = 8;
/// Pages that may be free even in a small file. Arbitrary: 4 MB.
const FREE_PAGES_MIN: u64 = 1_024;
/// Traces that stay however small the bound on the file is, so that there is something to look at. Arbitrary.
const TRACES_MIN: u32 = 1_000;
/// Days of usage that stay however small the bound on the file is. Arbitrary.
const USAGE_DAYS_MIN: u64 = 2;
/// How long before the first recorded request of a trace another of its requests may have started. Arbitrary.
const LATE_DAYS: i64 = 2;
/// How long applied batches are remembered. Arbitrary: no batch is under way for longer than its process lives.
const FLUSH_DAYS: u64 = 7;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// Removes traces before this key.
    Traces(i64),
    /// Removes usage before this minute.
    Usage(i64),
    /// Rolls up the hour that begins with this minute.
    RollUp(i64),
    /// Forgets batches that were applied before this time.
    Flushes(i64),
    /// Removes the next names that nothing has used since these days.
    Names { trace_day: i64, usage_day: i64 },
    /// Returns free pages to the disk.
    Pages,
}

impl Store {
    /// Takes the next step towards `retention`, if there is one. Call it again soon while [`Pruned::more`] is set, and every
    /// minute or so otherwise.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn prune(&mut self, retention: &Retention, now_ms: u64) -> Result<Pruned, StoreError> {
        let day = now_ms / DAY_MS;
        if self.memory.sweep.day != day {
            self.memory.sweep = Sweep { last_id: Some(0), day };
        }
        let sweeping = self.memory.sweep.last_id.is_some();
        let task = self.read("look for old rows", |connection| next_task(connection, retention, now_ms, sweeping))?;
        let Some(task) = task else { return Ok(Pruned::default()) };
        let mut sweep = self.memory.sweep;
        // A removal need not be on the disk at once: after a power failure the rows are back, and are removed again.
        self.set_synchronous("NORMAL")?;
        self.set_busy_timeout(LOCK_TIMEOUT)?;
        let pruned = self.write("remove old rows", |transaction| {
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
        self.set_synchronous("FULL")?;
        self.set_busy_timeout(BUSY_TIMEOUT)?;
        let pruned = pruned?;
        self.memory.sweep = sweep;
        match task {
            Task::Usage(_) | Task::RollUp(_) => self.memory.rows.clear(),
            Task::Names { .. } if pruned.rows > 0 => self.memory.names.clear(),
            _ => {}
        }
        Ok(pruned)
    }

    /// Sets whether a commit waits for the disk.
    fn set_synchronous(&self, mode: &str) -> Result<(), StoreError> {
        self.read("set how commits are synced", |connection| {
            connection.execute_batch(&format!("PRAGMA synchronous = {mode}"))
        })
    }
}

fn next_task(
    connection: &Connection,
    retention: &Retention,
    now_ms: u64,
    sweeping: bool,
) -> rusqlite::Result<Option<Task>> {
    let oldest = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0));
    let days_ago = |days: u64| now_ms.saturating_sub(days.saturating_mul(DAY_MS));
    let minute = |ms: u64| bounded(ms / MINUTE_MS);
    let oldest_trace = oldest("SELECT min(key) FROM trace")?;
    let before = key_of(days_ago(u64::from(retention.trace_days)));
    if oldest_trace.is_some_and(|key| key < before) {
        return Ok(Some(Task::Traces(before)));
    }
    let oldest_usage = oldest(OLDEST_USAGE)?;
    let before = minute(days_ago(u64::from(retention.usage_days)));
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
        let before = minute(days_ago(USAGE_DAYS_MIN));
        if oldest_usage.is_some_and(|minute| minute < before) {
            return Ok(Some(Task::Usage(before)));
        }
    }
    if let Some(hour) = rollup::due(connection, now_ms)? {
        return Ok(Some(Task::RollUp(hour)));
    }
    let before = bounded(days_ago(FLUSH_DAYS));
    if connection.prepare_cached("SELECT 1 FROM flush WHERE at_ms < ?1")?.exists([before])? {
        return Ok(Some(Task::Flushes(before)));
    }
    if sweeping {
        let today = bounded(now_ms / DAY_MS);
        let trace_day = oldest_trace.map_or(today, |key| bounded(ms_of(key) / DAY_MS)) - LATE_DAYS;
        let usage_day = oldest_usage.map_or(today, |minute| minute / bounded(DAY_MINUTES));
        return Ok(Some(Task::Names { trace_day, usage_day }));
    }
    Ok(pages.too_many_free().then_some(Task::Pages))
}

/// The size of the file in pages.
struct Pages {
    all: u64,
    free: u64,
    /// Bytes of one page.
    bytes: u64,
}

impl Pages {
    fn of(connection: &Connection) -> rusqlite::Result<Pages> {
        let query = |pragma| connection.query_row(pragma, [], |row| row.get(0));
        Ok(Pages {
            all: query("PRAGMA page_count")?,
            free: query("PRAGMA freelist_count")?,
            bytes: query("PRAGMA page_size")?,
        })
    }

    /// Returns true if the pages in use leave no room for the free pages that may be kept.
    fn over(&self, bytes_max: u64) -> bool {
        let used = self.all.saturating_sub(self.free).saturating_mul(self.bytes);
        used > bytes_max - bytes_max / FREE_SHARE
    }

    fn too_many_free(&self) -> bool {
        self.free > FREE_PAGES_MIN.max(self.all / FREE_SHARE)
    }
}

/// Removes the oldest traces, each with everything that belongs to it. A trace that is too large for one step takes several.
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
    while weight < STEP_ROWS_MAX as i64 {
        let Some((trace, marks)) = oldest.query_row([before], pair).optional()? else { break };
        let found: Vec<(i64, i64)> =
            requests.query_map([trace, STEP_ROWS_MAX as i64], pair)?.collect::<Result<_, _>>()?;
        for (request, captured) in &found {
            remove_request.execute([request])?;
            if *captured > 0 {
                remove_capture.execute([request])?;
            }
            weight += 1 + captured / CAPTURED_BYTES_PER_ROW;
        }
        let noted = u32::try_from(marks).is_ok_and(|marks| Marks(marks).has_any(Marks::MIXED.with(Marks::MATCHED)));
        let found_also: Vec<(i64, i64)> = match noted && found.len() < STEP_ROWS_MAX {
            true => also.query_map([trace, STEP_ROWS_MAX as i64], pair)?.collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        for (kind, value) in &found_also {
            remove_also.execute([trace, *kind, *value])?;
        }
        rows += found.len() + found_also.len();
        weight += found_also.len() as i64;
        if found.len() < STEP_ROWS_MAX && found_also.len() < STEP_ROWS_MAX {
            remove_trace.execute([trace])?;
            rows += 1;
        }
    }
    Ok(rows as u64)
}

/// Removes the oldest usage from every table.
fn remove_usage(connection: &Connection, before: i64) -> rusqlite::Result<u64> {
    let mut rows = 0;
    for sql in [REMOVE_USAGE.as_str(), REMOVE_TOTALS, REMOVE_POLICIES] {
        rows += connection.prepare_cached(sql)?.execute(params![before, STEP_ROWS_MAX])?;
    }
    for dimension in Dimension::ALL {
        let parameters = params![before / 60, STEP_ROWS_MAX / Dimension::ALL.len(), dimension.number()];
        rows += connection.prepare_cached(REMOVE_HOURS)?.execute(parameters)?;
    }
    Ok(rows as u64)
}

/// Removes the next names of a sweep to which no row can refer any more.
fn remove_names(connection: &Connection, sweep: &mut Sweep, trace_day: i64, usage_day: i64) -> rusqlite::Result<u64> {
    let from = sweep.last_id.unwrap_or(0);
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(id) FROM (SELECT id FROM name WHERE id > ?1 ORDER BY id LIMIT ?2)")?
        .query_row([from, STEP_NAMES_MAX], |row| row.get(0))?;
    sweep.last_id = last;
    let Some(last) = last else { return Ok(0) };
    let removed = connection.prepare_cached(REMOVE_NAMES)?.execute([from, last, trace_day, usage_day])?;
    Ok(removed as u64)
}

/// Returns free pages at the end of the file to the disk. Pages in use are moved forward for that.
fn return_pages(connection: &Connection) -> rusqlite::Result<u64> {
    let free = |connection: &Connection| connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, u64>(0));
    let before = free(connection)?;
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({STEP_PAGES_MAX})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(before.saturating_sub(free(connection)?))
}

/// The oldest minute of all tables of usage. Each `min` reads the first entry of an index.
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
    let key = USAGE_KEY.join(", ");
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
