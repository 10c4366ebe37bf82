//! The layout of rows, as far as more than one module relies on it: keys, columns, and how values are fitted into them. Pure.
//! Files hold what is written here, so nothing here changes without a migration.

use super::dimension::WHO_COLUMNS;
use crate::who::WhoPart;

/// Bits of a row's key below its time in milliseconds. No machine records 2 million requests in a millisecond, and the time
/// lasts until 2109.
pub(super) const KEY_BITS: u32 = 21;
/// The latest time that fits into a key, in milliseconds since the epoch.
const KEY_MS_MAX: u64 = (i64::MAX >> KEY_BITS) as u64;

/// Longer names are cut. Arbitrary: an identity has at most 256 bytes, an error message about as many.
pub(super) const NAME_BYTES_MAX: usize = 512;

pub(super) const DAY_MINUTES: u64 = 24 * 60;
pub(super) const DAY_MS: u64 = DAY_MINUTES * 60_000;

/// Columns of `trace` that a search looks at. The place of each is its bit in `name.columns`, so the order never changes.
pub(super) const SEARCHED: [&str; 7] =
    [WhoPart::User.name(), WhoPart::Tenant.name(), WhoPart::Agent.name(), "provider", "asked", "model", "error"];

/// Columns that `usage_minute` and `total_minute` both count.
pub(super) const COUNTS: [&str; 15] = [
    "requests",
    "spans",
    "prompt",
    "completion",
    "total",
    "cached",
    "cache_write",
    "reasoning",
    "cost",
    "saved",
    "hits",
    "misses",
    "blocked",
    "errors",
    "duration_us",
];

/// The primary key of `usage_minute`.
pub(super) const USAGE_KEY: [&str; 4 + WhoPart::ALL.len()] = {
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

/// Up to which minute `usage_minute` has been rolled up into hours.
pub(super) const SELECT_ROLLED_UP: &str = "SELECT value FROM progress WHERE what = 'rolled_up'";

/// The first key of a millisecond; see the table `trace` in schema2.sql.
pub(super) fn key_of(ms: u64) -> i64 {
    (ms.min(KEY_MS_MAX) << KEY_BITS) as i64
}

pub(super) fn ms_of(key: i64) -> u64 {
    (key >> KEY_BITS).max(0) as u64
}

/// The number as SQLite stores it.
pub(super) fn bounded(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The name as it is stored: cut after at most [`NAME_BYTES_MAX`] bytes, between two characters.
pub(super) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
