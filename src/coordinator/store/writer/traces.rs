//! Adds requests and their traces to the tables. On the coordinator's thread, within the transaction of a flush. Sums of a trace
//! are kept up to date here, so that a list never has to add anything up.

use std::sync::LazyLock;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, ToSql, params, params_from_iter};
use serde::Serialize;

use super::super::dimension::{Dimension, ERROR_NUMBER, POLICY_NUMBER, STATUS_NUMBER, WHO_COLUMNS};
use super::super::layout::{KEY_BITS, bounded, key_of, shortened};
use super::super::memory::NameUses;
use super::dictionary::Dictionary;
use super::statement::insert_or_ignore;
use crate::dialect::openai::path;
use crate::link::trace::{
    Attempt, CAPTURED_BODY_BYTES_MAX, Captured, Marks, PolicyFailure, PolicyInputs, PolicyMatch, Trace,
};
use crate::who::{Who, WhoPart};

/// Stored bytes of a body, of a request or an answer; the rest is cut off. Arbitrary: more than people read.
pub const CAPTURE_BYTES_MAX: usize = 256 << 10;
const _: () = assert!(CAPTURED_BODY_BYTES_MAX <= CAPTURE_BYTES_MAX, "the store keeps what shards capture");
/// The largest number that fits into a key beside its time.
const NUMBER_MAX: i64 = (1 << KEY_BITS) - 1;

/// The column `detail` of `request`: what only the page of its trace shows, as JSON.
#[derive(Serialize)]
struct StoredDetail<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attempts: &'a [Attempt],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    matches: &'a [PolicyMatch],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    faults: &'a [PolicyFailure],
    inputs: &'a PolicyInputs,
}

/// A request's texts as ids of the table `name`.
#[derive(Clone, Copy)]
struct NameIds {
    who: Who<i64>,
    provider: i64,
    asked: i64,
    model: i64,
    error: Option<i64>,
}

/// The part of a stored trace that another request changes or is compared with.
struct StoredTrace {
    key: i64,
    marks: Marks,
    names: NameIds,
    status: i64,
    started_ms: i64,
    duration_us: i64,
    sums: [i64; SUMS],
}

/// Columns of `trace` that are summed over its requests, in the order of [`sums`].
const SUM_COLUMNS: [&str; 7] = ["requests", "spans", "cost", "saved", "prompt", "completion", "total"];
const SUMS: usize = SUM_COLUMNS.len();

/// The tables of traces and requests, for the time of one transaction.
pub(super) struct TraceTables<'t> {
    /// The last number drawn for a key. Only this transaction draws numbers.
    last_number: &'t mut i64,
    insert_trace: CachedStatement<'t>,
    select_trace: CachedStatement<'t>,
    update_trace: CachedStatement<'t>,
    insert_also: CachedStatement<'t>,
    insert_request: CachedStatement<'t>,
    insert_capture: CachedStatement<'t>,
    trace_key_taken: CachedStatement<'t>,
    request_key_taken: CachedStatement<'t>,
}

