//! `GET /api/traces/export`: everything that passes a filter, up to a bound, in pieces. Each export has a thread and a
//! connection of its own, so that a slow caller holds up nobody; there are few of them at once. It never holds more than
//! some pieces in memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use super::trace_item::TraceItem;
use crate::clock::{Clock, rfc3339};
use crate::coordinator::Coordinator;
use crate::coordinator::api::shape::answer::Reply;
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::filters;
use crate::coordinator::api::shape::media::{CSV, JSON};
use crate::coordinator::api::shape::parameter::{Kind, Parameter, Values};
use crate::coordinator::helpers::read_thread::{NoReader, give_way};
use crate::coordinator::store::Paging;
use crate::coordinator::store::reader::{Filter, Reader};
use crate::link::{ApiAnswer, ApiCall};
use crate::names::ROWS_TOTAL;

/// Traces of one export. Arbitrary: what a spreadsheet opens without complaint.
const ROWS_MAX: u64 = 100_000;
/// Traces of one piece. Arbitrary: some hundred KiB.
const PIECE_ROWS: u32 = 500;
/// Pieces that wait for a slow caller. Arbitrary.
const PIECES_MAX: usize = 2;
/// Exports at once. Arbitrary: each reads the file as fast as it can.
const EXPORTS_MAX: usize = 2;

pub(crate) static FORMAT: Parameter =
    Parameter { name: "format", kind: Kind::Word(&["csv", "json"]), about: "json if absent." };

/// Counts the exports that run: each holds one more of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exports(Arc<()>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Csv,
    Json,
}

/// What the thread needs.
struct Export {
    path: PathBuf,
    clock: Clock,
    filter: Filter,
    format: Format,
    reply: flume::Sender<ApiAnswer>,
    /// Counts it.
    _one: Exports,
}

/// Starts one; it answers by itself.
pub(crate) fn start(coordinator: &mut Coordinator, values: &Values, call: &ApiCall) -> Result<Reply, ApiError> {
    let filter = filters::filter(values)?;
    let format = if values.word(&FORMAT) == Some("csv") { Format::Csv } else { Format::Json };
    let path = coordinator.reading.path().ok_or(NoReader::Off)?.to_owned();
    if Arc::strong_count(&coordinator.exports.0) > EXPORTS_MAX {
        return Err(NoReader::Busy.into());
    }
    let (reply, clock) = (call.reply.clone(), coordinator.clock);
    let export = Export { path, clock, filter, format, reply, _one: coordinator.exports.clone() };
    let thread = thread::Builder::new().name("export".into()).spawn(move || export.run());
    match thread {
        Ok(_) => Ok(Reply::Later),
        Err(error) => {
            tracing::error!(%error, "no thread for an export");
            Err(NoReader::Busy.into())
        }
    }
}

impl Export {
    fn run(mut self) {
        give_way();
        let begun = Reader::open(&self.path, self.clock).map_err(ApiError::from);
        let begun = begun.and_then(|reader| self.begin(&reader).map(|begun| (reader, begun)));
        let (reader, (answer, pieces, mut rows)) = match begun {
            Ok(begun) => begun,
            Err(error) => return drop(self.reply.try_send(error.into())),
        };
        if self.reply.try_send(answer).is_err() {
            return;
        }
        while let Some(pieces) = &pieces {
            let (piece, more) = match self.piece(&reader, &mut rows) {
                Ok(piece) => piece,
                Err(error) => {
                    // The head is gone. JSON without its last bracket is none, and a table says so.
                    tracing::warn!(%error, "an export ended early");
                    let last = if self.format == Format::Csv { "# the export ended early\r\n" } else { "" };
                    (last.into(), false)
                }
            };
            // An error means that the caller left, or takes nothing any more.
            if pieces.send(piece).is_err() || !more {
                return;
            }
        }
    }

    /// The answer with its first piece, and where further ones go if there are any.
    #[allow(clippy::type_complexity, reason = "it is taken apart by its one caller")]
    fn begin(&mut self, reader: &Reader) -> Result<(ApiAnswer, Option<flume::Sender<Vec<u8>>>, u64), ApiError> {
        let total = reader.traces(&self.filter, Paging { page: 1, page_size: 1 })?.total;
        let mut body = match self.format {
            Format::Csv => CSV_HEADER.join(",").into_bytes(),
            Format::Json => b"[".to_vec(),
        };
        if self.format == Format::Csv {
            body.extend_from_slice(b"\r\n");
        }
        let mut rows = 0;
        let (first, more) = self.piece(reader, &mut rows)?;
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
        Ok((ApiAnswer { status: 200, content_type, headers, body, stream }, pieces, rows))
    }

    /// The next piece, and whether there are more.
    fn piece(
        &mut self,
        reader: &Reader,
        rows: &mut u64,
    ) -> Result<(Vec<u8>, bool), crate::coordinator::store::StoreError> {
        let limit = u64::from(PIECE_ROWS).min(ROWS_MAX - *rows) as u32;
        let listed = reader.first_listed_traces(&self.filter, limit)?;
        let more = listed.len() == limit as usize && *rows + (listed.len() as u64) < ROWS_MAX;
        self.filter.after = listed.last().map(|last| last.row.trace_id).or(self.filter.after);
        let mut piece = Vec::new();
        for item in listed.into_iter().map(TraceItem::from) {
            match self.format {
                Format::Csv => csv_line(&item, &mut piece),
                Format::Json => {
                    piece.extend_from_slice(if *rows == 0 { b"\n" } else { b",\n" });
                    serde_json::to_writer(&mut piece, &item).expect("numbers and texts serialise");
                }
            }
            *rows += 1;
        }
        if self.format == Format::Json && !more {
            piece.extend_from_slice(b"\n]\n");
        }
        Ok((piece, more))
    }
}

#[rustfmt::skip]
const CSV_HEADER: [&str; 22] = [
    "trace_id", "started_at", "duration_ms", "agent_name", "user_id", "tenant_id", "endpoint", "model_asked", "model",
    "provider", "status", "outcome", "refusal", "stream", "requests", "prompt_tokens", "completion_tokens",
    "total_tokens", "cost_usd", "saved_usd", "cache", "policies",
];

fn csv_line(item: &TraceItem, to: &mut Vec<u8>) {
    let policies: Vec<&str> = item.policies.iter().map(|policy| &*policy.name).collect();
    let refusal = item.refusal.as_ref().map_or("", |refusal| &refusal.code);
    let cells: [&dyn std::fmt::Display; CSV_HEADER.len()] = [
        &item.trace_id,
        &item.started_at,
        &item.duration_ms,
        &item.agent_name,
        &item.user_id,
        &item.tenant_id,
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
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            to.push(b',');
        }
        csv_cell(&cell.to_string(), to);
    }
    to.extend_from_slice(b"\r\n");
}

/// Quoted where RFC 4180 wants it. What a spreadsheet would take for a formula gets an apostrophe before it (OWASP, "CSV
/// Injection"): names come from callers.
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
    fn a_cell_is_no_formula_and_no_second_cell() {
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
