//! Sums over time: the summary of a range and the points of its charts, from the exact counts. On the reader's thread. It does
//! not read traces, except to count them, so that sampling cannot distort a sum.

use std::rc::Rc;

use rusqlite::{Connection, Row};

use super::super::error::StoreError;
use super::super::layout::{COUNTS, key_of};
use super::connection::{CachedSeries, Reader, SeriesKey};
use super::filter::Condition;
use super::list::count;
use super::point::{Summary, UsagePoint};
use super::time::{Steps, TimeRange};

impl Reader {
    /// The sums of a range, extended to whole minutes.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn summary(&self, range: TimeRange) -> Result<Summary, StoreError> {
        self.query("sum requests", |connection| {
            let mut sum = UsagePoint::default();
            each_minute(connection, range, |_, row| sum.add(row))?;
            let keys = [key_of(range.from_ms), if range.to_ms == u64::MAX { i64::MAX } else { key_of(range.to_ms) }];
            Ok(sum.summary(count(connection, &Condition::of_range(keys))?))
        })
    }

    /// Points from the start of a range to its end, `step_ms` apart. Steps are whole minutes, and longer where there would be
    /// more than [`super::POINTS_MAX`] points. A step without requests has a point of zeros.
    ///
    /// A page with several charts asks for the same points several times at once. They are counted once, and again only after
    /// the file has changed.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn series(&self, range: TimeRange, step_ms: u64) -> Result<Rc<[UsagePoint]>, StoreError> {
        self.query("sum requests over time", |connection| {
            let steps = Steps::of(range, step_ms);
            // Changes whenever another connection has changed the file.
            let data_version = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
            let key = SeriesKey { data_version, minutes: range.minutes(), steps };
            if let Some(last) = &*self.last_series.borrow()
                && last.key == key
            {
                return Ok(last.points.clone());
            }
            let mut points: Vec<UsagePoint> = steps.starts_ms().map(UsagePoint::at).collect();
            each_minute(connection, range, |minute, row| match points.get_mut(steps.index(minute)) {
                Some(point) => point.add(row),
                None => Ok(()),
            })?;
            let points = Rc::<[UsagePoint]>::from(points);
            self.last_series.replace(Some(CachedSeries { key, points: points.clone() }));
            Ok(points)
        })
    }
}

fn each_minute(
    connection: &Connection,
    range: TimeRange,
    mut visit: impl FnMut(u64, &Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let counts = COUNTS.join(", ");
    let mut statement = connection.prepare_cached(&format!(
        "SELECT minute, {counts}, status_2xx, status_4xx, status_5xx, latency FROM total_minute
         WHERE minute >= ?1 AND minute < ?2"
    ))?;
    let mut rows = statement.query(range.minutes())?;
    while let Some(row) = rows.next()? {
        visit(row.get(0)?, row)?;
    }
    Ok(())
}
