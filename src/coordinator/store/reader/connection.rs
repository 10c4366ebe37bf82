//! A reader's connection. Each query sees one state of the file and is given up when it takes too long. Owned by a helper
//! thread; it cannot write.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::super::connect::BUSY_TIMEOUT;
use super::super::error::StoreError;
use super::super::schema;
use super::point::UsagePoint;
use super::time::Steps;
use crate::clock::Clock;

/// A query is given up after this time. Arbitrary: nobody waits longer for a page, and the -wal cannot be emptied meanwhile.
pub const QUERY_TIMEOUT_MS: u64 = 2_000;
/// Instructions of SQLite's virtual machine between two looks at the clock: a fraction of a millisecond.
const OPS_PER_TIME_CHECK: i32 = 10_000;
/// Page cache, in KiB. Arbitrary: a list over 200,000 traces fits.
const CACHE_KIB: u32 = 32 * 1024;

/// The open database, for reading.
#[derive(Debug)]
pub struct Reader {
    pub(in super::super) connection: Connection,
    path: PathBuf,
    clock: Clock,
    /// When the running query is given up, on the monotonic clock.
    deadline_ms: Arc<AtomicU64>,
    pub(super) last_series: RefCell<Option<CachedSeries>>,
    /// [`QUERY_TIMEOUT_MS`], except in tests.
    pub(in super::super) timeout_ms: u64,
}

/// The points of a series, and what they depend on.
#[derive(Debug)]
pub(super) struct CachedSeries {
    pub key: SeriesKey,
    pub points: Rc<[UsagePoint]>,
}

/// Everything that the points of a series depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeriesKey {
    /// SQLite's version of the file's content, as this connection sees it.
    pub data_version: i64,
    pub minutes: [i64; 2],
    pub steps: Steps,
}

impl Reader {
    /// Opens a file whose schema [`super::super::Store::open`] has brought up to date.
    ///
    /// # Errors
    /// The file cannot be opened, is not luner's, or has another schema than this luner's.
    pub fn open(path: &Path, clock: Clock) -> Result<Reader, StoreError> {
        let deadline_ms = Arc::new(AtomicU64::new(u64::MAX));
        let connect = || {
            let flags =
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.execute_batch(&format!(
                "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -{CACHE_KIB}"
            ))?;
            let deadline_ms = deadline_ms.clone();
            let is_too_late = move || {
                // Lets a shard run that waits for this core. Otherwise it would wait until the scheduler's slice is over, which
                // takes some milliseconds.
                thread::yield_now();
                clock.now().mono_ms() >= deadline_ms.load(Ordering::Relaxed)
            };
            connection.progress_handler(OPS_PER_TIME_CHECK, Some(is_too_late))?;
            Ok(connection)
        };
        let connection =
            connect().map_err(|source| StoreError::while_opening("open the database for reading", path, source))?;
        schema::refuse_other_schema(&connection, path)?;
        Ok(Reader {
            connection,
            path: path.to_owned(),
            clock,
            deadline_ms,
            last_series: RefCell::default(),
            timeout_ms: QUERY_TIMEOUT_MS,
        })
    }

    /// Runs a query on one state of the file.
    pub(in super::super) fn query<T>(
        &self,
        step: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.deadline_ms.store(self.clock.now().mono_ms().saturating_add(self.timeout_ms), Ordering::Relaxed);
        let run = || {
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)?;
            query(&transaction)
        };
        run().map_err(|source| match source.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => StoreError::TooLong { step },
            _ => StoreError::sqlite(step, &self.path, source),
        })
    }
}
