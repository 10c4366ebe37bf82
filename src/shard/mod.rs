//! The data plane. One shard per core: a thread that owns an event loop, listeners, its connections and their pools, and
//! counts what it does. It reads the plan, tries to send reports, and carries out orders. On the proxy path it never locks,
//! blocks, touches a file or waits for the coordinator.
//!
//! The modules stand in storeys: each uses only those above it in this list. No stage of a request sees the whole shard; it
//! takes the parts that it needs.

// The event loop below a shard: io_uring, a smaller io_uring, epoll.
mod ring;

// Clock, random numbers, date, deadlines: what every stage may use.
mod ground;

// The plan that runs, as the shard sees it.
mod plan_reader;

// What the gateway itself says to a caller.
mod answer;

// Judging a request before it costs money. `judge::flow` is the path of a request on one screen.
mod judge;

// Accounting for a finished request.
mod account;

// The caller's side: socket, buffers, refusals.
mod caller;

// Memory for long requests.
mod body_budget;

// The provider's side: connections, attempts, bodies.
mod upstream;

// Requests to the coordinator.
mod management;

// The sum of the parts.
mod state;

// One caller's connection: requests in, one at a time.
mod conn;

// The shard's listeners.
mod accept;

// Orders from the coordinator, and reports to it.
mod orders;

// Judging and accounting under a virtual clock.
#[cfg(test)]
mod simulation;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::cache::HashKey;
use crate::clock::Clock;
use crate::http::wire::SWEEP_MS;
use crate::link::{CachePeers, Driver, Event, Order};
use crate::plan::Plan;
use crate::shared::Shared;
use crate::usage::LocalWindows;

use account::Accounting;
use ground::Ground;
use judge::admit::Governor;
use judge::cache::Cache;
use plan_reader::PlanReader;
pub use ring::{DriverChoice, cpus};
use state::Shard;
use upstream::{Addresses, CacheNode, Pools, Upstream};

/// What a shard is made of. Moved to its thread.
pub struct ShardParts {
    /// Which shard this is, from 0.
    pub id: usize,
    /// The core to pin the thread to.
    pub cpu: Option<usize>,
    /// Bound and listening. Others may accept on the same sockets.
    pub listeners: Vec<std::net::TcpListener>,
    /// Which drivers may be used.
    pub driver: DriverChoice,
    /// How many shards the process has.
    pub shards: usize,
    /// The plan that runs.
    pub plan: Arc<ArcSwap<Plan>>,
    /// The process's clock.
    pub clock: Clock,
    /// Closed once the event loop is up, or failed to start.
    pub built: flume::Sender<std::convert::Infallible>,
    /// Channels to the other shards' parts of the cache.
    pub peers: CachePeers,
    /// Identifies the run of the process, for usage batches.
    pub boot: u128,
    /// The secret of the cache keys, the same for all shards.
    pub hash_key: HashKey,
    /// What all shards write: windows, limits, breakers, heartbeats.
    pub shared: Arc<Shared>,
    /// To the coordinator.
    pub events: flume::Sender<Event>,
    /// From the coordinator.
    pub orders: flume::Receiver<Order>,
}

/// Runs a shard until it has drained. Tells the coordinator that it listens, or why it cannot.
pub fn run(parts: ShardParts) {
    if let Some(cpu) = parts.cpu {
        ring::pin(cpu);
    }
    let (id, events, driver) = (parts.id, parts.events.clone(), parts.driver);
    if let Err(error) = ring::block_on(driver, id == 0, |driver| serve(parts, driver)) {
        // The coordinator ends the process on this event. If the coordinator is gone, so is the process.
        let _ = events.send(Event::Failed { shard: id, error: error.to_string() });
    }
}

async fn serve(parts: ShardParts, driver: Driver) {
    drop(parts.built);
    let ground = Rc::new(Ground::new(parts.id, parts.shards, parts.clock));
    let plans = PlanReader::new(parts.plan);
    let cache = Cache::new(parts.id, parts.shards, parts.hash_key, plans.plan().cache);
    let node = Rc::new(CacheNode::new(cache, &parts.peers, ground.clone()));
    let shard = Rc::new(Shard {
        plans,
        governor: RefCell::new(Governor::new(LocalWindows::new(parts.shared.windows.clone(), parts.id))),
        accounting: Rc::new(Accounting::new(parts.boot, parts.id)),
        upstream: Upstream {
            pools: Pools::default(),
            addresses: Addresses::default(),
            cache: node.clone(),
            shared: parts.shared.clone(),
        },
        events: parts.events,
        connections: Cell::new(0),
        listeners: Cell::new(0),
        ground,
    });
    parts.shared.heartbeats.beat(parts.id, shard.ground.now());
    monoio::spawn(sweep_regularly(shard.clone(), parts.shared));
    monoio::spawn(node.serve(parts.peers.inbox));
    let accepting = match accept::start(parts.listeners, driver, &shard) {
        Ok(accepting) => accepting,
        Err(error) => {
            let _ = shard.events.send(Event::Failed { shard: parts.id, error: error.to_string() });
            return;
        }
    };
    let _ = shard.events.send(Event::Listening { shard: parts.id, driver });
    orders::carry_out(shard, parts.orders, accepting).await;
}

/// Keeps the shard in order, once every [`SWEEP_MS`]: deadlines, callers that left, the date, windows, the cache, idle
/// connections. Each round is the shard's heartbeat.
async fn sweep_regularly(shard: Rc<Shard>, shared: Arc<Shared>) {
    let mut pruned_ms = 0;
    loop {
        monoio::time::sleep(Duration::from_millis(SWEEP_MS)).await;
        let now = shard.ground.sweep();
        shared.heartbeats.beat(shard.ground.shard, now);
        shard.governor.borrow_mut().windows.sweep(now);
        shard.accounting.sweep(now);
        // Taking the plan here also lets an idle shard release a plan that was replaced.
        shard.upstream.cache.cache.borrow_mut().sweep(&shard.plans.plan(), now);
        if now.mono_ms() >= pruned_ms + PRUNE_MS {
            pruned_ms = now.mono_ms();
            shard.upstream.pools.prune(now);
        }
    }
}

/// Milliseconds between two checks of the idle connections to providers. Arbitrary.
const PRUNE_MS: u64 = 1_000;
