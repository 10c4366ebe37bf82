//! Between a request and the cache: the answer that others fetch, and the one that others may have. Runs in the task of the
//! caller's connection; nothing of an answer is shared before it is whole.

use std::sync::Arc;

use super::attempt::Answer;
use super::{Forward, stall};
use crate::cache::{Entry, Parts};
use crate::dialect::openai::answer::calls_tools;
use crate::plan::Plan;
use crate::shard::Shard;
use crate::shard::account::CALLER_LEFT;
use crate::shard::answer::refusal::Refusal;
use crate::shard::answer::respond::{self, Frame};
use crate::shard::conn::{Conn, Turn};
use crate::shard::judge::cache::{Outcome, ask};
use crate::shard::judge::record::Record;

/// Asks whoever holds or fetches the answer. Gives the record back where this request is to fetch it.
pub(crate) async fn answer_of_another<'p>(
    conn: &mut Conn,
    forward: &mut Forward<'p>,
    frame: &Frame,
    mut record: Record<'p>,
    plan: &Plan,
) -> Result<Record<'p>, Turn> {
    let Some(asking) = forward.asking else { return Ok(record) };
    record.missed();
    match ask(conn, asking, forward.provider.timeout).await {
        Outcome::Alone => Ok(record),
        Outcome::Lead(lead) => {
            forward.lead = Some(lead);
            Ok(record)
        }
        Outcome::Hit(entry) => {
            conn.out.clear();
            respond::hit(&entry, &forward.labels(), frame, &conn.shard.date.borrow(), &mut conn.out);
            record.hit(&entry);
            record.decided = None;
            record.settle(&conn.shard, 200, None);
            Err(conn.send(frame, stall(plan)).await)
        }
        Outcome::Late => {
            let refusal = Refusal::UpstreamTimeout { provider: forward.provider.name.clone() };
            Err(conn.refuse(&refusal, frame, record, plan).await)
        }
        Outcome::Left => {
            record.cut = Some("caller left before the answer");
            record.settle(&conn.shard, CALLER_LEFT, None);
            Err(Turn::Close)
        }
    }
}

/// Hands a whole answer to the cache and to those who wait for it, if it is one for others.
pub(crate) fn share(
    shard: &Shard,
    forward: &mut Forward<'_>,
    answer: &Answer,
    body: &[u8],
    record: &Record<'_>,
    plan: &Plan,
) {
    let Some(asking) = forward.asking else { return };
    // An answer that calls tools carries ids that belong to one conversation.
    let content_type = answer.content_type.clone().filter(|_| answer.status == 200 && !calls_tools(body));
    let Some(content_type) = content_type else {
        return forward.unshared();
    };
    let (key, ttl, body) = (asking.key(), plan.cache.ttl, body.to_vec());
    let parts = Parts { key, body, content_type, usage: record.usage, cost: record.cost, ttl };
    let entry = Arc::new(Entry::new(parts, shard.now()));
    match forward.lead.take() {
        Some(lead) => lead.landed(entry),
        None => shard.store(asking, entry),
    }
}
