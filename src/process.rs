//! The parts put together: from a checked configuration to a running gateway, on the calling thread, which becomes the
//! coordinator. Sets up what belongs to the process as a whole: logs, panics, limits, listeners.

use std::io::{self, IsTerminal};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
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
use crate::config::{Listen, LogLevel};
use crate::coordinator::resolver::Resolver;
use crate::coordinator::{self, Coordinator, Governance, Running, SetLogLevel, Start};
use crate::link::{self, Driver, EVENTS_MAX, ORDERS_MAX};
use crate::plan::{self, Plan};
use crate::shard::{self, DriverChoice};
use crate::usage::Registry;

/// Connections that may wait to be accepted, on each shard. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
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

/// Runs the gateway until it is told to stop and has drained. `listening` is called once, when it serves.
///
/// # Errors
/// The storage cannot be used, the address cannot be bound, a thread or a driver cannot be set up.
pub fn run(start: Start, driver: DriverChoice, listening: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let clock = Clock::start();
    harden();
    let mut running = Running::new(start, clock.now());
    // Before anything listens: without its policies the gateway would let through what they forbid.
    let (governance, policies) =
        Governance::open(&running.config().storage, clock.now()).context("opening the storage")?;
    let parts = plan::Parts {
        config: running.config(),
        prices: running.table().prices.clone(),
        policies,
        created_s: clock.now().wall_ms / 1000,
        exports_spans: coordinator::exports_spans(),
        now: clock.now(),
    };
    let plan = Plan::new(parts, None)?;
    let server = &running.config().server;
    let cpus = shard::cpus();
    let workers = if server.workers == 0 { cpus.len().max(1) } else { server.workers as usize };
    let (listeners, address) = bind(server.listen, workers)?;
    let mut peers = link::cache_peers(workers).into_iter();
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("drawing the cache's secret: {error}"))?;
    let hash_key = HashKey::new(secret);
    let mut boot = [0; 16];
    getrandom::fill(&mut boot).map_err(|error| anyhow::anyhow!("drawing the run's number: {error}"))?;
    let (events, incoming) = flume::bounded(EVENTS_MAX);
    coordinator::listen_for_signals(events.clone()).context("setting signal handlers up")?;
    running.watch(events.clone()).context("watching the configuration")?;
    let mut resolver = Resolver::new(events.clone());
    resolver.follow(&plan).context("starting to resolve names")?;
    let (plan, registry) = (Arc::new(ArcSwap::from_pointee(plan)), Registry::new(workers));
    let mut orders = Vec::with_capacity(workers);
    for (id, listener) in listeners.into_iter().enumerate() {
        let (order, followed) = flume::bounded(ORDERS_MAX);
        orders.push(order);
        let (built, standing) = flume::bounded(0);
        let parts = shard::Parts {
            built,
            id,
            cpu: if cpus.is_empty() { None } else { cpus.get(id % cpus.len()).copied() },
            listener,
            driver,
            shards: workers,
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
    drop(events);
    let parts = coordinator::Parts { clock, plan, registry, events: incoming, orders, governance, running, resolver };
    Coordinator::new(parts).run(|drivers| {
        let weakest = Driver::weakest(drivers.iter().copied()).unwrap_or(Driver::Epoll);
        tracing::info!(%address, workers, io = weakest.name(), ring_entries = weakest.entries(), "listening");
        listening(address);
    })
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

/// A listener for each shard, all on one port.
fn bind(listen: Listen, shards: usize) -> anyhow::Result<(Vec<TcpListener>, SocketAddr)> {
    let first = match listen.host {
        Some(_) => listener(listen.addr()),
        // All interfaces of both families; where IPv6 is switched off, of the one there is.
        None => listener((Ipv6Addr::UNSPECIFIED, listen.port).into()).or_else(|_| listener(listen.addr())),
    };
    let first = first.with_context(|| format!("listening on {listen}"))?;
    let address = first.local_addr().context("reading the listener's address")?;
    let mut listeners = vec![first];
    for _ in 1..shards {
        listeners.push(listener(address).with_context(|| format!("listening on {address} once more"))?);
    }
    Ok((listeners, address))
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
