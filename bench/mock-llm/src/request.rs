//! Reads requests from a socket: the head with httparse, the body by length or chunks, into one buffer per connection.
//! Owned by the connection's thread. Trusts no input, but is less strict than luner: it reports what arrived, so that a
//! test can see what a gateway let through.

use std::io::{self, Read};
use std::net::TcpStream;
use std::ops::Range;

use crate::fault::BadFault;
use crate::settings::Settings;

/// The head of the request at the start of the buffer. Ranges are offsets into the buffer.
#[derive(Debug)]
pub struct Head {
    pub method: Range<usize>,
    pub target: Range<usize>,
    pub authorization: Option<Range<usize>>,
    /// Bytes of the head, with its empty line.
    pub len: usize,
    pub http10: bool,
    pub keep_alive: bool,
    pub expects_continue: bool,
    pub settings: Settings,
    body: Framing,
}

#[derive(Debug)]
enum Framing {
    Length(usize),
    Chunked,
}

#[derive(Debug)]
pub enum ReadError {
    /// The peer left, between requests or within one.
    Gone,
    /// The request is malformed: answer 400 with this text and close.
    Bad(String),
}

impl From<io::Error> for ReadError {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl From<BadFault> for ReadError {
    fn from(e: BadFault) -> Self {
        Self::Bad(e.0)
    }
}

#[derive(Debug)]
pub struct Reader {
    buf: Vec<u8>,
    end: usize,
}

impl Reader {
    pub fn new() -> Self {
        Self { buf: vec![0; BUFFER_BYTES], end: 0 }
    }

    /// Whether no byte of the next request has been read.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.buf.get(range.clone()).unwrap_or_default()
    }

    /// Bytes from the peer as text. Empty if they are not UTF-8.
    pub fn text(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(self.bytes(range)).unwrap_or_default()
    }

    pub fn head(&mut self, stream: &TcpStream) -> Result<Head, ReadError> {
        loop {
            if let Some(head) = self.parsed()? {
                return Ok(head);
            }
            self.fill(stream)?;
        }
    }

    /// The head, if it has been read whole.
    pub fn parsed(&self) -> Result<Option<Head>, ReadError> {
        let head = parse_head(self.buf.get(..self.end).unwrap_or_default())?;
        if head.is_none() && self.end > HEAD_BYTES_MAX {
            return Err(ReadError::Bad("request head too large".to_owned()));
        }
        Ok(head)
    }

    /// The range of a body that has a length and needs no 100 before it. `None` for any other body.
    pub fn plain_body(&self, head: &Head) -> Option<Range<usize>> {
        match head.body {
            Framing::Length(len) if len <= BODY_BYTES_MAX && !head.expects_continue => Some(head.len..head.len + len),
            _ => None,
        }
    }

    /// Whether everything up to the end of that range has been read.
    pub fn holds(&self, range: &Range<usize>) -> bool {
        range.end <= self.end
    }

    /// Reads the body. Returns its range, and the bytes of the whole request for [`Reader::consume`].
    pub fn body(&mut self, stream: &TcpStream, head: &Head) -> Result<(Range<usize>, usize), ReadError> {
        match head.body {
            Framing::Length(len) if len > BODY_BYTES_MAX => Err(ReadError::Bad("request body too large".to_owned())),
            Framing::Length(len) => {
                let all = head.len + len;
                while self.end < all {
                    self.fill(stream)?;
                }
                Ok((head.len..all, all))
            }
            Framing::Chunked => self.chunked(stream, head.len),
        }
    }

    /// Drops the answered request and moves the bytes after it to the front.
    pub fn consume(&mut self, used: usize) {
        let used = used.min(self.end);
        self.buf.copy_within(used..self.end, 0);
        self.end -= used;
    }

    /// Decodes chunks in place: the body grows from `start` and overwrites the framing.
    fn chunked(&mut self, stream: &TcpStream, start: usize) -> Result<(Range<usize>, usize), ReadError> {
        let (mut body_end, mut at) = (start, start);
        loop {
            let unread = self.buf.get(at..self.end).unwrap_or_default();
            let (line, size) = match httparse::parse_chunk_size(unread) {
                Ok(httparse::Status::Complete((line, size))) => (line, usize::try_from(size).unwrap_or(usize::MAX)),
                Ok(httparse::Status::Partial) => {
                    self.fill(stream)?;
                    continue;
                }
                Err(_) => return Err(ReadError::Bad("bad chunk size".to_owned())),
            };
            at += line;
            if size == 0 {
                return Ok((start..body_end, self.after_trailers(stream, at)?));
            }
            if size > BODY_BYTES_MAX - (body_end - start) {
                return Err(ReadError::Bad("request body too large".to_owned()));
            }
            while self.end < at + size + CRLF {
                self.fill(stream)?;
            }
            self.buf.copy_within(at..at + size, body_end);
            body_end += size;
            at += size + CRLF;
        }
    }

