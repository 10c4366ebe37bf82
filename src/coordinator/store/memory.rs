//! What the writer remembers from one transaction to the next, so that it need not look it up again. Owned by the store, on
//! the coordinator's thread. All of it can be read from the file, and all of it is bounded.

use hashbrown::HashMap;

/// Texts of the table `name` that were used lately.
pub(super) type NameCache = HashMap<Box<str>, CachedName>;

/// Number of rows in `usage_minute` by minute.
pub(super) type RowsByMinute = HashMap<i64, u64>;

#[derive(Debug, Default)]
pub(super) struct Memory {
    pub names: NameCache,
    pub rows: RowsByMinute,
    /// The last number drawn for the key of a row.
    pub last_number: i64,
    pub sweep: Sweep,
}

/// A row of the table `name`, without its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct CachedName {
    pub id: i64,
    pub uses: NameUses,
}

/// Which rows refer to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameUses {
    /// The latest day, since the epoch, of a trace that refers to the name. A name is swept when both days are past.
    pub trace_day: i64,
    /// The latest day, since the epoch, of usage that refers to the name.
    pub usage_day: i64,
    /// Columns of `trace` that refer to the name, as bits of [`super::layout::SEARCHED`]: a search looks at no other column.
    pub columns: i64,
}

/// A pass over all names that removes those to which no row refers any more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sweep {
    /// The last id that was examined; `None` when the pass is over.
    pub last_id: Option<i64>,
    /// The day on which the pass began, since the epoch.
    pub day: u64,
}
