//! A finished request as a shard saw it: an owned value that goes to the coordinator, and from there to the store. Made by a
//! shard, never shared. It holds bodies only if capturing is on, and never a key or a header.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::llm::Operation;
use crate::llm::Usage;
use crate::policy::{Action, Mode};
use crate::units::MicroUsd;
use crate::who::Who;

/// A finished request.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// W3C trace id, which the requests of one run of an agent share. Never 0.
    pub trace_id: u128,
    /// Id of the request's own span.
    pub span_id: u64,
    /// The caller's span, if it named one.
    pub parent_span_id: Option<u64>,
    /// Whether the caller samples the trace; true if it sent no trace id. Spans are exported only for sampled traces.
    pub sampled: bool,
    /// `X-Request-Id`.
    pub request_id: Box<str>,
    /// Wall clock, milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// From the request's first byte to the answer's last.
    pub duration_ns: u64,
    /// From the request's first byte to the first of the provider's answer.
    pub first_byte_ns: Option<u64>,
    pub who: Who,
    /// `None` if luner serves nothing at the path.
    pub operation: Option<Operation>,
    /// Empty if none was chosen.
    pub provider: Box<str>,
    /// The model that the caller asked for.
    pub model_asked: Box<str>,
    /// The model that was used or would have been used. It differs from `model_asked` only after a downgrade.
    pub model: Box<str>,
    pub stream: bool,
    /// The status that the caller saw; 499 if it left before the answer began.
    pub status: u16,
    /// Set when the gateway itself answered with an error.
    pub refusal: Option<Refused>,
    pub cache: CacheOutcome,
    /// All zeros on a hit.
    pub usage: Usage,
    pub cost: MicroUsd,
    /// Cost that a cache hit saved.
    pub saved: MicroUsd,
    /// Whether the price table knows the model.
    pub priced: bool,
    /// Inputs of the policies that are not fields here.
    pub inputs: PolicyInputs,
    /// Policies that matched, in order.
    pub matches: Vec<PolicyMatch>,
    /// Policies that failed, in order.
    pub faults: Vec<PolicyFailure>,
    /// Attempts at providers, in order.
    pub attempts: Vec<Attempt>,
    /// Why the answer ended early.
    pub cut: Option<Cow<'static, str>>,
    /// Bodies, if `storage.capture` asks for them.
    pub captured: Option<Captured>,
}

/// An error that the gateway itself answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// OpenAI's `error.code`.
    pub code: Cow<'static, str>,
    /// `caller`, `policy`, `provider` or `gateway`.
    pub fault: Cow<'static, str>,
    /// The message that the caller received.
    pub message: Box<str>,
}

/// The cache's result for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum CacheOutcome {
    Hit,
    Miss,
    /// The request was not eligible for caching.
    #[default]
    Bypass,
}

impl CacheOutcome {
    /// The word that answers and lists show.
    pub fn name(self) -> &'static str {
        match self {
            CacheOutcome::Hit => "HIT",
            CacheOutcome::Miss => "MISS",
            CacheOutcome::Bypass => "BYPASS",
        }
    }
}

/// Variables of policies that are not fields of [`Trace`]. A replay needs them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyInputs {
    pub temperature: f64,
    pub max_tokens: i64,
    /// The user's last minute; `None` if no policy read it.
    pub window: Option<Window>,
    pub est_input_tokens: i64,
    /// Micro-dollars.
    pub est_cost_micro: i64,
}

/// A user's usage in the minute before its request was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub request_count: i64,
    /// Micro-dollars.
    pub cost_micro: i64,
    pub tokens_used: i64,
}

/// A policy that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyMatch {
    pub id: Box<str>,
    pub name: Box<str>,
    pub action: Action,
    pub mode: Mode,
    /// Whether it changed what happened to the request. For an alert: whether it raised one.
    pub effective: bool,
    /// Why it had an effect or no effect.
    pub note: Cow<'static, str>,
    /// The model that a downgrade leads to or would have led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Box<str>>,
}

/// A policy that failed at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFailure {
    pub id: Box<str>,
    pub name: Box<str>,
    pub kind: Cow<'static, str>,
}

/// One attempt at a provider. Times are absent for steps that did not happen: a pooled connection has no connect and no TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub provider: Box<str>,
    /// Start, since the request's first byte.
    pub started_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ns: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ns: Option<u64>,
    /// From the attempt's start to the first byte of its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ns: Option<u64>,
    /// From the first byte of the answer to the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_ns: Option<u64>,
    /// The value of the metric's label, see [`super::AttemptOutcome`].
    pub outcome: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// The span id of a request's attempt, counted from 0, for the provider's `traceparent` and for export. Made with the finaliser
/// of SplitMix64, so that ids of one trace do not collide; never 0.
pub fn attempt_span_id(request: u64, attempt: usize) -> u64 {
    let mut id = request.wrapping_add((attempt as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (id ^ (id >> 31)).max(1)
}

/// Most bytes of a request's or of an answer's body that are captured. Arbitrary: a long conversation. Longer bodies are cut
/// and marked.
pub const CAPTURED_BODY_BYTES_MAX: usize = 64 * 1024;

/// Bodies of a request and its answer, each at most [`CAPTURED_BODY_BYTES_MAX`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    pub request: Vec<u8>,
    pub answer: Vec<u8>,
    /// Whether a part of either is missing.
    pub cut: bool,
}

/// How much a trace matters when more traces arrive than the disk can store: the least important are dropped first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// A cache hit with nothing special about it.
    Hit,
    /// A plain success.
    Plain,
    /// An error, or something that a policy blocked, alerted or downgraded.
    Kept,
}

