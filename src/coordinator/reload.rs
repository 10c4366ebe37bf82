//! From a changed file to a new plan, without a restart. On the coordinator's thread, between two events. What is wrong with
//! a file changes nothing: the old plan stays, and what was wrong is logged once, counted, kept for the console, audited.
//!
//! *Invariant:* everything that can fail comes before the first thing that takes effect.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::Coordinator;
use super::exports_spans;
use super::governance::Governance;
use super::helpers::read_thread::Reading;
use super::helpers::watch::{self, Watcher};
use super::price_file::{self, PriceTable};
use super::store::{AuditAction, By, NewAudit, Store};
use crate::clock::Now;
use crate::config::{self, Config, Difference, Listen, LogLevel, Outline, Problem, Problems};
use crate::link::Event;
use crate::plan::{self, Plan};

#[cfg(test)]
mod tests;

/// How often a file is looked at without being told of a change. Arbitrary: what a network filesystem may be late by.
const POLL: Duration = Duration::from_secs(5);
/// How long a file must be quiet. Arbitrary: longer than an editor takes to save.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, which is watched.
    File(PathBuf),
    /// This program itself; the word is shown instead of a path.
    Program(&'static str),
}

/// What the command line decides instead of the file, for as long as the process runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pins {
    /// Instead of `server.listen`.
    pub listen: Option<Listen>,
    /// Instead of `server.workers`.
    pub workers: Option<u32>,
}

/// What the process starts with.
pub struct Start {
    pub source: Source,
    pub pins: Pins,
    /// The configuration as it was read, checked.
    pub config: Config,
    /// The prices that it names.
    pub table: PriceTable,
    pub set_log_level: SetLogLevel,
}

/// Sets the least important level that is logged.
pub type SetLogLevel = Box<dyn Fn(LogLevel) + Send>;

/// The configuration in force and how it came to be.
pub struct Running {
    source: Source,
    pins: Pins,
    set_log_level: SetLogLevel,
    /// In force: as written, but with what needs a restart as it was at the start.
    config: Config,
    /// As it was last written, and good.
    written: Config,
    table: PriceTable,
    pub(super) loaded_at_ms: u64,
    pub(super) rejected: Option<Rejected>,
    pub(super) reloads: Reloads,
    watching: Watching,
}

/// A reload that changed nothing.
#[derive(Debug)]
pub(super) struct Rejected {
    pub at_ms: u64,
    pub problems: Problems,
}

/// How reloads ended, for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reloads {
    pub ok: u64,
    pub rejected: u64,
}

/// The watchers of what a reload reads.
#[derive(Default)]
struct Watching {
    events: Option<flume::Sender<Event>>,
    _config: Option<Watcher>,
    prices: Option<Watcher>,
}

/// What has become of a look at the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// What they say runs already.
    Same,
    Published,
    Rejected,
}

impl Running {
    /// The configuration that the process starts with.
    pub fn new(start: Start, now: Now) -> Running {
        let Start { source, pins, config: written, table, set_log_level } = start;
        let mut config = written.clone();
        config.server.listen = pins.listen.unwrap_or(config.server.listen);
        config.server.workers = pins.workers.unwrap_or(config.server.workers);
        Running {
            source,
            pins,
            set_log_level,
            config,
            written,
            table,
            loaded_at_ms: now.wall_ms,
            rejected: None,
            reloads: Reloads::default(),
            watching: Watching::default(),
        }
    }

    /// What is in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The prices in force.
    pub fn table(&self) -> &PriceTable {
        &self.table
    }

    /// Starts to watch the files, and tells of their changes as [`Event::FilesChanged`].
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn watch(&mut self, events: flume::Sender<Event>) -> io::Result<()> {
        self.watching.events = Some(events);
        if let Source::File(path) = &self.source {
            self.watching._config = self.watch_file(path.clone())?;
        }
        self.watching.prices = self.watch_prices(&self.config.pricing)?;
        Ok(())
    }

    fn watch_prices(&self, pricing: &config::PricingConfig) -> io::Result<Option<Watcher>> {
        if pricing.file.as_os_str().is_empty() { Ok(None) } else { self.watch_file(pricing.file.clone()) }
    }

    fn watch_file(&self, path: PathBuf) -> io::Result<Option<Watcher>> {
        let Some(events) = self.watching.events.clone() else { return Ok(None) };
        let shown = path.display().to_string();
        // The coordinator may be gone already.
        let tell = Box::new(move |_| _ = events.send(Event::FilesChanged));
        let watcher = watch::start(path, POLL, DEBOUNCE, tell)?;
        if let Some(reason) = watcher.polls_only() {
            tracing::warn!(file = shown, reason, "changes are found by looking every few seconds only");
        }
        Ok(Some(watcher))
    }

