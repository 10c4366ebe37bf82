//! Pages of a list: which one is asked for, and what it contains. Plain values, on every thread.

use schemars::JsonSchema;
use serde::Serialize;

/// Rows of one page. Arbitrary: a screen shows fewer, and a page of this size is still read in milliseconds.
pub const PAGE_SIZE_MAX: u32 = 200;

/// Which page of a list, as the caller asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// From 1; 0 counts as 1.
    pub page: u32,
    /// Clamped to 1..=[`PAGE_SIZE_MAX`].
    pub page_size: u32,
}

impl Paging {
    /// The page that is returned for this request.
    #[must_use]
    pub(super) fn clamped(self) -> Paging {
        Paging { page: self.page.max(1), page_size: self.page_size.clamp(1, PAGE_SIZE_MAX) }
    }

    /// Rows before the page. Meaningful for a clamped page only.
    pub(super) fn skipped(self) -> u64 {
        u64::from(self.page.saturating_sub(1)) * u64::from(self.page_size)
    }

    pub(super) fn with_items<T>(self, items: Vec<T>, total: u64) -> ListPage<T> {
        ListPage { items, total, page: self.page, page_size: self.page_size }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct ListPage<T> {
    pub items: Vec<T>,
    /// Of all pages.
    pub total: u64,
    pub page: u32,
    pub page_size: u32,
}
