//! Accounts into the tables of sums. On the coordinator's thread, within the transaction of a flush. It adds and never loses:
//! where a minute has too many keys, the rest is summed under `other`, and where a number would end, it stays at its end.

use std::sync::LazyLock;

use hashbrown::HashMap;
use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, params_from_iter};

use super::super::dimension::{Dimension, WHO_COLUMNS};
use super::dictionary::{Dictionary, Uses};
use super::statement::{add_to_row, upsert};
use crate::link::usage::{Accounts, Latency, PolicyCount, PolicyKey, UsageCount, UsageKey};
use crate::names;
use crate::who::{Who, WhoPart};

/// Keys of one minute; users and agents beyond them are summed under `other`. Arbitrary: 14 million rows a day at the most.
pub(in super::super) const KEYS_MAX: u64 = 10_000;
/// Further keys for the sums of `other`. Beyond them the whole identity and the model are `other` too, and the remaining keys
/// are bounded by the configured providers.
pub(in super::super) const OTHER_KEYS_MAX: u64 = 1_000;
/// Minutes whose number of rows is held in memory. Arbitrary: flushes come late by minutes, not hours.
const MINUTES_MAX: usize = 64;

/// Rows of recent minutes, so that nobody counts them again.
pub(in super::super) type RowsByMinute = HashMap<i64, u64>;

/// Key of a row of `usage_minute`. All but the minute and the status are ids of the table `name`.
#[derive(Clone, Copy)]
struct RowKey {
    minute: i64,
    who: Who<i64>,
    provider: i64,
    model: i64,
    status: i64,
}

impl RowKey {
    /// The values of [`KEY_COLUMNS`].
    fn values(&self) -> impl Iterator<Item = i64> {
        let RowKey { minute, who, provider, model, status } = *self;
        [minute].into_iter().chain(WhoPart::ALL.map(|part| *who.get(part))).chain([provider, model, status])
    }

    fn value(&self, dimension: Dimension) -> i64 {
        match dimension {
            Dimension::Who(part) => *self.who.get(part),
            Dimension::Provider => self.provider,
            Dimension::Model => self.model,
        }
    }
}

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
        let row = RowKey {
            minute,
            who: Who::try_from_fn(|part| names.number(key.who.get(part), uses))?,
            provider: names.number(&key.provider, uses)?,
            model: names.number(&key.model, uses)?,
            status: i64::from(key.status),
        };
        let row = self.put(row, count, names, uses)?;
        let hour = key.minute / 60;
        for dimension in Dimension::ALL {
            coarse.hours.entry((dimension, hour, row.value(dimension))).or_default().add(count);
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

    /// Adds to the row of `key`, made coarser where the minute is full. Returns the key of the row that was added to.
    fn put(
        &mut self,
        mut key: RowKey,
        count: &UsageCount,
        names: &mut Dictionary<'_>,
        uses: Uses,
    ) -> rusqlite::Result<RowKey> {
        let rows = self.rows_of(key.minute)?;
        for (coarseness, rows_max) in [(0, KEYS_MAX), (1, KEYS_MAX + OTHER_KEYS_MAX), (2, u64::MAX)] {
            if coarseness > 0 {
                let other = names.number(names::OTHER, uses)?;
                if coarseness == 1 {
                    key.who = key.who.with_narrower_as(|| other);
                } else {
                    (key.who, key.model) = (Who::from_fn(|_| other), other);
                }
            }
            if self.add.execute(row(&key, count))? > 0 {
                return Ok(key);
            }
            if rows < rows_max {
                self.insert.execute(row(&key, count))?;
                self.rows.insert(key.minute, rows + 1);
                return Ok(key);
            }
        }
        Ok(key)
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
fn row(key: &RowKey, count: &UsageCount) -> impl rusqlite::Params {
    params_from_iter(key.values().chain(columns(count)))
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

/// The primary key of `usage_minute`.
pub(in super::super) const KEY_COLUMNS: [&str; 4 + WhoPart::ALL.len()] = {
    let mut columns = [""; 4 + WhoPart::ALL.len()];
    columns[0] = "minute";
    let mut at = 0;
    while at < WHO_COLUMNS.len() {
        columns[1 + at] = WHO_COLUMNS[at];
        at += 1;
    }
    columns[1 + at] = "provider";
    columns[2 + at] = "model";
    columns[3 + at] = "status";
    columns
};

static ADD: LazyLock<String> = LazyLock::new(|| add_to_row("usage_minute", &KEY_COLUMNS, &COUNTS));
/// Used where no row has the key yet; adds to the row if there is one after all.
pub(in super::super) static INSERT: LazyLock<String> =
    LazyLock::new(|| upsert("usage_minute", &KEY_COLUMNS, &COUNTS, &[]));
static ADD_TOTAL: LazyLock<String> = LazyLock::new(|| {
    let counts = [&COUNTS[..], &["status_2xx", "status_4xx", "status_5xx"]].concat();
    upsert("total_minute", &["minute"], &counts, &["latency"])
});
static ADD_HOUR: LazyLock<String> =
    LazyLock::new(|| upsert("usage_hour", &["kind", "hour", "value"], &["requests", "tokens", "cost", "saved"], &[]));
static ADD_POLICY: LazyLock<String> =
    LazyLock::new(|| upsert("policy_minute", &["minute", "policy", "action", "mode"], &["matches", "effective"], &[]));
pub(in super::super) const ROLLED_UP: &str = "SELECT value FROM progress WHERE what = 'rolled_up'";
