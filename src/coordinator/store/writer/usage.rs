//! Accounts into the tables of sums. On the coordinator's thread, within the transaction of a flush. It adds and never loses:
//! where a minute has too many keys, the rest is summed under `other`, and where a number would end, it stays at its end.

use std::sync::LazyLock;

use hashbrown::HashMap;
use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, params_from_iter};

use super::super::dimension::Dimension;
use super::dictionary::{Dictionary, Uses};
use crate::link::usage::{Accounts, Latency, PolicyCount, PolicyKey, UsageCount, UsageKey};
use crate::names;

/// Keys of one minute; users and agents beyond them are summed under `other`. Arbitrary: 14 million rows a day at the most.
pub(in super::super) const KEYS_MAX: u64 = 10_000;
/// Further keys for the sums of `other`; beyond them tenant and model are `other` too, and what is left is bounded by
/// the configured providers.
pub(in super::super) const OTHER_KEYS_MAX: u64 = 1_000;
/// Minutes whose number of rows is held in memory. Arbitrary: flushes come late by minutes, not hours.
const MINUTES_MAX: usize = 64;

/// Rows of recent minutes, so that nobody counts them again.
pub(in super::super) type RowsByMinute = HashMap<i64, u64>;

/// One row's key: minute, tenant, user, agent, provider, model, status.
type Key = [i64; 7];
const TENANT: usize = 1;
const USER: usize = 2;
const AGENT: usize = 3;
const PROVIDER: usize = 4;
const MODEL: usize = 5;

/// What `usage_minute` and `total_minute` both count.
pub(in super::super) const COUNTS: [&str; 14] = [
    "requests",
    "spans",
    "prompt",
    "completion",
    "total",
    "cached",
    "reasoning",
    "cost",
    "saved",
    "hits",
    "misses",
    "blocked",
    "errors",
    "duration_us",
];

/// The sums, for the time of one transaction.
pub(super) struct Usage<'t> {
    rows: &'t mut RowsByMinute,
    /// Minutes before this one are kept as whole hours.
    rolled_up: i64,
    add: CachedStatement<'t>,
    insert: CachedStatement<'t>,
    count: CachedStatement<'t>,
    add_hour: CachedStatement<'t>,
    latency: CachedStatement<'t>,
    add_total: CachedStatement<'t>,
    add_policy: CachedStatement<'t>,
}

/// Sums of one transaction that go to the coarser tables at its end.
#[derive(Default)]
struct Coarse {
    totals: HashMap<u64, Total>,
    hours: HashMap<(Dimension, u64, i64), UsageCount>,
}

#[derive(Default)]
struct Total {
    count: UsageCount,
    /// Answers with 2xx, 4xx, 5xx.
    classes: [u64; 3],
}

