//! Requests and the traces that they belong to, into their tables. On the coordinator's thread, within the transaction of a
//! flush. A trace is summed as its requests come, so that a list never has to.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::super::dimension::{Dimension, ERROR_NUMBER, POLICY_NUMBER, STATUS_NUMBER};
use super::dictionary::{Dictionary, Uses, shortened};
use super::usage::bounded;
use crate::dialect::openai::path;
use crate::link::trace::{Attempt, Captured, Marks, PolicyFailure, PolicyInputs, PolicyMatch, Trace};

/// A stored body, of a request or an answer; the rest is cut off. Arbitrary: more than people read.
pub const CAPTURE_BYTES_MAX: usize = 256 << 10;
/// Bits of a key below the time. 2 million requests a millisecond are beyond any machine, and the milliseconds last until 2109.
pub(in super::super) const KEY_BITS: u32 = 21;
const NUMBER_MAX: i64 = (1 << KEY_BITS) - 1;
const TIME_MAX: u64 = (1 << (63 - KEY_BITS)) - 1;

/// Columns of `request` that only its own page shows, as JSON.
#[derive(Serialize)]
struct Detail<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attempts: &'a [Attempt],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    matches: &'a [PolicyMatch],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    faults: &'a [PolicyFailure],
    inputs: &'a PolicyInputs,
}

/// A request's texts as numbers.
#[derive(Clone, Copy)]
struct Numbers {
    user: i64,
    tenant: i64,
    agent: i64,
    provider: i64,
    asked: i64,
    model: i64,
    error: Option<i64>,
}

/// What is stored of a trace, as far as another request changes it or is compared to it.
struct Stored {
    key: i64,
    marks: Marks,
    numbers: Numbers,
    status: i64,
    started_ms: i64,
    duration_us: i64,
    sums: [i64; SUMS],
}

/// Requests, spans, cost, saved, prompt, completion, total.
const SUMS: usize = 7;

/// The tables, for the time of one transaction.
pub(super) struct Traces<'t> {
    /// Numbers in keys; only the caller's transaction draws them.
    next: &'t mut i64,
    insert_trace: CachedStatement<'t>,
    select_trace: CachedStatement<'t>,
    update_trace: CachedStatement<'t>,
    insert_also: CachedStatement<'t>,
    insert_request: CachedStatement<'t>,
    insert_capture: CachedStatement<'t>,
    trace_key_taken: CachedStatement<'t>,
    request_key_taken: CachedStatement<'t>,
}

