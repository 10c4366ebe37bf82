//! The parts put together: from a checked configuration to a running gateway, on the calling thread, which becomes the
//! coordinator. Sets up what belongs to the process as a whole: logs, panics, limits, listeners.

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
use crate::coordinator::{self, Coordinator, Governance, Running, SetLogLevel, Source, Start, lifecycle};
use crate::link::{self, EVENTS_MAX, Event, ORDERS_MAX, Order, Pulse};
use crate::plan::{self, Plan};
use crate::shard::{self, DriverChoice};
use crate::usage::Registry;

use listeners::Sockets;

mod listeners; // new sockets, or those that it was given

/// Lines of the log that may wait for a slow terminal or pipe; more are dropped, so that a log never holds a shard up.
const LOG_LINES_MAX: usize = 16 * 1024;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogForm {
    /// For people.
    #[default]
    Text,
    /// For machines: one object a line.
    Json,
}

/// The process's log. Its lines are flushed when it is dropped.
pub struct Log {
    level: reload::Handle<LevelFilter, tracing_subscriber::Registry>,
    _lines: WorkerGuard,
}

impl Log {
    /// Sends the log to stderr, through a bounded queue.
    pub fn start(form: LogForm, level: LogLevel) -> Log {
        let builder = tracing_appender::non_blocking::NonBlockingBuilder::default();
        let (writer, guard) = builder.buffered_lines_limit(LOG_LINES_MAX).lossy(true).finish(io::stderr());
        // A callsite remembers whether the level lets it through: a line that is not wanted costs a comparison.
        let (filter, level) = reload::Layer::new(filter(level));
        let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
        let log = tracing_subscriber::registry().with(filter);
        match form {
            LogForm::Text => log.with(lines.with_ansi(io::stderr().is_terminal())).init(),
            LogForm::Json => log.with(lines.json().flatten_event(true)).init(),
        }
        Log { level, _lines: guard }
    }

    /// Sets the least important level later on.
    pub fn set_level(&self) -> SetLogLevel {
        let level = self.level.clone();
        // An error means that the log has ended.
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

/// Makes a panic on any thread end the process with a message: a dead shard would keep its share of the connections.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        eprintln!("luner: thread `{}` failed and ends the process: {panic}", thread.name().unwrap_or("unnamed"));
        std::process::abort();
    }));
}

/// Runs the gateway until it is told to stop, or was replaced, and has drained. `listening` is called once, when it serves.
///
/// # Errors
/// The storage cannot be used, the address cannot be bound, a thread or a driver cannot be set up.
pub fn run(start: Start, driver: DriverChoice, listening: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let clock = Clock::start();
    harden();
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
    // Before anything listens: without its policies the gateway would let through what they forbid.
    let storage = &running.config().storage;
    let (governance, policies) = match &mut inherited.predecessor {
        None => Governance::open(storage, clock.now()).context("opening the storage")?,
        Some(predecessor) => {
            supervisor.mute();
            Governance::take_over(storage, clock.now(), || predecessor.standing()).context("taking the storage over")?
        }
    };
    let parts = plan::Parts {
        config: running.config(),
        prices: running.table().prices.clone(),
        policies,
        created_s: clock.now().wall_ms / 1000,
        exports_spans: coordinator::exports_spans(),
        now: clock.now(),
    };
    let plan = Plan::new(parts, None)?;
    let sockets = Sockets::open(inherited.list, server.listen, workers)?;
    let (events, incoming) = flume::bounded(EVENTS_MAX);
    coordinator::listen_for_signals(events.clone()).context("setting signal handlers up")?;
    running.watch(events.clone()).context("watching the configuration")?;
    let mut resolver = Resolver::new(events.clone());
    resolver.follow(&plan).context("starting to resolve names")?;
    let (plan, registry) = (Arc::new(ArcSwap::from_pointee(plan)), Registry::new(workers));
    let (pulse, address) = (Pulse::new(workers), sockets.address);
    let common = Common { driver, plan: plan.clone(), registry: registry.clone(), clock, events, pulse: pulse.clone() };
    let shares = sockets.shared_out(workers).context("sharing the sockets out")?;
    let (orders, events) = start_shards(common, &cpus, shares)?;
    let life = lifecycle::Parts {
        address,
        sockets: sockets.list,
        launch,
        predecessor: inherited.predecessor,
        supervisor,
        pulse,
        events: events.downgrade(),
    };
    drop(events);
    let parts =
        coordinator::Parts { clock, plan, registry, events: incoming, orders, governance, running, resolver, life };
    Coordinator::new(parts).run(|| listening(address))
}

/// What every shard is made of.
struct Common {
    driver: DriverChoice,
    plan: Arc<ArcSwap<Plan>>,
    registry: Arc<Registry>,
    clock: Clock,
    events: flume::Sender<Event>,
    pulse: Pulse,
}

/// Starts a shard for each of these shares of the sockets, and gives back the ways to them.
fn start_shards(
    common: Common,
    cpus: &[usize],
    shares: Vec<Vec<TcpListener>>,
) -> anyhow::Result<(Vec<flume::Sender<Order>>, flume::Sender<Event>)> {
    let Common { driver, plan, registry, clock, events, pulse } = common;
    let shards = shares.len();
    let mut peers = link::cache_peers(shards).into_iter();
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("drawing the cache's secret: {error}"))?;
    let hash_key = HashKey::new(secret);
    let mut boot = [0; 16];
    getrandom::fill(&mut boot).map_err(|error| anyhow::anyhow!("drawing the run's number: {error}"))?;
    let mut orders = Vec::with_capacity(shards);
    for (id, listeners) in shares.into_iter().enumerate() {
        let (order, followed) = flume::bounded(ORDERS_MAX);
        orders.push(order);
        let (built, standing) = flume::bounded(0);
        let parts = shard::Parts {
            built,
            id,
            cpu: if cpus.is_empty() { None } else { cpus.get(id % cpus.len()).copied() },
            listeners,
            pulse: pulse.clone(),
            driver,
            shards,
            plan: plan.clone(),
            registry: registry.clone(),
            peers: peers.next().context("a shard without peers")?,
            hash_key,
            boot: u128::from_le_bytes(boot),
            clock,
            events: events.clone(),
            orders: followed,
        };
        let thread = thread::Builder::new().name(format!("shard-{id}"));
        thread.spawn(move || shard::run(parts)).with_context(|| format!("starting shard {id}"))?;
        // One after the other: rings that are built at once compete for the same locked memory. An error is the end that is
        // waited for.
        let _ = standing.recv();
    }
    Ok((orders, events))
}

/// Keys are in this process's memory: it leaves no core dumps. And it may open as many sockets as it is allowed to.
fn harden() {
    // A debug build stays open to debuggers and to tests that count descriptors.
    if !cfg!(debug_assertions)
        && let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
    {
        tracing::warn!(%error, "could not switch core dumps off");
    }
    let Rlimit { maximum, .. } = rustix::process::getrlimit(Resource::Nofile);
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "could not raise the number of open files");
    }
}
