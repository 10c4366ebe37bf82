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

use crate::clock::Clock;
use crate::config::{Config, Listen, LogLevel, UnknownPrice};
use crate::coordinator::{self, Coordinator, resolver};
use crate::link::{Driver, EVENTS_MAX, ORDERS_MAX};
use crate::plan::{self, Plan};
use crate::pricing::Prices;
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

/// Sends the log to stderr, through a bounded queue. Lines are flushed when the guard is dropped.
pub fn start_log(form: LogForm, level: LogLevel) -> WorkerGuard {
    let builder = tracing_appender::non_blocking::NonBlockingBuilder::default();
    let (writer, guard) = builder.buffered_lines_limit(LOG_LINES_MAX).lossy(true).finish(io::stderr());
    let level = match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    let lines = tracing_subscriber::fmt().with_writer(writer).with_max_level(level).with_target(false);
    match form {
        LogForm::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogForm::Json => lines.json().flatten_event(true).init(),
    }
    guard
}

/// Makes a panic on any thread end the process with a message: a dead shard would keep its share of the connections.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        eprintln!("luner: thread `{}` failed and ends the process: {panic}", thread.name().unwrap_or("unnamed"));
        std::process::abort();
    }));
}

/// What may differ from the configuration on the command line and in the environment.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Instead of `server.listen`.
    pub listen: Option<Listen>,
    /// Instead of `server.workers`.
    pub workers: Option<u32>,
    /// Which I/O drivers may be used.
    pub driver: DriverChoice,
}

/// Runs the gateway until it is told to stop and has drained. `listening` is called once, when it serves.
///
/// # Errors
/// The address cannot be bound, a thread or a driver cannot be set up.
pub fn run(config: &Config, overrides: &Overrides, listening: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let clock = Clock::start();
    harden();
    warn_of_no_effect(config);
    let cpus = shard::cpus();
    let workers = match overrides.workers.unwrap_or(config.server.workers) {
        0 => cpus.len().max(1),
        n => n as usize,
    };
    let parts = plan::Parts {
        config,
        prices: Prices::built_in(),
        policies: Arc::default(),
        created_s: clock.now().wall_ms / 1000,
    };
    let plan = Plan::new(parts, None)?;
    let (listeners, address) = bind(overrides.listen.unwrap_or(config.server.listen), workers)?;
    let registry = Registry::new(workers);
    let (events, incoming) = flume::bounded(EVENTS_MAX);
    coordinator::listen_for_signals(events.clone()).context("setting signal handlers up")?;
    resolver::start(&plan, &events).context("starting to resolve names")?;
    let plan = Arc::new(ArcSwap::from_pointee(plan));
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
            driver: overrides.driver,
            shards: workers,
            plan: plan.clone(),
            clock,
            registry: registry.clone(),
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
    Coordinator::new(clock, plan, incoming, orders).run(|drivers| {
        let weakest = Driver::weakest(drivers.iter().copied()).unwrap_or(Driver::Epoll);
        tracing::info!(%address, workers, io = weakest.name(), ring_entries = weakest.entries(), "listening");
        listening(address);
    })
}

/// What an operator wrote to restrict something, and what does not restrict anything yet.
fn warn_of_no_effect(config: &Config) {
    let unlimited = config.rate_limit.enabled && !config.rate_limit.providers.is_empty();
    let unpriced = config.pricing.unknown == UnknownPrice::Block;
    for (key, said) in [("rate_limit", unlimited), ("pricing.unknown", unpriced)] {
        if said {
            tracing::warn!(key, "configured, but without effect in this version");
        }
    }
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