/// Properties of a request that lists filter by, as bits. A trace has the union of its requests' marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(pub u32);

impl Marks {
    pub const HIT: Marks = Marks(1);
    pub const MISS: Marks = Marks(1 << 1);
    /// A status of 400 or more, or an answer that was cut, unless a policy blocked the request.
    pub const ERROR: Marks = Marks(1 << 2);
    pub const BLOCKED: Marks = Marks(1 << 3);
    pub const ALERTED: Marks = Marks(1 << 4);
    pub const DOWNGRADED: Marks = Marks(1 << 5);
    pub const CUT: Marks = Marks(1 << 6);
    pub const STREAM: Marks = Marks(1 << 7);
    /// The model has no price: its cost counts as 0.
    pub const UNPRICED: Marks = Marks(1 << 8);
    /// A policy in shadow mode matched.
    pub const SHADOWED: Marks = Marks(1 << 9);
    /// A policy failed at run time.
    pub const POLICY_FAILED: Marks = Marks(1 << 10);
    /// The provider's figures were incomplete, or the tokens are an estimate.
    pub const FLAWED_USAGE: Marks = Marks(1 << 11);
    /// Bodies were captured.
    pub const CAPTURED: Marks = Marks(1 << 12);
    /// Requests of one trace differ in a property that lists filter by. Used in the store only.
    pub const MIXED: Marks = Marks(1 << 13);
    /// A policy matched, with or without an effect. Used in the store only.
    pub const MATCHED: Marks = Marks(1 << 14);

    pub fn has(self, other: Marks) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn has_any(self, of: Marks) -> bool {
        self.0 & of.0 != 0
    }

    /// Names for exports; [`Marks::MIXED`] and [`Marks::MATCHED`] have none.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        MARK_NAMES.into_iter().filter(move |(mark, _)| self.has(*mark)).map(|(_, name)| name)
    }

    #[must_use]
    pub fn with(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }

    #[must_use]
    pub fn with_if(self, other: Marks, condition: bool) -> Marks {
        if condition { self.with(other) } else { self }
    }
}

impl Trace {
    /// Returns a copy without bodies, and never copies the bodies. The trace itself stays as it was.
    pub fn without_bodies(&mut self) -> Trace {
        let captured = self.captured.take();
        let copy = self.clone();
        self.captured = captured;
        copy
    }

    /// The request's properties.
    pub fn marks(&self) -> Marks {
        let blocked = self.refusal.as_ref().is_some_and(|refusal| refusal.fault == "policy");
        let did =
            |action| self.matches.iter().any(|matched: &PolicyMatch| matched.effective && matched.action == action);
        Marks::default()
            .with_if(Marks::HIT, self.cache == CacheOutcome::Hit)
            .with_if(Marks::MISS, self.cache == CacheOutcome::Miss)
            .with_if(Marks::ERROR, !blocked && (self.status >= 400 || self.cut.is_some()))
            .with_if(Marks::BLOCKED, blocked)
            .with_if(Marks::ALERTED, did(Action::Alert))
            .with_if(Marks::DOWNGRADED, did(Action::Downgrade))
            .with_if(Marks::CUT, self.cut.is_some())
            .with_if(Marks::STREAM, self.stream)
            .with_if(Marks::UNPRICED, !self.priced)
            .with_if(Marks::SHADOWED, self.matches.iter().any(|matched| matched.mode == Mode::Shadow))
            .with_if(Marks::POLICY_FAILED, !self.faults.is_empty())
            .with_if(Marks::FLAWED_USAGE, self.usage.flawed)
            .with_if(Marks::CAPTURED, self.captured.is_some())
            .with_if(Marks::MATCHED, !self.matches.is_empty())
    }

    /// How important the trace is under overload.
    pub fn importance(&self) -> Importance {
        let marks = self.marks();
        let notable =
            [Marks::ERROR, Marks::BLOCKED, Marks::ALERTED, Marks::DOWNGRADED, Marks::SHADOWED, Marks::POLICY_FAILED];
        match notable.into_iter().any(|mark| marks.has(mark)) {
            true => Importance::Kept,
            false if marks.has(Marks::HIT) => Importance::Hit,
            false => Importance::Plain,
        }
    }

    /// Number of spans that show the request: its own, and one for each policy that matched or failed, for each attempt, and for
    /// a cache lookup.
    pub fn spans(&self) -> u64 {
        let asked = usize::from(self.cache != CacheOutcome::Bypass);
        (1 + asked + self.matches.len() + self.faults.len() + self.attempts.len()) as u64
    }
}

const MARK_NAMES: [(Marks, &str); 13] = [
    (Marks::HIT, "hit"),
    (Marks::MISS, "miss"),
    (Marks::ERROR, "error"),
    (Marks::BLOCKED, "blocked"),
    (Marks::ALERTED, "alerted"),
    (Marks::DOWNGRADED, "downgraded"),
    (Marks::CUT, "cut"),
    (Marks::STREAM, "stream"),
    (Marks::UNPRICED, "unpriced"),
    (Marks::SHADOWED, "shadowed"),
    (Marks::POLICY_FAILED, "policy_failed"),
    (Marks::FLAWED_USAGE, "flawed_usage"),
    (Marks::CAPTURED, "captured"),
];
