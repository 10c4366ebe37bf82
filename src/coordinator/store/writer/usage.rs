//! Adds usage to the tables of sums. On the coordinator's thread, within the transaction of a flush. It never loses a count:
//! when a minute has too many keys, the rest is summed under `other`, and a sum that would overflow stays at its maximum.

use std::sync::LazyLock;

use hashbrown::HashMap;
use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, params_from_iter};

use super::super::dimension::Dimension;
use super::super::layout::{COUNTS, SELECT_ROLLED_UP, USAGE_KEY, bounded};
use super::super::memory::{NameUses, RowsByMinute};
use super::dictionary::Dictionary;
use super::statement::{add_to_row, upsert};
use crate::link::usage::{Latency, PolicyCount, PolicyKey, UsageCount, UsageKey, UsageTotals};
use crate::names;
use crate::who::{Who, WhoPart};

/// Keys of one minute at the full grain. Arbitrary: at most 14 million rows a day.
pub(in super::super) const KEYS_MAX: u64 = 10_000;
/// Further keys of one minute that tell the broadest part apart. Keys at the last grain are bounded by the configured
/// providers and the HTTP statuses.
pub(in super::super) const OTHER_KEYS_MAX: u64 = 1_000;
/// Minutes whose number of rows is kept in memory. Arbitrary: flushes are late by minutes, not by hours.
const MINUTES_MAX: usize = 64;

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
    /// The values of [`USAGE_KEY`].
    fn values(&self) -> impl Iterator<Item = i64> {
        let RowKey { minute, who, provider, model, status } = *self;
        [minute].into_iter().chain(WhoPart::ALL.map(|part| *who.get(part))).chain([provider, model, status])
    }

    fn with_broadest_part(self, other: i64) -> RowKey {
        RowKey { who: self.who.with_narrower_as(|| other), ..self }
    }

    fn with_provider_only(self, other: i64) -> RowKey {
        RowKey { who: Who::from_fn(|_| other), model: other, ..self }
    }

    fn value(&self, dimension: Dimension) -> i64 {
        match dimension {
            Dimension::Who(part) => *self.who.get(part),
            Dimension::Provider => self.provider,
            Dimension::Model => self.model,
        }
    }
}

/// What a row tells apart.
#[derive(Clone, Copy)]
enum Grain {
    /// Everything.
    Full,
    /// Only the broadest part of the identity; the rest of it is `other`.
    BroadestPart,
    /// Neither identities nor models: all of them are `other`.
    Other,
}

/// A minute gets rows of a grain until it has this many rows. From then on they are summed at the next grain.
const GRAINS: [(Grain, u64); 3] =
    [(Grain::Full, KEYS_MAX), (Grain::BroadestPart, KEYS_MAX + OTHER_KEYS_MAX), (Grain::Other, u64::MAX)];

/// The tables of sums, for the time of one transaction.
pub(super) struct UsageTables<'t> {
    rows: &'t mut RowsByMinute,
    /// Minutes before this one have been rolled up into hours.
    rolled_up: i64,
    add: CachedStatement<'t>,
    insert: CachedStatement<'t>,
    count: CachedStatement<'t>,
    add_hour: CachedStatement<'t>,
    latency: CachedStatement<'t>,
    add_total: CachedStatement<'t>,
    add_policy: CachedStatement<'t>,
}

/// Sums of one batch for the coarser tables, which are written once at its end.
#[derive(Default)]
struct CoarseSums {
    /// By minute.
    totals: HashMap<u64, MinuteTotal>,
    /// By dimension, hour and id of the name.
    hours: HashMap<(Dimension, u64, i64), UsageCount>,
}

#[derive(Default)]
struct MinuteTotal {
    count: UsageCount,
    /// Answers with status 2xx, 4xx and 5xx.
    classes: [u64; 3],
}

