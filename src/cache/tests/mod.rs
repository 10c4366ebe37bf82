//! Tests the cache's parts together, under a virtual clock.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::Now;
use crate::llm::Usage;
use crate::seeded::Seeded;
use crate::units::MicroUsd;

mod flight;
mod front;
mod keys;
mod owner;
mod store;

fn at(ms: u64) -> Now {
    Now { mono_ns: ms * 1_000_000, wall_ms: 0 }
}

fn entry(number: u64, body_bytes: usize, ttl_ms: u64, now: Now) -> Arc<CachedAnswer> {
    let parts = NewEntry {
        key: Key::of_number(number),
        body: vec![number as u8; body_bytes],
        content_type: "application/json".into(),
        usage: Usage { input: 9, output: 1, total: 10, ..Usage::default() },
        cost: MicroUsd(12),
        ttl: Duration::from_millis(ttl_ms),
    };
    Arc::new(CachedAnswer::new(parts, now))
}

/// Returns the size of an entry with an empty body, in bytes.
fn overhead() -> usize {
    entry(0, 0, 0, at(0)).size()
}
