//! The record of requests and answers, which tests compare a gateway's figures with. Shared by all connection threads.
//! A request takes two short locks, or only a few atomic counters when entries are off.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::request::headers_of;

/// A copy of the record.
#[derive(Clone, Debug, Serialize)]
pub struct Ledger {
    pub totals: Totals,
    /// Oldest first.
    pub entries: Vec<Entry>,
}

/// Totals since the start or the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub requests: u64,
    /// Started and not yet ended.
    pub in_flight: u64,
    /// Answers of any status that were written to the end.
    pub complete: u64,
    /// Requests whose peer left before the end of the answer.
    pub peer_closed: u64,
    /// Counts complete answers only, as the completion tokens do.
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Connections accepted.
    pub connections: u64,
}

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub id: u64,
    pub connection: u64,
    pub method: String,
    /// With the query.
    pub path: String,
    pub model: String,
    pub stream: bool,
    /// 0 as long as nothing was answered.
    pub status: u16,
    /// As a correct answer would report them, even if this one is not complete.
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub events_sent: u64,
    /// Bytes of the answer that the socket accepted, head included.
    pub bytes_sent: u64,
    /// The request has ended, for whatever reason.
    pub done: bool,
    /// The whole answer was written.
    pub complete: bool,
    /// Milliseconds from the end of the request to the peer's leaving, if it left before the end of the answer.
    pub peer_closed_ms: Option<u64>,
    pub duration_ms: u64,
    /// FNV-1a of the body, 16 hexadecimal digits.
    pub body_hash: String,
    /// In the order of their arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Absent without `Options::bodies`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl Entry {
    /// The first header of this name, which must be in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A request that has been read.
pub(crate) struct Begun<'a> {
    pub connection: u64,
    pub method: &'a str,
    pub path: &'a str,
    pub model: &'a Arc<str>,
    pub stream: bool,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub head: &'a [u8],
    pub body: &'a [u8],
    pub body_hash: u64,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    pub status: u16,
    pub events_sent: u64,
    pub bytes_sent: u64,
    pub complete: bool,
    pub peer_closed: Option<Duration>,
    pub duration: Duration,
}

/// An entry as it is stored: cheap to make, formatted only when it is read.
struct Record {
    id: u64,
    connection: u64,
    method: Box<str>,
    path: Box<str>,
    model: Arc<str>,
    stream: bool,
    prompt_tokens: u64,
    completion_tokens: u64,
    head: Box<[u8]>,
    body: Option<Box<[u8]>>,
    body_hash: u64,
    ended: Option<Ended>,
}

/// Records requests as they start and end.
pub(crate) struct Recorder {
    entries_on: bool,
    bodies_on: bool,
    next_id: AtomicU64,
    records: Mutex<VecDeque<Record>>,
    requests: AtomicU64,
    ended: AtomicU64,
    complete: AtomicU64,
    peer_closed: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    connections: AtomicU64,
}

