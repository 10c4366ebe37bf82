//! Sample of a request as a shard reports it, for tests. Each test changes only the fields that matter to it.

use crate::link::trace::{Attempt, CacheOutcome, PolicyInputs, Trace};
use crate::link::usage::UsageBatch;
use crate::llm::{Operation, Usage};
use crate::units::MicroUsd;
use crate::who::Who;

/// Returns a plain success: 12 tokens for 34 micro-dollars in one attempt. `number` sets its trace id and span id.
pub(super) fn trace(number: u64) -> Trace {
    Trace {
        trace_id: 0xabcd_0000_0000_0000_0000_0000_0000_0000 | u128::from(number),
        span_id: number,
        parent_span_id: None,
        sampled: true,
        request_id: format!("req-{number}").into(),
        started_ms: STARTED_MS,
        duration_ns: 250_000_000,
        first_byte_ns: Some(200_000_000),
        who: Who { agent: "planner", ..Who::of_user("acme", "ann") }.to_owned(),
        operation: Some(Operation::Chat),
        provider: "openai-prod".into(),
        model_asked: "gpt-4o".into(),
        model: "gpt-4o".into(),
        stream: false,
        status: 200,
        refusal: None,
        cache: CacheOutcome::Bypass,
        usage: Usage { input: 7, output: 5, total: 12, cache_read: 3, cache_write: 2, ..Usage::default() },
        cost: MicroUsd(34),
        saved: MicroUsd(0),
        priced: true,
        inputs: PolicyInputs { temperature: 1.0, ..PolicyInputs::default() },
        matches: Vec::new(),
        faults: Vec::new(),
        attempts: vec![Attempt {
            provider: "openai-prod".into(),
            started_ns: 1_000_000,
            connect_ns: None,
            tls_ns: None,
            first_byte_ns: Some(199_000_000),
            stream_ns: Some(50_000_000),
            outcome: "answered".into(),
            status: Some(200),
        }],
        cut: None,
        captured: None,
    }
}

/// Returns a report of shard 0 with these requests, all of them counted in its totals.
pub(super) fn batch(sequence: u64, traces: Vec<Trace>) -> UsageBatch {
    let mut batch = UsageBatch { boot: 7, shard: 0, sequence, traces, ..UsageBatch::default() };
    batch.traces.iter().for_each(|trace| batch.totals.count(trace));
    batch
}

/// 2026-01-31T12:00:00Z.
pub(super) const STARTED_MS: u64 = 1_769_860_800_000;
