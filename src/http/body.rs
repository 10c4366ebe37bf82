//! A message's body, taken off the wire: by length, in chunks, or until the peer closes.
//! One per message, owned by its shard. It never reads past the body's last byte, never repairs a chunk
//! (every repair is a smuggled request somewhere) and holds no payload of its own.

use std::fmt;

use super::head::Framing;
use super::head_error::is_token_byte;

/// One chunk-size line, without its CRLF: 16 digits and room for extensions. The longest in real use is AWS's
/// `chunk-signature`, 86 bytes; ten times that.
pub const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// All chunk extensions of one body together. They carry nothing for us, so a peer that sends more is wasting our
/// time, not its own (Go's CVE-2023-39326). 16 KiB is what hyper and Node allow.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// The whole trailer section. We drop it; 16 KiB is what hyper allows.
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// One chunk's size: 1 TiB. Arbitrary, far over any body that a limit lets pass, far under where sums overflow.
pub const CHUNK_BYTES_MAX: u64 = 1 << 40;

/// What ends a chunked body that has no trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Digits of a chunk's size, leading zeros included: as many as 64 bits need.
const CHUNK_SIZE_DIGITS_MAX: usize = 16;
const _: () = assert!(CHUNK_SIZE_DIGITS_MAX < CHUNK_LINE_BYTES_MAX);
const _: () = assert!(CHUNK_LINE_BYTES_MAX < CHUNK_EXTENSION_BYTES_MAX);

/// Why a body was refused. The connection cannot be used any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyError {
    ChunkSizeMissing,
    ChunkSizeNotHex,
    ChunkTooLarge,
    ChunkLineTooLong,
    ChunkLineEnd,
    ChunkExtension,
    ChunkExtensionsTooLong,
    ChunkDataEnd,
    Trailer,
    TrailersTooLong,
    /// The peer closed before the announced length had come.
    LengthCutShort,
    /// The peer closed before the last chunk had come.
    ChunksCutShort,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::ChunkSizeMissing => "a chunk without a size",
            BodyError::ChunkSizeNotHex => "a chunk size that is not a hexadecimal number",
            BodyError::ChunkTooLarge => "a chunk size beyond any limit",
            BodyError::ChunkLineTooLong => "a chunk-size line that is too long",
            BodyError::ChunkLineEnd => "a chunk-size line that does not end with CRLF",
            BodyError::ChunkExtension => "a malformed chunk extension",
            BodyError::ChunkExtensionsTooLong => "too many bytes of chunk extensions",
            BodyError::ChunkDataEnd => "a chunk that is not followed by CRLF",
            BodyError::Trailer => "a malformed trailer",
            BodyError::TrailersTooLong => "too many bytes of trailers",
            BodyError::LengthCutShort => "the body ended before its announced length",
            BodyError::ChunksCutShort => "the body ended before its last chunk",
        })
    }
}

impl std::error::Error for BodyError {}

/// Takes the framing off a body, in pieces of any size.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    /// Of the size line or the trailer section that is being read.
    line_bytes: usize,
    /// Of the whole body.
    extension_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Done,
    /// Sticky: a body that was wrong once stays wrong.
    Failed(BodyError),
    Length(u64),
    UntilClose,
    SizeStart,
    Size(u64),
    Extension(Extension, u64),
    SizeLf(u64),
    /// Never 0.
    Data(u64),
    DataCr,
    DataLf,
    Trailer(Trailer),
}

/// Where in `*( ";" chunk-ext-name [ "=" chunk-ext-val ] )` (RFC 9112 §7.1.1). The white space that the RFC lets a
/// recipient tolerate there is refused: nothing sends it but attacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extension {
    NameStart,
    Name,
    ValueStart,
    Value,
    Quoted,
    QuotedPair,
    QuoteClosed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trailer {
    LineStart,
    Name,
    Value,
    LineLf,
    LastLf,
}

