//! Every fault of the mock, by name. The names are an interface: tests, the command line, headers, model names and the
//! control endpoint use them. `wire` has the effect of each fault on the bytes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    // No answer, or only its beginning.
    Hang,
    ResetBefore,
    CloseBefore,
    ResetHead,
    ResetMidBody,
    CloseMidBody,
    ResetMidStream(usize),
    CloseMidStream(usize),
    // Another status.
    Status(u16),
    RateLimit(Option<String>),
    Redirect(String),
    EarlyResponse,
    NoContent,
    // Not HTTP/1.1, or an oversized head.
    GarbageStatus,
    Http09,
    H2Preface,
    BareLf,
    HugeHead,
    ManyHeaders,
    LongHeaderName,
    // Lengths and chunks.
    LongLength,
    ShortLength,
    TwoLengths,
    LengthAndChunked,
    BadChunk,
    EmptyChunkSize,
    HugeChunkSize,
    // Correct but rare HTTP.
    Interim,
    CloseDelimited,
    Trailers,
    ChunkExtensions,
    Gzip,
    GzipBomb,
    IdleClose(Duration),
    // How the bytes are split into writes.
    Drip(Duration),
    Split(usize),
    SplitWire(usize),
    // The format of events.
    NoDone,
    ErrorEvent,
    CrlfEvents,
    CrEvents,
    BomEvents,
    CommentEvents,
    MultiDataEvents,
    HugeEvent(usize),
    // The usage figures.
    UsageMissing,
    UsageNegative,
    UsageHuge,
    UsageString,
}

/// Says why a fault or a setting could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFault(pub String);

impl fmt::Display for BadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadFault {}

impl FromStr for Fault {
    type Err = BadFault;

    /// Parses `name` or `name=argument`.
    fn from_str(text: &str) -> Result<Self, BadFault> {
        let (name, arg) = text.split_once('=').map_or((text, None), |(name, arg)| (name, Some(arg)));
        let fault = match named(name) {
            Some(fault) if arg.is_none() => fault,
            Some(_) => return Err(BadFault(format!("fault {name:?} takes no argument"))),
            None => with_argument(name, arg)?,
        };
        Ok(fault)
    }
}

fn named(name: &str) -> Option<Fault> {
    Some(match name {
        "hang" => Fault::Hang,
        "reset-before" => Fault::ResetBefore,
        "close-before" => Fault::CloseBefore,
        "reset-head" => Fault::ResetHead,
        "reset-mid-body" => Fault::ResetMidBody,
        "close-mid-body" => Fault::CloseMidBody,
        "early-response" => Fault::EarlyResponse,
        "no-content" => Fault::NoContent,
        "garbage-status" => Fault::GarbageStatus,
        "http09" => Fault::Http09,
        "h2-preface" => Fault::H2Preface,
        "bare-lf" => Fault::BareLf,
        "huge-head" => Fault::HugeHead,
        "many-headers" => Fault::ManyHeaders,
        "long-header-name" => Fault::LongHeaderName,
        "long-length" => Fault::LongLength,
        "short-length" => Fault::ShortLength,
        "two-lengths" => Fault::TwoLengths,
        "length-and-chunked" => Fault::LengthAndChunked,
        "bad-chunk" => Fault::BadChunk,
        "empty-chunk-size" => Fault::EmptyChunkSize,
        "huge-chunk-size" => Fault::HugeChunkSize,
        "interim" => Fault::Interim,
        "close-delimited" => Fault::CloseDelimited,
        "trailers" => Fault::Trailers,
        "chunk-extensions" => Fault::ChunkExtensions,
        "gzip" => Fault::Gzip,
        "gzip-bomb" => Fault::GzipBomb,
        "no-done" => Fault::NoDone,
        "error-event" => Fault::ErrorEvent,
        "crlf-events" => Fault::CrlfEvents,
        "cr-events" => Fault::CrEvents,
        "bom-events" => Fault::BomEvents,
        "comment-events" => Fault::CommentEvents,
        "multi-data-events" => Fault::MultiDataEvents,
        "usage-missing" => Fault::UsageMissing,
        "usage-negative" => Fault::UsageNegative,
        "usage-huge" => Fault::UsageHuge,
        "usage-string" => Fault::UsageString,
        _ => return None,
    })
}

fn with_argument(name: &str, arg: Option<&str>) -> Result<Fault, BadFault> {
    let number = |default: Option<usize>| match (arg, default) {
        (Some(arg), _) => arg.parse().map_err(|_| BadFault(format!("fault {name:?} needs a number, got {arg:?}"))),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(BadFault(format!("fault {name:?} needs a number"))),
    };
    let millis = |default| number(default).map(|ms| Duration::from_millis(ms as u64));
    Ok(match name {
        "reset-mid-stream" => Fault::ResetMidStream(number(Some(EVENTS_DEFAULT))?),
        "close-mid-stream" => Fault::CloseMidStream(number(Some(EVENTS_DEFAULT))?),
        "drip" => Fault::Drip(millis(Some(DRIP_MS_DEFAULT))?),
        "idle-close" => Fault::IdleClose(millis(None)?),
        "split" => Fault::Split(number(Some(1))?.max(1)),
        "split-wire" => Fault::SplitWire(number(Some(1))?.max(1)),
        "huge-event" => Fault::HugeEvent(number(Some(HUGE_EVENT_BYTES_DEFAULT))?),
        "rate-limit" => Fault::RateLimit(arg.map(str::to_owned)),
        "redirect" => {
            let to = arg.ok_or_else(|| BadFault("fault \"redirect\" needs a URL".to_owned()))?;
            Fault::Redirect(to.to_owned())
        }
        "status" => match number(None)? {
            code @ 200..=599 => Fault::Status(code as u16),
            code => {
                return Err(BadFault(format!("status {code} is not between 200 and 599")));
            }
        },
        _ => {
            return Err(BadFault(format!("unknown fault {name:?}; GET /mock/faults lists them")));
        }
    })
}

