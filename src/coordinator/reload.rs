//! Turns changed files into a new plan, without a restart. Runs on the coordinator's thread, between two events. A file with
//! mistakes changes nothing: the old plan stays, and the mistakes are logged once, counted, shown in the console and written
//! to the audit.
//!
//! *Invariant:* everything that can fail comes before the first thing that takes effect.

use serde_json::{Value, json};

use super::helpers::otlp::exports_spans;
use super::helpers::read_thread::ReadThread;
use super::helpers::watch::Watcher;
use super::policies::OpenStorage;
use super::price_file::{self, PriceTable};
use super::running::{RejectedReload, log_warnings};
use super::state::State;
use super::store::{AuditAction, By, NewAudit, Store};
use crate::clock::Now;
use crate::config::{Config, Problems};
use crate::plan::{Plan, PlanInputs};

#[cfg(test)]
mod tests;

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReloadOutcome {
    /// The files say what is in force already.
    Unchanged,
    Published,
    Rejected,
}

/// Everything that a reload has prepared and that has had no effect yet.
struct Prepared {
    written: Config,
    next: Config,
    table: PriceTable,
    /// Set if the configuration names another price file than before: the watcher of the new file, or `None` without one.
    price_watcher: Option<Option<Watcher>>,
    /// The new storage, if the configuration names another one than before.
    storage: Option<OpenStorage>,
    plan: Plan,
}

/// Reads the files once at the start: they may have changed after they were read and before they were watched.
pub(super) fn apply_first_change(state: &mut State) {
    reload(state);
}

/// Reacts to a change of the files.
pub(super) fn apply_change(state: &mut State) {
    if reload(state) == ReloadOutcome::Unchanged {
        state.running.reloads.ok += 1;
        let needs_restart = state.running.needs_restart();
        match needs_restart.is_empty() {
            true => tracing::info!("the changed files say what is in force already"),
            false => tracing::warn!(keys = needs_restart.join(" "), "changes need a restart"),
        }
    }
}

fn reload(state: &mut State) -> ReloadOutcome {
    let now = state.clock.now();
    let outcome = match prepare(state, now) {
        Ok(Some(prepared)) => {
            adopt(state, prepared, now);
            ReloadOutcome::Published
        }
        Ok(None) => ReloadOutcome::Unchanged,
        Err(problems) => {
            reject(state, problems, now);
            return ReloadOutcome::Rejected;
        }
    };
    state.running.rejected = None;
    outcome
}

/// Returns `None` if the files say what is in force already.
fn prepare(state: &mut State, now: Now) -> Result<Option<Prepared>, Problems> {
    let written = state.running.read()?;
    let outline = written.outline.clone();
    prepare_written(state, written, now).map_err(|problems| problems.with_outline(outline))
}

fn prepare_written(state: &mut State, written: Config, now: Now) -> Result<Option<Prepared>, Problems> {
    let running = &state.running;
    let next = running.in_force(&written);
    // The watcher starts before the file is read, so that no change falls in between.
    let price_watcher = match next.pricing.file == running.config.pricing.file {
        true => None,
        false => {
            let watcher = running.watch_prices(&next.pricing);
            Some(watcher.map_err(|error| running.problem_with("pricing.file", error.to_string()))?)
        }
    };
    let table = price_file::read(&next.pricing).map_err(|problem| running.problem(problem))?;
    if running.is_in_force(&next, &table) {
        state.running.written = written;
        return Ok(None);
    }
    let (old, new) = (&running.config.storage, &next.storage);
    let storage = match old.backend == new.backend && old.sqlite == new.sqlite {
        true => None,
        false => {
            let opened = OpenStorage::open(new, now);
            Some(opened.map_err(|error| running.problem_with("storage.sqlite.path", error.to_string()))?)
        }
    };
    let before = state.plans.running();
    let policies = storage.as_ref().map_or_else(|| before.policies.clone(), |storage| storage.compiled.clone());
    let inputs = PlanInputs {
        config: &next,
        prices: table.prices.clone(),
        policies,
        created_s: state.started.wall_ms / 1000,
        exports_spans: exports_spans(),
        slots: state.plans.claim_slots(),
        now,
    };
    let plan =
        Plan::new(inputs, Some(&before)).map_err(|error| running.problem_with("providers", error.to_string()))?;
    if let Err(error) = state.resolver.follow(&plan) {
        state.resolver.release(&before);
        return Err(running.problem_with("providers", format!("their names cannot be looked up: {error}")));
    }
    Ok(Some(Prepared { written, next, table, price_watcher, storage, plan }))
}

fn adopt(state: &mut State, prepared: Prepared, now: Now) {
    let Prepared { written, next, table, price_watcher, storage, plan } = prepared;
    let running = &mut state.running;
    let before = audited(&running.config, &running.table);
    let after = audited(&next, &table);
    if next.telemetry.log != running.config.telemetry.log {
        (running.set_log_level)(next.telemetry.log);
    }
    if let Some(watcher) = price_watcher {
        running.set_price_watcher(watcher);
    }
    if next.server.admin.token != running.config.server.admin.token {
        state.access.sessions.close_all();
    }
    (running.config, running.written, running.table) = (next, written, table);
    running.loaded_at_ms = now.wall_ms;
    running.reloads.ok += 1;
    if let Some(storage) = storage {
        switch_storage(state, storage, now);
    }
    let version = plan.version;
    state.plans.publish(plan, &mut state.resolver, now);
    let needs_restart = state.running.needs_restart().join(" ");
    tracing::info!(file = state.running.source(), plan = version, needs_restart, "configuration reloaded");
    log_warnings(state.running.warnings());
    append_audit(state, AuditAction::ConfigReload, Some(&before), &after, now);
}

fn switch_storage(state: &mut State, storage: OpenStorage, now: Now) {
    // Queued usage belongs in the old file. If that accepts nothing, it goes into the new one.
    state.keeper.close(&mut state.write_queue, now);
    (state.keeper, state.policies) = (storage.keeper, storage.policies);
    state.read_thread = ReadThread::new(state.keeper.store().map(Store::path), state.clock);
    if state.keeper.store().is_none() {
        state.write_queue.give_up();
    }
}

fn reject(state: &mut State, problems: Problems, now: Now) {
    let list: Vec<String> = problems.list.iter().map(ToString::to_string).collect();
    let file = state.running.source();
    tracing::error!(file, problems = list.join("; "), "configuration rejected, the old one stays in force");
    state.running.reloads.rejected += 1;
    append_audit(state, AuditAction::ConfigRejected, None, &json!({ "problems": list }), now);
    state.running.rejected = Some(RejectedReload { at_ms: now.wall_ms, problems });
}

/// Appends to the audit, if there is a store. A failed write does not stop the reload.
fn append_audit(state: &mut State, action: AuditAction, before: Option<&Value>, after: &Value, now: Now) {
    let subject = state.running.source();
    let entry = NewAudit { action, subject: &subject, before, after: Some(after) };
    let by = By { actor: "file", at_ms: now.wall_ms };
    if let Some(store) = state.keeper.store_mut()
        && let Err(error) = store.append_audit(&entry, by)
    {
        tracing::error!(%error, "could not write a reload to the audit");
    }
}

/// The configuration as the audit stores it. Secrets mask themselves.
fn audited(config: &Config, table: &PriceTable) -> Value {
    json!({ "config": config, "prices": { "models": table.prices.len() } })
}
