//! How often policies matched, for the lines beside them and their counts. On the reader's thread, from the exact counts.
//! It knows policies by id alone: one that was deleted keeps what it did.

use hashbrown::HashMap;
use rusqlite::Connection;

use super::super::error::StoreError;
use super::names;
use super::series::{Steps, minutes};
use super::{Reader, Span};
use crate::link::usage::PolicyCount;

/// A policy's matches in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyPoint {
    /// The step's begin.
    pub at_ms: u64,
    pub count: PolicyCount,
}

/// A policy's matches in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySum {
    /// Its id.
    pub policy: String,
    pub matches: u64,
    /// Those that had an effect.
    pub effective: u64,
}

impl Reader {
    /// Points of a policy's matches; steps as in [`Reader::series`].
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn policy_matches(&self, policy: &str, span: Span, step_ms: u64) -> Result<Vec<PolicyPoint>, StoreError> {
        self.ask("count a policy's matches", |connection| {
            let steps = Steps::of(span, step_ms);
            let mut points: Vec<PolicyPoint> =
                steps.begins().map(|at_ms| PolicyPoint { at_ms, ..PolicyPoint::default() }).collect();
            let Some(number) = names::id_of(connection, policy)? else { return Ok(points) };
            each(connection, span, |minute, policy, count| {
                if policy == number
                    && let Some(point) = points.get_mut(steps.index(minute))
                {
                    point.count.add(&count);
                }
            })?;
            Ok(points)
        })
    }

    /// Matches of every policy that had some, by id, in steps as in [`Reader::series`].
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn matches_over_time(&self, span: Span, step_ms: u64) -> Result<HashMap<String, Vec<u64>>, StoreError> {
        self.ask("count the policies' matches over time", |connection| {
            let steps = Steps::of(span, step_ms);
            let none = vec![0_u64; steps.begins().count()];
            let mut series = HashMap::<i64, Vec<u64>>::new();
            each(connection, span, |minute, policy, count| {
                let points = series.entry(policy).or_insert_with(|| none.clone());
                if let Some(point) = points.get_mut(steps.index(minute)) {
                    *point = point.saturating_add(count.matches);
                }
            })?;
            let mut name = connection.prepare_cached(SELECT_NAME)?;
            series
                .into_iter()
                .map(|(policy, points)| Ok((name.query_row([policy], |row| row.get(0))?, points)))
                .collect()
        })
    }

    /// Matches of every policy that had some, by id.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn policy_sums(&self, span: Span) -> Result<Vec<PolicySum>, StoreError> {
        self.ask("count the policies' matches", |connection| {
            let mut sums = HashMap::<i64, PolicyCount>::new();
            each(connection, span, |_, policy, count| sums.entry(policy).or_default().add(&count))?;
            let mut name = connection.prepare_cached(SELECT_NAME)?;
            let mut named = Vec::with_capacity(sums.len());
            for (policy, PolicyCount { matches, effective }) in sums {
                named.push(PolicySum { policy: name.query_row([policy], |row| row.get(0))?, matches, effective });
            }
            named.sort_by(|sum, other| sum.policy.cmp(&other.policy));
            Ok(named)
        })
    }
}

fn each(connection: &Connection, span: Span, mut take: impl FnMut(u64, i64, PolicyCount)) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(SELECT)?;
    let mut rows = statement.query(minutes(span))?;
    while let Some(row) = rows.next()? {
        take(row.get(0)?, row.get(1)?, PolicyCount { matches: row.get(2)?, effective: row.get(3)? });
    }
    Ok(())
}

const SELECT: &str = "SELECT minute, policy, matches, effective FROM policy_minute WHERE minute >= ?1 AND minute < ?2";
const SELECT_NAME: &str = "SELECT text FROM name WHERE id = ?1";