impl BodyDecoder {
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(bytes) => State::Length(bytes),
            Framing::Chunked => State::SizeStart,
            Framing::UntilClose => State::UntilClose,
        };
        BodyDecoder { state, line_bytes: 0, extension_bytes: 0 }
    }

    /// Appends payload to `out` and returns how many bytes of `input` belong to this body: all of them, unless the
    /// body ends within. The rest is the next message's. Payload in front of an error is appended too.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, BodyError> {
        let mut rest = input;
        loop {
            match self.state {
                State::Failed(error) => return Err(error),
                State::Done => return Ok(input.len() - rest.len()),
                _ if rest.is_empty() => return Ok(input.len()),
                State::UntilClose => {
                    out.extend_from_slice(rest);
                    return Ok(input.len());
                }
                State::Length(left) => {
                    let left = take(&mut rest, left, out);
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                }
                State::Data(left) => {
                    let left = take(&mut rest, left, out);
                    self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                }
                state => {
                    let Some((byte, after)) = rest.split_first() else {
                        return Ok(input.len());
                    };
                    rest = after;
                    self.state = self.step(state, *byte).unwrap_or_else(State::Failed);
                }
            }
        }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The peer closed: `Ok` only where that is a legal end.
    pub fn end_of_input(&self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::UntilClose => Ok(()),
            State::Failed(error) => Err(error),
            State::Length(_) => Err(BodyError::LengthCutShort),
            _ => Err(BodyError::ChunksCutShort),
        }
    }

    /// Payload bytes still to come, where the head announced them.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// One byte of chunk framing.
    fn step(&mut self, state: State, byte: u8) -> Result<State, BodyError> {
        match state {
            State::SizeStart => {
                self.line_bytes = 1;
                let digit = hex(byte).ok_or(match byte {
                    b'\r' | b'\n' | b';' => BodyError::ChunkSizeMissing,
                    _ => BodyError::ChunkSizeNotHex,
                })?;
                Ok(State::Size(digit))
            }
            State::Size(size) => self.size(size, byte),
            State::Extension(extension, size) => {
                self.line_bytes += 1;
                self.extension_bytes += 1;
                if self.line_bytes > CHUNK_LINE_BYTES_MAX {
                    return Err(BodyError::ChunkLineTooLong);
                }
                if self.extension_bytes > CHUNK_EXTENSION_BYTES_MAX {
                    return Err(BodyError::ChunkExtensionsTooLong);
                }
                extension.step(byte, size)
            }
            State::SizeLf(size) => match (byte, size) {
                (b'\n', 0) => {
                    self.line_bytes = 0;
                    Ok(State::Trailer(Trailer::LineStart))
                }
                (b'\n', size) => Ok(State::Data(size)),
                _ => Err(BodyError::ChunkLineEnd),
            },
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::SizeStart),
            State::DataCr | State::DataLf => Err(BodyError::ChunkDataEnd),
            State::Trailer(trailer) => {
                self.line_bytes += 1;
                if self.line_bytes > TRAILER_BYTES_MAX {
                    return Err(BodyError::TrailersTooLong);
                }
                trailer.step(byte)
            }
            // These take no framing byte; `feed` handles them.
            State::Done | State::Failed(_) | State::Length(_) | State::UntilClose | State::Data(_) => Ok(state),
        }
    }

    fn size(&mut self, size: u64, byte: u8) -> Result<State, BodyError> {
        self.line_bytes += 1;
        match byte {
            b'\r' => Ok(State::SizeLf(size)),
            b'\n' => Err(BodyError::ChunkLineEnd),
            b';' => Ok(State::Extension(Extension::NameStart, size)),
            _ => {
                let digit = hex(byte).ok_or(BodyError::ChunkSizeNotHex)?;
                let longer = size.checked_mul(16).and_then(|size| size.checked_add(digit));
                match longer {
                    Some(size) if size <= CHUNK_BYTES_MAX && self.line_bytes <= CHUNK_SIZE_DIGITS_MAX => {
                        Ok(State::Size(size))
                    }
                    _ => Err(BodyError::ChunkTooLarge),
                }
            }
        }
    }
}

impl Extension {
    fn step(self, byte: u8, size: u64) -> Result<State, BodyError> {
        let next = match (self, byte) {
            (Extension::Name | Extension::Value | Extension::QuoteClosed, b'\r') => {
                return Ok(State::SizeLf(size));
            }
            (Extension::Name | Extension::Value | Extension::QuoteClosed, b';') => Extension::NameStart,
            (Extension::Name, b'=') => Extension::ValueStart,
            (Extension::ValueStart, b'"') => Extension::Quoted,
            (Extension::Quoted, b'"') => Extension::QuoteClosed,
            (Extension::Quoted, b'\\') => Extension::QuotedPair,
            // A line end inside quotes is refused like any control byte, so quotes cannot hide one.
            (Extension::Quoted | Extension::QuotedPair, _) if is_text(byte) => Extension::Quoted,
            (Extension::NameStart | Extension::Name, _) if is_token_byte(&byte) => Extension::Name,
            (Extension::ValueStart | Extension::Value, _) if is_token_byte(&byte) => Extension::Value,
            (_, b'\n') => return Err(BodyError::ChunkLineEnd),
            _ => return Err(BodyError::ChunkExtension),
        };
        Ok(State::Extension(next, size))
    }
}

impl Trailer {
    /// The trailers are dropped (RFC 9110 §6.5.1 allows it), but their lines must be lines: what a lenient parser
    /// would read as the next request must not pass here as a trailer.
    fn step(self, byte: u8) -> Result<State, BodyError> {
        let next = match (self, byte) {
            (Trailer::LineStart, b'\r') => Trailer::LastLf,
            (Trailer::LineStart | Trailer::Name, _) if is_token_byte(&byte) => Trailer::Name,
            (Trailer::Name, b':') => Trailer::Value,
            (Trailer::Value, b'\r') => Trailer::LineLf,
            (Trailer::Value, _) if is_text(byte) => Trailer::Value,
            (Trailer::LineLf, b'\n') => Trailer::LineStart,
            (Trailer::LastLf, b'\n') => return Ok(State::Done),
            _ => return Err(BodyError::Trailer),
        };
        Ok(State::Trailer(next))
    }
}

/// Moves up to `left` bytes from `rest` to `out`; returns how many are still to come.
fn take(rest: &mut &[u8], left: u64, out: &mut Vec<u8>) -> u64 {
    // More than `usize::MAX` bytes are never in one buffer.
    let wanted = usize::try_from(left).unwrap_or(usize::MAX);
    let (payload, after) = rest.split_at_checked(wanted).unwrap_or((rest, &[]));
    out.extend_from_slice(payload);
    *rest = after;
    left - payload.len() as u64
}

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

/// Tab, space, visible ASCII, and bytes from 0x80 (RFC 9110 §5.5).
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Writes the size line of a chunk: `1a\r\n`. A chunk of 0 bytes would end the body, so for it nothing is written.
pub fn chunk_header(len: usize, out: &mut Vec<u8>) {
    if len == 0 {
        return;
    }
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for position in (0..digits).rev() {
        let digit = (len >> (position * 4)) & 0xf;
        out.push(char::from_digit(digit as u32, 16).map_or(b'0', |digit| digit as u8));
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