    /// As the console and the audit name it.
    pub(super) fn source(&self) -> String {
        match &self.source {
            Source::File(path) => path.display().to_string(),
            Source::Program(word) => (*word).to_owned(),
        }
    }

    /// Of the configuration as it was last written.
    pub(super) fn warnings(&self) -> &[Problem] {
        &self.written.warnings
    }

    /// How the file that was refused last differs from the one before; `None` where it was not even YAML.
    pub(super) fn differences(&self, rejected: &Rejected) -> Option<Vec<Difference>> {
        rejected.problems.outline.as_ref().map(|refused| self.written.outline.differences(refused))
    }

    /// Keys that were changed since the start and are not in force.
    pub(super) fn needs_restart(&self) -> Vec<&'static str> {
        let (old, new) = (&self.config.server, &self.written.server);
        let changed = [
            ("server.listen", self.pins.listen.is_none() && old.listen != new.listen),
            ("server.read_timeout", old.read_timeout != new.read_timeout),
            ("server.write_timeout", old.write_timeout != new.write_timeout),
            ("server.workers", self.pins.workers.is_none() && old.workers != new.workers),
        ];
        changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
    }

    /// The configuration as it stands in the file now.
    fn read(&self) -> Result<Config, Problems> {
        match &self.source {
            // A pipe (`--config <(…)`) is read once.
            Source::File(path) if !fs::metadata(path).is_ok_and(|file| !file.is_file()) => {
                config::load(path, &|name| std::env::var(name).ok())
            }
            _ => Ok(self.written.clone()),
        }
    }

    /// What would be in force if this were written.
    fn in_force(&self, written: &Config) -> Config {
        let config::ServerConfig { listen, read_timeout, write_timeout, workers, .. } = self.config.server;
        let server = config::ServerConfig { listen, read_timeout, write_timeout, workers, ..written.server.clone() };
        Config { server, ..written.clone() }
    }

    fn runs(&self, next: &Config, table: &PriceTable) -> bool {
        // Warnings know their lines, which a comment may move; one value can be written in several ways.
        let bare = |config: &Config| Config { warnings: Vec::new(), outline: Outline::default(), ..config.clone() };
        bare(next) == bare(&self.config) && table.bytes_hash == self.table.bytes_hash
    }

    fn problems(&self, key: &str, message: String) -> Problems {
        self.one(Problem { line: 0, column: 0, key: key.to_owned(), message })
    }

    fn one(&self, problem: Problem) -> Problems {
        Problems { source_name: self.source(), list: vec![problem], outline: None }
    }

    /// For the audit; secrets mask themselves.
    fn shown(config: &Config, table: &PriceTable) -> Value {
        json!({ "config": config, "prices": { "models": table.prices.len() } })
    }
}

/// Everything that a reload has made ready and that has had no effect yet.
struct Ready {
    written: Config,
    next: Config,
    table: PriceTable,
    /// Set when the price file is another one.
    prices: Option<Option<Watcher>>,
    /// Set when the storage is another one.
    governance: Option<Governance>,
    plan: Plan,
}

impl Coordinator {
    /// The first look: the files may have changed between being read and being watched.
    pub(super) fn look_at_files(&mut self) {
        self.reload();
    }

    /// Follows a change of the files.
    pub(super) fn files_changed(&mut self) {
        if self.reload() == Outcome::Same {
            self.running.reloads.ok += 1;
            let needs_restart = self.running.needs_restart();
            match needs_restart.is_empty() {
                true => tracing::info!("the changed files say what runs already"),
                false => tracing::warn!(keys = needs_restart.join(" "), "changes that need a restart"),
            }
        }
    }

    fn reload(&mut self) -> Outcome {
        let now = self.clock.now();
        let outcome = match self.prepare(now) {
            Ok(Some(ready)) => {
                self.adopt(ready, now);
                Outcome::Published
            }
            Ok(None) => Outcome::Same,
            Err(problems) => {
                self.reject(problems, now);
                return Outcome::Rejected;
            }
        };
        self.running.rejected = None;
        outcome
    }

    /// `None` when what the files say runs already.
    fn prepare(&mut self, now: Now) -> Result<Option<Ready>, Problems> {
        let written = self.running.read()?;
        let outline = written.outline.clone();
        self.make_ready(written, now).map_err(|problems| problems.with_outline(outline))
    }

