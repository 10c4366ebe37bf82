//! Starts the gateway from a checked configuration. The calling thread becomes the coordinator, and each shard gets a thread
//! of its own. Also sets up what belongs to the whole process: log, panic hook, resource limits, listeners.
//! Runs on the main thread, once.
//! Never serves a request itself.

use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use arc_swap::ArcSwap;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cache::HashKey;
use crate::clock::Clock;
use crate::config::LogLevel;
use crate::coordinator::handover::{Launch, NoLaunch};
use crate::coordinator::helpers::resolver::Resolver;
use crate::coordinator::helpers::supervisor::Supervisor;
use crate::coordinator::life::LifecycleParts;
use crate::coordinator::policies::OpenStorage;
use crate::coordinator::{self, Coordinator, CoordinatorParts, Running, SetLogLevel, Source, Start, StateParts};
use crate::link::{self, EVENTS_MAX, Event, ORDERS_MAX, Order};
use crate::plan::{self, Plan};
use crate::shard::{self, DriverChoice};
use crate::shared::Shared;

use listeners::Sockets;

// Inherits listening sockets, or binds new ones.
mod listeners;

/// Log lines that may wait for a slow terminal or pipe. Further lines are dropped, so that logging never blocks a shard.
/// Arbitrary: fewer would drop lines of a short burst, more would only hold memory.
const LOG_LINES_MAX: usize = 16 * 1024;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogForm {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The process's log. Dropping it flushes its lines.
pub struct Log {
    level: reload::Handle<LevelFilter, tracing_subscriber::Registry>,
    _flush_on_drop: WorkerGuard,
}

impl Log {
    /// Sends the log to stderr, through a bounded queue.
    pub fn start(form: LogForm, level: LogLevel) -> Log {
        let builder = tracing_appender::non_blocking::NonBlockingBuilder::default();
        let (writer, guard) = builder.buffered_lines_limit(LOG_LINES_MAX).lossy(true).finish(io::stderr());
        // Each callsite caches whether its level is enabled, so a line that is not logged costs one comparison.
        let (filter, level) = reload::Layer::new(filter(level));
        let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
        let log = tracing_subscriber::registry().with(filter);
        match form {
            LogForm::Text => log.with(lines.with_ansi(io::stderr().is_terminal())).init(),
            LogForm::Json => log.with(lines.json().flatten_event(true)).init(),
        }
        Log { level, _flush_on_drop: guard }
    }

    /// Returns a function that changes the log level of the running process.
    pub fn set_level(&self) -> SetLogLevel {
        let level = self.level.clone();
        // An error means that the log has been shut down.
        Box::new(move |to| _ = level.reload(filter(to)))
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Makes a panic on any thread abort the process with a message. A dead shard would otherwise keep its share of the
/// connections without serving them.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        eprintln!("luner: thread `{}` failed and ends the process: {panic}", thread.name().unwrap_or("unnamed"));
        std::process::abort();
    }));
}

