//! Heads of answers, and whole answers that the gateway gives itself. Pure: bytes are appended to the connection's buffer,
//! whoever calls writes them out in one go.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use crate::cache::Entry;
use crate::clock::Now;
use crate::http::body;
use crate::http::head::Version;
use crate::link::ApiAnswer;
use crate::names;
use crate::shard::Shard;
use crate::shard::answer::refusal::Refusal;
use crate::units::MicroUsd;

/// The `Date` of answers, formatted once a second (RFC 9110 section 6.6.1).
#[derive(Default)]
pub(crate) struct Date {
    second: u64,
    text: String,
}

impl Date {
    /// Brings the text up to date.
    pub(crate) fn refresh(&mut self, now: Now) {
        let second = now.wall_ms / 1000;
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
        }
    }
}

/// Short text of visible ASCII that needs no allocation: a request id.
#[derive(Clone, Copy)]
pub(crate) struct Token {
    len: u8,
    bytes: [u8; Token::BYTES_MAX],
}

impl Token {
    /// Longest id of a caller's that is kept. Arbitrary; OpenAI's are 40 long.
    pub(crate) const BYTES_MAX: usize = 128;

    /// The caller's id, when it is visible ASCII of a sane length.
    pub(crate) fn sane(text: &[u8]) -> Option<Token> {
        let sane = !text.is_empty() && text.len() <= Token::BYTES_MAX && text.iter().all(u8::is_ascii_graphic);
        let len = u8::try_from(text.len()).ok().filter(|_| sane)?;
        let mut bytes = [0; Token::BYTES_MAX];
        bytes.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        Some(Token { len, bytes })
    }

    /// An id of our own.
    pub(crate) fn made(random: u128) -> Token {
        let mut text = *b"req_00000000000000000000000000000000";
        text.iter_mut().skip(4).zip(hex(random)).for_each(|(to, from)| *to = from);
        Token::sane(&text).unwrap_or(Token { len: 0, bytes: [0; Token::BYTES_MAX] })
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// 32 lower-case hex digits.
pub(crate) fn hex(value: u128) -> [u8; 32] {
    let mut out = [0; 32];
    for (index, digit) in out.iter_mut().enumerate() {
        let nibble = (value >> (124 - 4 * index)) & 0xf;
        *digit = char::from_digit(nibble as u32, 16).map_or(b'0', |c| c as u8);
    }
    out
}

/// What the request decides about the form of its answer.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// Whether the connection may serve another request.
    pub(crate) keep_alive: bool,
    /// An HTTP/1.0 client knows no chunks.
    pub(crate) version: Version,
    /// The request was a HEAD: the answer has no body.
    pub(crate) head_only: bool,
    /// `X-Request-Id`.
    pub(crate) request_id: Option<Token>,
    /// `X-Luner-Trace-Id`.
    pub(crate) trace_id: Option<[u8; 32]>,
}

impl Frame {
    /// As it is by now: the shard may have begun to drain since the request came.
    pub(crate) fn as_of(&self, shard: &Shard) -> Frame {
        Frame { keep_alive: self.keep_alive && !shard.is_draining(), ..*self }
    }

