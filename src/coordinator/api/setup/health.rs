//! `GET /api/health`: whether the gateway serves, and on what. Open to everyone; it names no provider and no caller.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::breaker::BreakerState;
use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::keeper::StorageState;
use crate::coordinator::state::State;
use crate::link::Driver;

/// Whether the gateway serves, and on what.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Health")]
pub(crate) struct HealthAnswer {
    /// ok, degraded or draining; 503 while draining.
    status: &'static str,
    version: &'static str,
    uptime_s: u64,
    workers: usize,
    /// io_uring or epoll.
    io: &'static str,
    /// Entries of the smallest io_uring; absent with epoll.
    #[serde(skip_serializing_if = "Option::is_none")]
    ring_entries: Option<u32>,
    /// ok, degraded or off.
    storage: &'static str,
    /// The version of the running plan.
    plan: u64,
    /// Workers without a heartbeat for two seconds: their connections wait.
    stalled_workers: usize,
    /// Number of circuit breakers in each state.
    breakers: BTreeMap<&'static str, usize>,
}

/// `GET /api/health`.
pub(crate) fn answer(state: &mut State, _: Arguments<'_>) -> Result<Reply, ApiError> {
    let weakest = Driver::weakest(state.shards.iter().filter_map(|shard| shard.driver));
    let storage = state.keeper.state();
    let (draining, stalled_workers) = (state.life.is_draining(), state.life.stalled.len());
    let status = match (draining, storage) {
        (true, _) => "draining",
        // The gateway serves on, so the status is 200: a probe must not end it.
        (false, StorageState::Degraded) => "degraded",
        (false, StorageState::Ok | StorageState::Off) if stalled_workers > 0 => "degraded",
        (false, StorageState::Ok | StorageState::Off) => "ok",
    };
    let (plan, now) = (state.plans.running(), state.clock.now());
    let mut breakers: BTreeMap<_, _> = BreakerState::NAMES.map(|name| (name, 0)).into();
    for provider in plan.providers.iter() {
        *breakers.entry(state.shared.breaker(provider.breaker).state(now).name()).or_default() += 1;
    }
    let health = HealthAnswer {
        status,
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: now.since(state.started).as_secs(),
        workers: state.shards.len(),
        io: weakest.map_or("none", Driver::name),
        ring_entries: weakest.map(Driver::entries).filter(|entries| *entries > 0),
        storage: storage.name(),
        plan: plan.version,
        stalled_workers,
        breakers,
    };
    Ok(json(if draining { 503 } else { 200 }, &health).into())
}
