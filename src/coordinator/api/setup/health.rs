//! `GET /api/health`: whether the gateway serves, and on what. Open to everyone; says nothing about providers or callers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::breaker::BreakerState;
use crate::coordinator::Coordinator;
use crate::coordinator::api::shape::answer::json;
use crate::coordinator::governance::StorageState;
use crate::link::{ApiAnswer, Driver};

/// The answer's shape.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    /// ok, degraded or draining; 503 while draining.
    status: &'static str,
    version: &'static str,
    uptime_s: u64,
    workers: usize,
    /// io_uring or epoll.
    io: &'static str,
    /// Entries of the smallest ring; absent with epoll.
    #[serde(skip_serializing_if = "Option::is_none")]
    ring_entries: Option<u32>,
    /// ok, degraded or off.
    storage: &'static str,
    /// The version of the running plan.
    plan: u64,
    /// Workers that have done nothing for two seconds: their connections wait.
    stalled_workers: usize,
    /// How many providers' circuit breakers are in which state.
    breakers: BTreeMap<&'static str, usize>,
}

/// Answers from the coordinator's state.
pub(crate) fn answer(coordinator: &Coordinator) -> ApiAnswer {
    let weakest = Driver::weakest(coordinator.shards.iter().filter_map(|shard| shard.driver));
    let storage = coordinator.governance.state();
    let (draining, stalled_workers) = (coordinator.life.is_draining(), coordinator.life.stalled());
    let status = match (draining, storage) {
        (true, _) => "draining",
        // It serves on, so a probe must not end it: 200.
        (false, StorageState::Degraded) => "degraded",
        (false, StorageState::Ok | StorageState::Off) if stalled_workers > 0 => "degraded",
        (false, StorageState::Ok | StorageState::Off) => "ok",
    };
    let (plan, now) = (coordinator.plans.running(), coordinator.clock.now());
    let mut breakers: BTreeMap<_, _> = BreakerState::NAMES.map(|name| (name, 0)).into();
    for provider in plan.providers.iter() {
        *breakers.entry(coordinator.shared.breaker(provider.breaker).state(now).name()).or_default() += 1;
    }
    let health = Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: now.since(coordinator.started).as_secs(),
        workers: coordinator.shards.len(),
        io: weakest.map_or("none", Driver::name),
        ring_entries: weakest.map(Driver::entries).filter(|entries| *entries > 0),
        storage: storage.name(),
        plan: plan.version,
        stalled_workers,
        breakers,
    };
    json(if draining { 503 } else { 200 }, &health)
}