impl<'t> UsageTables<'t> {
    pub fn new(connection: &'t Connection, rows: &'t mut RowsByMinute) -> rusqlite::Result<UsageTables<'t>> {
        let rolled_up = connection.prepare_cached(SELECT_ROLLED_UP)?.query_row([], |row| row.get(0)).optional()?;
        Ok(UsageTables {
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

    /// Adds the counts of a batch. Keys are sorted first, which is the order of the table: a map would
    /// scatter its writes.
    pub fn add(&mut self, totals: &UsageTotals, names: &mut Dictionary<'_>) -> rusqlite::Result<()> {
        let mut coarse = CoarseSums::default();
        let mut keys: Vec<_> = totals.usage.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| *key);
        for (key, count) in keys {
            self.add_count(key, count, names, &mut coarse)?;
        }
        for (minute, latency) in &totals.latency {
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
        for (key, count) in &totals.policies {
            self.add_policy(key, count, names)?;
        }
        Ok(())
    }

    fn add_count(
        &mut self,
        key: &UsageKey,
        count: &UsageCount,
        names: &mut Dictionary<'_>,
        coarse: &mut CoarseSums,
    ) -> rusqlite::Result<()> {
        let uses = NameUses::of_usage(key.minute);
        let minute = bounded(key.minute);
        // A late count for an hour that was rolled up is added to that hour.
        let minute = if minute < self.rolled_up { minute - minute % 60 } else { minute };
        let row = RowKey {
            minute,
            who: Who::try_from_fn(|part| names.id(key.who.get(part), uses))?,
            provider: names.id(&key.provider, uses)?,
            model: names.id(&key.model, uses)?,
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

    /// Adds to the row of `key`, or of a coarser key where the minute is full. Returns the key of the row that was added to.
    fn put(
        &mut self,
        mut key: RowKey,
        count: &UsageCount,
        names: &mut Dictionary<'_>,
        uses: NameUses,
    ) -> rusqlite::Result<RowKey> {
        let rows = self.rows_of(key.minute)?;
        for (grain, rows_max) in GRAINS {
            key = match grain {
                Grain::Full => key,
                Grain::BroadestPart => key.with_broadest_part(names.id(names::OTHER, uses)?),
                Grain::Other => key.with_provider_only(names.id(names::OTHER, uses)?),
            };
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

    fn add_total(&mut self, minute: u64, total: &MinuteTotal, latency: Option<&Latency>) -> rusqlite::Result<()> {
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
        let uses = NameUses::of_usage(key.minute);
        let policy = names.id(&key.policy, uses)?;
        let action = names.id(key.action.name(), uses)?;
        let mode = names.id(key.mode.name(), uses)?;
        let (matches, effective) = (bounded(count.matches), bounded(count.effective));
        self.add_policy.execute([bounded(key.minute), policy, action, mode, matches, effective])?;
        Ok(())
    }
}

/// The parameters of [`ADD`] and [`INSERT`].
fn row(key: &RowKey, count: &UsageCount) -> impl rusqlite::Params {
    params_from_iter(key.values().chain(columns(count)))
}

/// The values of [`COUNTS`].
fn columns(count: &UsageCount) -> [i64; COUNTS.len()] {
    let UsageCount { requests, spans, input, output, total, cache_read, cache_write, reasoning, .. } = *count;
    let UsageCount { cost, saved, hits, misses, blocked, errors, duration_us, .. } = *count;
    let [requests, spans, input, output, total, cache_read, cache_write, reasoning] =
        [requests, spans, input, output, total, cache_read, cache_write, reasoning].map(bounded);
    let [hits, misses, blocked, errors, duration_us] = [hits, misses, blocked, errors, duration_us].map(bounded);
    [
        requests,
        spans,
        input,
        output,
        total,
        cache_read,
        cache_write,
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

static ADD: LazyLock<String> = LazyLock::new(|| add_to_row("usage_minute", &USAGE_KEY, &COUNTS));
/// For a key without a row. If there is one after all, its counts are added to.
pub(in super::super) static INSERT: LazyLock<String> =
    LazyLock::new(|| upsert("usage_minute", &USAGE_KEY, &COUNTS, &[]));
static ADD_TOTAL: LazyLock<String> = LazyLock::new(|| {
    let counts = [&COUNTS[..], &["status_2xx", "status_4xx", "status_5xx"]].concat();
    upsert("total_minute", &["minute"], &counts, &["latency"])
});
static ADD_HOUR: LazyLock<String> =
    LazyLock::new(|| upsert("usage_hour", &["kind", "hour", "value"], &["requests", "tokens", "cost", "saved"], &[]));
static ADD_POLICY: LazyLock<String> =
    LazyLock::new(|| upsert("policy_minute", &["minute", "policy", "action", "mode"], &["matches", "effective"], &[]));