impl<'t> Traces<'t> {
    pub fn new(connection: &'t Connection, next: &'t mut i64) -> rusqlite::Result<Traces<'t>> {
        Ok(Traces {
            next,
            insert_trace: connection.prepare_cached(INSERT_TRACE)?,
            select_trace: connection.prepare_cached(SELECT_TRACE)?,
            update_trace: connection.prepare_cached(UPDATE_TRACE)?,
            insert_also: connection.prepare_cached(INSERT_ALSO)?,
            insert_request: connection.prepare_cached(INSERT_REQUEST)?,
            insert_capture: connection.prepare_cached(INSERT_CAPTURE)?,
            trace_key_taken: connection.prepare_cached("SELECT 1 FROM trace WHERE key = ?1")?,
            request_key_taken: connection.prepare_cached("SELECT 1 FROM request WHERE key = ?1")?,
        })
    }

    /// Adds a request, and sums it into its trace.
    pub fn add(&mut self, trace: &Trace, names: &mut Dictionary<'_>) -> rusqlite::Result<()> {
        let numbers = numbers(trace, names)?;
        let mut key = self.next_key(trace.started_ms);
        let id = trace.trace_id.to_be_bytes();
        let mut sums = sums(trace);
        loop {
            if self.insert_trace(key, &id, trace, numbers, sums)? {
                break;
            }
            if let Some(stored) = self.select_trace.query_row([&id[..]], stored).optional()? {
                key = stored.key;
                self.join(&stored, trace, numbers, &mut sums)?;
                break;
            }
            // The key is taken: an earlier process drew the same number in the same millisecond.
            key = self.free_key(trace.started_ms, true)?;
        }
        for matched in &trace.matches {
            let policy = names.number(&matched.id, Uses::of_trace(trace.started_ms))?;
            self.insert_also.execute([POLICY_NUMBER, policy, key])?;
        }
        self.insert_request(key, trace, numbers, names)
    }

    fn next_key(&mut self, started_ms: u64) -> i64 {
        *self.next = (*self.next + 1) & NUMBER_MAX;
        (started_ms.min(TIME_MAX) << KEY_BITS) as i64 | *self.next
    }

    /// A key that is not taken. The numbers that an earlier process drew lie close together, so it soon leaves them.
    fn free_key(&mut self, started_ms: u64, of_trace: bool) -> rusqlite::Result<i64> {
        let mut stride = 1;
        loop {
            let key = self.next_key(started_ms);
            let taken = if of_trace { &mut self.trace_key_taken } else { &mut self.request_key_taken };
            if !taken.exists([key])? {
                return Ok(key);
            }
            stride = (stride * 2) & (NUMBER_MAX >> 1);
            *self.next = (*self.next + stride) & NUMBER_MAX;
        }
    }

    /// Whether it was new.
    fn insert_trace(
        &mut self,
        key: i64,
        id: &[u8],
        trace: &Trace,
        numbers: Numbers,
        sums: [i64; SUMS],
    ) -> rusqlite::Result<bool> {
        let [requests, spans, cost, saved, prompt, completion, total] = sums;
        let Numbers { user, tenant, agent, provider, asked, model, error } = numbers;
        let (started_ms, duration_us) = (bounded(trace.started_ms), bounded(trace.duration_ns / 1000));
        let marks = trace.marks().0;
        let inserted = self.insert_trace.execute(params![
            key,
            id,
            marks,
            user,
            tenant,
            agent,
            provider,
            asked,
            model,
            trace.status,
            error,
            started_ms,
            duration_us,
            requests,
            spans,
            cost,
            saved,
            prompt,
            completion,
            total
        ])?;
        Ok(inserted > 0)
    }

    /// Sums a request into a trace that is there, and notes by what else it is found now.
    fn join(&mut self, stored: &Stored, trace: &Trace, new: Numbers, sums: &mut [i64; SUMS]) -> rusqlite::Result<()> {
        let old = &stored.numbers;
        let status = i64::from(trace.status);
        let also = [
            (Dimension::User.number(), new.user, new.user != old.user),
            (Dimension::Tenant.number(), new.tenant, new.tenant != old.tenant),
            (Dimension::Agent.number(), new.agent, new.agent != old.agent),
            (Dimension::Provider.number(), new.provider, new.provider != old.provider),
            (Dimension::Model.number(), new.model, new.model != old.model && new.model != old.asked),
            (Dimension::Model.number(), new.asked, new.asked != old.model && new.asked != old.asked),
            // The column keeps the higher one.
            (STATUS_NUMBER, status.min(stored.status), status != stored.status),
            // The column keeps the later one.
            (
                ERROR_NUMBER,
                old.error.unwrap_or(0),
                new.error.is_some() && old.error.is_some() && new.error != old.error,
            ),
        ];
        let mut mixed = false;
        for (kind, value, _) in also.into_iter().filter(|(_, _, differs)| *differs) {
            self.insert_also.execute([kind, value, stored.key])?;
            mixed = true;
        }
        for (sum, before) in sums.iter_mut().zip(stored.sums) {
            *sum = sum.saturating_add(before);
        }
        let [requests, spans, cost, saved, prompt, completion, total] = *sums;
        let started_ms = bounded(trace.started_ms);
        let first_ms = started_ms.min(stored.started_ms);
        let end = |started_ms: i64, duration_us| started_ms.saturating_mul(1000).saturating_add(duration_us);
        let ends = end(stored.started_ms, stored.duration_us).max(end(started_ms, bounded(trace.duration_ns / 1000)));
        let marks = stored.marks.with(trace.marks()).with_if(Marks::MIXED, mixed);
        let (status, error) = (status.max(stored.status), new.error.or(old.error));
        let duration_us = ends.saturating_sub(first_ms.saturating_mul(1000));
        self.update_trace.execute(params![
            stored.key,
            marks.0,
            status,
            error,
            first_ms,
            duration_us,
            requests,
            spans,
            cost,
            saved,
            prompt,
            completion,
            total
        ])?;
        Ok(())
    }

    fn insert_request(
        &mut self,
        trace_key: i64,
        trace: &Trace,
        numbers: Numbers,
        names: &mut Dictionary<'_>,
    ) -> rusqlite::Result<()> {
        let uses = Uses::of_trace(trace.started_ms);
        let refusal = trace.refusal.as_ref();
        let code = refusal.map(|refusal| names.number(&refusal.code, uses)).transpose()?;
        let fault = refusal.map(|refusal| names.number(&refusal.fault, uses)).transpose()?;
        let cut = trace.cut.as_ref().map(|cut| names.number(cut, uses)).transpose()?;
        let endpoint = names.number(trace.operation.map_or("", path::of), uses)?;
        let marks = trace.marks().0;
        let Trace { attempts, matches, faults, inputs, usage, .. } = trace;
        let detail = serde_json::to_string(&Detail { attempts, matches, faults, inputs }).unwrap_or_default();
        let (request_body, answer_body) = trace.captured.as_ref().map_or((&[][..], &[][..]), bodies);
        let mut key = self.next_key(trace.started_ms);
        loop {
            let inserted = self.insert_request.execute(params![
                key,
                trace_key,
                // 64 bits are 64 bits, signed or not.
                trace.span_id as i64,
                trace.parent_span_id.map(|span| span as i64),
                bounded(trace.duration_ns),
                trace.first_byte_ns.map(bounded),
                numbers.user,
                numbers.tenant,
                numbers.agent,
                endpoint,
                numbers.provider,
                numbers.asked,
                numbers.model,
                trace.status,
                marks,
                code,
                fault,
                numbers.error,
                cut,
                bounded(usage.prompt),
                bounded(usage.completion),
                bounded(usage.total),
                bounded(usage.cached),
                bounded(usage.reasoning),
                trace.cost.0,
                trace.saved.0,
                request_body.len() + answer_body.len(),
                shortened(&trace.request_id),
                detail,
            ])?;
            if inserted > 0 {
                break;
            }
            key = self.free_key(trace.started_ms, false)?;
        }
        if let Some(captured) = &trace.captured {
            let cut = captured.cut
                || captured.request.len() > request_body.len()
                || captured.answer.len() > answer_body.len();
            self.insert_capture.execute(params![key, request_body, answer_body, cut])?;
        }
        Ok(())
    }
}