impl<'t> Usage<'t> {
    pub fn new(connection: &'t Connection, rows: &'t mut RowsByMinute) -> rusqlite::Result<Usage<'t>> {
        let rolled_up = connection.prepare_cached(ROLLED_UP)?.query_row([], |row| row.get(0)).optional()?;
        Ok(Usage {
            rows,
            rolled_up: rolled_up.unwrap_or(0),
            add: connection.prepare_cached(&ADD)?,
            insert: connection.prepare_cached(&INSERT)?,
            count: connection.prepare_cached("SELECT count(*) FROM usage_minute WHERE minute = ?1")?,
            add_hour: connection.prepare_cached(&ADD_HOUR)?,
            latency: connection.prepare_cached("SELECT latency FROM total_minute WHERE minute = ?1")?,
            add_total: connection.prepare_cached(&ADD_TOTAL)?,
            add_policy: connection.prepare_cached(&ADD_POLICY)?,
        })
    }

    /// Adds what was counted. The order of a map has no meaning, but a file does: keys go in sorted.
    pub fn add(&mut self, accounts: &Accounts, names: &mut Dictionary<'_>) -> rusqlite::Result<()> {
        let mut coarse = Coarse::default();
        let mut keys: Vec<_> = accounts.usage.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| *key);
        for (key, count) in keys {
            self.add_count(key, count, names, &mut coarse)?;
        }
        for (minute, latency) in &accounts.latency {
            let total = coarse.totals.remove(minute).unwrap_or_default();
            self.add_total(*minute, &total, Some(latency))?;
        }
        for (minute, total) in &coarse.totals {
            self.add_total(*minute, total, None)?;
        }
        for ((dimension, hour, value), count) in &coarse.hours {
            let sums = [count.requests, count.total].map(bounded);
            let key = [dimension.number(), bounded(*hour), *value];
            let row = key.into_iter().chain(sums).chain([count.cost.0, count.saved.0]);
            self.add_hour.execute(params_from_iter(row))?;
        }
        for (key, count) in &accounts.policies {
            self.add_policy(key, count, names)?;
        }
        Ok(())
    }

    fn add_count(
        &mut self,
        key: &UsageKey,
        count: &UsageCount,
        names: &mut Dictionary<'_>,
        coarse: &mut Coarse,
    ) -> rusqlite::Result<()> {
        let uses = Uses::of_usage(key.minute);
        let minute = bounded(key.minute);
        // What comes late for an hour that was rolled up joins it.
        let minute = if minute < self.rolled_up { minute - minute % 60 } else { minute };
        let mut row = [minute, 0, 0, 0, 0, 0, i64::from(key.status)];
        for (at, text) in [
            (TENANT, &key.who.tenant),
            (USER, &key.who.user),
            (AGENT, &key.who.agent),
            (PROVIDER, &key.provider),
            (MODEL, &key.model),
        ] {
            row[at] = names.number(text, uses)?;
        }
        self.put(&mut row, count, names, uses)?;
        let hour = key.minute / 60;
        for dimension in Dimension::ALL {
            let value = row[match dimension {
                Dimension::Tenant => TENANT,
                Dimension::User => USER,
                Dimension::Agent => AGENT,
                Dimension::Provider => PROVIDER,
                Dimension::Model => MODEL,
            }];
            coarse.hours.entry((dimension, hour, value)).or_default().add(count);
        }
        let total = coarse.totals.entry(key.minute).or_default();
        total.count.add(count);
        let class = match key.status {
            200..=299 => 0,
            400..=499 => 1,
            500.. => 2,
            _ => return Ok(()),
        };
        if let Some(class) = total.classes.get_mut(class) {
            *class = class.saturating_add(count.requests);
        }
        Ok(())
    }

    /// Adds to the row of `key`, made coarser where the minute is full; `key` is then the one that was added to.
    fn put(
        &mut self,
        key: &mut Key,
        count: &UsageCount,
        names: &mut Dictionary<'_>,
        uses: Uses,
    ) -> rusqlite::Result<()> {
        let rows = self.rows_of(key[0])?;
        let coarser: [(&[usize], u64); 3] =
            [(&[], KEYS_MAX), (&[USER, AGENT], KEYS_MAX + OTHER_KEYS_MAX), (&[TENANT, MODEL], u64::MAX)];
        for (others, rows_max) in coarser {
            if !others.is_empty() {
                let other = names.number(names::OTHER, uses)?;
                others.iter().for_each(|at| key[*at] = other);
            }
            if self.add.execute(row(key, count))? > 0 {
                return Ok(());
            }
            if rows < rows_max {
                self.insert.execute(row(key, count))?;
                self.rows.insert(key[0], rows + 1);
                return Ok(());
            }
        }
        Ok(())
    }

    fn rows_of(&mut self, minute: i64) -> rusqlite::Result<u64> {
        if let Some(rows) = self.rows.get(&minute) {
            return Ok(*rows);
        }
        if self.rows.len() >= MINUTES_MAX {
            self.rows.clear();
        }
        let rows = self.count.query_row([minute], |row| row.get(0))?;
        self.rows.insert(minute, rows);
        Ok(rows)
    }

    fn add_total(&mut self, minute: u64, total: &Total, latency: Option<&Latency>) -> rusqlite::Result<()> {
        let mut sum = latency.cloned().unwrap_or_default();
        let before: Option<Vec<u8>> = self.latency.query_row([bounded(minute)], |row| row.get(0)).optional()?;
        sum.merge_encoded(before.as_deref().unwrap_or_default());
        let latency = sum.encode();
        let counts: Vec<i64> =
            [bounded(minute)].into_iter().chain(columns(&total.count)).chain(total.classes.map(bounded)).collect();
        let counts = counts.iter().map(|count| count as &dyn ToSql);
        self.add_total.execute(params_from_iter(counts.chain([&latency as &dyn ToSql])))?;
        Ok(())
    }

    fn add_policy(&mut self, key: &PolicyKey, count: &PolicyCount, names: &mut Dictionary<'_>) -> rusqlite::Result<()> {
        let uses = Uses::of_usage(key.minute);
        let policy = names.number(&key.policy, uses)?;
        let action = names.number(key.action.name(), uses)?;
        let mode = names.number(key.mode.name(), uses)?;
        let (matches, effective) = (bounded(count.matches), bounded(count.effective));
        self.add_policy.execute([bounded(key.minute), policy, action, mode, matches, effective])?;
        Ok(())
    }
}

