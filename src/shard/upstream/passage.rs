//! What becomes of the provider's bytes on their way to the caller, and what they say meanwhile. Pure: no I/O and no clock.
//! Today both passages are verbatim. A passage that translates from one dialect to another becomes a third variant.

use super::failure::Failure;
use crate::dialect::openai::error::ErrorBody;
use crate::dialect::openai::stream::{error_event, read_chunk};
use crate::dialect::openai::usage::COUNTING;
use crate::dialect::openai::usage_scan::UsageScan;
use crate::http::sse::EventSplitter;
use crate::llm::{Operation, Usage, UsageReports};

/// Longest event, in bytes. Arbitrary: an image in base64 fits.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How an answer's body passes through.
pub(crate) enum Passage {
    /// As it arrives, byte for byte.
    Bytes { scan: UsageScan },
    /// Whole server-sent events, in the order and shape in which they arrive.
    Events(EventReader),
}

/// How a body ended, as its passage sees it.
pub(crate) struct PassageEnd {
    /// Why the body is not whole.
    pub(crate) failure: Option<Failure>,
    /// The last bytes for the caller: what follows the last event, or an event that says that the stream failed.
    pub(crate) tail: Vec<u8>,
    /// Whether the caller's body ends in order. A torn answer must look torn.
    pub(crate) in_order: bool,
    /// What the answer says it used.
    pub(crate) usage: Option<Usage>,
    /// Characters of generated text, from which tokens are estimated if usage never came.
    pub(crate) generated_chars: usize,
    /// Why the answer was cut, for the trace.
    pub(crate) cut: Option<&'static str>,
}

impl Passage {
    pub(crate) fn bytes() -> Passage {
        Passage::Bytes { scan: UsageScan::new() }
    }

    /// `usage_injected` says that usage was requested on the caller's behalf, so the chunk that carries it is removed.
    pub(crate) fn events(operation: Operation, usage_injected: bool) -> Passage {
        Passage::Events(EventReader {
            splitter: EventSplitter::new(EVENT_BYTES_MAX),
            events: Vec::new(),
            operation,
            usage_injected,
            usage: UsageReports::new(COUNTING),
            generated_chars: 0,
            done: false,
            next_sequence: 0,
        })
    }

    /// Takes the next bytes of the body and returns what to pass on. A failure does not take back what is passed on.
    pub(crate) fn take<'b>(&'b mut self, payload: &'b [u8]) -> (&'b [u8], Result<(), Failure>) {
        match self {
            Passage::Bytes { scan } => {
                scan.feed(payload);
                (payload, Ok(()))
            }
            Passage::Events(reader) => {
                let result = reader.take(payload);
                (&reader.events, result)
            }
        }
    }

    /// Ends the body. `result` says how reading it ended; `provider` is named in the event that ends a broken stream.
    pub(crate) fn end(self, result: Result<(), Failure>, provider: &str) -> PassageEnd {
        match self {
            Passage::Bytes { scan } => PassageEnd {
                in_order: result.is_ok(),
                cut: result.is_err().then_some("the answer was cut"),
                failure: result.err(),
                tail: Vec::new(),
                usage: scan.finish(),
                generated_chars: 0,
            },
            Passage::Events(reader) => reader.end(result, provider),
        }
    }
}

/// Reads events on their way: usage, the end, and how much text was generated.
pub(crate) struct EventReader {
    splitter: EventSplitter,
    /// Whole events that are to be passed on.
    events: Vec<u8>,
    operation: Operation,
    usage_injected: bool,
    usage: UsageReports,
    generated_chars: usize,
    done: bool,
    /// The number of the next event, for operations that number them.
    next_sequence: u64,
}

impl EventReader {
    fn take(&mut self, payload: &[u8]) -> Result<(), Failure> {
        self.events.clear();
        let EventReader { splitter, events, operation, usage_injected, usage, generated_chars, done, next_sequence } =
            self;
        let result = splitter.push(payload, |event| {
            let chunk = read_chunk(*operation, event.name(), &event.data());
            *generated_chars += chunk.generated_chars;
            // An error event ends a stream in a way that the caller sees.
            *done |= chunk.done || chunk.failed;
            *next_sequence = chunk.sequence.map_or(*next_sequence, |sequence| sequence.saturating_add(1));
            if let Some(report) = chunk.usage {
                usage.add(report);
            }
            if !(*usage_injected && chunk.only_usage) {
                events.extend_from_slice(event.raw);
            }
        });
        result.map_err(|_| Failure::Broken("an event was too long".into()))
    }

    fn end(self, result: Result<(), Failure>, provider: &str) -> PassageEnd {
        let failure = match result {
            Err(Failure::Abandoned) => Some(Failure::Abandoned),
            // What follows the last event does not matter.
            _ if self.done => None,
            Err(failure) => Some(failure),
            // The framing may be complete, but a stream without its last event is broken.
            Ok(()) => Some(Failure::Broken("it ended before its last event".into())),
        };
        let mut tail = Vec::new();
        match &failure {
            // A line end in most cases, which passes as it came.
            None => tail.extend_from_slice(self.splitter.pending()),
            Some(Failure::Abandoned) => {}
            Some(failure) => {
                let (reason, kind, code) = failure.stream_error();
                let message = format!("The provider `{provider}` broke the stream off: {reason}.");
                let error = ErrorBody { message: &message, kind, param: None, code: Some(code) };
                error_event(self.operation, &error, self.next_sequence, &mut tail);
            }
        }
        PassageEnd {
            tail,
            in_order: !matches!(failure, Some(Failure::Abandoned)),
            usage: self.usage.settle(),
            generated_chars: self.generated_chars,
            cut: failure.as_ref().map(|failure| match failure {
                Failure::Abandoned => "the caller left in the middle of the stream",
                _ => "the provider's stream broke",
            }),
            failure,
        }
    }
}