impl Recorder {
    pub fn new(entries_on: bool, bodies_on: bool) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            entries_on,
            bodies_on,
            next_id: AtomicU64::new(1),
            records: Mutex::default(),
            requests: zero(),
            ended: zero(),
            complete: zero(),
            peer_closed: zero(),
            prompt_tokens: zero(),
            completion_tokens: zero(),
            connections: zero(),
        }
    }

    pub fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Records the start of a request and returns its id.
    pub fn begin(&self, begun: &Begun<'_>) -> u64 {
        if !self.entries_on {
            self.requests.fetch_add(1, Ordering::Relaxed);
            return self.next_id.fetch_add(1, Ordering::Relaxed);
        }
        let mut record = Record {
            id: 0,
            connection: begun.connection,
            method: begun.method.into(),
            path: begun.path.into(),
            model: Arc::clone(begun.model),
            stream: begun.stream,
            prompt_tokens: begun.prompt_tokens,
            completion_tokens: begun.completion_tokens,
            head: begun.head.into(),
            body: self.bodies_on.then(|| begun.body.get(..BODY_BYTES_KEPT).unwrap_or(begun.body).into()),
            body_hash: begun.body_hash,
            ended: None,
        };
        let mut records = crate::lock(&self.records);
        // The id is taken under the lock, so that entries are sorted by id and can be found by binary search.
        record.id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let id = record.id;
        if records.len() == ENTRIES_MAX {
            records.pop_front();
        }
        records.push_back(record);
        // Counted last, so that a counted request always has an entry.
        self.requests.fetch_add(1, Ordering::Relaxed);
        id
    }

    /// Records the end of a request.
    pub fn end(&self, id: u64, prompt_tokens: u64, completion_tokens: u64, ended: Ended) {
        if ended.complete {
            self.complete.fetch_add(1, Ordering::Relaxed);
            self.prompt_tokens.fetch_add(prompt_tokens, Ordering::Relaxed);
            self.completion_tokens.fetch_add(completion_tokens, Ordering::Relaxed);
        }
        if ended.peer_closed.is_some() {
            self.peer_closed.fetch_add(1, Ordering::Relaxed);
        }
        if self.entries_on {
            let mut records = crate::lock(&self.records);
            // The entry may have been dropped meanwhile.
            let at = records.binary_search_by_key(&id, |record| record.id);
            if let Some(record) = at.ok().and_then(|at| records.get_mut(at)) {
                record.ended = Some(ended);
            }
        }
        self.ended.fetch_add(1, Ordering::Release);
    }

    pub fn totals(&self) -> Totals {
        let ended = self.ended.load(Ordering::Acquire);
        let requests = self.requests.load(Ordering::Relaxed);
        Totals {
            requests,
            in_flight: requests.saturating_sub(ended),
            complete: self.complete.load(Ordering::Relaxed),
            peer_closed: self.peer_closed.load(Ordering::Relaxed),
            prompt_tokens: self.prompt_tokens.load(Ordering::Relaxed),
            completion_tokens: self.completion_tokens.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
        }
    }

    /// The totals and the last `limit` entries. With `after`, the first `limit` entries of a greater id instead.
    pub fn snapshot(&self, after: Option<u64>, limit: usize) -> Ledger {
        let records = crate::lock(&self.records);
        let skip = match after {
            Some(after) => records.partition_point(|record| record.id <= after),
            None => records.len().saturating_sub(limit),
        };
        Ledger { totals: self.totals(), entries: records.iter().skip(skip).take(limit).map(Record::entry).collect() }
    }

    /// Drops all entries and totals. Requests in flight stay, and ids continue.
    pub fn reset(&self) {
        let mut records = crate::lock(&self.records);
        records.retain(|record| record.ended.is_none());
        let in_flight = self.totals().in_flight;
        for total in [&self.complete, &self.peer_closed, &self.prompt_tokens, &self.completion_tokens] {
            total.store(0, Ordering::Relaxed);
        }
        self.connections.store(0, Ordering::Relaxed);
        self.ended.store(0, Ordering::Relaxed);
        self.requests.store(in_flight, Ordering::Relaxed);
    }

    /// Waits until no request is in flight. Returns false after `timeout`.
    pub fn wait_until_idle(&self, timeout: Duration) -> bool {
        let since = Instant::now();
        while self.totals().in_flight > 0 {
            if since.elapsed() > timeout {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Record {
    fn entry(&self) -> Entry {
        let ended = self.ended.unwrap_or_default();
        Entry {
            id: self.id,
            connection: self.connection,
            method: self.method.to_string(),
            path: self.path.to_string(),
            model: self.model.to_string(),
            stream: self.stream,
            status: ended.status,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            events_sent: ended.events_sent,
            bytes_sent: ended.bytes_sent,
            done: self.ended.is_some(),
            complete: ended.complete,
            peer_closed_ms: ended.peer_closed.map(|after| after.as_millis() as u64),
            duration_ms: ended.duration.as_millis() as u64,
            body_hash: format!("{:016x}", self.body_hash),
            headers: headers_of(&self.head),
            body: self.body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned()),
        }
    }
}

/// Most entries. Older ones are dropped, and the totals still count them. Arbitrary: enough for one test.
pub(crate) const ENTRIES_MAX: usize = 10_000;
/// Most bytes kept of each body. Arbitrary: more than a test compares.
const BODY_BYTES_KEPT: usize = 64 << 10;
