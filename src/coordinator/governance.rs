//! The policies and where they are kept: the store if there is one, and what is in it, typed. Owned by the coordinator.
//! It publishes nothing itself: a change gives back the compiled set, for the plan.
//!
//! *Invariant:* a change is checked, compiled and durable, in that order, before anyone sees it. What fails on the way has
//! changed nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::store::{Checkpoints, Retention, Store, StoreError, StoreHealth, StoredPolicy, USAGE_DAYS};
use super::write_queue::Recorder;
use crate::clock::{Now, rfc3339};
use crate::config::{StorageBackend, StorageConfig};
use crate::policy::{Compiled, Draft, ExpressionError, Failed, Policy};

/// Policies at most. Arbitrary: each is judged for each request, and a set of so many compiles in a tenth of a second.
pub(super) const POLICIES_MAX: usize = 1_000;
/// How often the store is looked at. Arbitrary: a console shows it after no more than that.
const CHECK_MS: u64 = 2_000;
/// How often it is looked whether something is too old, when nothing was. Arbitrary.
const PRUNE_MS: u64 = 60_000;

/// The policies of the process and their store.
#[derive(Debug)]
pub struct Governance {
    /// Absent with `storage.backend: none`.
    store: Option<Store>,
    /// All of them, disabled ones too, in the order of their evaluation.
    policies: Vec<Policy>,
    /// Absent where the store folds its log in by itself.
    checkpoints: Option<Checkpoints>,
    /// The last look at the store.
    health: StoreHealth,
    checked_ms: u64,
    /// When something may leave the store again.
    prune_ms: u64,
}

/// Why the gateway does not run with what is stored.
#[derive(Debug, thiserror::Error)]
pub enum GovernanceError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the process before this one does not answer: {0}")]
    Predecessor(#[source] std::io::Error),
    #[error(
        "{path} holds policies that do not compile, and luner does not run with fewer than all of them: {}",
        listed(failed), path = path.display()
    )]
    Policies { path: PathBuf, failed: Vec<Failed> },
}

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum ChangeError {
    /// There is no store.
    Off,
    /// The set as it would be does not compile.
    Failed(Vec<Failed>),
    Store(StoreError),
}

impl From<Failed> for ChangeError {
    fn from(failed: Failed) -> ChangeError {
        ChangeError::Failed(vec![failed])
    }
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> ChangeError {
        ChangeError::Store(error)
    }
}

/// What `storage` is, for those who only ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StorageState {
    Off,
    Ok,
    Degraded,
}

impl StorageState {
    pub(super) const ALL: [StorageState; 3] = [StorageState::Off, StorageState::Ok, StorageState::Degraded];

    /// As `/api/health` shows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            StorageState::Off => "off",
            StorageState::Ok => "ok",
            StorageState::Degraded => "degraded",
        }
    }
}

impl Governance {
    /// Opens what the configuration names and compiles what is in it.
    ///
    /// # Errors
    /// The file cannot be used, or a policy in it does not compile: a gateway that left one out would let through what
    /// someone wanted blocked.
    pub fn open(storage: &StorageConfig, now: Now) -> Result<(Governance, Arc<Compiled>), GovernanceError> {
        Governance::open_as(storage, now, Store::open)
    }

    fn open_as(
        storage: &StorageConfig,
        now: Now,
        open: impl FnOnce(&Path, u64) -> Result<Store, StoreError>,
    ) -> Result<(Governance, Arc<Compiled>), GovernanceError> {
        let store = match storage.backend {
            StorageBackend::None => None,
            StorageBackend::Sqlite => Some(open(&storage.sqlite.path, now.wall_ms)?),
        };
        let (policies, compiled) = match &store {
            None => Default::default(),
            Some(store) => {
                read(store)?.map_err(|failed| GovernanceError::Policies { path: store.path().to_owned(), failed })?
            }
        };
        let checkpoints = store.as_ref().and_then(|store| {
            let told =
                |error| tracing::warn!(%error, "commits fold the write-ahead log in by themselves, and take longer");
            Checkpoints::start(store).map_err(told).ok()
        });
        let (health, checked_ms) = (StoreHealth::Ok, now.mono_ms());
        let governance = Governance { store, policies, checkpoints, health, checked_ms, prune_ms: checked_ms };
        Ok((governance, Arc::new(compiled)))
    }

