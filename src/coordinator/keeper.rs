//! Keeps the store: opens and closes it, writes what is queued, deletes what is too old, and watches its health. Owned by
//! the coordinator's thread. It never interprets a row: [`super::policies`] does.

use std::path::Path;

use super::store::{Checkpoints, Retention, Store, StoreError, StoreHealth, USAGE_DAYS};
use super::write_queue::WriteQueue;
use crate::clock::Now;
use crate::config::{RetentionConfig, StorageBackend, StorageConfig};

/// Pause between two health checks. Arbitrary: the console shows a fault no later than this.
const CHECK_MS: u64 = 2_000;
/// Pause between retention checks once nothing was left to delete. Arbitrary.
const PRUNE_MS: u64 = 60_000;

/// The store, if there is one, and its upkeep.
#[derive(Debug)]
pub struct Keeper {
    /// `None` with `storage.backend: none`.
    store: Option<Store>,
    /// `None` if each commit folds the write-ahead log into the database by itself.
    checkpoints: Option<Checkpoints>,
    /// Result of the last health check.
    health: StoreHealth,
    checked_ms: u64,
    /// Time of the next retention check, on the monotonic clock.
    prune_ms: u64,
}

/// The state of the storage, as the console and the metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StorageState {
    Off,
    Ok,
    Degraded,
}

impl StorageState {
    pub(super) const ALL: [StorageState; 3] = [StorageState::Off, StorageState::Ok, StorageState::Degraded];

    /// The word that `/api/health` shows.
    pub(super) fn name(self) -> &'static str {
        match self {
            StorageState::Off => "off",
            StorageState::Ok => "ok",
            StorageState::Degraded => "degraded",
        }
    }
}

impl Keeper {
    /// Opens the store that the configuration names, if it names one.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn open(storage: &StorageConfig, now: Now) -> Result<Keeper, StoreError> {
        Keeper::open_with(storage, now, Store::open)
    }

    /// Like [`Keeper::open`], while another process still writes the file.
    ///
    /// # Errors
    /// The file cannot be used, or it has an older schema, which this process must not change under the other one's hands.
    pub(super) fn open_beside_another(storage: &StorageConfig, now: Now) -> Result<Keeper, StoreError> {
        Keeper::open_with(storage, now, Store::open_beside_another)
    }

    fn open_with(
        storage: &StorageConfig,
        now: Now,
        open: impl FnOnce(&Path, u64) -> Result<Store, StoreError>,
    ) -> Result<Keeper, StoreError> {
        let store = match storage.backend {
            StorageBackend::None => None,
            StorageBackend::Sqlite => Some(open(&storage.sqlite.path, now.wall_ms)?),
        };
        let checkpoints = store.as_ref().and_then(|store| {
            let log = |error| tracing::warn!(%error, "no thread for checkpoints: commits do them, and take longer");
            Checkpoints::start(store).map_err(log).ok()
        });
        let checked_ms = now.mono_ms();
        Ok(Keeper { store, checkpoints, health: StoreHealth::Ok, checked_ms, prune_ms: checked_ms })
    }

    pub(super) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    pub(super) fn store_mut(&mut self) -> Option<&mut Store> {
        self.store.as_mut()
    }

    /// Writes what is queued, if it is due, and deletes some of what is too old. Deletes nothing while another process writes
    /// the file too (`alone` is false): that process remembers ids of names that would be gone.
    pub(super) fn write_and_prune(
        &mut self,
        queue: &mut WriteQueue,
        retention: &RetentionConfig,
        alone: bool,
        now: Now,
    ) {
        let Some(store) = &mut self.store else { return };
        store.set_shared(!alone);
        queue.flush(store, now);
        if !alone || store.fault().is_some() || now.mono_ms() < self.prune_ms {
            return;
        }
        let retention =
            Retention { trace_days: retention.days, bytes_max: retention.max_bytes, usage_days: USAGE_DAYS };
        match store.prune(&retention, now.wall_ms) {
            Ok(pruned) if pruned.more => {}
            Ok(_) => self.prune_ms = now.mono_ms() + PRUNE_MS,
            Err(error) => tracing::warn!(%error, "expired rows could not be deleted and stay for now"),
        }
    }

    /// Checks the store's health, if a check is due, and logs when it has changed.
    pub(super) fn check_health(&mut self, now: Now) {
        let Some(store) = &self.store else { return };
        if now.mono_ms() < self.checked_ms + CHECK_MS {
            return;
        }
        self.checked_ms = now.mono_ms();
        if self.checkpoints.as_ref().is_some_and(|checkpoints| !checkpoints.wake()) {
            self.checkpoints = None;
            tracing::warn!("the checkpoint thread has ended: commits do checkpoints, and take longer");
            if let Err(error) = store.checkpoint_on_commit(true) {
                tracing::error!(%error, "nothing folds the write-ahead log in");
            }
        }
        // The writer has logged a failed write already.
        let (was_degraded, has_fault) = (matches!(self.health, StoreHealth::Degraded(_)), store.fault().is_some());
        self.health = store.check();
        match &self.health {
            StoreHealth::Degraded(reason) if !was_degraded => tracing::error!(reason, "storage is degraded"),
            StoreHealth::Ok if was_degraded || has_fault => tracing::info!("storage works again"),
            _ => {}
        }
    }

    pub(super) fn state(&self) -> StorageState {
        match &self.store {
            None => StorageState::Off,
            Some(store) if store.fault().is_none() && self.health == StoreHealth::Ok => StorageState::Ok,
            Some(_) => StorageState::Degraded,
        }
    }

    /// Writes what is queued, as much as the store accepts, and closes the store.
    pub(super) fn close(&mut self, queue: &mut WriteQueue, now: Now) {
        if let Some(mut store) = self.store.take() {
            queue.flush_all(&mut store, now);
        }
    }

    /// Like [`Keeper::close`], at the end of the process.
    pub(super) fn finish(&mut self, queue: &mut WriteQueue, now: Now) {
        self.close(queue, now);
        // SQLite empties the write-ahead log when the last connection closes: that of the checkpoint thread.
        if let Some(checkpoints) = self.checkpoints.take() {
            checkpoints.finish();
        }
    }
}