    fn make_ready(&mut self, written: Config, now: Now) -> Result<Option<Ready>, Problems> {
        let running = &self.running;
        let next = running.in_force(&written);
        // Watched before it is read, so that no change falls in between.
        let prices = match next.pricing.file == running.config.pricing.file {
            true => None,
            false => {
                Some(running.watch_prices(&next.pricing).map_err(|e| running.problems("pricing.file", e.to_string()))?)
            }
        };
        let table = price_file::read(&next.pricing).map_err(|problem| running.one(problem))?;
        if running.runs(&next, &table) {
            self.running.written = written;
            return Ok(None);
        }
        let (old, new) = (&running.config.storage, &next.storage);
        let reopened = match old.backend == new.backend && old.sqlite == new.sqlite {
            true => None,
            false => {
                let opened = Governance::open(new, now);
                Some(opened.map_err(|error| running.problems("storage.sqlite.path", error.to_string()))?)
            }
        };
        let before = self.plans.running();
        let (governance, policies) = match reopened {
            Some((governance, policies)) => (Some(governance), policies),
            None => (None, before.policies.clone()),
        };
        let parts = plan::PlanInputs {
            config: &next,
            prices: table.prices.clone(),
            policies,
            created_s: self.started.wall_ms / 1000,
            exports_spans: exports_spans(),
            slots: self.plans.claim_slots(),
            now,
        };
        let plan = Plan::new(parts, Some(&before)).map_err(|error| running.problems("providers", error.to_string()))?;
        if let Err(error) = self.resolver.follow(&plan) {
            self.resolver.release(&before);
            return Err(running.problems("providers", format!("their names cannot be looked up: {error}")));
        }
        Ok(Some(Ready { written, next, table, prices, governance, plan }))
    }

    fn adopt(&mut self, ready: Ready, now: Now) {
        let Ready { written, next, table, prices, governance, plan } = ready;
        let running = &mut self.running;
        let before = Running::shown(&running.config, &running.table);
        let after = Running::shown(&next, &table);
        if next.telemetry.log != running.config.telemetry.log {
            (running.set_log_level)(next.telemetry.log);
        }
        if let Some(prices) = prices {
            running.watching.prices = prices;
        }
        if next.server.admin.token != running.config.server.admin.token {
            self.doors.sessions.close_all();
        }
        (running.config, running.written, running.table) = (next, written, table);
        running.loaded_at_ms = now.wall_ms;
        running.reloads.ok += 1;
        if let Some(governance) = governance {
            // What waits belongs into the old file; where that takes nothing, the new one is better than none.
            self.governance.close(&mut self.recorder, now);
            self.governance = governance;
            self.reading = Reading::new(self.governance.store().map(Store::path), self.clock);
            if self.governance.store().is_none() {
                self.recorder.give_up();
            }
        }
        let version = plan.version;
        self.plans.publish(plan, &mut self.resolver, now);
        let needs_restart = self.running.needs_restart().join(" ");
        tracing::info!(file = self.running.source(), plan = version, needs_restart, "configuration reloaded");
        warn(self.running.warnings());
        self.note(AuditAction::ConfigReload, Some(&before), &after, now);
    }

    fn reject(&mut self, problems: Problems, now: Now) {
        let list: Vec<String> = problems.list.iter().map(ToString::to_string).collect();
        let file = self.running.source();
        tracing::error!(file, problems = list.join("; "), "configuration rejected, the old one stays in force");
        self.running.reloads.rejected += 1;
        self.note(AuditAction::ConfigRejected, None, &json!({ "problems": list }), now);
        self.running.rejected = Some(Rejected { at_ms: now.wall_ms, problems });
    }

    /// Into the audit, if there is one. That it cannot be written stops no reload.
    fn note(&mut self, action: AuditAction, before: Option<&Value>, after: &Value, now: Now) {
        let subject = self.running.source();
        let entry = NewAudit { action, subject: &subject, before, after: Some(after) };
        let by = By { actor: "file", at_ms: now.wall_ms };
        if let Some(store) = self.governance.store_mut()
            && let Err(error) = store.append_audit(&entry, by)
        {
            tracing::error!(%error, "a reload is missing from the audit");
        }
    }
}

/// Into the log, what loads but is worth a second look.
pub fn warn(warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!(line = warning.line, key = warning.key, "{}", warning.message);
    }
}