    /// For answers to what was no request, after which the connection closes.
    pub(crate) fn closing() -> Frame {
        Frame { keep_alive: false, version: Version::Http11, head_only: false, request_id: None, trace_id: None }
    }
}

/// Starts a head: status line, date, ids.
pub(crate) fn open(status: u16, frame: &Frame, date: &Date, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    header("Date", date.text.as_bytes(), out);
    if let Some(id) = &frame.request_id {
        header(names::REQUEST_ID, id.as_bytes(), out);
    }
    if let Some(id) = &frame.trace_id {
        header(names::TRACE_ID, id, out);
    }
    match (frame.keep_alive, frame.version) {
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (true, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (true, Version::Http11) => {}
    }
}

/// Appends one header line. `value` must hold no CR or LF.
pub(crate) fn header(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a header whose value came from outside: what is not visible ASCII is percent-encoded, so that it can neither
/// split the head nor be mistaken.
pub(crate) fn encoded_header(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(byte);
        } else {
            out.push(b'%');
            out.extend([byte >> 4, byte & 0xf].map(|n| b"0123456789ABCDEF"[usize::from(n)]));
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Who answered, as the answer's head says it.
pub(crate) struct Labels<'a> {
    pub(crate) provider: &'a str,
    /// The effective one.
    pub(crate) model: &'a str,
    /// The policy that changed it.
    pub(crate) policy: Option<&'a str>,
}

impl Labels<'_> {
    /// Appends them, and what the cache had to do with it: HIT, MISS or BYPASS.
    pub(crate) fn write(&self, cache: &str, out: &mut Vec<u8>) {
        header(names::PROVIDER, self.provider.as_bytes(), out);
        encoded_header(names::MODEL, self.model, out);
        header(names::CACHE, cache.as_bytes(), out);
        if let Some(policy) = self.policy {
            encoded_header(names::POLICY, policy, out);
        }
    }
}

/// A whole answer from the cache.
pub(crate) fn hit(entry: &Entry, labels: &Labels<'_>, frame: &Frame, date: &Date, out: &mut Vec<u8>) {
    open(200, frame, date, out);
    header("Content-Type", entry.content_type.as_bytes(), out);
    labels.write("HIT", out);
    cost(MicroUsd(0), out);
    length(entry.body.len(), out);
    out.extend_from_slice(&entry.body);
}

/// Appends what the request cost, in dollars.
pub(crate) fn cost(amount: MicroUsd, out: &mut Vec<u8>) {
    write!(out, "{}: {amount}\r\n", names::COST_USD).expect("a Vec takes all that is written to it");
}

/// Room before a head for the line that says what the request cost, which is known only when the body has come, and that
/// stands right behind the head.
pub(crate) struct CostRoom {
    /// Where the line is to be put: the end of the head as it was when the room was made.
    end: usize,
}

impl CostRoom {
    /// Enough for the line with the largest amount there is.
    const BYTES: usize = 64;

    /// Makes room before what stands in `out`, a head up to the end of a line.
    pub(crate) fn open(out: &mut Vec<u8>) -> CostRoom {
        out.splice(..0, [0; CostRoom::BYTES]);
        CostRoom { end: out.len() }
    }

    /// Moves the head into the room and puts the line behind it. From which byte on `out` is to be sent.
    pub(crate) fn fill(self, amount: MicroUsd, out: &mut [u8]) -> usize {
        let mut line = Vec::with_capacity(CostRoom::BYTES);
        cost(amount, &mut line);
        let from = CostRoom::BYTES.saturating_sub(line.len());
        out.copy_within(CostRoom::BYTES..self.end, from);
        if let Some(freed) = out.get_mut(self.end - line.len()..self.end) {
            freed.copy_from_slice(&line);
        }
        from
    }
}

/// Ends a head with the body's length.
pub(crate) fn length(bytes: usize, out: &mut Vec<u8>) {
    header("Content-Length", itoa::Buffer::new().format(bytes).as_bytes(), out);
    out.extend_from_slice(b"\r\n");
}

/// A whole answer with a body.
pub(crate) fn answer(status: u16, content_type: &str, body: &[u8], frame: &Frame, date: &Date, out: &mut Vec<u8>) {
    open(status, frame, date, out);
    header("Content-Type", content_type.as_bytes(), out);
    length(body.len(), out);
    if !frame.head_only {
        out.extend_from_slice(body);
    }
}

/// A whole answer of the coordinator's. Nothing in it is for a cache to keep.
pub(crate) fn api(answer: &ApiAnswer, frame: &Frame, date: &Date, out: &mut Vec<u8>) {
    open(answer.status, frame, date, out);
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
        (None, _) => length(answer.body.len(), out),
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
        true => chunk(&answer.body, out),
        false => out.extend_from_slice(&answer.body),
    }
}

/// Appends one chunk of a body.
pub(crate) fn chunk(payload: &[u8], out: &mut Vec<u8>) {
    body::chunk_header(payload.len(), out);
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// A whole refusal.
pub(crate) fn refusal(refusal: &Refusal, frame: &Frame, date: &Date, out: &mut Vec<u8>) {
    let row = refusal.row();
    let mut body = Vec::new();
    refusal.write_body(&mut body);
    open(row.status, frame, date, out);
    header("Content-Type", JSON.as_bytes(), out);
    refusal.write_waiting(out);
    if let Some(policy) = refusal.policy() {
        encoded_header(names::POLICY, policy, out);
    }
    if row.status == 403 {
        // What OpenAI's SDKs obey before their own rules: the same request would be refused again.
        header(names::SHOULD_RETRY, b"false", out);
    }
    if let Some(allowed) = refusal.allowed() {
        header("Allow", allowed.as_bytes(), out);
    }
    length(body.len(), out);
    if !frame.head_only {
        out.extend_from_slice(&body);
    }
}

/// The media type of everything that is not a stream.
pub(crate) const JSON: &str = "application/json";

/// The usual reason phrase; empty where there is none (RFC 9112 section 4 allows that).
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_cannot_split_the_head() {
        let mut out = Vec::new();
        encoded_header("X-Luner-Model", "a\r\nSet-Cookie: x=1\u{e9}%", &mut out);
        assert_eq!(out, b"X-Luner-Model: a%0D%0ASet-Cookie:%20x=1%C3%A9%25\r\n");
    }

    #[test]
    fn a_request_id_with_spaces_or_of_great_length_is_not_kept() {
        assert!(Token::sane(b"a b").is_none());
        assert!(Token::sane(b"").is_none());
        assert!(Token::sane(&[b'a'; 129]).is_none());
        assert_eq!(Token::sane(&[b'a'; 128]).unwrap().as_bytes(), [b'a'; 128]);
    }

    #[test]
    fn a_made_request_id_is_hexadecimal() {
        assert_eq!(Token::made(0xab).as_bytes(), b"req_000000000000000000000000000000ab");
    }

    #[test]
    fn the_cost_stands_behind_the_head_and_before_the_length() {
        for amount in [MicroUsd(0), MicroUsd(1_234_567), MicroUsd(i64::MAX)] {
            let mut out = b"HTTP/1.1 200 OK\r\nDate: x\r\n".to_vec();
            let room = CostRoom::open(&mut out);
            out.extend_from_slice(b"Content-Length: 2\r\n\r\nhi");
            let from = room.fill(amount, &mut out);
            let expected =
                format!("HTTP/1.1 200 OK\r\nDate: x\r\nX-Luner-Cost-Usd: {amount}\r\nContent-Length: 2\r\n\r\nhi");
            assert_eq!(String::from_utf8_lossy(&out[from..]), expected);
        }
    }

    #[test]
    fn the_date_changes_with_the_second() {
        let mut date = Date::default();
        date.refresh(Now { mono_ns: 0, wall_ms: 784_887_151_000 });
        assert_eq!(date.text, "Tue, 15 Nov 1994 08:12:31 GMT");
        date.refresh(Now { mono_ns: 0, wall_ms: 784_887_152_500 });
        assert_eq!(date.text, "Tue, 15 Nov 1994 08:12:32 GMT");
    }
}
