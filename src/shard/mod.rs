//! The data plane. One shard a core: a thread that owns an event loop, a listener, its connections and their pools, and
//! counts what it does. It reads the plan, tries to send reports and follows orders; it never locks, blocks, touches a
//! file or waits for the coordinator on the proxy path.
//!
//! The modules stand in the order in which a request meets them.

// The event loop below a shard: io_uring, a smaller io_uring, epoll.
mod ring;

// Answers that the gateway gives itself.
mod answer;

// Judging a request before it costs money.
mod judge;

// Accounting for a request when it is over.
mod account;

// Memory for long requests.
mod body_budget;

// The provider's side of a request.
mod upstream;

// One caller's connection.
mod conn;

// The shard's listeners.
mod accept;

// Requests to the coordinator.
mod management;

// Orders from the coordinator, and the reports back.
mod orders;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hashbrown::HashMap;

use crate::cache::HashKey;
use crate::clock::{Clock, Now};
use crate::http::wire::{Deadline, SWEEP_MS, Watch};
use crate::link::{CachePeers, Event, Order, Pulse, Tally};
use crate::plan::Plan;
use crate::usage::{LocalWindows, Registry};

use account::LogLines;
use account::batch_builder::Books;
use answer::respond;
use judge::admit::Governor;
use judge::cache::{self, Cache};
pub use ring::{Choice as DriverChoice, cpus};

/// What a shard is made of; moved to its thread.
pub struct Parts {
    /// Which shard, from 0.
    pub id: usize,
    /// The core to stay on.
    pub cpu: Option<usize>,
    /// Bound and listening; others may accept on the same sockets.
    pub listeners: Vec<std::net::TcpListener>,
    /// Where it shows that it lives.
    pub pulse: Pulse,
    /// Which drivers may be used.
    pub driver: DriverChoice,
    /// How many shards there are.
    pub shards: usize,
    /// What runs.
    pub plan: Arc<ArcSwap<Plan>>,
    /// The process's clock.
    pub clock: Clock,
    /// Dropped when the event loop stands, or cannot.
    pub built: flume::Sender<std::convert::Infallible>,
    /// The way to the other shards' parts of the cache.
    pub peers: CachePeers,
    /// Names the process's run, for its accounts.
    pub boot: u128,
    /// The secret of the cache's keys, the same for all shards.
    pub hash_key: HashKey,
    /// The users' windows, which all shards count in.
    pub registry: Arc<Registry>,
    /// Up to the coordinator.
    pub events: flume::Sender<Event>,
    /// Down from it.
    pub orders: flume::Receiver<Order>,
}

/// The shard's own look at the plan: a check of one atomic where nothing changed.
type PlanCache = arc_swap::Cache<Arc<ArcSwap<Plan>>, Arc<Plan>>;

/// A plan that this shard holds.
pub(crate) struct Held(Arc<Plan>);

impl Deref for Held {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.0
    }
}

/// Where each host and port can be reached, in the order to try.
type Addresses = HashMap<(Arc<str>, u16), Arc<[SocketAddr]>>;

/// The state of one shard, shared by its tasks. Nothing in it crosses a thread but the plan and the channel.
pub(crate) struct Shard {
    id: usize,
    clock: Clock,
    plan: RefCell<PlanCache>,
    /// What `plan` held last; counted without atomics, so that the cores do not share a count.
    current: RefCell<Rc<Held>>,
    events: flume::Sender<Event>,
    watch: Rc<Watch>,
    pools: upstream::Pools,
    addresses: RefCell<Addresses>,
    tally: RefCell<Tally>,
    rng: RefCell<fastrand::Rng>,
    date: RefCell<respond::Date>,
    governor: RefCell<Governor>,
    cache: RefCell<Cache>,
    books: RefCell<Books>,
    log_lines: RefCell<LogLines>,
    connections: Cell<usize>,
    /// Bytes of long requests, see `room`.
    held_bytes: Cell<usize>,
    /// Listeners that are being accepted on.
    doors: Cell<usize>,
    /// How many shards there are.
    shards: usize,
    in_flight: Cell<u64>,
    /// Set when it drains: until when callers may send their next request.
    drains_until: Cell<Option<Deadline>>,
}

impl Shard {
    fn now(&self) -> Now {
        self.clock.now()
    }

