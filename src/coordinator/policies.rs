//! The policies as they are stored, typed and compiled. Owned by the coordinator's thread. It publishes nothing: a change
//! returns the compiled set, for the next plan.
//!
//! *Invariant:* a change is checked, compiled and durable, in that order, before anyone sees it. A change that fails on the
//! way has changed nothing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::keeper::Keeper;
use super::store::{Store, StoreError, StoredPolicy};
use crate::clock::{Now, rfc3339};
use crate::config::StorageConfig;
use crate::policy::{Compiled, Draft, ExpressionError, Failed, Policy};

/// Most policies that may be stored. Arbitrary: each request is judged by every policy, and compiling this many takes a
/// tenth of a second.
pub(super) const POLICIES_MAX: usize = 1_000;

/// Every policy, disabled ones included, in the order of evaluation.
#[derive(Debug, Default)]
pub struct Policies(Vec<Policy>);

/// An open store, the policies in it, and what they compile to.
pub struct OpenStorage {
    pub keeper: Keeper,
    pub policies: Policies,
    pub compiled: Arc<Compiled>,
}

/// Why the gateway cannot run with what is stored.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the process that this one replaces does not answer: {0}")]
    Predecessor(#[source] io::Error),
    #[error(
        "{path} holds policies that do not compile, and luner runs with all of them or not at all: {}",
        joined(failed), path = path.display()
    )]
    Policies { path: PathBuf, failed: Vec<Failed> },
}

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum ChangeError {
    /// The changed set does not compile.
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

impl OpenStorage {
    /// Opens what the configuration names and compiles the policies in it.
    ///
    /// # Errors
    /// The file cannot be used, or a policy in it does not compile: a gateway that left one out would let through what
    /// someone wanted blocked.
    pub fn open(storage: &StorageConfig, now: Now) -> Result<OpenStorage, OpenError> {
        OpenStorage::read(Keeper::open(storage, now)?)
    }

    /// Opens the storage while the process that this one replaces still writes it. `standing` reports that this process is
    /// ready to read the policies, and returns when none changes there any more. Everything that may take long happens
    /// before that.
    ///
    /// # Errors
    /// Those of [`OpenStorage::open`]; also if the file has an older schema, which this process must not change under the
    /// other one's hands.
    pub fn take_over(
        storage: &StorageConfig,
        now: Now,
        standing: impl FnOnce() -> io::Result<()>,
    ) -> Result<OpenStorage, OpenError> {
        let opened = OpenStorage::read(Keeper::open_beside_another(storage, now)?)?;
        standing().map_err(OpenError::Predecessor)?;
        OpenStorage::read(opened.keeper)
    }

    fn read(keeper: Keeper) -> Result<OpenStorage, OpenError> {
        let (policies, compiled) = match keeper.store() {
            None => Default::default(),
            Some(store) => {
                read(store)?.map_err(|failed| OpenError::Policies { path: store.path().to_owned(), failed })?
            }
        };
        Ok(OpenStorage { keeper, policies: Policies(policies), compiled: Arc::new(compiled) })
    }
}

impl Policies {
    /// Every policy in the order of evaluation.
    pub(super) fn all(&self) -> &[Policy] {
        &self.0
    }

    pub(super) fn find(&self, id: &str) -> Option<&Policy> {
        self.0.iter().find(|policy| policy.id == id)
    }

    /// Adds a policy, or replaces the one with its id, by calling `write`. Returns what is stored now and the set that it
    /// belongs to.
    pub(super) fn put(
        &mut self,
        policy: &StoredPolicy,
        write: impl FnOnce() -> Result<StoredPolicy, StoreError>,
    ) -> Result<(Policy, Compiled), ChangeError> {
        let compiled = Compiled::new(&with(&self.0, typed(policy)?)).map_err(ChangeError::Failed)?;
        // Only the store knows when the policy was created.
        let stored = typed(&write()?)?;
        self.0 = with(&self.0, stored.clone());
        Ok((stored, compiled))
    }

    /// Removes a policy by calling `write`. Returns the set that is left.
    pub(super) fn remove(
        &mut self,
        id: &str,
        write: impl FnOnce() -> Result<StoredPolicy, StoreError>,
    ) -> Result<Compiled, ChangeError> {
        let rest: Vec<Policy> = self.0.iter().filter(|policy| policy.id != id).cloned().collect();
        let compiled = Compiled::new(&rest).map_err(ChangeError::Failed)?;
        write()?;
        self.0 = rest;
        Ok(compiled)
    }

    /// Reads every policy again, as another program may have changed them.
    pub(super) fn reread(&mut self, store: &Store) -> Result<Compiled, ChangeError> {
        let (policies, compiled) = read(store)?.map_err(ChangeError::Failed)?;
        self.0 = policies;
        Ok(compiled)
    }
}

/// The row that stores a draft under this id. The store keeps an older `created_at_ms`.
pub(super) fn row(draft: Draft, id: String, now: Now) -> StoredPolicy {
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

type PolicySet = (Vec<Policy>, Compiled);

fn read(store: &Store) -> Result<Result<PolicySet, Vec<Failed>>, StoreError> {
    let (mut policies, mut failed) = (Vec::new(), Vec::new());
    for row in store.policies()? {
        match typed(&row) {
            Ok(policy) => policies.push(policy),
            Err(failure) => failed.push(failure),
        }
    }
    Ok(match Compiled::new(&policies) {
        Ok(compiled) if failed.is_empty() => Ok((policies, compiled)),
        Ok(_) => Err(failed),
        Err(more) => Err(failed.into_iter().chain(more).collect()),
    })
}

/// Converts a row to a policy. Fails if this version does not know its action or mode.
fn typed(row: &StoredPolicy) -> Result<Policy, Failed> {
    let unknown = |field: &str, value: &str| {
        let message = format!("its {field} is `{value}`, which this version does not know");
        Failed { id: row.id.clone(), error: ExpressionError { message, position: None } }
    };
    let StoredPolicy { id, name, description, expression, target_model, message, .. } = row.clone();
    Ok(Policy {
        id,
        name,
        description,
        expression,
        action: parse_word(&row.action).ok_or_else(|| unknown("action", &row.action))?,
        target_model,
        message,
        priority: row.priority,
        enabled: row.enabled,
        mode: parse_word(&row.mode).ok_or_else(|| unknown("mode", &row.mode))?,
        created_at: rfc3339(row.created_at_ms),
        updated_at: rfc3339(row.updated_at_ms),
    })
}

fn parse_word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(Value::from(text)).ok()
}

/// The set with this policy added, in place of the one with its id.
fn with(policies: &[Policy], policy: Policy) -> Vec<Policy> {
    let mut next: Vec<Policy> = policies.iter().filter(|old| old.id != policy.id).cloned().collect();
    let at = next.partition_point(|old| (old.priority, &old.id) < (policy.priority, &policy.id));
    next.insert(at, policy);
    next
}

fn joined(failed: &[Failed]) -> String {
    failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