    /// Skips trailer lines and the empty line. Returns where the next request begins.
    fn after_trailers(&mut self, stream: &TcpStream, mut at: usize) -> Result<usize, ReadError> {
        loop {
            let unread = self.buf.get(at..self.end).unwrap_or_default();
            match unread.iter().position(|byte| *byte == b'\n') {
                Some(line) => {
                    at += line + 1;
                    if line < CRLF {
                        return Ok(at);
                    }
                }
                None if unread.len() > HEAD_BYTES_MAX => {
                    return Err(ReadError::Bad("trailers too large".to_owned()));
                }
                None => self.fill(stream)?,
            }
        }
    }

    /// Reads once. The end of the input is [`ReadError::Gone`].
    pub fn fill(&mut self, mut stream: &TcpStream) -> Result<(), ReadError> {
        if self.end == self.buf.len() {
            self.buf.resize(self.buf.len() * 2, 0);
        }
        loop {
            match stream.read(self.buf.get_mut(self.end..).unwrap_or_default()) {
                Ok(0) => return Err(ReadError::Gone),
                Ok(n) => {
                    self.end += n;
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Returns `None` while the head is incomplete.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, ReadError> {
    // Clearing an array of the maximum size would take longer than parsing a usual head.
    match parse_head_of::<HEADERS_USUAL>(bytes) {
        Err(httparse::Error::TooManyHeaders) => parse_head_of::<HEADERS_MAX>(bytes),
        parsed => parsed,
    }
    .unwrap_or_else(|e| Err(ReadError::Bad(format!("bad request head: {e}"))))
}

/// The outer error is a syntax error of the parser, the inner one an unusable header.
fn parse_head_of<const N: usize>(bytes: &[u8]) -> Result<Result<Option<Head>, ReadError>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; N];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(len) = request.parse(bytes)? else {
        return Ok(Ok(None));
    };
    let http10 = request.version == Some(0);
    let mut head = Head {
        method: range_within(bytes, request.method.unwrap_or_default().as_bytes()),
        target: range_within(bytes, request.path.unwrap_or_default().as_bytes()),
        authorization: None,
        len,
        http10,
        keep_alive: !http10,
        expects_continue: false,
        settings: Settings::default(),
        body: Framing::Length(0),
    };
    for header in request.headers.iter() {
        if let Err(e) = apply_header(&mut head, bytes, header) {
            return Ok(Err(e));
        }
    }
    Ok(Ok(Some(head)))
}

fn apply_header(head: &mut Head, bytes: &[u8], header: &httparse::Header<'_>) -> Result<(), ReadError> {
    let is = |name: &str| header.name.eq_ignore_ascii_case(name);
    let value = || std::str::from_utf8(header.value).unwrap_or_default().trim();
    // This runs for every header of every request, so the first byte is checked before a name is compared.
    match header.name.as_bytes().first().map(u8::to_ascii_lowercase) {
        Some(b'c') if is("content-length") => {
            let len = value().parse().map_err(|_| ReadError::Bad("bad content-length".to_owned()))?;
            if !matches!(head.body, Framing::Chunked) {
                head.body = Framing::Length(len);
            }
        }
        Some(b'c') if is("connection") => {
            let has = |token: &str| value().split(',').any(|part| part.trim().eq_ignore_ascii_case(token));
            head.keep_alive = !has("close") && (head.keep_alive || has("keep-alive"));
        }
        Some(b't') if is("transfer-encoding") => {
            if !value().eq_ignore_ascii_case("chunked") {
                return Err(ReadError::Bad("transfer-encoding other than chunked".to_owned()));
            }
            head.body = Framing::Chunked;
        }
        Some(b'e') if is("expect") => head.expects_continue = value().eq_ignore_ascii_case("100-continue"),
        Some(b'a') if is("authorization") => head.authorization = Some(range_within(bytes, header.value)),
        Some(b'x') => {
            let prefix = header.name.get(..MOCK_PREFIX.len()).unwrap_or_default();
            if prefix.eq_ignore_ascii_case(MOCK_PREFIX) {
                let name = header.name.get(MOCK_PREFIX.len()..).unwrap_or_default().to_ascii_lowercase();
                head.settings.set(&name, value())?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The range of `part` within `whole`, of which it must be a slice.
fn range_within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

/// The headers of a head that has been parsed before, with names in lower case. The ledger asks for them later.
pub fn headers_of(head: &[u8]) -> Vec<(String, String)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let _ = request.parse(head); // It parsed when it arrived.
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    request.headers.iter().map(|h| (h.name.to_ascii_lowercase(), text(h.value))).collect()
}

const MOCK_PREFIX: &str = "x-mock-";
const CRLF: usize = 2;
/// Initial size of the buffer. Arbitrary: a usual chat request fits into one read.
const BUFFER_BYTES: usize = 16 << 10;
/// Number of headers that SDKs and gateways stay below. The other three limits are arbitrary, and wider than luner's,
/// so that the mock never refuses what luner let through.
const HEADERS_USUAL: usize = 32;
const HEADERS_MAX: usize = 256;
const HEAD_BYTES_MAX: usize = 256 << 10;
const BODY_BYTES_MAX: usize = 256 << 20;