    /// The plan as of now; a request takes it once and keeps it.
    fn plan(&self) -> Rc<Held> {
        let mut plan = self.plan.borrow_mut();
        let (newest, mut current) = (plan.load(), self.current.borrow_mut());
        if !Arc::ptr_eq(newest, &current.0) {
            *current = Rc::new(Held(newest.clone()));
        }
        current.clone()
    }

    fn is_draining(&self) -> bool {
        self.drains_until.get().is_some()
    }

    /// Connections that this shard may have at once.
    fn connections_max(&self) -> usize {
        self.plan().connections_max.div_ceil(self.shards)
    }

    /// 128 random bits.
    fn random(&self) -> u128 {
        self.rng.borrow_mut().u128(..)
    }
}

/// Runs a shard until it has drained. Tells the coordinator that it listens or why it cannot.
pub fn run(parts: Parts) {
    if let Some(cpu) = parts.cpu {
        ring::pin(cpu);
    }
    let (id, events, driver) = (parts.id, parts.events.clone(), parts.driver);
    if let Err(error) = ring::block_on(driver, id == 0, |driver| serve(parts, driver)) {
        // The coordinator ends the process with this; if it is gone, so is the process.
        let _ = events.send(Event::Failed { shard: id, error: error.to_string() });
    }
}

async fn serve(parts: Parts, driver: crate::link::Driver) {
    drop(parts.built);
    let mut seed = [0u8; 8];
    // Ids need to be distinct, not secret: without a seed from the system, the default one does.
    let rng = match getrandom::fill(&mut seed) {
        Ok(()) => fastrand::Rng::with_seed(u64::from_le_bytes(seed)),
        Err(_) => fastrand::Rng::new(),
    };
    let (plan, shards) = (parts.plan.load_full(), parts.shards);
    let cache = Cache::new(parts.id, shards, parts.hash_key, &parts.peers, plan.cache);
    let shard = Rc::new(Shard {
        id: parts.id,
        clock: parts.clock,
        current: RefCell::new(Rc::new(Held(plan))),
        plan: RefCell::new(arc_swap::Cache::new(parts.plan)),
        events: parts.events,
        watch: Rc::new(Watch::default()),
        pools: upstream::Pools::default(),
        addresses: RefCell::default(),
        tally: RefCell::default(),
        rng: RefCell::new(rng),
        date: RefCell::default(),
        governor: RefCell::new(Governor::new(LocalWindows::new(parts.registry, parts.id))),
        cache: RefCell::new(cache),
        books: RefCell::new(Books::new(parts.boot, parts.id)),
        log_lines: RefCell::default(),
        connections: Cell::new(0),
        held_bytes: Cell::new(0),
        doors: Cell::new(0),
        shards,
        in_flight: Cell::new(0),
        drains_until: Cell::new(None),
    });
    let now = shard.now();
    shard.watch.sweep(now.mono_ms());
    shard.date.borrow_mut().refresh(now);
    parts.pulse.beat(shard.id, now);
    monoio::spawn(sweep(shard.clone(), parts.pulse));
    monoio::spawn(cache::serve(shard.clone(), parts.peers.inbox));
    let accepting = match accept::start(parts.listeners, driver, &shard) {
        Ok(accepting) => accepting,
        Err(error) => {
            let _ = shard.events.send(Event::Failed { shard: shard.id, error: error.to_string() });
            return;
        }
    };
    let _ = shard.events.send(Event::Listening { shard: shard.id, driver });
    orders::follow(shard, parts.orders, accepting).await;
}

/// The shard's heartbeat: deadlines, callers that left, the date, idle connections.
async fn sweep(shard: Rc<Shard>, pulse: Pulse) {
    let mut last_prune_ms = 0;
    loop {
        monoio::time::sleep(Duration::from_millis(SWEEP_MS)).await;
        let now = shard.now();
        pulse.beat(shard.id, now);
        shard.watch.sweep(now.mono_ms());
        shard.date.borrow_mut().refresh(now);
        shard.governor.borrow_mut().windows.sweep(now);
        shard.log_lines.borrow_mut().turn(now);
        // An idle shard lets go of a plan that was replaced, too.
        shard.cache.borrow_mut().sweep(&shard.plan(), now);
        if now.mono_ms() >= last_prune_ms + PRUNE_MS {
            last_prune_ms = now.mono_ms();
            shard.pools.prune(now);
        }
    }
}

/// How often idle connections to providers are looked at, in milliseconds. Arbitrary.
const PRUNE_MS: u64 = 1_000;
