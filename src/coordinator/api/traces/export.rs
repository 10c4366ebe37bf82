//! `GET /api/traces/export`: all traces that pass a filter, up to a bound, sent in pieces. Each export has its own thread and
//! its own connection to the database, so that a slow caller holds nobody up; few run at once. It never holds more than a few
//! pieces in memory.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use super::trace_item::TraceItem;
use crate::clock::{Clock, rfc3339};
use crate::coordinator::api::shape::answer::Reply;
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::filters;
use crate::coordinator::api::shape::identity::ORDERED_FIELDS;
use crate::coordinator::api::shape::media::{CSV, JSON};
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::api::shape::parameter::{Parameter, ParameterKind};
use crate::coordinator::helpers::read_thread::{NoReader, give_way};
use crate::coordinator::state::State;
use crate::coordinator::store::reader::{Filter, Reader};
use crate::coordinator::store::{Paging, StoreError};
use crate::dialect::openai::tokens::{COMPLETION_TOKENS, PROMPT_TOKENS};
use crate::link::ApiAnswer;
use crate::names::ROWS_TOTAL;

/// Most traces of one export. Arbitrary: what a spreadsheet opens without complaint.
const ROWS_MAX: u64 = 100_000;
/// Traces in one piece. Arbitrary: a few hundred KiB.
const PIECE_ROWS: u32 = 500;
/// Pieces that may wait for a slow caller. Arbitrary.
const PIECES_MAX: usize = 2;
/// Most exports at once. Arbitrary: each reads the database as fast as it can.
const EXPORTS_MAX: usize = 2;

pub(crate) static FORMAT: Parameter =
    Parameter { name: "format", kind: ParameterKind::Word(&["csv", "json"]), about: "json if absent." };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Csv,
    Json,
}

/// A running export, on its thread.
struct Export {
    path: PathBuf,
    clock: Clock,
    filter: Filter,
    format: Format,
    reply: flume::Sender<ApiAnswer>,
    /// Traces written so far.
    rows: u64,
    /// Counts this export in [`State::exports`].
    _slot: Arc<()>,
}

/// `GET /api/traces/export`. Starts a thread that answers the call.
pub(crate) fn start(state: &mut State, Arguments { call, values, .. }: Arguments<'_>) -> Result<Reply, ApiError> {
    let filter = filters::filter(&values)?;
    let format = if values.word(&FORMAT) == Some("csv") { Format::Csv } else { Format::Json };
    let path = state.read_thread.path().ok_or(NoReader::Off)?.to_owned();
    // The state holds one clone itself.
    if Arc::strong_count(&state.exports) > EXPORTS_MAX {
        return Err(NoReader::Busy.into());
    }
    let (reply, clock) = (call.reply.clone(), state.clock);
    let export = Export { path, clock, filter, format, reply, rows: 0, _slot: state.exports.clone() };
    let started = thread::Builder::new().name("export".into()).spawn(move || export.run());
    match started {
        Ok(_) => Ok(Reply::Later),
        Err(error) => {
            tracing::error!(%error, "no thread for an export");
            Err(NoReader::Busy.into())
        }
    }
}

/// Sends the pieces of an export after the first.
type PieceSender = flume::Sender<Vec<u8>>;

impl Export {
    fn run(mut self) {
        give_way();
        let opened = Reader::open(&self.path, self.clock).map_err(ApiError::from);
        let begun = opened.and_then(|reader| self.begin(&reader).map(|(answer, pieces)| (reader, answer, pieces)));
        let (reader, answer, pieces) = match begun {
            Ok(begun) => begun,
            Err(error) => return drop(self.reply.try_send(error.into())),
        };
        if self.reply.try_send(answer).is_err() {
            return;
        }
        while let Some(pieces) = &pieces {
            let (piece, more) = match self.next_piece(&reader) {
                Ok(piece) => piece,
                Err(error) => {
                    // The head is sent already. JSON without its last bracket is invalid, and a table says that it is cut.
                    tracing::warn!(%error, "an export ended early");
                    let last = if self.format == Format::Csv { "# the export ended early\r\n" } else { "" };
                    (last.into(), false)
                }
            };
            // An error means that the caller has left or reads nothing any more.
            if pieces.send(piece).is_err() || !more {
                return;
            }
        }
    }