    /// The same where another process, whose place this one takes, writes the file. `standing` comes back when no policy
    /// changes there any more; everything that may take long is done before.
    ///
    /// # Errors
    /// As of [`Governance::open`]; and the file has an older schema, which this luner would change under the other's hands.
    pub fn take_over(
        storage: &StorageConfig,
        now: Now,
        standing: impl FnOnce() -> std::io::Result<()>,
    ) -> Result<(Governance, Arc<Compiled>), GovernanceError> {
        let (mut governance, compiled) = Governance::open_as(storage, now, Store::open_beside_another)?;
        standing().map_err(GovernanceError::Predecessor)?;
        let Some(store) = &governance.store else { return Ok((governance, compiled)) };
        let path = store.path().to_owned();
        match governance.reread() {
            Ok(compiled) => Ok((governance, Arc::new(compiled))),
            Err(ChangeError::Failed(failed)) => Err(GovernanceError::Policies { path, failed }),
            Err(ChangeError::Store(error)) => Err(error.into()),
            Err(ChangeError::Off) => Ok((governance, compiled)),
        }
    }

    /// In the order of their evaluation.
    pub(super) fn policies(&self) -> &[Policy] {
        &self.policies
    }

    pub(super) fn policy(&self, id: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.id == id)
    }

    pub(super) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    pub(super) fn store_mut(&mut self) -> Option<&mut Store> {
        self.store.as_mut()
    }

    /// Stores a new policy, or one in the place of that with its id, as `write` does it. Gives back what is stored now and
    /// the set that it belongs to.
    pub(super) fn put(
        &mut self,
        policy: &StoredPolicy,
        write: impl FnOnce(&mut Store) -> Result<StoredPolicy, StoreError>,
    ) -> Result<(Policy, Compiled), ChangeError> {
        let store = self.store.as_mut().ok_or(ChangeError::Off)?;
        let next = with(&self.policies, typed(policy)?);
        let compiled = Compiled::new(&next).map_err(ChangeError::Failed)?;
        // The store alone knows when it was created.
        let stored = typed(&write(store)?)?;
        self.policies = with(&self.policies, stored.clone());
        Ok((stored, compiled))
    }

    /// Removes a policy, as `write` does it. Gives back the set that is left.
    pub(super) fn remove(
        &mut self,
        id: &str,
        write: impl FnOnce(&mut Store) -> Result<StoredPolicy, StoreError>,
    ) -> Result<Compiled, ChangeError> {
        let store = self.store.as_mut().ok_or(ChangeError::Off)?;
        let next: Vec<Policy> = self.policies.iter().filter(|policy| policy.id != id).cloned().collect();
        let compiled = Compiled::new(&next).map_err(ChangeError::Failed)?;
        write(store)?;
        self.policies = next;
        Ok(compiled)
    }

    /// Reads all of them again, as another program may have left them.
    pub(super) fn reread(&mut self) -> Result<Compiled, ChangeError> {
        let store = self.store.as_ref().ok_or(ChangeError::Off)?;
        let (policies, compiled) = read(store)?.map_err(ChangeError::Failed)?;
        self.policies = policies;
        Ok(compiled)
    }

    /// Lets the recorder write, if it is time to, and takes a step of the retention, unless another process writes the file
    /// as well: it remembers names that would be gone.
    pub(super) fn keep(
        &mut self,
        recorder: &mut Recorder,
        retention: &crate::config::RetentionConfig,
        alone: bool,
        now: Now,
    ) {
        let Some(store) = &mut self.store else { return };
        store.set_shared(!alone);
        recorder.flush(store, now);
        if !alone || store.fault().is_some() || now.mono_ms() < self.prune_ms {
            return;
        }
        let retention =
            Retention { trace_days: retention.days, bytes_max: retention.max_bytes, usage_days: USAGE_DAYS };
        match store.prune(&retention, now.wall_ms) {
            Ok(pruned) if pruned.more => {}
            Ok(_) => self.prune_ms = now.mono_ms() + PRUNE_MS,
            Err(error) => tracing::warn!(%error, "what is too old stays for now"),
        }
    }

    /// Closes the store, after what the recorder holds was written to it, as far as it takes it.
    pub(super) fn close(&mut self, recorder: &mut Recorder, now: Now) {
        if let Some(mut store) = self.store.take() {
            recorder.flush_all(&mut store, now);
        }
    }

    /// The same at the end of the process.
    pub(super) fn end(&mut self, recorder: &mut Recorder, now: Now) {
        self.close(recorder, now);
        // Whoever closes the file last empties its log: the helper.
        if let Some(checkpoints) = self.checkpoints.take() {
            checkpoints.finish();
        }
    }

    /// Looks at the store, if it is time to, and tells the log when its state has changed.
    pub(super) fn check(&mut self, now: Now) {
        let Some(store) = &self.store else { return };
        if now.mono_ms() < self.checked_ms + CHECK_MS {
            return;
        }
        self.checked_ms = now.mono_ms();
        if self.checkpoints.as_ref().is_some_and(|checkpoints| !checkpoints.wake()) {
            self.checkpoints = None;
            tracing::warn!("the helper that folds the write-ahead log in is gone: commits do it, and take longer");
            if let Err(error) = store.checkpoint_on_commit(true) {
                tracing::error!(%error, "the write-ahead log is folded in by nobody");
            }
        }
        // A write that failed was told of by whoever wrote.
        let (told, known) = (matches!(self.health, StoreHealth::Degraded(_)), store.fault().is_some());
        self.health = store.check();
        match &self.health {
            StoreHealth::Degraded(reason) if !told => tracing::error!(reason, "storage is degraded"),
            StoreHealth::Ok if told || known => tracing::info!("storage is whole again"),
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
}

/// What a draft becomes under this id; the store keeps an older `created_at_ms`.
pub(super) fn stored(draft: Draft, id: String, now: Now) -> StoredPolicy {
    let Draft { name, description, expression, action, target_model, message, priority, enabled, mode } = draft;
    StoredPolicy {
        id,
        name,
        description,
        expression,
        action: action.name().to_owned(),
        target_model,
        message,
        priority,
        enabled,
        mode: mode.name().to_owned(),
        created_at_ms: now.wall_ms,
        updated_at_ms: now.wall_ms,
    }
}

type Set = (Vec<Policy>, Compiled);

fn read(store: &Store) -> Result<Result<Set, Vec<Failed>>, StoreError> {
    let (mut policies, mut failed) = (Vec::new(), Vec::new());
    for row in store.policies()? {
        match typed(&row) {
            Ok(policy) => policies.push(policy),
            Err(one) => failed.push(one),
        }
    }
    Ok(match Compiled::new(&policies) {
        Ok(compiled) if failed.is_empty() => Ok((policies, compiled)),
        Ok(_) => Err(failed),
        Err(more) => Err(failed.into_iter().chain(more).collect()),
    })
}

/// A row as a policy; fails where its action or mode is one that this luner does not know.
fn typed(row: &StoredPolicy) -> Result<Policy, Failed> {
    let unknown = |what: &str, value: &str| {
        let message = format!("its {what} is `{value}`, which is none");
        Failed { id: row.id.clone(), error: ExpressionError { message, position: None } }
    };
    let StoredPolicy { id, name, description, expression, target_model, message, .. } = row.clone();
    Ok(Policy {
        id,
        name,
        description,
        expression,
        action: word(&row.action).ok_or_else(|| unknown("action", &row.action))?,
        target_model,
        message,
        priority: row.priority,
        enabled: row.enabled,
        mode: word(&row.mode).ok_or_else(|| unknown("mode", &row.mode))?,
        created_at: rfc3339(row.created_at_ms),
        updated_at: rfc3339(row.updated_at_ms),
    })
}

fn word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(Value::from(text)).ok()
}

/// The set with this policy in it, in the place of one with its id.
fn with(policies: &[Policy], policy: Policy) -> Vec<Policy> {
    let mut next: Vec<Policy> = policies.iter().filter(|old| old.id != policy.id).cloned().collect();
    let at = next.partition_point(|old| (old.priority, &old.id) < (policy.priority, &policy.id));
    next.insert(at, policy);
    next
}

fn listed(failed: &[Failed]) -> String {
    failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