/// Runs the gateway until it has drained after a signal or a hand-over. Calls `listening` once, when every shard accepts
/// connections.
///
/// # Errors
/// The storage cannot be opened, the address cannot be bound, or a thread or an I/O driver cannot be started.
pub fn run(start: Start, driver: DriverChoice, listening: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let clock = Clock::start();
    set_process_limits();
    let launch = match start.source {
        Source::File(_) => Launch::of_this_process(),
        Source::Program(_) => Err(NoLaunch::NoFile),
    };
    let mut running = Running::new(start, clock.now());
    let server = &running.config().server;
    let cpus = shard::cpus();
    let workers = if server.workers == 0 { cpus.len().max(1) } else { server.workers as usize };
    let mut inherited = listeners::inherited()?;
    let mut supervisor = Supervisor::from_environment();
    // The policies are loaded before anything listens: without them the gateway would allow what they forbid.
    let storage = &running.config().storage;
    let storage = match &mut inherited.predecessor {
        None => OpenStorage::open(storage, clock.now()).context("opening the storage")?,
        Some(predecessor) => {
            supervisor.mute();
            OpenStorage::take_over(storage, clock.now(), || predecessor.standing())
                .context("taking over the storage")?
        }
    };
    let shared = Shared::new(workers);
    let parts = plan::PlanInputs {
        config: running.config(),
        prices: running.table().prices.clone(),
        policies: storage.compiled,
        created_s: clock.now().wall_ms / 1000,
        exports_spans: coordinator::exports_spans(),
        slots: shared.claim_slots([]),
        now: clock.now(),
    };
    let plan = Plan::new(parts, None)?;
    let sockets = Sockets::open(inherited.list, server.listen, workers)?;
    let (events, incoming) = flume::bounded(EVENTS_MAX);
    coordinator::listen_for_signals(events.clone()).context("setting up signal handlers")?;
    running.watch(events.clone()).context("watching the configuration")?;
    let mut resolver = Resolver::new(events.clone());
    resolver.follow(&plan).context("starting to resolve names")?;
    let (plan, address) = (Arc::new(ArcSwap::from_pointee(plan)), sockets.address);
    let common = Common { driver, plan: plan.clone(), shared: shared.clone(), clock, events };
    let shares = sockets.shares(workers).context("sharing the sockets among the shards")?;
    let (orders, events) = start_shards(common, &cpus, shares)?;
    let life = LifecycleParts {
        address,
        sockets: sockets.list,
        launch,
        predecessor: inherited.predecessor,
        supervisor,
        events: events.downgrade(),
    };
    drop(events);
    let OpenStorage { keeper, policies, .. } = storage;
    let state = StateParts { clock, plan, shared, orders, keeper, policies, running, resolver, life };
    Coordinator::new(CoordinatorParts { state, events: incoming }).run(|| listening(address))
}

/// The inputs that all shards share.
struct Common {
    driver: DriverChoice,
    plan: Arc<ArcSwap<Plan>>,
    shared: Arc<Shared>,
    clock: Clock,
    events: flume::Sender<Event>,
}

/// Starts one shard for each element of `shares`. Returns the senders of their orders and of the events.
fn start_shards(
    common: Common,
    cpus: &[usize],
    shares: Vec<Vec<TcpListener>>,
) -> anyhow::Result<(Vec<flume::Sender<Order>>, flume::Sender<Event>)> {
    let Common { driver, plan, shared, clock, events } = common;
    let shards = shares.len();
    let mut peers = link::cache_peers(shards).into_iter();
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("generating the cache's secret: {error}"))?;
    let hash_key = HashKey::new(secret);
    let mut boot = [0; 16];
    getrandom::fill(&mut boot).map_err(|error| anyhow::anyhow!("generating the boot id: {error}"))?;
    let mut orders = Vec::with_capacity(shards);
    for (id, listeners) in shares.into_iter().enumerate() {
        let (sender, receiver) = flume::bounded(ORDERS_MAX);
        orders.push(sender);
        let (built, started) = flume::bounded(0);
        let parts = shard::ShardParts {
            built,
            id,
            cpu: if cpus.is_empty() { None } else { cpus.get(id % cpus.len()).copied() },
            listeners,
            driver,
            shards,
            plan: plan.clone(),
            shared: shared.clone(),
            peers: peers.next().context("a shard has no cache peers")?,
            hash_key,
            boot: u128::from_le_bytes(boot),
            clock,
            events: events.clone(),
            orders: receiver,
        };
        let thread = thread::Builder::new().name(format!("shard-{id}"));
        thread.spawn(move || shard::run(parts)).with_context(|| format!("starting shard {id}"))?;
        // Shards start one after the other, because rings that are created at the same time compete for locked memory. The
        // shard signals by dropping its sender, so an error is the expected result.
        let _ = started.recv();
    }
    Ok((orders, events))
}

/// Disables core dumps, because the process has API keys in its memory, and raises the limit of open files to the maximum.
fn set_process_limits() {
    // A debug build keeps core dumps, because debuggers and tests that count descriptors need access to the process.
    if !cfg!(debug_assertions)
        && let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
    {
        tracing::warn!(%error, "could not disable core dumps");
    }
    let Rlimit { maximum, .. } = rustix::process::getrlimit(Resource::Nofile);
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "could not raise the limit of open files");
    }
}