    /// Returns the answer with its first piece, and the sender for further pieces if there are any.
    fn begin(&mut self, reader: &Reader) -> Result<(ApiAnswer, Option<PieceSender>), ApiError> {
        let total = reader.traces(&self.filter, Paging { page: 1, page_size: 1 })?.total;
        let mut body = match self.format {
            Format::Csv => format!("{}\r\n", csv_header().join(",")).into_bytes(),
            Format::Json => b"[".to_vec(),
        };
        let (first, more) = self.next_piece(reader)?;
        body.extend(first);
        let (content_type, ending) = match self.format {
            Format::Csv => (CSV, "csv"),
            Format::Json => (JSON, "json"),
        };
        let now: String = rfc3339(self.clock.now().wall_ms).chars().filter(char::is_ascii_digit).take(14).collect();
        let headers = vec![
            ("Content-Disposition", format!("attachment; filename=\"luner-traces-{now}.{ending}\"")),
            (ROWS_TOTAL, total.to_string()),
        ];
        let (pieces, stream) = more.then(|| flume::bounded(PIECES_MAX)).unzip();
        Ok((ApiAnswer { status: 200, content_type, headers, body, stream }, pieces))
    }

    /// Returns the next piece, and whether there are more.
    fn next_piece(&mut self, reader: &Reader) -> Result<(Vec<u8>, bool), StoreError> {
        let limit = u64::from(PIECE_ROWS).min(ROWS_MAX - self.rows) as u32;
        let listed = reader.first_listed_traces(&self.filter, limit)?;
        let more = listed.len() == limit as usize && self.rows + (listed.len() as u64) < ROWS_MAX;
        self.filter.after = listed.last().map(|last| last.row.trace_id).or(self.filter.after);
        let mut piece = Vec::new();
        for item in listed.into_iter().map(TraceItem::from) {
            match self.format {
                Format::Csv => csv_line(&item, &mut piece),
                Format::Json => {
                    piece.extend_from_slice(if self.rows == 0 { b"\n" } else { b",\n" });
                    serde_json::to_writer(&mut piece, &item).expect("numbers and texts serialise");
                }
            }
            self.rows += 1;
        }
        if self.format == Format::Json && !more {
            piece.extend_from_slice(b"\n]\n");
        }
        Ok((piece, more))
    }
}

/// Columns before those of the identity.
const COLUMNS_BEFORE: [&str; 3] = ["trace_id", "started_at", "duration_ms"];
/// Columns after those of the identity.
#[rustfmt::skip]
const COLUMNS_AFTER: [&str; 16] = [
    "endpoint", "model_asked", "model", "provider", "status", "outcome", "refusal", "stream", "requests",
    PROMPT_TOKENS, COMPLETION_TOKENS, "total_tokens", "cost_usd", "saved_usd", "cache", "policies",
];

fn csv_header() -> Vec<&'static str> {
    [&COLUMNS_BEFORE[..], &ORDERED_FIELDS, &COLUMNS_AFTER].concat()
}

fn csv_line(item: &TraceItem, to: &mut Vec<u8>) {
    let policies: Vec<&str> = item.policies.iter().map(|policy| &*policy.name).collect();
    let refusal = item.refusal.as_ref().map_or("", |refusal| &refusal.code);
    let before: [&dyn Display; COLUMNS_BEFORE.len()] = [&item.trace_id, &item.started_at, &item.duration_ms];
    let who = item.who.ordered().map(|name| name as &dyn Display);
    let after: [&dyn Display; COLUMNS_AFTER.len()] = [
        &item.endpoint,
        &item.model_asked,
        &item.model,
        &item.provider,
        &item.status,
        &item.outcome.name(),
        &refusal,
        &item.stream,
        &item.requests,
        &item.tokens.prompt,
        &item.tokens.completion,
        &item.tokens.total,
        &item.cost_usd,
        &item.saved_usd,
        &item.cache.name(),
        &policies.join("; "),
    ];
    for (at, cell) in before.iter().chain(&who).chain(&after).enumerate() {
        if at > 0 {
            to.push(b',');
        }
        csv_cell(&cell.to_string(), to);
    }
    to.extend_from_slice(b"\r\n");
}

/// Writes a cell, quoted if RFC 4180 requires it. A text that a spreadsheet would take for a formula gets an apostrophe first
/// (OWASP, "CSV Injection"), because names come from callers.
fn csv_cell(text: &str, to: &mut Vec<u8>) {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let quoted = text.contains([',', '"', '\n', '\r']);
    if quoted {
        to.push(b'"');
    }
    if formula {
        to.push(b'\'');
    }
    to.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    if quoted {
        to.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cell_is_never_a_formula_or_two_cells() {
        for (text, cell) in [
            ("planner", "planner"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@sum", "'@sum"),
            ("\t=1", "'\t=1"),
            ("", ""),
        ] {
            let mut line = Vec::new();
            csv_cell(text, &mut line);
            assert_eq!(String::from_utf8(line).unwrap(), cell);
        }
    }
}
