//! Changes in the write-ahead log, folded into the database on a helper thread with a connection of its own: syncing the
//! file takes tens to hundreds of milliseconds, for which the coordinator would stand still. It never holds the writer up
//! (a passive checkpoint takes no lock that a writer wants), and looks only when it is woken.

use std::convert::Infallible;
use std::time::Duration;
use std::{io, thread};

use flume::{RecvTimeoutError, TrySendError};
use rusqlite::{Connection, OpenFlags};

use super::open::classified;
use super::{Store, StoreError};
use crate::clock::{Clock, Now};

/// How often at the most. Arbitrary: the pages that many flushes touch are written to the database once.
const EVERY: Duration = Duration::from_secs(5);
/// Pages in the -wal, 16 MB, for which it does not wait so long.
const PAGES_SOON: i64 = 4_096;
/// Tries in a row: what is written while one runs is left to the next, and only a log that was folded in to its last page
/// begins anew.
const PASSES_MAX: usize = 3;
/// How long the end of the process waits for the last one. Arbitrary; what is left stays in the -wal, and is safe there.
const PATIENCE: Duration = Duration::from_secs(2);

/// The helper. It ends when this is dropped, after what it is at.
#[derive(Debug)]
pub struct Checkpoints {
    wake: flume::Sender<()>,
    ended: flume::Receiver<Infallible>,
}

impl Checkpoints {
    /// Starts to look after the file of `store`, which leaves it alone from now on.
    ///
    /// # Errors
    /// There is no second connection or no thread to be had, and the store goes on by itself.
    pub fn start(store: &Store) -> Result<Checkpoints, StoreError> {
        Checkpoints::start_with(store, EVERY)
    }

    pub(super) fn start_with(store: &Store, every: Duration) -> Result<Checkpoints, StoreError> {
        let failed = |source: io::Error| super::open::file_error("start a thread for", store.path(), source);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = || {
            let connection = Connection::open_with_flags(store.path(), flags)?;
            connection.busy_timeout(Duration::ZERO)?;
            connection.execute_batch("PRAGMA trusted_schema = OFF")?;
            Ok(connection)
        };
        let connection = connect().map_err(|source| classified("open the database once more", store.path(), source))?;
        let (wake, woken) = flume::bounded(1);
        let (ending, ended) = flume::bounded(0);
        let thread = thread::Builder::new().name("checkpoints".into());
        // Of its own: it measures pauses only.
        let clock = Clock::start();
        let work = move || {
            Folder { connection, clock, every, folded: clock.now(), failing: false }.run(&woken);
            drop(ending);
        };
        thread.spawn(work).map_err(failed)?;
        store.fold_by_itself(false)?;
        Ok(Checkpoints { wake, ended })
    }

    /// To be called every few seconds, for the helper to look whether it is time. False when it is gone.
    pub fn wake(&self) -> bool {
        !matches!(self.wake.try_send(()), Err(TrySendError::Disconnected(())))
    }

    /// Lets it end, and waits for that, within bounds. Where the store was closed before, the log is then gone.
    pub fn finish(self) {
        drop(self.wake);
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

/// The thread's state.
struct Folder {
    connection: Connection,
    clock: Clock,
    every: Duration,
    /// When it last did.
    folded: Now,
    /// Whether the last try failed, so that an error is told once.
    failing: bool,
}

/// Pages in the log, and those of them that are in the database as well.
struct Progress {
    logged: i64,
    folded: i64,
}

impl Folder {
    fn run(mut self, woken: &flume::Receiver<()>) {
        while woken.recv().is_ok() {
            loop {
                let left = self.every.saturating_sub(self.clock.now().since(self.folded));
                let soon = || self.progress("NOOP").is_ok_and(|progress| progress.left() >= PAGES_SOON);
                if left.is_zero() || soon() {
                    break;
                }
                if woken.recv_timeout(left) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
            self.fold();
            self.folded = self.clock.now();
        }
    }

    fn fold(&mut self) {
        for _ in 0..PASSES_MAX {
            match self.progress("PASSIVE") {
                Ok(progress) if progress.left() > 0 => {}
                Ok(_) => {
                    self.failing = false;
                    return;
                }
                Err(error) => {
                    // The store's own check tells when the log grows beyond its bound.
                    if !self.failing {
                        tracing::warn!(%error, "the write-ahead log could not be folded into the database");
                    }
                    self.failing = true;
                    return;
                }
            }
        }
    }

    /// `mode` is one of SQLite's checkpoint modes; `NOOP` only tells.
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
