//! The configuration in force and where it came from, and the watchers of its files. Owned by the coordinator's thread. It
//! never applies a change: [`super::reload`] does.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::helpers::watch::{self, Watcher};
use super::price_file::PriceTable;
use crate::clock::Now;
use crate::config::{
    self, Config, Difference, Listen, LogLevel, Outline, PricingConfig, Problem, Problems, ServerConfig,
};
use crate::link::Event;

/// Pause between two looks at a file when the kernel reports no change. Arbitrary: how late a change on a network file system
/// may be noticed.
const POLL: Duration = Duration::from_secs(5);
/// How long a file must stay unchanged before it is read. Arbitrary: longer than an editor takes to save.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, which is watched.
    File(PathBuf),
    /// This program itself; the word is shown instead of a path.
    Program(&'static str),
}

/// Settings that the command line decides instead of the file, for as long as the process runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pins {
    /// Replaces `server.listen`.
    pub listen: Option<Listen>,
    /// Replaces `server.workers`.
    pub workers: Option<u32>,
}

/// The configuration and options that the process starts with.
pub struct Start {
    pub source: Source,
    pub pins: Pins,
    /// The checked configuration.
    pub config: Config,
    /// The prices that the configuration names.
    pub table: PriceTable,
    pub set_log_level: SetLogLevel,
}

/// Sets the least important level that is logged.
pub type SetLogLevel = Box<dyn Fn(LogLevel) + Send>;

/// The configuration in force and how it came to be.
pub struct Running {
    source: Source,
    pins: Pins,
    pub(super) set_log_level: SetLogLevel,
    /// The configuration in force: as last written, but settings that need a restart are those of the start.
    pub(super) config: Config,
    /// The last good configuration as written in the file.
    pub(super) written: Config,
    pub(super) table: PriceTable,
    pub(super) loaded_at_ms: u64,
    pub(super) rejected: Option<RejectedReload>,
    pub(super) reloads: ReloadCounts,
    watchers: Watchers,
}

/// A reload that was refused and changed nothing.
#[derive(Debug)]
pub(super) struct RejectedReload {
    pub(super) at_ms: u64,
    pub(super) problems: Problems,
}

/// How reloads ended, for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReloadCounts {
    pub(super) ok: u64,
    pub(super) rejected: u64,
}

/// The watchers of the files that a reload reads.
#[derive(Default)]
struct Watchers {
    events: Option<flume::Sender<Event>>,
    _config: Option<Watcher>,
    prices: Option<Watcher>,
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
            reloads: ReloadCounts::default(),
            watchers: Watchers::default(),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The prices in force.
    pub fn table(&self) -> &PriceTable {
        &self.table
    }

    /// Starts to watch the files and reports their changes as [`Event::FilesChanged`].
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn watch(&mut self, events: flume::Sender<Event>) -> io::Result<()> {
        self.watchers.events = Some(events);
        if let Source::File(path) = &self.source {
            self.watchers._config = self.watch_file(path.clone())?;
        }
        self.watchers.prices = self.watch_prices(&self.config.pricing)?;
        Ok(())
    }

    /// Starts a watcher for the price file, if the configuration names one.
    pub(super) fn watch_prices(&self, pricing: &PricingConfig) -> io::Result<Option<Watcher>> {
        if pricing.file.as_os_str().is_empty() { Ok(None) } else { self.watch_file(pricing.file.clone()) }
    }

    /// Replaces the price file's watcher, which stops the old one.
    pub(super) fn set_price_watcher(&mut self, watcher: Option<Watcher>) {
        self.watchers.prices = watcher;
    }

    fn watch_file(&self, path: PathBuf) -> io::Result<Option<Watcher>> {
        let Some(events) = self.watchers.events.clone() else { return Ok(None) };
        let shown = path.display().to_string();
        // An error means that the coordinator has ended.
        let report = Box::new(move |_| _ = events.send(Event::FilesChanged));
        let watcher = watch::start(path, POLL, DEBOUNCE, report)?;
        if let Some(reason) = watcher.polls_only() {
            tracing::warn!(file = shown, reason, "the kernel reports no changes of this file: it is polled");
        }
        Ok(Some(watcher))
    }

    /// The name of the source, for the console and the audit.
    pub(super) fn source(&self) -> String {
        match &self.source {
            Source::File(path) => path.display().to_string(),
            Source::Program(word) => (*word).to_owned(),
        }
    }

    /// Warnings about the last good configuration.
    pub(super) fn warnings(&self) -> &[Problem] {
        &self.written.warnings
    }

    /// How the rejected file differs from the last good one; `None` if it was not even YAML.
    pub(super) fn differences(&self, rejected: &RejectedReload) -> Option<Vec<Difference>> {
        rejected.problems.outline.as_ref().map(|refused| self.written.outline.differences(refused))
    }

    /// Keys that have changed since the start and take effect only after a restart.
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

    /// Reads the configuration file again.
    pub(super) fn read(&self) -> Result<Config, Problems> {
        match &self.source {
            // A pipe (`--config <(…)`) can be read only once.
            Source::File(path) if !fs::metadata(path).is_ok_and(|file| !file.is_file()) => {
                config::load(path, &|name| std::env::var(name).ok())
            }
            _ => Ok(self.written.clone()),
        }
    }

    /// The configuration that `written` puts in force without a restart.
    pub(super) fn in_force(&self, written: &Config) -> Config {
        let ServerConfig { listen, read_timeout, write_timeout, workers, .. } = self.config.server;
        let server = ServerConfig { listen, read_timeout, write_timeout, workers, ..written.server.clone() };
        Config { server, ..written.clone() }
    }

    /// Whether this configuration and these prices are in force already.
    pub(super) fn is_in_force(&self, next: &Config, table: &PriceTable) -> bool {
        // Warnings hold line numbers, which a comment may move, and a value may be written in several ways.
        let bare = |config: &Config| Config { warnings: Vec::new(), outline: Outline::default(), ..config.clone() };
        bare(next) == bare(&self.config) && table.bytes_hash == self.table.bytes_hash
    }

    /// One problem with a key as a whole.
    pub(super) fn problem_with(&self, key: &str, message: String) -> Problems {
        self.problem(Problem { line: 0, column: 0, key: key.to_owned(), message })
    }

    pub(super) fn problem(&self, problem: Problem) -> Problems {
        Problems { source_name: self.source(), list: vec![problem], outline: None }
    }
}

/// Logs settings that are valid but probably a mistake.
pub fn log_warnings(warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!(line = warning.line, key = warning.key, "{}", warning.message);
    }
}
