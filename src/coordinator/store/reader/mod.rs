//! Questions about requests, on a connection of their own that cannot write. Owned by a helper thread, so that the
//! coordinator never waits for a list. No question runs longer than [`PATIENCE_MS`].

mod cost; // who spent it
mod detail; // one trace, and requests for a replay
mod filter; // which traces
mod list; // pages of traces
mod listed; // the same with their requests, and what they have in common
mod matches; // how often policies matched
mod names; // texts behind ids
mod passes; // the same of a request that has just ended
mod search; // which names hold a text
mod series; // sums over time

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::error::StoreError;
use super::open::{BUSY_TIMEOUT, classified};
use super::{migrate, writer};
use crate::clock::Clock;

pub use cost::CostItem;
pub use detail::{REQUESTS_MAX, RequestRow, TraceDetail};
pub use filter::{Filter, StatusFilter, UnknownStatus};
pub use list::{Neighbours, TraceRow};
pub use listed::{LISTED_REQUESTS_MAX, Listed, Names};
pub use matches::{PolicyPoint, PolicySum};
pub use series::{Metric, POINTS_MAX, Point, Summary, UnknownMetric};

/// A question is given up after so long. Arbitrary: nobody waits longer for a page, and the -wal cannot be emptied meanwhile.
pub const PATIENCE_MS: u64 = 2_000;
/// Instructions of SQLite's machine between two looks at the clock: a fraction of a millisecond.
const OPS_BETWEEN_LOOKS: i32 = 10_000;
/// Pages of the file in memory, in KiB. Arbitrary: a list over 200,000 traces fits.
const CACHE_KIB: u32 = 32 * 1024;

/// A half-open range of time, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from_ms: u64,
    /// The first millisecond after it.
    pub to_ms: u64,
}

/// The open database, for reading.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    path: PathBuf,
    clock: Clock,
    /// When the running question is given up, on the monotonic clock.
    until_ms: Arc<AtomicU64>,
    /// The last series, and what it was of.
    last_series: RefCell<Option<(series::Asked, Rc<[Point]>)>>,
    /// [`PATIENCE_MS`], but in tests.
    pub(super) patience_ms: u64,
}

impl Reader {
    /// Opens a file that [`super::Store::open`] has brought up to date.
    ///
    /// # Errors
    /// It cannot be opened, is not luner's, or has another schema than this luner's.
    pub fn open(path: &Path, clock: Clock) -> Result<Reader, StoreError> {
        let until_ms = Arc::new(AtomicU64::new(u64::MAX));
        let connect = || {
            let flags =
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.execute_batch(&format!(
                "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -{CACHE_KIB}"
            ))?;
            let until_ms = until_ms.clone();
            let too_late = move || {
                // To a shard that waits for this core: else it waits until the scheduler's slice is over, some milliseconds.
                thread::yield_now();
                clock.now().mono_ms() >= until_ms.load(Ordering::Relaxed)
            };
            connection.progress_handler(OPS_BETWEEN_LOOKS, Some(too_late))?;
            Ok(connection)
        };
        let connection = connect().map_err(|source| classified("open the database for reading", path, source))?;
        migrate::refuse_other_schema(&connection, path)?;
        Ok(Reader {
            connection,
            path: path.to_owned(),
            clock,
            until_ms,
            last_series: RefCell::default(),
            patience_ms: PATIENCE_MS,
        })
    }

    /// Answers a question from one state of the file.
    pub(super) fn ask<T>(
        &self,
        step: &'static str,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.until_ms.store(self.clock.now().mono_ms().saturating_add(self.patience_ms), Ordering::Relaxed);
        let answer = || {
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)?;
            question(&transaction)
        };
        answer().map_err(|source| match source.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => StoreError::TooLong { step },
            _ => StoreError::sqlite(step, &self.path, source),
        })
    }
}

/// The first key of a millisecond; see `trace` in the schema.
fn key_of(ms: u64) -> i64 {
    const MS_MAX: u64 = (i64::MAX >> writer::KEY_BITS) as u64;
    (ms.min(MS_MAX) << writer::KEY_BITS) as i64
}

fn ms_of(key: i64) -> u64 {
    (key >> writer::KEY_BITS).max(0) as u64
}
