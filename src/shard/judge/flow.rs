//! The path of a request on one screen, from its bytes to its account.
//!
//! ```text
//! decide:  identify → route → admit (policies) → look up (cache) → lay out the request to the provider
//! answer:  fetch (breaker, rate limit, attempts) → pass on → account → finish
//! ```
//!
//! Deciding is synchronous: from the bytes of a whole request to the decision there is no await, no clock and no I/O, so that
//! no borrow crosses an await and a simulation runs the same code with a clock of its own.

use super::admit::{Governor, Setting, admit};
use super::cache::{Cache, Lookup};
use super::identify::identify;
use super::outgoing::Outgoing;
use super::record::Record;
use super::route::route;
use super::target::{Target, api_request};
use crate::http::head::RequestHead;
use crate::link::ApiRequest;
use crate::llm::Operation;
use crate::shard::answer::head::Frame;
use crate::shard::answer::refusal::Refusal;
use crate::shard::answer::{console, respond};
use crate::shard::ground::Date;

/// What to do with a request.
pub(crate) enum Decision<'p> {
    /// Send it to a provider.
    Forward(Box<Outgoing<'p>>),
    /// Hand it to the coordinator.
    Api(Box<ApiRequest>),
    /// Send the console's file that was appended. Such a request is not accounted for.
    Page,
    /// Send the whole answer that was appended.
    Answered { status: u16 },
    /// Refuse it.
    Refuse(Refusal),
}

/// What deciding reads and changes besides the request.
pub(crate) struct Judge<'s, 'p> {
    pub(crate) setting: Setting<'s, 'p>,
    pub(crate) governor: &'s mut Governor,
    pub(crate) cache: &'s mut Cache,
}

/// A whole request.
#[derive(Clone, Copy)]
pub(crate) struct WholeRequest<'s, 'b> {
    pub(crate) head: &'s RequestHead<'b>,
    pub(crate) body: &'b [u8],
}

/// Where an answer that the shard gives itself is laid out.
pub(crate) struct AnswerLayout<'s> {
    pub(crate) frame: &'s Frame,
    pub(crate) date: &'s Date,
    pub(crate) out: &'s mut Vec<u8>,
    /// An empty buffer for the request to the provider.
    pub(crate) spare: &'s mut Vec<u8>,
}

/// Decides what to do with a whole request.
pub(crate) fn decide<'p>(
    judge: Judge<'_, 'p>,
    request: WholeRequest<'_, '_>,
    layout: AnswerLayout<'_>,
    record: &mut Record<'p>,
) -> Decision<'p> {
    let plan = judge.setting.plan;
    let WholeRequest { head, body } = request;
    let decided = match Target::of(head, plan) {
        Target::Model(operation) => govern(judge, operation, request, layout, record),
        Target::ModelList => Ok(layout.json(plan.model_list())),
        Target::OneModel(id) => match plan.model(&id) {
            Some(model) => Ok(layout.json(model)),
            None => Err(Refusal::ModelNotFound { model: id.into() }),
        },
        Target::Api(path) => api_request(head, path, body).map(Decision::Api),
        Target::Page(page) => {
            console::answer(&page, layout.frame, layout.date, layout.out);
            Ok(Decision::Page)
        }
        Target::WrongMethod { allowed } => Err(Refusal::Method { allowed }),
        Target::Nothing => Err(Refusal::NotFound),
    };
    decided.unwrap_or_else(Decision::Refuse)
}

/// Judges a request to a model, which then is refused, answered from the cache, or ready to be sent.
fn govern<'p>(
    Judge { setting, governor, cache }: Judge<'_, 'p>,
    operation: Operation,
    WholeRequest { head, body }: WholeRequest<'_, '_>,
    layout: AnswerLayout<'_>,
    record: &mut Record<'p>,
) -> Result<Decision<'p>, Refusal> {
    let Setting { plan, now, draw, .. } = setting;
    let identified = identify(head, operation, body, &plan.fact_limits)?;
    record.set_identified(&identified);
    let routed = route(identified, plan, draw)?;
    record.set_routed(&routed);
    let admitted = admit(routed, setting, governor, record)?;
    let miss = match cache.look_up(&admitted, head, plan, now) {
        Lookup::Hit(cached) => {
            respond::hit(cached, &admitted.labels(), layout.frame, layout.date, layout.out);
            record.set_admitted(&admitted.routed, admitted.window_entry);
            record.set_cache_hit(cached);
            return Ok(Decision::Answered { status: 200 });
        }
        Lookup::Miss(miss) => Some(miss),
        Lookup::Bypass => None,
    };
    let outgoing = Outgoing::new(admitted, miss, head, record, std::mem::take(layout.spare));
    Ok(Decision::Forward(Box::new(outgoing)))
}

/// The exchange with a provider, of which this module knows the order and `upstream` the steps.
pub(crate) trait Exchange<'p>: Sized {
    /// An answer that has begun, or the reason why there is none.
    type Fetched;
    /// How the request ended, with the end of the answer still to be sent.
    type Passed;
    /// What happens to the caller's connection.
    type Turn;

    /// Asks providers, each charged to its breaker and rate limit, until one answers or none is left.
    async fn fetch(&mut self, record: &mut Record<'p>) -> Self::Fetched;

    /// Passes the answer on, except for its last bytes.
    async fn pass_on(&mut self, fetched: Self::Fetched, record: &mut Record<'p>) -> Self::Passed;

    /// Settles the record. Called before the caller sees the end of its answer, so that a caller who looks at the figures
    /// afterwards finds its request in them.
    fn account(&mut self, record: Record<'p>, passed: &Self::Passed);

    /// Sends the last bytes.
    async fn finish(self, passed: Self::Passed) -> Self::Turn;
}

/// Answers a request that is sent to a provider.
pub(crate) async fn answer<'p, X: Exchange<'p>>(mut exchange: X, mut record: Record<'p>) -> X::Turn {
    let fetched = exchange.fetch(&mut record).await;
    let passed = exchange.pass_on(fetched, &mut record).await;
    exchange.account(record, &passed);
    exchange.finish(passed).await
}

impl AnswerLayout<'_> {
    fn json(self, body: &[u8]) -> Decision<'static> {
        respond::json(body, self.frame, self.date, self.out);
        Decision::Answered { status: 200 }
    }
}
