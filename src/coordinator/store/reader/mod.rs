//! Queries about requests, on a connection of their own that cannot write. Owned by a helper thread, so that the coordinator
//! never waits for a list. No query runs longer than [`QUERY_TIMEOUT_MS`].

// Ranges of time, and the steps of a series.
mod time;

// Texts behind the ids in rows.
mod names;

// What is counted in a step of time, and what is shown of it.
mod point;

// The connection, and how long a query may take.
mod connection;

// Finds the names that contain a text.
mod search;

// A filter as a condition in SQL.
mod filter;

// A filter applied to a request that has just ended.
mod live_filter;

// Traces and requests as the file holds them.
mod rows;

// Pages of traces.
mod list;

// The most frequent names among traces.
mod facets;

// One trace, and requests for a replay.
mod detail;

// Sums over time.
mod series;

// Costs by what they are attributed to.
mod cost;

// How often policies matched.
mod matches;

pub use connection::{QUERY_TIMEOUT_MS, Reader};
pub use cost::CostItem;
pub use detail::TraceDetail;
pub use facets::TraceFacets;
pub use filter::{Filter, StatusFilter, UnknownStatus};
pub use list::Neighbours;
pub use point::{Metric, Summary, UsagePoint};
pub use rows::{LISTED_REQUESTS_MAX, ListedTrace, REQUESTS_MAX, RequestDetail, RequestRow, TraceRow};
pub use time::{POINTS_MAX, TimeRange};