impl<'t> TraceTables<'t> {
    pub fn new(connection: &'t Connection, last_number: &'t mut i64) -> rusqlite::Result<TraceTables<'t>> {
        Ok(TraceTables {
            last_number,
            insert_trace: connection.prepare_cached(&INSERT_TRACE)?,
            select_trace: connection.prepare_cached(SELECT_TRACE)?,
            update_trace: connection.prepare_cached(UPDATE_TRACE)?,
            insert_also: connection.prepare_cached(INSERT_ALSO)?,
            insert_request: connection.prepare_cached(&INSERT_REQUEST)?,
            insert_capture: connection.prepare_cached(INSERT_CAPTURE)?,
            trace_key_taken: connection.prepare_cached("SELECT 1 FROM trace WHERE key = ?1")?,
            request_key_taken: connection.prepare_cached("SELECT 1 FROM request WHERE key = ?1")?,
        })
    }

    /// Adds a request and sums it into its trace.
    pub fn add(&mut self, trace: &Trace, names: &mut Dictionary<'_>) -> rusqlite::Result<()> {
        let ids = name_ids(trace, names)?;
        let mut key = self.next_key(trace.started_ms);
        let id = trace.trace_id.to_be_bytes();
        let mut sums = sums(trace);
        loop {
            if self.insert_trace(key, &id, trace, ids, sums)? {
                break;
            }
            if let Some(stored) = self.select_trace.query_row([&id[..]], stored_trace).optional()? {
                key = stored.key;
                self.join(&stored, trace, ids, &mut sums)?;
                break;
            }
            // An earlier process drew the same number in the same millisecond.
            key = self.free_key(trace.started_ms, true)?;
        }
        for matched in &trace.matches {
            let policy = names.id(&matched.id, NameUses::of_trace(trace.started_ms))?;
            self.insert_also.execute([POLICY_NUMBER, policy, key])?;
        }
        self.insert_request(key, trace, ids, names)
    }

    fn next_key(&mut self, started_ms: u64) -> i64 {
        *self.last_number = (*self.last_number + 1) & NUMBER_MAX;
        key_of(started_ms) | *self.last_number
    }

    /// A key that is not taken. The numbers of an earlier process are close together, so a growing stride soon leaves them.
    fn free_key(&mut self, started_ms: u64, of_trace: bool) -> rusqlite::Result<i64> {
        let mut stride = 1;
        loop {
            let key = self.next_key(started_ms);
            let taken = if of_trace { &mut self.trace_key_taken } else { &mut self.request_key_taken };
            if !taken.exists([key])? {
                return Ok(key);
            }
            stride = (stride * 2) & (NUMBER_MAX >> 1);
            *self.last_number = (*self.last_number + stride) & NUMBER_MAX;
        }
    }

    /// Returns false if the trace or the key is already there.
    fn insert_trace(
        &mut self,
        key: i64,
        id: &[u8],
        trace: &Trace,
        ids: NameIds,
        sums: [i64; SUMS],
    ) -> rusqlite::Result<bool> {
        let (started_ms, duration_us) = (bounded(trace.started_ms), bounded(trace.duration_ns / 1000));
        let marks = trace.marks().0;
        let columns: [&dyn ToSql; TRACE_COLUMNS.len()] = [
            &key,
            &id,
            &marks,
            &ids.provider,
            &ids.asked,
            &ids.model,
            &trace.status,
            &ids.error,
            &started_ms,
            &duration_us,
        ];
        let who = WhoPart::ALL.map(|part| ids.who.get(part) as &dyn ToSql);
        let sums = sums.each_ref().map(|sum| sum as &dyn ToSql);
        let inserted = self.insert_trace.execute(params_from_iter(columns.into_iter().chain(who).chain(sums)))?;
        Ok(inserted > 0)
    }

    /// Sums a request into a stored trace, and notes the values by which the trace is now found, too.
    fn join(
        &mut self,
        stored: &StoredTrace,
        trace: &Trace,
        new: NameIds,
        sums: &mut [i64; SUMS],
    ) -> rusqlite::Result<()> {
        let old = &stored.names;
        let status = i64::from(trace.status);
        let who = new.who.parts().map(|(part, id)| (Dimension::Who(part).number(), *id, id != old.who.get(part)));
        let also = [
            (Dimension::Provider.number(), new.provider, new.provider != old.provider),
            (Dimension::Model.number(), new.model, new.model != old.model && new.model != old.asked),
            (Dimension::Model.number(), new.asked, new.asked != old.model && new.asked != old.asked),
            // The column keeps the higher status.
            (STATUS_NUMBER, status.min(stored.status), status != stored.status),
            // The column keeps the later error.
            (
                ERROR_NUMBER,
                old.error.unwrap_or(0),
                new.error.is_some() && old.error.is_some() && new.error != old.error,
            ),
        ];
        let mut mixed = false;
        for (kind, value, _) in who.chain(also).filter(|(_, _, differs)| *differs) {
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
        ids: NameIds,
        names: &mut Dictionary<'_>,
    ) -> rusqlite::Result<()> {
        let uses = NameUses::of_trace(trace.started_ms);
        let refusal = trace.refusal.as_ref();
        let code = refusal.map(|refusal| names.id(&refusal.code, uses)).transpose()?;
        let fault = refusal.map(|refusal| names.id(&refusal.fault, uses)).transpose()?;
        let cut = trace.cut.as_ref().map(|cut| names.id(cut, uses)).transpose()?;
        let endpoint = names.id(trace.operation.map_or("", path::of), uses)?;
        let marks = trace.marks().0;
        let Trace { attempts, matches, faults, inputs, usage, .. } = trace;
        let detail = serde_json::to_string(&StoredDetail { attempts, matches, faults, inputs }).unwrap_or_default();
        let (request_body, answer_body) = trace.captured.as_ref().map_or((&[][..], &[][..]), bodies);
        let mut key = self.next_key(trace.started_ms);
        loop {
            let columns: [&dyn ToSql; REQUEST_COLUMNS.len()] = [
                &key,
                &trace_key,
                // SQLite integers are signed; the bits stay the same.
                &(trace.span_id as i64),
                &trace.parent_span_id.map(|span| span as i64),
                &bounded(trace.duration_ns),
                &trace.first_byte_ns.map(bounded),
                &endpoint,
                &ids.provider,
                &ids.asked,
                &ids.model,
                &trace.status,
                &marks,
                &code,
                &fault,
                &ids.error,
                &cut,
                &bounded(usage.input),
                &bounded(usage.output),
                &bounded(usage.total),
                &bounded(usage.cache_read),
                &bounded(usage.cache_write),
                &bounded(usage.reasoning),
                &trace.cost.0,
                &trace.saved.0,
                &(request_body.len() + answer_body.len()),
                &shortened(&trace.request_id),
                &detail,
            ];
            let who = WhoPart::ALL.map(|part| ids.who.get(part) as &dyn ToSql);
            let inserted = self.insert_request.execute(params_from_iter(columns.into_iter().chain(who)))?;
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

/// Both bodies, each cut to [`CAPTURE_BYTES_MAX`].
fn bodies(captured: &Captured) -> (&[u8], &[u8]) {
    let bound = |body: &'_ [u8]| body.len().min(CAPTURE_BYTES_MAX);
    let (request, answer) = (&captured.request, &captured.answer);
    (request.get(..bound(request)).unwrap_or_default(), answer.get(..bound(answer)).unwrap_or_default())
}

fn name_ids(trace: &Trace, names: &mut Dictionary<'_>) -> rusqlite::Result<NameIds> {
    let uses = NameUses::of_trace(trace.started_ms);
    let error = trace.refusal.as_ref().map(|refusal| &*refusal.message).or(trace.cut.as_deref());
    Ok(NameIds {
        who: Who::try_from_fn(|part| names.id(trace.who.get(part), uses.in_column(part.name())))?,
        provider: names.id(&trace.provider, uses.in_column("provider"))?,
        asked: names.id(&trace.model_asked, uses.in_column("asked"))?,
        model: names.id(&trace.model, uses.in_column("model"))?,
        error: error.map(|error| names.id(error, uses.in_column("error"))).transpose()?,
    })
}

fn sums(trace: &Trace) -> [i64; SUMS] {
    let usage = &trace.usage;
    let [prompt, completion, total] = [usage.input, usage.output, usage.total].map(bounded);
    [1, bounded(trace.spans()), trace.cost.0, trace.saved.0, prompt, completion, total]
}

fn stored_trace(row: &Row<'_>) -> rusqlite::Result<StoredTrace> {
    let mut sums = [0; SUMS];
    for (sum, column) in sums.iter_mut().zip(SUM_COLUMNS) {
        *sum = row.get(column)?;
    }
    Ok(StoredTrace {
        key: row.get("key")?,
        marks: Marks(row.get("marks")?),
        names: NameIds {
            who: Who::try_from_fn(|part| row.get(part.name()))?,
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

/// Columns that [`TraceTables::insert_trace`] sets besides the identity and the sums, in the order of their parameters. Parameters
/// have no names here: SQLite would look each of them up for every row.
const TRACE_COLUMNS: [&str; 10] =
    ["key", "id", "marks", "provider", "asked", "model", "status", "error", "started_ms", "duration_us"];
static INSERT_TRACE: LazyLock<String> =
    LazyLock::new(|| insert_or_ignore("trace", &[&TRACE_COLUMNS[..], &WHO_COLUMNS, &SUM_COLUMNS].concat()));
const SELECT_TRACE: &str = "SELECT * FROM trace WHERE id = ?1";
const UPDATE_TRACE: &str = "
    UPDATE trace
    SET marks = ?2, status = ?3, error = ?4, started_ms = ?5, duration_us = ?6, requests = ?7, spans = ?8, cost = ?9,
        saved = ?10, prompt = ?11, completion = ?12, total = ?13
    WHERE key = ?1";
const INSERT_ALSO: &str = "INSERT INTO trace_also (kind, value, trace) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
/// Columns that [`TraceTables::insert_request`] sets besides the identity, in the order of their parameters.
const REQUEST_COLUMNS: [&str; 27] = [
    "key",
    "trace",
    "span",
    "parent",
    "duration_ns",
    "first_byte_ns",
    "endpoint",
    "provider",
    "asked",
    "model",
    "status",
    "marks",
    "code",
    "fault",
    "error",
    "cut",
    "prompt",
    "completion",
    "total",
    "cached",
    "cache_write",
    "reasoning",
    "cost",
    "saved",
    "captured",
    "request_id",
    "detail",
];
static INSERT_REQUEST: LazyLock<String> =
    LazyLock::new(|| insert_or_ignore("request", &[&REQUEST_COLUMNS[..], &WHO_COLUMNS].concat()));
const INSERT_CAPTURE: &str = "INSERT INTO capture (request, request_body, answer_body, cut) VALUES (?1, ?2, ?3, ?4)";
