//! Costs of a range of time, attributed to identities, providers or models. On the reader's thread. Whole hours come from the
//! table of hours, the rest at both ends of the range from the minutes.

use std::cmp::Reverse;

use hashbrown::HashMap;
use rusqlite::{Connection, Rows};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::super::dimension::Dimension;
use super::super::error::StoreError;
use super::connection::Reader;
use super::names::text_of;
use super::time::TimeRange;
use crate::units::MicroUsd;

/// Names looked up beyond the limit to order ties. Arbitrary: with more ties, the order among them is that of first use.
const TIES_MAX: usize = 1_000;

/// A row of `/api/dashboard/cost`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CostItem {
    pub key: String,
    pub requests: u64,
    pub tokens: u64,
    #[serde(rename = "cost_usd", serialize_with = "usd")]
    #[schemars(with = "f64")]
    pub cost: MicroUsd,
    #[serde(rename = "saved_usd", serialize_with = "usd")]
    #[schemars(with = "f64")]
    pub saved: MicroUsd,
}

/// Requests, tokens, cost and saved cost by name id.
type Sums = HashMap<i64, [i64; 4]>;

impl Reader {
    /// The `limit` names with the highest costs, highest first, then by requests and name. The range is extended to whole
    /// minutes, or to whole hours where minutes have been rolled up.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn cost(&self, by: Dimension, range: TimeRange, limit: usize) -> Result<Vec<CostItem>, StoreError> {
        self.query("attribute costs", |connection| highest(connection, &sums(connection, by, range)?, limit))
    }
}

fn sums(connection: &Connection, by: Dimension, range: TimeRange) -> rusqlite::Result<Sums> {
    let mut sums = Sums::new();
    let [from, to] = range.minutes();
    let hours = [from.saturating_add(59) / 60, to / 60];
    let has_whole_hours = hours[0] < hours[1];
    if has_whole_hours {
        let mut statement = connection.prepare_cached(SELECT_HOURS)?;
        add(&mut sums, statement.query([by.number(), hours[0], hours[1]])?)?;
    }
    // The column comes from a fixed list, never from a caller.
    let sql = format!(
        "SELECT {}, requests, total, cost, saved FROM usage_minute WHERE minute >= ?1 AND minute < ?2",
        by.name()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let ends = if has_whole_hours { vec![[from, hours[0] * 60], [hours[1] * 60, to]] } else { vec![[from, to]] };
    for end in ends {
        add(&mut sums, statement.query(end)?)?;
    }
    Ok(sums)
}

fn add(sums: &mut Sums, mut rows: Rows<'_>) -> rusqlite::Result<()> {
    while let Some(row) = rows.next()? {
        let sum = sums.entry(row.get(0)?).or_default();
        for (part, at) in sum.iter_mut().zip(1..) {
            *part = part.saturating_add(row.get(at)?);
        }
    }
    Ok(())
}

/// The `limit` highest costs. Looks up names only for those, and for the rows that tie with the last of them: ties are ordered
/// by name.
fn highest(connection: &Connection, sums: &Sums, limit: usize) -> rusqlite::Result<Vec<CostItem>> {
    let rank = |[requests, _, cost, _]: [i64; 4]| Reverse([cost, requests]);
    let mut all: Vec<_> = sums.iter().map(|(id, sum)| (rank(*sum), *id)).collect();
    all.sort_unstable();
    let last = all.get(limit.saturating_sub(1)).map(|(rank, _)| *rank);
    let candidates =
        all.iter().take_while(|(rank, _)| last.is_none_or(|last| *rank <= last)).take(limit.saturating_add(TIES_MAX));
    let mut named = Vec::new();
    for (rank, id) in candidates {
        let [requests, tokens, cost, saved] = sums.get(id).copied().unwrap_or_default();
        let key = text_of(connection, *id)?.unwrap_or_default();
        let (requests, tokens) = (requests.max(0) as u64, tokens.max(0) as u64);
        named.push((*rank, CostItem { key, requests, tokens, cost: MicroUsd(cost), saved: MicroUsd(saved) }));
    }
    named.sort_by(|(rank, item), (other_rank, other)| rank.cmp(other_rank).then_with(|| item.key.cmp(&other.key)));
    named.truncate(limit);
    Ok(named.into_iter().map(|(_, item)| item).collect())
}

fn usd<S: Serializer>(cost: &MicroUsd, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(cost.usd())
}

const SELECT_HOURS: &str =
    "SELECT value, requests, tokens, cost, saved FROM usage_hour WHERE kind = ?1 AND hour >= ?2 AND hour < ?3";
