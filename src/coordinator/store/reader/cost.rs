//! Who spent it: sums by user, tenant, agent, model or provider, and the most frequent of each for choosing a filter. On the
//! reader's thread. Whole hours come from the table of hours, what is left at both ends from the minutes.

use hashbrown::HashMap;
use rusqlite::{Connection, OptionalExtension, Rows};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::super::dimension::Dimension;
use super::super::error::StoreError;
use super::series::minutes;
use super::{Reader, Span};
use crate::units::MicroUsd;
use crate::who::Who;

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

/// The most frequent values of each dimension, with their requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facets {
    pub who: Who<Vec<(String, u64)>>,
    pub provider: Vec<(String, u64)>,
    pub model: Vec<(String, u64)>,
}

/// Requests, tokens, cost, saved.
type Sums = HashMap<i64, [i64; 4]>;

impl Reader {
    /// The `limit` that cost most, dearest first, then by requests and name; to the whole minute, and to the whole hour
    /// where minutes have been rolled up.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn cost(&self, by: Dimension, span: Span, limit: usize) -> Result<Vec<CostItem>, StoreError> {
        self.ask("attribute costs", |connection| {
            top(connection, &sums(connection, by, span)?, limit, |sum| [sum[2], sum[0]])
        })
    }

    /// The `limit` most frequent of each dimension, most frequent first.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn facets(&self, span: Span, limit: usize) -> Result<Facets, StoreError> {
        self.ask("find the most frequent names", |connection| {
            let of = |dimension| -> rusqlite::Result<Vec<(String, u64)>> {
                let items = top(connection, &sums(connection, dimension, span)?, limit, |sum| [sum[0], sum[2]])?;
                Ok(items.into_iter().map(|item| (item.key, item.requests)).collect())
            };
            Ok(Facets {
                who: Who::try_from_fn(|part| of(Dimension::Who(part)))?,
                provider: of(Dimension::Provider)?,
                model: of(Dimension::Model)?,
            })
        })
    }
}

fn usd<S: Serializer>(cost: &MicroUsd, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(cost.usd())
}

fn sums(connection: &Connection, by: Dimension, span: Span) -> rusqlite::Result<Sums> {
    let mut sums = Sums::new();
    let [from, to] = minutes(span);
    let hours = [from.saturating_add(59) / 60, to / 60];
    let whole_hours = hours[0] < hours[1];
    if whole_hours {
        let mut statement = connection.prepare_cached(SELECT_HOURS)?;
        add(&mut sums, statement.query([by.number(), hours[0], hours[1]])?)?;
    }
    // The column is one of five words, none of a caller's.
    let sql = format!(
        "SELECT {}, requests, total, cost, saved FROM usage_minute WHERE minute >= ?1 AND minute < ?2",
        by.name()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let ends = if whole_hours { vec![[from, hours[0] * 60], [hours[1] * 60, to]] } else { vec![[from, to]] };
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

/// The names are looked up of those alone that are shown; those that `rank` holds for equal come in the order of names.
fn top(
    connection: &Connection,
    sums: &Sums,
    limit: usize,
    rank: impl Fn(&[i64; 4]) -> [i64; 2],
) -> rusqlite::Result<Vec<CostItem>> {
    let mut all: Vec<_> = sums.iter().map(|(value, sum)| (std::cmp::Reverse(rank(sum)), *value)).collect();
    all.sort_unstable();
    // Equals of the last one that fits must be told apart by their names first.
    let last = all.get(limit.saturating_sub(1)).map(|(rank, _)| *rank);
    let kept =
        all.iter().take_while(|(rank, _)| last.is_none_or(|last| *rank <= last)).take(limit.saturating_add(EQUALS_MAX));
    let mut name = connection.prepare_cached("SELECT text FROM name WHERE id = ?1")?;
    let mut named = Vec::new();
    for (rank, value) in kept {
        let [requests, tokens, cost, saved] = sums.get(value).copied().unwrap_or_default();
        let key: String = name.query_row([value], |row| row.get(0)).optional()?.unwrap_or_default();
        let (requests, tokens) = (requests.max(0) as u64, tokens.max(0) as u64);
        named.push((*rank, CostItem { key, requests, tokens, cost: MicroUsd(cost), saved: MicroUsd(saved) }));
    }
    named.sort_by(|(rank, item), (other_rank, other)| rank.cmp(other_rank).then_with(|| item.key.cmp(&other.key)));
    named.truncate(limit);
    Ok(named.into_iter().map(|(_, item)| item).collect())
}

/// Names looked up beyond the limit for the sake of order. Arbitrary.
const EQUALS_MAX: usize = 1_000;

const SELECT_HOURS: &str =
    "SELECT value, requests, tokens, cost, saved FROM usage_hour WHERE kind = ?1 AND hour >= ?2 AND hour < ?3";
