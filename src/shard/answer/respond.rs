//! Whole answers that the gateway gives itself. Pure: bytes are appended to the connection's buffer.

use super::head::{self, Frame, Labels, encoded_header, header};
use super::refusal::Refusal;
use crate::cache::CachedAnswer;
use crate::http::head::Version;
use crate::link::ApiAnswer;
use crate::names;
use crate::shard::ground::Date;
use crate::units::MicroUsd;

/// The media type of everything that is not a stream.
pub(crate) const JSON: &str = "application/json";

/// Appends an answer from the cache.
pub(crate) fn hit(entry: &CachedAnswer, labels: &Labels<'_>, frame: &Frame, date: &Date, out: &mut Vec<u8>) {
    head::open(200, frame, date, out);
    header("Content-Type", entry.content_type.as_bytes(), out);
    labels.write("HIT", out);
    head::cost(MicroUsd(0), out);
    head::length(entry.body.len(), out);
    out.extend_from_slice(&entry.body);
}

/// Appends a 200 with a JSON body.
pub(crate) fn json(body: &[u8], frame: &Frame, date: &Date, out: &mut Vec<u8>) {
    head::open(200, frame, date, out);
    header("Content-Type", JSON.as_bytes(), out);
    head::length(body.len(), out);
    if !frame.head_only {
        out.extend_from_slice(body);
    }
}

/// Appends an answer of the coordinator's, which no cache may keep. Of an answer that is a stream, appends the head and the
/// first piece.
pub(crate) fn api(answer: &ApiAnswer, frame: &Frame, date: &Date, out: &mut Vec<u8>) {
    head::open(answer.status, frame, date, out);
    for (name, value) in &answer.headers {
        header(name, value.as_bytes(), out);
    }
    header("Cache-Control", b"no-store", out);
    if answer.status == 204 {
        out.extend_from_slice(b"\r\n");
        return;
    }
    header("Content-Type", answer.content_type.as_bytes(), out);
    header("X-Content-Type-Options", b"nosniff", out);
    match (&answer.stream, frame.version) {
        (None, _) => head::length(answer.body.len(), out),
        (Some(_), Version::Http11) => {
            header("Transfer-Encoding", b"chunked", out);
            out.extend_from_slice(b"\r\n");
        }
        // The end of the connection is the end of the body.
        (Some(_), Version::Http10) => out.extend_from_slice(b"\r\n"),
    }
    if frame.head_only || answer.body.is_empty() {
        return;
    }
    match answer.stream.is_some() && frame.version == Version::Http11 {
        true => head::chunk(&answer.body, out),
        false => out.extend_from_slice(&answer.body),
    }
}

/// Appends a refusal.
pub(crate) fn refusal(refusal: &Refusal, frame: &Frame, date: &Date, out: &mut Vec<u8>) {
    let row = refusal.row();
    let mut body = Vec::new();
    refusal.write_body(&mut body);
    head::open(row.status, frame, date, out);
    header("Content-Type", JSON.as_bytes(), out);
    refusal.write_retry_headers(out);
    if let Some(policy) = refusal.policy() {
        encoded_header(names::POLICY, policy, out);
    }
    if row.status == 403 {
        // OpenAI's SDKs obey this header before their own rules: the same request would be refused again.
        header(names::SHOULD_RETRY, b"false", out);
    }
    if let Some(allowed) = refusal.allowed() {
        header("Allow", allowed.as_bytes(), out);
    }
    head::length(body.len(), out);
    if !frame.head_only {
        out.extend_from_slice(&body);
    }
}