/// Number of events after which a stream breaks by default. Arbitrary: after the first and before the last.
const EVENTS_DEFAULT: usize = 3;
/// Default pause between dripped bytes. Arbitrary: slow enough to count as dripping, fast enough to end within a test.
const DRIP_MS_DEFAULT: usize = 10;
/// FAULTS.md row 15: an event of 8 MiB.
const HUGE_EVENT_BYTES_DEFAULT: usize = 8 << 20;

/// Name, argument and effect of every fault, for `--help` and `GET /mock/faults`.
pub const CATALOGUE: &[(&str, &str, &str)] = &[
    ("hang", "", "read the request, never answer"),
    ("reset-before", "", "RST before any byte"),
    ("close-before", "", "FIN before any byte"),
    ("reset-head", "", "half a head, then RST"),
    ("reset-mid-body", "", "half the body (or of the events), then RST"),
    ("close-mid-body", "", "half the body (or of the events), then FIN"),
    ("reset-mid-stream", "[=N]", "N events, then RST"),
    ("close-mid-stream", "[=N]", "N events, then FIN, no last chunk"),
    ("status", "=CODE", "that status, with an error body in OpenAI's options"),
    ("rate-limit", "[=RETRY_AFTER]", "429, with Retry-After when given (any text)"),
    ("redirect", "=URL", "307 to URL"),
    ("early-response", "", "413 after the head, before the body is read (not by model name)"),
    ("no-content", "", "204 with a Content-Length and no body"),
    ("garbage-status", "", "a malformed status line"),
    ("http09", "", "the body without a head"),
    ("h2-preface", "", "HTTP/2's preface and SETTINGS"),
    ("bare-lf", "", "head lines end with LF alone"),
    ("huge-head", "", "a header of 1 MiB"),
    ("many-headers", "", "10,000 headers"),
    ("long-header-name", "", "a header name of 65,536 bytes"),
    ("long-length", "", "a Content-Length beyond the body, then FIN"),
    ("short-length", "", "a second answer after the announced bytes"),
    ("two-lengths", "", "two different Content-Lengths"),
    ("length-and-chunked", "", "Content-Length and Transfer-Encoding"),
    ("bad-chunk", "", "a chunk size that is not hexadecimal"),
    ("empty-chunk-size", "", "an empty line where a chunk size belongs"),
    ("huge-chunk-size", "", "a chunk size of 2^64-1"),
    ("interim", "", "100 and 103 before the answer"),
    ("close-delimited", "", "no length; the body ends with the connection"),
    ("trailers", "", "chunked, with trailer fields"),
    ("chunk-extensions", "", "chunked, with extensions"),
    ("gzip", "", "a gzip body"),
    ("gzip-bomb", "", "10 MiB of zeros in 64 KiB of gzip"),
    ("idle-close", "=MS", "close the connection after MS ms without a request"),
    ("drip", "[=MS]", "one byte every MS ms"),
    ("split", "[=N]", "the body in writes of N bytes; each write of a stream is a chunk"),
    ("split-wire", "[=N]", "head, framing and body in writes of N bytes"),
    ("no-done", "", "a whole stream with a clean end, without [DONE]"),
    ("error-event", "", "an error object in mid-stream, then a clean end without [DONE]"),
    ("crlf-events", "", "events in CRLF lines"),
    ("cr-events", "", "events in CR lines"),
    ("bom-events", "", "a byte order mark before the first event"),
    ("comment-events", "", "comments and retry fields between events"),
    ("multi-data-events", "", "each JSON object on two data lines"),
    ("huge-event", "[=BYTES]", "one event of BYTES before the last"),
    ("usage-missing", "", "no usage"),
    ("usage-negative", "", "negative token counts"),
    ("usage-huge", "", "token counts of 2^53"),
    ("usage-string", "", "token counts as strings"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_catalogue_parses() {
        for (name, arg, _) in CATALOGUE {
            let text = match *arg {
                "" | "[=RETRY_AFTER]" => (*name).to_owned(),
                "=URL" => format!("{name}=http://127.0.0.1:1/x?a=b"),
                "=CODE" => format!("{name}=503"),
                _ => format!("{name}=7"),
            };
            assert!(text.parse::<Fault>().is_ok(), "{text}");
        }
    }

    #[test]
    fn invalid_faults_are_refused() {
        for text in ["", "nope", "hang=1", "status", "status=99", "drip=soon", "redirect"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