/// Key and counts, in the order of the statements' parameters.
fn row(key: &Key, count: &UsageCount) -> impl rusqlite::Params {
    params_from_iter(key.iter().copied().chain(columns(count)))
}

/// In the order of [`COUNTS`].
fn columns(count: &UsageCount) -> [i64; COUNTS.len()] {
    let UsageCount { requests, spans, prompt, completion, total, cached, reasoning, .. } = *count;
    let UsageCount { cost, saved, hits, misses, blocked, errors, duration_us, .. } = *count;
    let [requests, spans, prompt, completion, total, cached, reasoning] =
        [requests, spans, prompt, completion, total, cached, reasoning].map(bounded);
    let [hits, misses, blocked, errors, duration_us] = [hits, misses, blocked, errors, duration_us].map(bounded);
    [
        requests,
        spans,
        prompt,
        completion,
        total,
        cached,
        reasoning,
        cost.0,
        saved.0,
        hits,
        misses,
        blocked,
        errors,
        duration_us,
    ]
}

/// As SQLite holds it.
pub(in super::super) fn bounded(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

const KEY: [&str; 7] = ["minute", "tenant", "user", "agent", "provider", "model", "status"];

/// A sum that stays at its end: beyond it SQLite would go on with a float, which a STRICT column refuses, and with it
/// the whole flush.
fn saturating_sum(column: &str, more: &str) -> String {
    format!("{column} = min({column} + {more}, {})", i64::MAX)
}

/// `INSERT … ON CONFLICT` of a row whose key is the first `keys` columns: the others are added.
fn upsert(table: &str, keys: &[&str], counts: &[&str], replaced: &[&str]) -> String {
    let columns = [keys, counts, replaced].concat();
    let values: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
    let sums = counts.iter().map(|column| saturating_sum(column, &format!("excluded.{column}")));
    let set: Vec<String> = sums.chain(replaced.iter().map(|column| format!("{column} = excluded.{column}"))).collect();
    format!(
        "INSERT INTO {table} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
        columns.join(", "),
        values.join(", "),
        keys.join(", "),
        set.join(", ")
    )
}

static ADD: LazyLock<String> = LazyLock::new(|| {
    let key: Vec<String> = KEY.iter().zip(1..).map(|(column, n)| format!("{column} = ?{n}")).collect();
    let sums = COUNTS.iter().zip(KEY.len() + 1..).map(|(column, n)| saturating_sum(column, &format!("?{n}")));
    format!("UPDATE usage_minute SET {} WHERE {}", sums.collect::<Vec<_>>().join(", "), key.join(" AND "))
});
/// Of a row that is not there; adding all the same is harmless.
pub(in super::super) static INSERT: LazyLock<String> = LazyLock::new(|| upsert("usage_minute", &KEY, &COUNTS, &[]));
static ADD_TOTAL: LazyLock<String> = LazyLock::new(|| {
    let counts = [&COUNTS[..], &["status_2xx", "status_4xx", "status_5xx"]].concat();
    upsert("total_minute", &["minute"], &counts, &["latency"])
});
static ADD_HOUR: LazyLock<String> =
    LazyLock::new(|| upsert("usage_hour", &["kind", "hour", "value"], &["requests", "tokens", "cost", "saved"], &[]));
static ADD_POLICY: LazyLock<String> =
    LazyLock::new(|| upsert("policy_minute", &["minute", "policy", "action", "mode"], &["matches", "effective"], &[]));
pub(in super::super) const ROLLED_UP: &str = "SELECT value FROM progress WHERE what = 'rolled_up'";