/// Both bodies, each within its bound.
fn bodies(captured: &Captured) -> (&[u8], &[u8]) {
    let bound = |body: &'_ [u8]| body.len().min(CAPTURE_BYTES_MAX);
    let (request, answer) = (&captured.request, &captured.answer);
    (request.get(..bound(request)).unwrap_or_default(), answer.get(..bound(answer)).unwrap_or_default())
}

fn numbers(trace: &Trace, names: &mut Dictionary<'_>) -> rusqlite::Result<Numbers> {
    let uses = Uses::of_trace(trace.started_ms);
    let error = trace.refusal.as_ref().map(|refusal| &*refusal.message).or(trace.cut.as_deref());
    Ok(Numbers {
        user: names.number(&trace.who.user, uses.column("user"))?,
        tenant: names.number(&trace.who.tenant, uses.column("tenant"))?,
        agent: names.number(&trace.who.agent, uses.column("agent"))?,
        provider: names.number(&trace.provider, uses.column("provider"))?,
        asked: names.number(&trace.model_asked, uses.column("asked"))?,
        model: names.number(&trace.model, uses.column("model"))?,
        error: error.map(|error| names.number(error, uses.column("error"))).transpose()?,
    })
}

fn sums(trace: &Trace) -> [i64; SUMS] {
    let usage = &trace.usage;
    let [prompt, completion, total] = [usage.prompt, usage.completion, usage.total].map(bounded);
    [1, bounded(trace.spans()), trace.cost.0, trace.saved.0, prompt, completion, total]
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let mut sums = [0; SUMS];
    for (sum, column) in sums.iter_mut().zip(["requests", "spans", "cost", "saved", "prompt", "completion", "total"]) {
        *sum = row.get(column)?;
    }
    Ok(Stored {
        key: row.get("key")?,
        marks: Marks(row.get("marks")?),
        numbers: Numbers {
            user: row.get("user")?,
            tenant: row.get("tenant")?,
            agent: row.get("agent")?,
            provider: row.get("provider")?,
            asked: row.get("asked")?,
            model: row.get("model")?,
            error: row.get("error")?,
        },
        status: row.get("status")?,
        started_ms: row.get("started_ms")?,
        duration_us: row.get("duration_us")?,
        sums,
    })
}

/// In the order of the parameters, as the statements below: a name would be looked up for each of them in each row.
const INSERT_TRACE: &str = "
    INSERT INTO trace (key, id, marks, user, tenant, agent, provider, asked, model, status, error, started_ms, duration_us,
                       requests, spans, cost, saved, prompt, completion, total)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING";
const SELECT_TRACE: &str = "SELECT * FROM trace WHERE id = ?1";
const UPDATE_TRACE: &str = "
    UPDATE trace
    SET marks = ?2, status = ?3, error = ?4, started_ms = ?5, duration_us = ?6, requests = ?7, spans = ?8, cost = ?9,
        saved = ?10, prompt = ?11, completion = ?12, total = ?13
    WHERE key = ?1";
const INSERT_ALSO: &str = "INSERT INTO trace_also (kind, value, trace) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const INSERT_REQUEST: &str = "
    INSERT INTO request (key, trace, span, parent, duration_ns, first_byte_ns, user, tenant, agent, endpoint, provider,
                         asked, model, status, marks, code, fault, error, cut, prompt, completion, total, cached,
                         reasoning, cost, saved, captured, request_id, detail)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING";
const INSERT_CAPTURE: &str = "INSERT INTO capture (request, request_body, answer_body, cut) VALUES (?1, ?2, ?3, ?4)";
