//! From a request to an answer that has begun: attempt after attempt, at whoever may be asked, as the rule in `retry` says.
//! Runs in the task of the caller's connection; what it yields is an answer or the reason why there is none.

use super::attempt::{Opened, attempt};
use super::retry::{Again, Tries};
use super::{Failure, Forward};
use crate::link::trace::attempt_span_id;
use crate::plan::Plan;
use crate::shard::answer::refusal::Refusal;
use crate::shard::answer::respond::Frame;
use crate::shard::conn::Conn;
use crate::shard::judge::charge::charge;
use crate::shard::judge::record::{Record, Tried};

/// Why there is no answer.
pub(crate) enum Unopened {
    Refused(Refusal),
    /// The caller left. The provider had the request.
    Left,
}

/// Sends a request as often as it takes and is allowed.
pub(crate) async fn open<'p>(
    conn: &mut Conn,
    forward: &mut Forward<'p>,
    frame: &Frame,
    record: &mut Record<'p>,
    plan: &'p Plan,
) -> Result<Opened, Unopened> {
    let targets = forward.targets;
    let retries = |step| targets.provider(step, plan).map_or(0, |provider| provider.retries);
    let mut tries = Tries::new(targets.len(plan));
    let (mut step, mut failed, mut denied) = (0, None, None);
    // A kept connection that was closed is replaced on the same charge: the provider has not answered yet.
    let mut kept = None;
    loop {
        let provider = targets.provider(step, plan).unwrap_or(forward.provider);
        let now = conn.shard.now();
        let charged = match kept.take().map_or_else(|| charge(provider, now), Ok) {
            Ok(charged) => charged,
            Err(refusal) => {
                denied = Some(worse(denied, refusal));
                match tries.pass_over() {
                    Some(next) => step = next,
                    None => break,
                }
                continue;
            }
        };
        forward.send_to(charged.provider(), record);
        forward.name_span(attempt_span_id(record.ids.span, record.tried.len()));
        let mut tried = Tried::new(provider, now);
        let failure = match attempt(conn, (forward, &charged), frame, &tries, &mut tried, plan).await {
            Ok(opened) => {
                charged.end(crate::breaker::Verdict::Sound, now, 0);
                record.tried.push(tried);
                return Ok(opened);
            }
            Err(failure) => failure,
        };
        record.tried.push(tried);
        record.attempt_ended(&conn.shard, failure.outcome());
        let jitter = conn.shard.random() as u32;
        let again = tries.again(&failure, jitter, retries);
        match (&failure, again) {
            (Failure::Stale, Some(_)) => kept = Some(charged),
            _ => charged.end(failure.verdict(), conn.shard.now(), jitter),
        }
        failed = Some((failure, provider));
        let Some(Again { step: next, pause }) = again else { break };
        step = next;
        if !pause.is_zero() {
            monoio::time::sleep(pause).await;
        }
    }
    match (failed, denied) {
        (Some((failure, provider)), _) => Err(failure.refusal(provider).map_or(Unopened::Left, Unopened::Refused)),
        (None, Some(refusal)) => {
            // Nobody was asked, so it counts for nothing.
            record.refused();
            Err(Unopened::Refused(refusal))
        }
        (None, None) => Err(Unopened::Left),
    }
}

/// What a caller is told whom nobody may be asked for: that a limit is used up rather than that a provider is down, since
/// it says when to come back.
fn worse(before: Option<Refusal>, refusal: Refusal) -> Refusal {
    match (before, refusal) {
        (Some(before), Refusal::CircuitOpen { .. }) => before,
        (Some(before @ Refusal::RateLimited { .. }), _) => before,
        (_, refusal) => refusal,
    }
}
