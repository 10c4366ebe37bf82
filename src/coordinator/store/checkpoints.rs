//! Folds the write-ahead log into the database, on a helper thread with a connection of its own: syncing the file takes tens to
//! hundreds of milliseconds, and the coordinator would stand still for that long. It never blocks the writer (a passive
//! checkpoint takes no lock that a writer needs), and does nothing unless it is woken.

use std::convert::Infallible;
use std::time::Duration;
use std::{io, thread};

use flume::{RecvTimeoutError, TrySendError};
use rusqlite::{Connection, OpenFlags};

use super::database::Store;
use super::error::StoreError;
use crate::clock::{Clock, Now};

/// Shortest time between two checkpoints. Arbitrary: pages that several flushes touch are written to the database once.
const EVERY: Duration = Duration::from_secs(5);
/// A -wal with this many pages, 16 MB, is folded in without waiting for [`EVERY`].
const PAGES_SOON: i64 = 4_096;
/// Passes in a row. Pages that are written during one pass are left to the next, and SQLite restarts the log only after its
/// last page was folded in.
const PASSES_MAX: usize = 3;
/// How long the end of the process waits for the last checkpoint. Arbitrary: the rest stays in the -wal, and is safe there.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Handle of the helper thread. When it is dropped, the thread ends after the checkpoint that it is running.
#[derive(Debug)]
pub struct Checkpoints {
    wake: flume::Sender<()>,
    ended: flume::Receiver<Infallible>,
}

impl Checkpoints {
    /// Starts the helper thread for the file of `store`, whose commits leave the log alone from now on.
    ///
    /// # Errors
    /// A second connection or the thread could not be had. The store's commits then still fold the log in.
    pub fn start(store: &Store) -> Result<Checkpoints, StoreError> {
        Checkpoints::start_with(store, EVERY)
    }

    pub(super) fn start_with(store: &Store, every: Duration) -> Result<Checkpoints, StoreError> {
        let failed = |source: io::Error| StoreError::file("start a thread for", store.path(), source);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = || {
            let connection = Connection::open_with_flags(store.path(), flags)?;
            connection.busy_timeout(Duration::ZERO)?;
            connection.execute_batch("PRAGMA trusted_schema = OFF")?;
            Ok(connection)
        };
        let connection = connect()
            .map_err(|source| StoreError::while_opening("open the database once more", store.path(), source))?;
        let (wake, woken) = flume::bounded(1);
        let (ending, ended) = flume::bounded(0);
        let thread = thread::Builder::new().name("checkpoints".into());
        // A clock of its own will do, because it only measures pauses.
        let clock = Clock::start();
        let work = move || {
            Checkpointer { connection, clock, every, last: clock.now(), failing: false }.run(&woken);
            drop(ending);
        };
        thread.spawn(work).map_err(failed)?;
        store.checkpoint_on_commit(false)?;
        Ok(Checkpoints { wake, ended })
    }

    /// Wakes the helper thread, which checks whether a checkpoint is due. Call it every few seconds. Returns false if the
    /// thread is gone.
    pub fn wake(&self) -> bool {
        !matches!(self.wake.try_send(()), Err(TrySendError::Disconnected(())))
    }

    /// Ends the helper thread and waits for it, but not forever. If the store was closed before, no log is left.
    pub fn finish(self) {
        drop(self.wake);
        let _ = self.ended.recv_timeout(FINISH_TIMEOUT);
    }
}

/// State of the helper thread.
struct Checkpointer {
    connection: Connection,
    clock: Clock,
    every: Duration,
    /// When the last checkpoint ended.
    last: Now,
    /// Set while checkpoints fail, so that the error is logged once.
    failing: bool,
}

struct Progress {
    /// Pages in the log.
    logged: i64,
    /// Pages of the log that are in the database, too.
    folded: i64,
}

impl Checkpointer {
    fn run(mut self, woken: &flume::Receiver<()>) {
        while woken.recv().is_ok() {
            loop {
                let left = self.every.saturating_sub(self.clock.now().since(self.last));
                let soon = || self.progress("NOOP").is_ok_and(|progress| progress.left() >= PAGES_SOON);
                if left.is_zero() || soon() {
                    break;
                }
                if woken.recv_timeout(left) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
            self.checkpoint();
            self.last = self.clock.now();
        }
    }

    fn checkpoint(&mut self) {
        for _ in 0..PASSES_MAX {
            match self.progress("PASSIVE") {
                Ok(progress) if progress.left() > 0 => {}
                Ok(_) => {
                    self.failing = false;
                    return;
                }
                Err(error) => {
                    // Once is enough: the store's health check reports a log that grows too large.
                    if !self.failing {
                        tracing::warn!(%error, "the write-ahead log could not be folded into the database");
                    }
                    self.failing = true;
                    return;
                }
            }
        }
    }

    /// Runs a checkpoint in one of SQLite's modes; `NOOP` only reports the progress.
    fn progress(&self, mode: &str) -> rusqlite::Result<Progress> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        self.connection.query_row(&sql, [], |row| Ok(Progress { logged: row.get(1)?, folded: row.get(2)? }))
    }
}

impl Progress {
    fn left(&self) -> i64 {
        self.logged - self.folded
    }
}
