//! Decodes a message's body: by length, in chunks, or until the peer closes.
//! One decoder per message, owned by its shard. It holds no payload of its own.
//! Never reads past the body's last byte and never repairs a chunk: every repair enables request smuggling somewhere.

use std::fmt;

use super::head_error::is_token_byte;
use super::message::Framing;

/// Longest chunk-size line without its CRLF: 16 digits and room for extensions. The longest in real use is AWS's
/// `chunk-signature` with 86 bytes; this is more than ten times as much.
pub const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// Most bytes of chunk extensions in one body. Luner ignores them, so a peer that sends many wastes luner's time and not
/// its own (Go's CVE-2023-39326). hyper and Node allow 16 KiB too.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// Largest trailer section. Luner drops it; hyper allows 16 KiB too.
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// Largest chunk: 1 TiB. Arbitrary: far above any body that a limit lets pass, far below an overflow of sums.
pub const CHUNK_BYTES_MAX: u64 = 1 << 40;

/// The last chunk, with an empty trailer section: ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Most digits of a chunk's size, including leading zeros: 64 bits need 16.
const CHUNK_SIZE_DIGITS_MAX: usize = 16;
const _: () = assert!(CHUNK_SIZE_DIGITS_MAX < CHUNK_LINE_BYTES_MAX);
const _: () = assert!(CHUNK_LINE_BYTES_MAX < CHUNK_EXTENSION_BYTES_MAX);

/// The reason for which a body was refused. The connection must be closed.
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
    /// The peer closed before it had sent the announced length.
    LengthCutShort,
    /// The peer closed before it had sent the last chunk.
    ChunksCutShort,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::ChunkSizeMissing => "a chunk without a size",
            BodyError::ChunkSizeNotHex => "a chunk size that is not a hexadecimal number",
            BodyError::ChunkTooLarge => "a chunk size above any limit",
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

/// Removes the framing from a body that arrives in pieces of any size.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    /// Length so far of the size line or the trailer section that is being read.
    line_bytes: usize,
    /// Bytes of chunk extensions in the whole body so far.
    extension_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Done,
    /// Final: no input can mend a body that was refused.
    Failed(BodyError),
    /// Payload bytes still to come.
    Length(u64),
    UntilClose,
    SizeStart,
    Size(u64),
    Extension(Extension, u64),
    SizeLf(u64),
    /// Bytes of the chunk still to come; never 0.
    Data(u64),
    DataCr,
    DataLf,
    Trailer(Trailer),
}

/// The position in `*( ";" chunk-ext-name [ "=" chunk-ext-val ] )` (RFC 9112 §7.1.1). White space, which the RFC lets a
/// recipient tolerate here, is refused: only attacks send it.
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

    /// Appends the payload in `input` to `out`. Returns the number of bytes of `input` that belong to this body: all of
    /// them, unless the body ends within; the rest belongs to the next message. Payload before an error is appended too.
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
                    let left = move_payload(&mut rest, left, out);
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                }
                State::Data(left) => {
                    let left = move_payload(&mut rest, left, out);
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

    /// Must be called when the peer closes. Returns `Ok` only if the body may end here.
    pub fn end_of_input(&self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::UntilClose => Ok(()),
            State::Failed(error) => Err(error),
            State::Length(_) => Err(BodyError::LengthCutShort),
            _ => Err(BodyError::ChunksCutShort),
        }
    }

    /// Payload bytes still to come; `None` if the head did not announce the length.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Consumes one byte of chunk framing.
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
            // Unreachable: `feed` handles the states that consume no framing byte.
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
            // A line end inside quotes is refused like any control byte, so that quotes cannot hide one.
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
    /// Luner drops the trailers (RFC 9110 §6.5.1 allows it), but checks their syntax: text that a lenient parser would
    /// read as the next request must not pass here as a trailer.
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

/// Moves up to `left` bytes from `rest` to `out`. Returns the number of bytes still to come.
fn move_payload(rest: &mut &[u8], left: u64, out: &mut Vec<u8>) -> u64 {
    // A buffer never holds more than `usize::MAX` bytes.
    let wanted = usize::try_from(left).unwrap_or(usize::MAX);
    let (payload, after) = rest.split_at_checked(wanted).unwrap_or((rest, &[]));
    out.extend_from_slice(payload);
    *rest = after;
    left - payload.len() as u64
}

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

/// True for tab, space, visible ASCII and bytes from 0x80 (RFC 9110 §5.5).
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Writes the size line of a chunk, such as `1a\r\n`. Writes nothing for 0 bytes, because an empty chunk would end the
/// body.
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
